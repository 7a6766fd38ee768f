// SlDecider: what an SL does (docs/protocol.md, "A round"): pure, events in, effects out in order.
// One thread (the SL's loop); the driver performs the effects and feeds what comes of them back. It
// never reads a clock but the `now` it is given.
//
// Order is the protocol: effects are performed in the order in which they stand, and an effect
// whose comment says "before the next effect" is durable before the next one is begun. What an
// effect must bring back is named beside it.
//
// A restart. The driver constructs the decider from what is on the disk (SlMemory), replays the
// log, calls OnStarted once, and goes on as ever. The decider says what is due by the phase it
// finds: it enrols again, repeats its part of a merge, says that it lost its update, or fetches the
// end.
//
// The two arenas. The program owns both between an answer and its next request; MergeEffect and
// FetchEffect, which write the merged arena, come only while a request is pending. Of those two the
// newest wins: the driver stops the older one. A KeepEffect's bytes are those in the merged arena:
// the driver has read them before it starts the next MergeEffect or FetchEffect.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "protocol/progress.h"
#include "protocol/state.h"
#include "protocol/waiting.h"

namespace starling {

struct SlConfig {
  ContractName contract;
  NodeName name;
  PublicKey key;
  Duration linger =
      600s;  // after done: how long to go on serving while present nodes lack the final model
  Duration stall_timeout = 5s;  // doubled with each attempt
  // The model of --initial FILE: on this SL's disk, kept. It holds it from its enrolment on.
  std::optional<Digest> initial;
  // The driver performs StoreUpdate, DropUpdate and Remember. Without it none of them comes and
  // nothing waits for them: such an SL cannot be restarted in the middle of a round.
  bool durable = false;
  // The driver performs probes. Without it missing votes are nobody's fault.
  bool probe = false;
};

// What an SL found on its disk when it started. Only blobs whose bytes gave their root again.
struct SlMemory {
  std::optional<Position> instance;  // of the last RememberEffect
  std::set<Digest> updates;          // stored and not dropped
  std::set<Digest> models;           // kept
};

// Why a source of bytes is accused.
enum class StallWhy : std::uint8_t { kSilent, kRefused, kWrongBytes, kRoot, kVote, kLost };
[[nodiscard]] std::string_view StallWhyText(StallWhy why);  // "silent", "wrong bytes", …

// A source that this node's merge cannot go on with (docs/protocol.md, "Stalls").
struct SourceFailure {
  NodeName node;
  StallWhy why = StallWhy::kSilent;
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
};  // sign a claim and send it to the SN; OnEnrolled or OnEnrolRefused
// Sign, append, retry the same bytes until they are in the log. What the log made of it comes back
// through OnOwnEntry.
struct AppendEffect {
  Event event;
};
// Pull or lead; replaces an older one. OnMerged; OnStalled for sources that failed, and then it
// goes on trying until it is replaced or abandoned.
struct MergeEffect {
  MergeJob job;
};
struct AbandonEffect {};  // stop the merge under way: its attempt is over
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
// The model in the merged arena, to disk; OnKept once it is written. With SlConfig::durable it
// comes before the vote: a vote says "I hold these bytes", also when all processes end at once.
// final: pin it, and let it outlast a power cut, too.
struct KeepEffect {
  RoundId round;
  Digest root;
  bool final = false;
};
// The program's update, to disk and behind: OnUpdateStored once it is durable. Its bytes stand
// still, in the update arena, until the next AnswerEffect; the driver has written them by then.
struct StoreUpdateEffect {
  Digest update;
};
struct DropUpdateEffect {
  Digest update;
};  // no round needs it any more: it may be deleted
// The instance this SL is enrolled in; none: it is at home nowhere. Durable before the next effect.
struct RememberEffect {
  std::optional<Position> instance;
};
struct ProbeEffect {
  Probe probe;
};  // ask another node; OnProbe
struct ExitEffect {
  std::string summary;
  bool good = true;
};  // stop serving and leave; good: the training is done
using SlEffect = std::variant<EnrolEffect, AppendEffect, MergeEffect, AbandonEffect, FetchEffect,
                              AnswerEffect, AttentionEffect, KeepEffect, StoreUpdateEffect,
                              DropUpdateEffect, RememberEffect, ProbeEffect, ExitEffect>;

class SlDecider {
 public:
  explicit SlDecider(SlConfig config, SlMemory memory = {});

