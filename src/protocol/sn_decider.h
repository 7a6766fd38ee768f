// SnDecider: what an SN says by itself (docs/protocol.md, "What an SN does"). Pure: state, time and
// the answers of probes in; events to sign and append, and probes to perform, out. One thread; the
// driver calls Decide after every change of the log, after OnProbe and at `wake_at`. The choice is
// never validity: a wrong one costs time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "protocol/progress.h"
#include "protocol/state.h"
#include "protocol/waiting.h"

namespace starling {

struct SnOptions {
  // How long a quorum waits for expected nodes that have not checked in, at first. With `adapt` it
  // follows the p95 of the intervals of the last 20 rounds, at most half up or down a round, within
  // 1 s and 1 h.
  Duration quorum_grace = 30s;
  bool adapt = false;
  // The driver performs probes. Without it every node counts as one that answers.
  bool probe = false;
  // The thumbprint of this SN's key: SNs speak in the order of their ranks. Empty: this one decides
  // alone (the sentinel of an embedded ledger) and waits for nobody.
  std::string kid;
  // As the SLs have it: the measure of how long a merge may stand still before this SN looks.
  Duration stall_timeout = 5s;
  // A trainer that others wait for, and that has missed nothing yet, is away after such a silence.
  Duration away_timeout = 60s;
};

struct SnTodo {
  struct Append {
    ContractName contract;
    Event event;
  };
  // Something that an operator should read once.
  struct Notice {
    ContractName contract;
    std::string text;
  };
  // Sign in this order and give to the ledger as ONE append: a reopening and the close after it
  // belong together.
  std::vector<Append> appends;
  std::vector<Probe> probes;
  std::optional<Instant> wake_at;
  std::vector<Waiting> waiting;
  std::vector<Notice> notices;
};

class SnDecider {
 public:
  explicit SnDecider(const SnOptions& options) : options_(options) {}
  [[nodiscard]] SnTodo Decide(const LedgerState& state, Instant now);
  // What came of a probe; call Decide afterwards. An unknown or old id is ignored. A probe that is
  // never answered counts as failed after kProbeLimit, at the next Decide.
  void OnProbe(ProbeId id, const ProbeAnswer& answer, Instant now);

  // The grace of attempt 0 now.
  [[nodiscard]] Duration grace(const ContractName& contract) const;

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
