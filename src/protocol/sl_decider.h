// SlDecider: what an SL does (docs/protocol.md, "A round"): pure, events in, effects out in order.
// One thread (the SL's loop); the driver performs the effects and feeds what comes of them back. It
// never reads a clock but the `now` it is given. Failure handling (stalls, re-enrolment after a
// restart, "lost my update") joins here.
//
// The two arenas. The program owns both between an answer and its next request; MergeEffect and
// FetchEffect, which write the merged arena, come only while a request is pending. Of those two the
// newest wins: the driver stops the older one. A KeepEffect's bytes are those in the merged arena:
// the driver has read them before it starts the next MergeEffect or FetchEffect.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "protocol/state.h"

namespace starling {

struct SlConfig {
  ContractName contract;
  NodeName name;
  PublicKey key;
  Duration linger =
      600s;  // after done: how long to go on serving while present nodes lack the final model
};

// The program's words, hashed by the driver before they come here.
struct ProgramSync {  // a sync point: the update arena holds a model with this root
  Digest update;
  CheckinReport report;
};
struct ProgramFinish {
  FinishMode mode = FinishMode::kSnapshot;
  Digest update;
  CheckinReport report;
};

// A merge to compute: everything that the transfer needs, copied from the state at the close.
struct MergeJob {
  Position instance;
  RoundId round;
  AttemptId attempt;
  Digest set;
  std::optional<Digest> base;
  MergeKind kind = MergeKind::kMean;
  std::vector<Member> members;
  std::vector<NodeName> owners;
  std::uint64_t audit = 1;
  std::uint64_t size = 0;
  std::map<NodeName, Node> nodes;  // urls and keys of P
  friend bool operator==(const MergeJob& a, const MergeJob& b) {
    return a.instance == b.instance && a.round == b.round && a.attempt == b.attempt &&
           a.set == b.set;
  }
};

// Effects.
struct EnrolEffect {
  std::optional<Position> instance;
};  // sign a claim and send it to the SN
struct AppendEffect {
  Event event;
};  // sign, append, retry until it is in the log
struct MergeEffect {
  MergeJob job;
};  // pull or lead; replaces an older one
// A sealed model this SL lacks. A merge of that round still under way may go on beside it if its
// chunks go to the same bytes: whichever of OnMerged (with this root) and OnFetched comes first
// counts.
struct FetchEffect {
  Digest root;
  std::vector<NodeName> holders;
};
struct AnswerEffect {  // `merged` to the program
  RoundId round;
  Digest root;
  bool counted = false;
  bool over = false;
  std::vector<NodeName> participants;
  std::size_t holders = 0, nodes = 0;
};
struct AttentionEffect {};  // the swarm has gone on: sync at the next batch end
struct KeepEffect {
  RoundId round;
  Digest root;
  bool final = false;
};  // write behind; final: durable before `done`
struct ExitEffect {
  std::string summary;
  bool good = true;
};  // stop serving and leave; good: the training is done
using SlEffect = std::variant<EnrolEffect, AppendEffect, MergeEffect, FetchEffect, AnswerEffect,
                              AttentionEffect, KeepEffect, ExitEffect>;

class SlDecider {
 public:
  explicit SlDecider(SlConfig config) : config_(std::move(config)) {}

  // The program has opened its session: the model's schema is known, so this SL can enrol.
  [[nodiscard]] std::vector<SlEffect> OnOpened(const LedgerState& state, Instant now);
  // The SN has accepted the claim of an EnrolEffect, and the log is replayed up to that entry. If
  // this node is still not enrolled (a reset came after it) it enrols again. A refusal is the
  // driver's to judge: it sends the claim again or ends the SL.
  [[nodiscard]] std::vector<SlEffect> OnEnrolled(const LedgerState& state, Instant now);
  // The final log has grown to `state`. Called with the state after each batch of entries.
  [[nodiscard]] std::vector<SlEffect> OnLedger(const LedgerState& state, Instant now);
  // The program stands at a sync point / has finished / died. One request at a time; the bridge
  // sees to it, and refuses all after `over`.
  [[nodiscard]] std::vector<SlEffect> OnProgram(const ProgramSync& sync, const LedgerState& state,
                                                Instant now);
  [[nodiscard]] std::vector<SlEffect> OnProgram(const ProgramFinish& finish,
                                                const LedgerState& state, Instant now);
  // Without `finish`: node-away, then exit. After it, or once the final model was answered, the SL
  // goes on alone.
  [[nodiscard]] std::vector<SlEffect> OnProgramGone(const LedgerState& state, Instant now);
  // M of `job` is complete (in the merged arena) and audited. A job that was replaced meanwhile is
  // ignored.
  [[nodiscard]] std::vector<SlEffect> OnMerged(const MergeJob& job, const Digest& root,
                                               const MergedReport& report, const LedgerState& state,
                                               Instant now);
  // The bytes of `root` are in the merged arena (FetchEffect) / durable on disk (KeepEffect).
  [[nodiscard]] std::vector<SlEffect> OnFetched(const Digest& root, const LedgerState& state,
                                                Instant now);
  [[nodiscard]] std::vector<SlEffect> OnKept(const Digest& root, const LedgerState& state,
                                             Instant now);
  [[nodiscard]] std::vector<SlEffect> OnTime(const LedgerState& state, Instant now);