  // The log is replayed up to its end as the SN showed it. Once, before or after OnOpened: before
  // it this SL belongs nowhere and enrols nowhere.
  [[nodiscard]] std::vector<SlEffect> OnStarted(const LedgerState& state, Instant now);
  // The program has opened its session: the model's schema is known, so this SL can enrol.
  [[nodiscard]] std::vector<SlEffect> OnOpened(const LedgerState& state, Instant now);
  // The SN has accepted the claim of an EnrolEffect, and the log is replayed up to that entry. If
  // this node is still not enrolled (a reset came after it) it enrols again. A refusal is the
  // driver's to judge: it sends the claim again or ends the SL.
  [[nodiscard]] std::vector<SlEffect> OnEnrolled(const LedgerState& state, Instant now);
  // The SN has refused the claim. `again`: the reason may pass (the name is held by a node that is
  // present, for one); the decider asks again after a while, else it leaves.
  [[nodiscard]] std::vector<SlEffect> OnEnrolRefused(const std::string& why, bool again,
                                                     const LedgerState& state, Instant now);
  // An entry that this SL signed stands in the final log, `state` is replayed up to it at least;
  // or an SN will never store it. `ignored`: why it is void, "" when it is valid. What was void is
  // decided anew. Where it is not called, an entry counts as under way until the state shows it.
  [[nodiscard]] std::vector<SlEffect> OnOwnEntry(const Event& event, const std::string& ignored,
                                                 const LedgerState& state, Instant now);
  // The final log has grown to `state`. Called with the state after each batch of entries.
  [[nodiscard]] std::vector<SlEffect> OnLedger(const LedgerState& state, Instant now);
  // The program stands at a sync point / has finished / died. One request at a time; the bridge
  // sees to it, and refuses all after `over`.
  [[nodiscard]] std::vector<SlEffect> OnProgram(const ProgramSync& sync, const LedgerState& state,
                                                Instant now);
  [[nodiscard]] std::vector<SlEffect> OnProgram(const ProgramFinish& finish,
                                                const LedgerState& state, Instant now);
  // Also when it is known that none will come, after a restart.
  // Without `finish`: node-away, then exit. After it, or once the final model was answered, the SL
  // goes on alone.
  [[nodiscard]] std::vector<SlEffect> OnProgramGone(const LedgerState& state, Instant now);
  // M of `job` is complete (in the merged arena) and audited. A job that was replaced meanwhile is
  // ignored.
  [[nodiscard]] std::vector<SlEffect> OnMerged(const MergeJob& job, const Digest& root,
                                               const MergedReport& report, const LedgerState& state,
                                               Instant now);
  // The merge of `job` cannot go on with these sources, or (kRoot) its audit has found a run that
  // is not the merge of its updates. All of them at once: a node has one word an attempt.
  [[nodiscard]] std::vector<SlEffect> OnStalled(const MergeJob& job,
                                                const std::vector<SourceFailure>& failures,
                                                const LedgerState& state, Instant now);
  // The bytes of a StoreUpdateEffect are durable.
  [[nodiscard]] std::vector<SlEffect> OnUpdateStored(const Digest& update, const LedgerState& state,
                                                     Instant now);
  // What came of a probe. One that is never answered counts as failed after kProbeLimit.
  [[nodiscard]] std::vector<SlEffect> OnProbe(ProbeId id, const ProbeAnswer& answer,
                                              const LedgerState& state, Instant now);
  // The bytes of `root` are in the merged arena (FetchEffect) / durable on disk (KeepEffect).
  [[nodiscard]] std::vector<SlEffect> OnFetched(const Digest& root, const LedgerState& state,
                                                Instant now);
  [[nodiscard]] std::vector<SlEffect> OnKept(const Digest& root, const LedgerState& state,
                                             Instant now);
  [[nodiscard]] std::vector<SlEffect> OnTime(const LedgerState& state, Instant now);

