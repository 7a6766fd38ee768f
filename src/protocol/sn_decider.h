// SnDecider: what an SN says by itself (docs/protocol.md, "A round"). Pure: state and time in,
// events to sign and append out. One thread; the driver calls Decide after every change of the log
// and at `wake_at`. The choice is never validity: a wrong one costs time. Failure handling (probes,
// away, reopening, ranks) joins here.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "protocol/state.h"

namespace starling {

struct SnOptions {
  Duration quorum_grace =
      30s;  // how long a quorum waits for expected nodes that have not checked in
};

// One wait, for people: for whom, since when, what happens next.
struct Waiting {
  ContractName contract;
  std::vector<NodeName> on;
  std::string what;  // "round 3 waits for check-ins: 2 of 3 here"
  Instant since;
  std::string next;  // "closes without c in 12 s"
};

struct SnTodo {
  struct Append {
    ContractName contract;
    Event event;
  };
  std::vector<Append> appends;
  std::optional<Instant> wake_at;
  std::vector<Waiting> waiting;
};

class SnDecider {
 public:
  explicit SnDecider(const SnOptions& options) : options_(options) {}
  [[nodiscard]] SnTodo Decide(const LedgerState& state, Instant now);

 private:
  struct Memory {
    Position instance{-1};
    RoundId round{0};
    AttemptId attempt{0};
    Phase phase = Phase::kCollecting;
    Instant since;                        // this round and phase
    std::optional<Instant> quorum_since;  // since a close would be valid
    std::optional<Instant> said;          // the close was said
  };
  void Collecting(const Contract& contract, Instant now, Memory& memory, SnTodo& todo) const;

  SnOptions options_;
  std::map<ContractName, Memory> memory_;
};

}  // namespace starling
