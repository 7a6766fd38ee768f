#include "protocol/sl_decider.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/text.h"

namespace starling {
namespace {

MergeJob JobOf(const Contract& contract) {
  MergeJob job;
  job.instance = contract.instance;
  job.round = contract.round;
  job.attempt = contract.attempt;
  job.set = contract.set;
  job.base = contract.base;
  job.kind = MergeKindOf(contract);
  job.members = contract.members;
  job.owners = OwnersOf(contract);
  job.audit = contract.rules.audit;
  job.size = contract.rules.size.value_or(0);
  for (const Member& member : contract.members) {
    if (const Node* node = contract.Find(member.name)) job.nodes.emplace(member.name, *node);
  }
  return job;
}

std::string JoinNames(const std::vector<NodeName>& names) {
  std::string text;
  for (const NodeName& name : names) StrAppend(&text, text.empty() ? "" : ", ", name.value());
  return text;
}

std::vector<NodeName> PresentWithout(const Contract& contract, const std::set<NodeName>& those) {
  std::vector<NodeName> missing;
  for (const auto& [name, node] : contract.nodes) {
    if (node.present && !those.contains(name)) missing.push_back(name);
  }
  return missing;
}

// "finished: 12 rounds, final model 3f2a91c0, same on 3 of 3".
std::string SummaryOf(const Contract& contract, const std::vector<NodeName>& missing) {
  const bool from_root =
      std::holds_alternative<Digest>(contract.rules.initial);  // round 0 was given, not made
  const std::uint64_t rounds = contract.sealed_round->value() + (from_root ? 0 : 1);
  std::string text = StrCat("finished: ", rounds, rounds == 1 ? " round" : " rounds",
                            ", final model ", ShortText(*contract.base), ", same on ",
                            contract.holders.size(), " of ", contract.nodes.size());
  if (!missing.empty()) StrAppend(&text, "; never fetched by ", JoinNames(missing));
  return text;
}

}  // namespace

std::string_view StallWhyText(StallWhy why) {
  constexpr std::string_view kTexts[] = {"silent", "refused", "wrong bytes",
                                         "root",   "vote",    "lost"};
  return kTexts[static_cast<std::size_t>(why)];
}

const Contract* SlDecider::Find(const LedgerState& state) const {
  const auto it = state.contracts.find(config_.contract);
  return it == state.contracts.end() ? nullptr : &it->second;
}

// This SL in the contract: its name and its key.
const Node* SlDecider::Me(const Contract& contract) const {
  const Node* const node = contract.Find(config_.name);
  return node != nullptr && node->key == config_.key ? node : nullptr;
}

std::vector<SlEffect> SlDecider::OnOpened(const LedgerState& state, Instant now) {
  opened_ = true;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnEnrolled(const LedgerState& state, Instant now) {
  enrol_sent_ = false;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnStarted(const LedgerState& state, Instant now) {
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnEnrolRefused(const std::string& why, bool again,
                                                const LedgerState& state, Instant now) {
  enrol_sent_ = false;
  if (again) return Step(state, now);
  Effects effects;
  Exit(StrCat("the SN does not let this node in: ", why), false, effects);
  return effects;
}

std::vector<SlEffect> SlDecider::OnOwnEntry(const Event& /*event*/, const std::string& /*ignored*/,
                                            const LedgerState& state, Instant now) {
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnStalled(const MergeJob& job,
                                           const std::vector<SourceFailure>& failures,
                                           const LedgerState& state, Instant now) {
  Effects effects;
  if (job_ == JobKey{job.instance, job.round, job.attempt} && !failures.empty()) {
    Stalled stalled{
        job.round, job.attempt, job.set, {}, std::string(StallWhyText(failures[0].why))};
    for (const SourceFailure& failure : failures) stalled.on.push_back(failure.node);
    effects.emplace_back(AppendEffect{std::move(stalled)});
  }
  Effects more = Step(state, now);
  std::move(more.begin(), more.end(), std::back_inserter(effects));
  return effects;
}

std::vector<SlEffect> SlDecider::OnUpdateStored(const Digest& /*update*/, const LedgerState& state,
                                                Instant now) {
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnProbe(ProbeId /*id*/, const ProbeAnswer& /*answer*/,
                                         const LedgerState& state, Instant now) {
  return Step(state, now);
}

std::optional<Waiting> SlDecider::WaitingNow(const LedgerState& state, Instant now) const {
  const std::string text = WaitingText(state);
  if (text.empty()) return std::nullopt;
  return Waiting{config_.contract, {}, text, now, "", {}, std::nullopt};
}

std::optional<Progress> SlDecider::ProgressNow(Position instance, const LedgerState& state,
                                               Instant /*now*/) const {
  const Contract* const contract = Find(state);
  if (instance_ != instance || contract == nullptr || contract->instance != instance)
    return std::nullopt;
  Progress progress;
  progress.round = contract->round;
  progress.attempt = contract->attempt;
  progress.phase = contract->phase;
  return progress;
}

std::vector<SlEffect> SlDecider::OnLedger(const LedgerState& state, Instant now) {
  return Step(state, now);
}
std::vector<SlEffect> SlDecider::OnTime(const LedgerState& state, Instant now) {
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnProgram(const ProgramSync& sync, const LedgerState& state,
                                           Instant now) {
  pending_ = Pending::kSync;
  update_ = sync.update;
  report_ = sync.report;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnProgram(const ProgramFinish& finish, const LedgerState& state,
                                           Instant now) {
  pending_ = Pending::kFinish;
  finished_ = true;
  update_ = finish.update;
  report_ = finish.report;
  mode_ = finish.mode;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnProgramGone(const LedgerState& state, Instant now) {
  gone_ = !finished_ && !over_;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnMerged(const MergeJob& job, const Digest& root,
                                          const MergedReport& report, const LedgerState& state,
                                          Instant now) {
  Effects effects;
  const bool mine = job_ == JobKey{job.instance, job.round, job.attempt} && !gone_;
  // A merge overtaken by a fetch still counts when it made the same bytes.
  const bool running =
      arena_task_ == ArenaTask::kMerge || (arena_task_ == ArenaTask::kFetch && fetching_ == root);
  if (mine && running) {
    arena_task_ = ArenaTask::kNone;
    fetching_.reset();
    arena_model_ = root;
    vote_said_ =
        Vote{job.round, root};  // Once the round is sealed it also says "I hold these bytes".
    effects.emplace_back(AppendEffect{RoundMerged{job.round, job.attempt, job.set, root, report}});
  }
  Effects more = Step(state, now);
  std::move(more.begin(), more.end(), std::back_inserter(effects));
  return effects;
}

std::vector<SlEffect> SlDecider::OnFetched(const Digest& root, const LedgerState& state,
                                           Instant now) {
  if (arena_task_ == ArenaTask::kFetch && fetching_ == root) {
    arena_task_ = ArenaTask::kNone;
    fetching_.reset();
    arena_model_ = root;
  }
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnKept(const Digest& root, const LedgerState& state, Instant now) {
  if (final_asked_ == root) final_kept_ = true;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::Step(const LedgerState& state, Instant now) {
  Effects effects;
  if (exit_said_) return effects;
  const Contract* const contract = Find(state);
  const Node* const me = contract != nullptr ? Me(*contract) : nullptr;
  if (!instance_) {
    Enrol(contract, me, effects);
    if (!instance_) return effects;
  }
  if (me == nullptr || contract->instance != *instance_) {
    Removed(contract, effects);
    return effects;
  }
  if (gone_) {
    LeaveEarly(*contract, *me, effects);
    return effects;
  }
  Receive(*contract, effects);
  Work(*contract, effects);
  Speak(*contract, *me, effects);
  Leave(*contract, now, effects);
  return effects;
}

// Until it is in: asks once, and knows its own instance from one that was over before.
void SlDecider::Enrol(const Contract* contract, const Node* me, Effects& effects) {
  if (gone_) return Exit("the program ended before its training began", false, effects);
  if (!opened_) return;
  const bool over = contract != nullptr && contract->phase == Phase::kDone;
  if (enrol_sent_ || over_before_) {
    if (me != nullptr && over_before_ != contract->instance) {
      instance_ = contract->instance;
      return;
    }
  }
  if (enrol_sent_) return;
  enrol_sent_ = true;
  over_before_ = over ? contract->instance : Position{-1};
  effects.emplace_back(EnrolEffect{std::nullopt});
}

// The training goes on without this node, or another one has taken its name.
void SlDecider::Removed(const Contract* contract, Effects& effects) {
  if (over_) {
    if (final_kept_) Exit(summary_, true, effects);
    return;
  }
  const bool replaced = contract != nullptr && contract->instance != *instance_;
  const bool taken = !replaced && contract != nullptr && contract->Find(config_.name) != nullptr;
  Exit(replaced ? "the training was reset or started anew by an operator"
                : (taken ? "another key has taken this node's name"
                         : "this node was revoked by an operator"),
       false, effects);
}

// Another round has been sealed than the one whose model the program loaded last.
bool SlDecider::Behind(const Contract& contract) const {
  return contract.sealed_round != answered_;
}

// The sealed model is needed when the program waits for it, or at the end. Never while the program
// owns the arenas.
bool SlDecider::NeedsSealed(const Contract& contract) const {
  if (pending_ == Pending::kNone) return false;
  if (contract.phase == Phase::kDone) return true;
  return pending_ == Pending::kSync && contract.phase == Phase::kCollecting && Behind(contract);
}

void SlDecider::Receive(const Contract& contract, Effects& effects) {
  if (!contract.sealed_round) return;
  if (pending_ == Pending::kNone && !over_ && Behind(contract) &&
      attention_said_ != contract.sealed_round) {
    attention_said_ = contract.sealed_round;
    effects.emplace_back(AttentionEffect{});
  }
  if (arena_model_ != contract.base) {
    const bool under_way = arena_task_ == ArenaTask::kFetch && fetching_ == contract.base;
    if (!NeedsSealed(contract) || under_way || contract.holders.empty()) return;
    arena_task_ = ArenaTask::kFetch;
    fetching_ = contract.base;
    arena_model_.reset();
    effects.emplace_back(
        FetchEffect{*contract.base, {contract.holders.begin(), contract.holders.end()}});
    return;
  }
  Answer(contract, effects);
  if (keep_asked_ != contract.sealed_round) {
    keep_asked_ = contract.sealed_round;
    const bool done = contract.phase == Phase::kDone;
    if (done) final_asked_ = contract.base;
    effects.emplace_back(KeepEffect{*contract.sealed_round, *contract.base, done});
  }
  const Vote vote{*contract.sealed_round, *contract.base};
  if (!contract.holders.contains(config_.name) && vote_said_ != vote) {
    vote_said_ = vote;
    effects.emplace_back(
        AppendEffect{RoundMerged{vote.round, AttemptId{0}, Digest{}, vote.root, {}}});
  }
}

void SlDecider::Answer(const Contract& contract, Effects& effects) {
  const bool done = contract.phase == Phase::kDone;
  const bool sync =
      pending_ == Pending::kSync && Behind(contract) && contract.phase != Phase::kMerging;
  const bool finish = pending_ == Pending::kFinish && done;
  if (!sync && !finish) return;
  AnswerEffect answer;
  answer.round = *contract.sealed_round;
  answer.root = *contract.base;
  answer.over = done;
  for (const Member& member : contract.sealed_members) {
    answer.participants.push_back(member.name);
    const bool own = member.kind == NodeKind::kTrainer || member.kind == NodeKind::kSnapshot;
    if (member.name == config_.name && own && member.update == update_) answer.counted = true;
  }
  answer.holders = contract.holders.size();
  answer.nodes = contract.nodes.size();
  pending_ = Pending::kNone;
  over_ = done;
  answered_ = contract.sealed_round;
  effects.emplace_back(std::move(answer));
}

void SlDecider::Work(const Contract& contract, Effects& effects) {
  if (contract.phase != Phase::kMerging || contract.FindMember(config_.name) == nullptr ||
      pending_ == Pending::kNone)
    return;
  const JobKey key{contract.instance, contract.round, contract.attempt};
  if (job_ == key) return;
  job_ = key;
  arena_task_ = ArenaTask::kMerge;
  arena_model_.reset();
  fetching_.reset();
  effects.emplace_back(MergeEffect{JobOf(contract)});
}

void SlDecider::Speak(const Contract& contract, const Node& me, Effects& effects) {
  if (me.kind != NodeKind::kTrainer) return;
  const bool finish = pending_ == Pending::kFinish;
  // A program that finishes before the first merge takes part in it first: there is no model yet
  // that it could end with.
  const bool offers = pending_ == Pending::kSync || (finish && contract.round.value() == 0);
  if (offers && contract.phase == Phase::kCollecting && !Behind(contract) &&
      me.checkin != update_) {
    const JobKey key{contract.instance, contract.round, contract.attempt};
    if (checkin_said_ != key) {
      checkin_said_ = key;
      effects.emplace_back(
          AppendEffect{CheckedIn{contract.round, *update_, contract.base, report_}});
    }
  }
  if (finish && !finish_said_ && contract.phase != Phase::kDone && contract.round.value() >= 1) {
    finish_said_ = true;
    NodeFinished finished{mode_, std::nullopt, report_};
    if (mode_ == FinishMode::kSnapshot) finished.update = update_;
    effects.emplace_back(AppendEffect{std::move(finished)});
  }
}

void SlDecider::LeaveEarly(const Contract& contract, const Node& me, Effects& effects) {
  if (me.present && contract.phase != Phase::kDone) {
    if (away_said_) return;  // Until the log has it; the driver bounds this wait.
    away_said_ = true;
    effects.emplace_back(AppendEffect{NodeAway{config_.name}});
    return;
  }
  Exit("the program ended before its training did", false, effects);
}

void SlDecider::Leave(const Contract& contract, Instant now, Effects& effects) {
  if (contract.phase != Phase::kDone) return;
  if (!done_since_) done_since_ = now;
  const std::vector<NodeName> missing = PresentWithout(contract, contract.holders);
  summary_ = SummaryOf(contract, missing);
  if (!over_ || !final_kept_) return;
  if (missing.empty() || now >= *done_since_ + config_.linger) Exit(summary_, true, effects);
}

void SlDecider::Exit(std::string summary, bool good, Effects& effects) {
  exit_said_ = true;
  effects.emplace_back(ExitEffect{std::move(summary), good});
}

std::string SlDecider::WaitingText(const LedgerState& state) const {
  const Contract* const contract = Find(state);
  if (!instance_ || contract == nullptr || contract->instance != *instance_)
    return opened_ && !exit_said_ ? "waiting for the SN to let this node in" : "";
  const std::string round = StrCat("round ", contract->round.value());
  if (contract->phase == Phase::kMerging) {
    return StrCat(round, " is being merged, leader ", LeaderOf(*contract).value(), ", ",
                  contract->witness.size(), " of ", contract->members.size(), " have voted");
  }
  if (contract->phase == Phase::kDone) {
    const std::vector<NodeName> missing = PresentWithout(*contract, contract->holders);
    return missing.empty() ? ""
                           : StrCat("serving the final model until ", JoinNames(missing),
                                    missing.size() == 1 ? " has it" : " have it");
  }
  std::set<NodeName> here;
  std::size_t present = 0;
  for (const auto& [name, node] : contract->nodes) {
    present += node.present ? 1U : 0U;
    if (node.present && (node.checkin || node.kind != NodeKind::kTrainer)) here.insert(name);
  }
  const std::vector<NodeName> missing = PresentWithout(*contract, here);
  if (!missing.empty())
    return StrCat(round, ": waiting for ", missing.size(), " of ", present, ": ",
                  JoinNames(missing));
  for (const auto& [name, key] : contract->rules.members) {
    if (!contract->nodes.contains(name))
      return StrCat(round, " waits for ", name.value(), " to enrol");
  }
  const std::uint64_t quorum = contract->rules.min_peers.value_or(1);
  return here.size() < quorum ? StrCat(round, ": ", here.size(), " here, the quorum is ", quorum)
                              : StrCat(round, " is about to close");
}

std::optional<Instant> SlDecider::wake_at() const {
  if (!done_since_ || exit_said_ || !over_) return std::nullopt;
  return *done_since_ + config_.linger;
}

}  // namespace starling