  // For people: what this SL waits for now ("waiting for 1 of 3: c"), "" when for nothing.
  [[nodiscard]] std::string WaitingText(const LedgerState& state) const;
  // The same for machines; nothing when this SL waits for nothing.
  [[nodiscard]] std::optional<Waiting> WaitingNow(const LedgerState& state, Instant now) const;
  // What this SL answers to a probe for `instance`; nothing (404) when it is not enrolled in it.
  // The driver adds done_bytes and waiting_for.
  // Whether it takes part in this instance, which may be another one than the program's training
  // has in the log: an earlier one that is over.
  [[nodiscard]] bool IsIn(const Contract& contract) const { return instance_ == contract.instance; }
  [[nodiscard]] std::optional<Progress> ProgressNow(Position instance, const LedgerState& state,
                                                    Instant now) const;
  [[nodiscard]] std::optional<Instant> wake_at() const { return wake_; }

 private:
  using Effects = std::vector<SlEffect>;
  enum class Pending : std::uint8_t { kNone, kSync, kFinish };
  // What writes the merged arena now.
  enum class ArenaTask : std::uint8_t { kNone, kMerge, kFetch };
  struct JobKey {
    Position instance;
    RoundId round;
    AttemptId attempt;
    friend bool operator==(const JobKey&, const JobKey&) = default;
  };
  // One thing that this SL says, and what became of it.
  enum class Word : std::uint8_t { kCheckIn, kFinish, kVote, kHold, kStall, kAway };
  struct Spoken {
    RoundId round;
    AttemptId attempt;
    Digest what{};
    bool under_way = true;  // not yet seen in the log
    Instant not_before{};   // when the log has it and it is needed all the same
    Duration pause{};
  };
  // The look at those that have not voted.
  struct VoteWatch {
    JobKey job;
    Instant next;  // when to ask
    std::map<ProbeId, NodeName> asked;
    Instant asked_at;
    std::set<NodeName> silent;
    // Of those that answer: what they had done at the last look, and for how many looks no more.
    struct Standstill {
      std::uint64_t done_bytes = 0;
      std::uint32_t looks = 0;
    };
    std::map<NodeName, Standstill> still;
  };
  // One call: the contract, this node in it, and what is to be done.
  struct Turn {
    const Contract& contract;
    const Node& me;
    Instant now;
    Effects& effects;
  };

