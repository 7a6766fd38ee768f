// Feed: what this SN has published of its log: the newest state, and head, author and verdict of
// every entry. Written by SnCore only, after the entries are durable; read by any thread. Long
// polls wait here and are woken by each publication.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "protocol/sn_decider.h"
#include "protocol/state.h"

namespace starling {

// An immutable picture of the swarm; kept alive by whoever reads it.
struct Snapshot {
  LedgerState state;
  Place end;                     // the newest entry that `state` has replayed
  std::vector<Waiting> waiting;  // the decider's last words on every training that waits
};

struct EntryNote {
  Digest head;
  std::string author;  // "" when unknown
  std::string reason;  // why it is ignored; "" when valid
};

class Feed {
 public:
  Feed() : snapshot_(std::make_shared<const Snapshot>()) {}
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  // Never null.
  [[nodiscard]] std::shared_ptr<const Snapshot> Current() const;
  // `notes` belong to the entries behind the last published one, in order; CHECKs that they end
  // where the snapshot ends.
  void Publish(std::shared_ptr<const Snapshot> snapshot, std::vector<EntryNote> notes);
  // Nothing beyond the end. Position −1 is all zeros.
  [[nodiscard]] std::optional<Digest> HeadAt(Position position) const;
  // The notes of at most `count` entries from `from` on.
  [[nodiscard]] std::vector<EntryNote> Notes(Position from, std::size_t count) const;
  // True once an entry at `position` is published; false when `span` has passed or `stop` came
  // first.
  bool WaitFor(Position position, Duration span, const std::stop_token& stop) const;

 private:
  mutable std::mutex mutex_;
  // A broadcast to many waiters, which a Mailbox (one receiver) cannot be.
  mutable std::condition_variable_any published_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<EntryNote> notes_;
};

}  // namespace starling
