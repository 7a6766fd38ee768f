// Replay: the swarm's state as a pure function of the bytes of the log. No clock, network, locale
// or unordered container. One thread owns a Replay; copies are independent (a copy is how an entry
// is tried without applying it).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/reasons.h"
#include "protocol/state.h"

namespace starling {

// What became of an entry. `reason` is empty exactly when it is valid ("ignored: <reason>" is what
// people read).
struct Verdict {
  std::string reason;
  std::optional<Reason> row = {};  // the same for machines
  std::string type;                // "" when it did not parse
  std::string author;              // node or SN name, "" when unknown
  ContractName contract;           // the training it speaks of
  [[nodiscard]] bool valid() const { return reason.empty(); }
};

class Replay {
 public:
  // Applies the entry at the next position.
  Verdict Apply(std::string_view entry);
  // What Apply would answer, without applying.
  [[nodiscard]] Verdict Try(std::string_view entry) const;

  [[nodiscard]] const LedgerState& state() const { return state_; }
  [[nodiscard]] Place place() const;  // newest entry, or {−1, zeros}
  [[nodiscard]] Result<Digest> HeadAt(Position position) const;
  // Over everything but seqs and positions of void entries' authors: same log, same hash, on every
  // machine.
  [[nodiscard]] Digest StateHash() const;

 private:
  LedgerState state_;
  std::vector<Digest> heads_;
};

}  // namespace starling