  // sl_decider.cc
  [[nodiscard]] Effects Step(const LedgerState& state, Instant now);
  void Append(Effects& effects, Effects more) const;
  [[nodiscard]] const Contract* Find(const LedgerState& state) const;
  [[nodiscard]] const Node* Me(const Contract& contract) const;
  [[nodiscard]] static JobKey KeyOf(const Contract& contract);
  void WakeAt(Instant at);
  void Exit(std::string summary, bool good, Effects& effects);
  // Is it time to say this (again)?
  [[nodiscard]] bool MaySay(Word word, RoundId round, AttemptId attempt, const Digest& what,
                            Instant now);
  [[nodiscard]] Duration StallTimeout(AttemptId attempt) const;
  // sl_decider_enrol.cc
  void Enrol(const Contract* contract, const Node* me, Instant now, Effects& effects);
  [[nodiscard]] bool Resume(const Contract* contract, const Node* me, Instant now,
                            Effects& effects);
  void BeAt(const Contract& contract, Effects& effects);
  void Forget(Effects& effects);
  void Return(const Turn& turn);  // from being away
  void Removed(const Contract* contract, Instant now, Effects& effects);
  void EnrolAgain(Instant now, Effects& effects);
  void Tidy(const Turn& turn);  // updates on the disk
  [[nodiscard]] bool Holds(const std::optional<Digest>& update) const;
  [[nodiscard]] bool LostSnapshot(const Node& me) const;
  // sl_decider_round.cc
  [[nodiscard]] bool Behind(const Contract& contract) const;
  [[nodiscard]] bool Standing(const Contract& contract) const;
  [[nodiscard]] bool NeedsSealed(const Contract& contract) const;
  void Receive(const Turn& turn);  // what was sealed
  void Fetch(const Turn& turn);
  void Hold(const Turn& turn);
  void Answer(const Turn& turn);
  void Work(const Turn& turn);   // merge what has closed
  void Vote(const Turn& turn);   // again, where the first vote did not count
  void Speak(const Turn& turn);  // check-in, finish
  void Store(Effects& effects);
  // sl_decider_stall.cc
  void Accuse(const Turn& turn, const std::map<NodeName, StallWhy>& failures);
  void NameSources(const Turn& turn);
  void WatchVotes(const Turn& turn);
  // sl_decider_end.cc
  void LeaveEarly(const Turn& turn);
  void Leave(const Turn& turn);
  [[nodiscard]] std::vector<NodeName> WaitedFor(const Contract& contract) const;

  SlConfig config_;
  SlMemory memory_;             // updates and models that are on the disk by now
  std::set<Digest> inherited_;  // of `memory_`: from before the start, and not spoken of so far
  // Only what the log cannot tell lives here: what the program holds and waits for, what the arena
  // holds, what was said already.
  bool started_ = false;
  bool opened_ = false;
  bool program_ = false;  // a program has its session open
  bool loaded_ = false;   // and was answered in it: between its requests the arenas are its own
  bool enrol_sent_ = false;
  std::string refusal_;
  std::optional<Instant> enrol_next_;
  Duration enrol_pause_{};
  std::optional<Position>
      over_before_;  // an instance that was done before this SL enrolled: not its own
  std::optional<Position> instance_;  // enrolled in
  Pending pending_ = Pending::kNone;
  std::optional<Digest> update_;  // in the update arena
  CheckinReport report_;
  FinishMode mode_ = FinishMode::kSnapshot;
  std::optional<Instant> program_by_;  // after a restart: when to give up on a program
  bool finished_ = false;              // the program has asked to finish
  bool over_ = false;                  // the program was answered with the final model
  bool gone_ = false;
  std::optional<RoundId> answered_;  // the sealed round whose model the program loaded last; by
                                     // round, as a round may change nothing
  Instant training_since_{};
  std::optional<Digest> arena_model_;  // what the merged arena holds
  ArenaTask arena_task_ = ArenaTask::kNone;
  std::optional<Digest> fetching_;
  std::optional<JobKey> job_;  // merge started last
  struct Computed {
    JobKey job;
    Digest set, root;
    MergedReport report;
  };
  std::optional<Computed> computed_;  // M of the last merge that was complete
  std::map<Word, Spoken> spoken_;
  std::optional<VoteWatch> votes_;
  // Sources that the merge started last cannot go on with, as long as they may have to be named.
  std::map<NodeName, StallWhy> failures_;
  std::uint64_t probes_ = 0;
  std::optional<Digest> store_asked_;
  std::optional<RoundId> attention_said_;
  std::optional<RoundId> keep_asked_;
  std::optional<Digest> final_asked_;  // the final model, once its KeepEffect is out
  bool final_kept_ = false;
  std::optional<Instant> done_since_;
  std::optional<JobKey> wait_;  // what it waits for, in this phase, since when
  Phase wait_phase_ = Phase::kCollecting;
  Instant waits_since_{};
  std::string summary_;
  bool exit_said_ = false;
  std::optional<Instant> wake_;
};

}  // namespace starling
