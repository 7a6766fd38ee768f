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
  // What probes have shown of one node since it was seen last to come.
  struct NodeView {
    std::optional<ProbeId> asked_id;  // under way
    Instant asked;
    std::optional<Instant> heard;  // the newest result
    std::uint32_t fails = 0;       // in a row
    Instant first_fail;
    std::optional<Progress> progress;       // of the newest result
    Trouble trouble;                        // why the newest one failed
    bool unenrolled = false;                // in the last failed answer
    std::optional<Instant> troubled_since;  // since it tells of troubles of its own
    std::string url;                        // another one: the node has come anew
  };
  // What was begun in this phase of this attempt.
  struct Steps {
    std::optional<Instant> quorum_since;   // since a close would be valid
    std::optional<Instant> due_since;      // since nothing is waited for any more
    std::optional<Instant> trouble_since;  // since the merge cannot end
    std::optional<Instant> said;           // the newest append for this step
    std::set<NodeName> training;           // expected beside the others: they train for this round
  };
  struct Gone {
    Instant since;
    std::string why;  // "" when nobody knows
  };
  struct Memory {
    Position instance{-1};
    RoundId round{0};
    AttemptId attempt{0};
    Phase phase = Phase::kCollecting;
    Instant since;  // this round and phase
    Steps steps;
    std::map<NodeName, NodeView> nodes;
    std::map<NodeName, Instant> away_said;
    std::map<NodeName, Gone> gone;  // enrolled nodes that are away
    Duration grace{};
    std::optional<RoundId> measured;              // the newest round in `intervals`
    std::deque<std::vector<Duration>> intervals;  // of the last rounds
    std::vector<Duration> laggards;               // of those that were still training at a close
  };
  // One contract in one call of Decide.
  struct Turn {
    const LedgerState& state;
    const Contract& contract;
    Memory& memory;
    Instant now;
    SnTodo& todo;
  };

  // sn_decider.cc
  static void Look(const Turn& turn, const SnOptions& options);
  static void RememberGone(const Turn& turn);
  [[nodiscard]] Duration Wait(const Turn& turn) const;  // by this SN's rank
  static void WakeAt(const Turn& turn, Instant at);
  static bool MaySay(const Turn& turn);
  // sn_decider_probe.cc
  void Expire(Memory& memory, Instant now);
  static void Heard(NodeView& view, const ProbeAnswer& answer, Instant now);
  bool Ask(const Turn& turn, const NodeName& name);
  static constexpr Duration kAskEvery = 5s;  // a node on which something depends
  bool AskEvery(const Turn& turn, const NodeName& name, Duration pause = kAskEvery,
                Duration after_failure = kAskEvery);
  [[nodiscard]] bool AskedSince(const Turn& turn, const std::set<NodeName>& names, Instant since);
  [[nodiscard]] bool Silent(const Turn& turn, const NodeName& name, std::uint32_t fails) const;
  [[nodiscard]] std::vector<NodeName> SilentOf(const Turn& turn,
                                               const std::set<NodeName>& names) const;
  void Watch(const Turn& turn);
  void TellTroubles(const Turn& turn) const;
  static void TellGone(const Turn& turn);
  [[nodiscard]] std::optional<Duration> AwayAfter(const Turn& turn, const Node& node) const;
  // sn_decider_close.cc
  void Collecting(const Turn& turn);
  void Close(const Turn& turn);
  void WaitForQuorum(const Turn& turn, const std::vector<Member>& ready,
                     const std::set<NodeName>& missing, const std::string& why);
  [[nodiscard]] bool WaitsForMissing(const Turn& turn, std::set<NodeName>& missing);
  static void Measure(const Turn& turn, const SnOptions& options);
  [[nodiscard]] Duration GraceOf(const Turn& turn) const;
  // sn_decider_blame.cc
  void Merging(const Turn& turn);
  void Reopen(const Turn& turn);
  [[nodiscard]] std::set<NodeName> Blamed(const Turn& turn) const;

  SnOptions options_;
  std::map<ContractName, Memory> memory_;
  std::map<ProbeId, std::pair<ContractName, NodeName>> asked_;
  std::uint64_t probes_ = 0;  // asked so far
};

}  // namespace starling