  // For people: what this SL waits for now ("waiting for 1 of 3: c"), "" when for nothing.
  [[nodiscard]] std::string WaitingText(const LedgerState& state) const;
  [[nodiscard]] std::optional<Instant> wake_at() const;

 private:
  enum class Pending : std::uint8_t { kNone, kSync, kFinish };
  // What writes the merged arena now.
  enum class ArenaTask : std::uint8_t { kNone, kMerge, kFetch };
  struct JobKey {
    Position instance;
    RoundId round;
    AttemptId attempt;
    friend bool operator==(const JobKey&, const JobKey&) = default;
  };
  struct Vote {
    RoundId round;
    Digest root;
    friend bool operator==(const Vote&, const Vote&) = default;
  };
  using Effects = std::vector<SlEffect>;

  [[nodiscard]] Effects Step(const LedgerState& state, Instant now);
  [[nodiscard]] const Contract* Find(const LedgerState& state) const;
  [[nodiscard]] const Node* Me(const Contract& contract) const;
  [[nodiscard]] bool Behind(const Contract& contract) const;
  [[nodiscard]] bool NeedsSealed(const Contract& contract) const;
  void Enrol(const Contract* contract, const Node* me, Effects& effects);
  void Removed(const Contract* contract, Effects& effects);
  void Receive(const Contract& contract, Effects& effects);  // what was sealed
  void Answer(const Contract& contract, Effects& effects);
  void Work(const Contract& contract, Effects& effects);                   // merge what has closed
  void Speak(const Contract& contract, const Node& me, Effects& effects);  // check-in, finish
  void LeaveEarly(const Contract& contract, const Node& me, Effects& effects);
  void Leave(const Contract& contract, Instant now, Effects& effects);
  void Exit(std::string summary, bool good, Effects& effects);

  SlConfig config_;
  // Only what the log cannot tell lives here: what the program holds and waits for, what the arena
  // holds, what was said already.
  bool opened_ = false;
  bool enrol_sent_ = false;
  std::optional<Position>
      over_before_;  // an instance that was done before this SL enrolled: not its own
  std::optional<Position> instance_;  // enrolled in
  Pending pending_ = Pending::kNone;
  std::optional<Digest> update_;  // in the update arena
  CheckinReport report_;
  FinishMode mode_ = FinishMode::kSnapshot;
  bool finished_ = false;  // the program has asked to finish
  bool over_ = false;      // the program was answered with the final model
  bool gone_ = false;
  std::optional<RoundId> answered_;    // the sealed round whose model the program loaded last; by
                                       // round, as a round may change nothing
  std::optional<Digest> arena_model_;  // what the merged arena holds
  ArenaTask arena_task_ = ArenaTask::kNone;
  std::optional<Digest> fetching_;
  std::optional<JobKey> job_;  // merge started last
  std::optional<JobKey> checkin_said_;
  std::optional<Vote> vote_said_;
  bool finish_said_ = false;
  bool away_said_ = false;
  std::optional<RoundId> attention_said_;
  std::optional<RoundId> keep_asked_;
  std::optional<Digest> final_asked_;  // the final model, once its KeepEffect is out
  bool final_kept_ = false;
  std::optional<Instant> done_since_;
  std::string summary_;
  bool exit_said_ = false;
};

}  // namespace starling
