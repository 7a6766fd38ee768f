#include "protocol/sl_decider.h"

#include <algorithm>
#include <iterator>

#include "base/text.h"

namespace starling {
namespace {

constexpr Duration kSayAgainFirst = 1s;
constexpr Duration kSayAgainMax = 30s;
constexpr Duration kEnrolAgainFirst = 1s;
constexpr Duration kEnrolAgainMax = 60s;

}  // namespace

std::string_view StallWhyText(StallWhy why) {
  constexpr std::string_view kTexts[] = {"silent", "refused", "wrong bytes",
                                         "root",   "vote",    "lost"};
  return kTexts[static_cast<std::size_t>(why)];
}

SlDecider::SlDecider(SlConfig config, SlMemory memory)
    : config_(std::move(config)), memory_(std::move(memory)), inherited_(memory_.updates) {
  if (config_.initial) memory_.models.insert(*config_.initial);
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

SlDecider::JobKey SlDecider::KeyOf(const Contract& contract) {
  return {contract.instance, contract.round, contract.attempt};
}

void SlDecider::WakeAt(Instant at) { wake_ = wake_ ? std::min(*wake_, at) : at; }

Duration SlDecider::StallTimeout(AttemptId attempt) const {
  return Doubled(config_.stall_timeout, attempt);
}

bool SlDecider::MaySay(Word word, RoundId round, AttemptId attempt, const Digest& what,
                       Instant now) {
  const auto spoken = spoken_.find(word);
  const bool same = spoken != spoken_.end() && spoken->second.round == round &&
                    spoken->second.attempt == attempt && spoken->second.what == what;
  if (!same) {
    spoken_[word] = Spoken{round, attempt, what, true, now + kSayAgainFirst, Duration::zero()};
    return true;
  }
  if (spoken->second.under_way) return false;
  if (now < spoken->second.not_before) {
    WakeAt(spoken->second.not_before);
    return false;
  }
  spoken->second.under_way = true;
  spoken->second.not_before = now + kSayAgainFirst;
  return true;
}

std::vector<SlEffect> SlDecider::OnStarted(const LedgerState& state, Instant now) {
  started_ = true;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnOpened(const LedgerState& state, Instant now) {
  opened_ = program_ = true;
  loaded_ = false;
  training_since_ = now;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnEnrolled(const LedgerState& state, Instant now) {
  enrol_sent_ = false;
  enrol_next_.reset();
  refusal_.clear();
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnEnrolRefused(const std::string& why, bool again,
                                                const LedgerState& state, Instant now) {
  enrol_sent_ = false;
  refusal_ = why;
  enrol_pause_ = std::clamp(enrol_pause_ * 2, kEnrolAgainFirst, kEnrolAgainMax);
  enrol_next_ = now + enrol_pause_;
  Effects effects = Step(state, now);
  // A node that is in learns of its end from the log; one that is not never gets in.
  if (!again && !instance_ && !exit_said_)
    Exit(StrCat("the SN does not let this node in: ", why), false, effects);
  return effects;
}

std::vector<SlEffect> SlDecider::OnOwnEntry(const Event& event, const std::string& ignored,
                                            const LedgerState& state, Instant now) {
  const auto heard = [&](Word word, const auto& matches) {
    const auto spoken = spoken_.find(word);
    if (spoken == spoken_.end() || !matches(spoken->second)) return;
    Spoken& said = spoken->second;
    said.under_way = false;
    if (ignored.empty()) {
      said.pause = Duration::zero();
      return;
    }
    said.pause = std::clamp(said.pause * 2, kSayAgainFirst, kSayAgainMax);
    said.not_before = now + said.pause;
  };
  if (const auto* in = std::get_if<CheckedIn>(&event)) {
    heard(Word::kCheckIn,
          [&](const Spoken& s) { return s.round == in->round && s.what == in->update; });
  } else if (const auto* vote = std::get_if<RoundMerged>(&event)) {
    const bool holds = vote->set == Digest{};  // as Hold() says it
    heard(holds ? Word::kHold : Word::kVote, [&](const Spoken& s) {
      return s.round == vote->round && s.attempt == vote->attempt && s.what == vote->root;
    });
  } else if (const auto* stall = std::get_if<Stalled>(&event)) {
    heard(Word::kStall,
          [&](const Spoken& s) { return s.round == stall->round && s.attempt == stall->attempt; });
  } else if (std::holds_alternative<NodeFinished>(event)) {
    heard(Word::kFinish, [](const Spoken&) { return true; });
  } else if (std::holds_alternative<NodeAway>(event)) {
    heard(Word::kAway, [](const Spoken&) { return true; });
  }
  return Step(state, now);
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
  program_ = loaded_ = false;
  program_by_ = now;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnMerged(const MergeJob& job, const Digest& root,
                                          const MergedReport& report, const LedgerState& state,
                                          Instant now) {
  Effects effects;
  const JobKey key{job.instance, job.round, job.attempt};
  // A merge overtaken by a fetch still counts when it made the same bytes.
  const bool running =
      arena_task_ == ArenaTask::kMerge || (arena_task_ == ArenaTask::kFetch && fetching_ == root);
  if (job_ == key && !gone_ && !exit_said_ && running) {
    arena_task_ = ArenaTask::kNone;
    fetching_.reset();
    arena_model_ = root;
    computed_ = Computed{key, job.set, root, report};
    // Once the round is sealed it also says "I hold these bytes".
    if (config_.durable) {
      if (!memory_.models.contains(root)) effects.emplace_back(KeepEffect{job.round, root, false});
    } else if (MaySay(Word::kVote, job.round, job.attempt, root, now)) {
      effects.emplace_back(
          AppendEffect{RoundMerged{job.round, job.attempt, job.set, root, report}});
    }
  }
  Append(effects, Step(state, now));
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
  memory_.models.insert(root);
  if (final_asked_ == root) final_kept_ = true;
  return Step(state, now);
}

std::vector<SlEffect> SlDecider::OnUpdateStored(const Digest& update, const LedgerState& state,
                                                Instant now) {
  memory_.updates.insert(update);
  return Step(state, now);
}

void SlDecider::Append(Effects& effects, Effects more) const {
  std::move(more.begin(), more.end(), std::back_inserter(effects));
}

std::vector<SlEffect> SlDecider::Step(const LedgerState& state, Instant now) {
  Effects effects;
  wake_.reset();
  if (exit_said_) return effects;
  const Contract* const contract = Find(state);
  const Node* const me = contract != nullptr ? Me(*contract) : nullptr;
  if (!instance_) {
    Enrol(contract, me, now, effects);
    if (!instance_ || exit_said_) return effects;
  }
  if (me == nullptr || contract->instance != *instance_) {
    Removed(contract, now, effects);
    return effects;
  }
  if (wait_ != KeyOf(*contract) || wait_phase_ != contract->phase) {
    wait_ = KeyOf(*contract);
    wait_phase_ = contract->phase;
    waits_since_ = now;
  }
  const Turn turn{*contract, *me, now, effects};
  if (gone_) {
    LeaveEarly(turn);
    return effects;
  }
  Return(turn);
  Receive(turn);
  Work(turn);
  Vote(turn);
  NameSources(turn);
  WatchVotes(turn);
  Speak(turn);
  Tidy(turn);
  Leave(turn);
  return effects;
}

void SlDecider::Exit(std::string summary, bool good, Effects& effects) {
  exit_said_ = true;
  wake_.reset();
  effects.emplace_back(ExitEffect{std::move(summary), good});
}

}  // namespace starling
