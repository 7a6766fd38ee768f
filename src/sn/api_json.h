// What the SN's API shows of its state, as JSON (docs/formats/http.md). Pure functions of a
// snapshot; any thread.
#pragma once

#include <span>
#include <string>

#include "base/clock.h"
#include "crypto/json.h"
#include "ledger/ledger.h"
#include "sn/feed.h"
#include "sn/presence.h"

namespace starling {

// Both clocks read at one moment, once a process: turns Instants into times for people, the same
// Instant always into the same time.
struct Moment {
  Instant now;
  UtcTime utc;
  [[nodiscard]] UtcTime At(Instant instant) const;
};

// Who this SN is, for rows about itself.
struct SnSelf {
  std::string name;
  std::string host;
  std::uint16_t api_port = 0;
  std::string uuid;
  bool sentinel = true;
};

[[nodiscard]] Json PlaceJson(const Place& place);  // {"position","head"}
[[nodiscard]] Json WaitingJson(const Waiting& waiting, const Moment& moment);
[[nodiscard]] Json ContractJson(const Contract& contract, const Snapshot& snapshot,
                                const Moment& moment);
// `founder`: the sentinel's name.
[[nodiscard]] Json NodesJson(const Snapshot& snapshot, const Presence& presence, const SnSelf& self,
                             const std::string& founder, UtcTime now);
// Whose entry 0 is; "" when it is none.
[[nodiscard]] std::string FounderOf(const std::string& first_entry);
// `notes` empty: the entries as they stand; else one a record, and each entry is shown decoded.
[[nodiscard]] Json EntriesJson(std::span<const LedgerRecord> records,
                               std::span<const EntryNote> notes);

// A UUID (version 8) made of a kid: the same node has the same one everywhere and after every
// restart.
[[nodiscard]] std::string UuidOfKey(std::string_view kid);

}  // namespace starling
