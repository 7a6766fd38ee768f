// Whom an SL names when a round does not go on.
#include "base/text.h"
#include "protocol/sl_decider.h"

namespace starling {
namespace {

// The driver answers a probe after kProbeLimit at the latest; one that it lost counts as failed.
constexpr Duration kProbeLost = kProbeLimit + 500ms;

// Who answers so many times without having done anything more will not vote either.
constexpr std::uint32_t kLooksMax = 6;

}  // namespace

std::vector<SlEffect> SlDecider::OnStalled(const MergeJob& job,
                                           const std::vector<SourceFailure>& failures,
                                           const LedgerState& state, Instant now) {
  if (job_ == JobKey{job.instance, job.round, job.attempt}) {
    for (const SourceFailure& failure : failures) {
      if (failure.node != config_.name) failures_.emplace(failure.node, failure.why);
    }
  }
  return Step(state, now);
}

void SlDecider::NameSources(const Turn& turn) {
  if (!failures_.empty() && job_ == KeyOf(turn.contract)) Accuse(turn, failures_);
}

// One word an attempt, with all names in it.
void SlDecider::Accuse(const Turn& turn, const std::map<NodeName, StallWhy>& failures) {
  const Contract& contract = turn.contract;
  if (contract.phase != Phase::kMerging || contract.FindMember(config_.name) == nullptr ||
      contract.stalls.contains(config_.name))
    return;
  Stalled stalled{contract.round, contract.attempt, contract.set, {}, ""};
  std::set<StallWhy> whys;
  for (const auto& [name, why] : failures) {
    if (contract.FindMember(name) == nullptr) continue;
    stalled.on.push_back(name);
    whys.insert(why);
  }
  if (stalled.on.empty() ||
      !MaySay(Word::kStall, contract.round, contract.attempt, contract.set, turn.now))
    return;
  for (const StallWhy why : whys)
    StrAppend(&stalled.why, stalled.why.empty() ? "" : ", ", StallWhyText(why));
  turn.effects.emplace_back(AppendEffect{std::move(stalled)});
}

// This node's vote stands, the round does not seal: who has not voted is asked, and named if it
// does not answer.
void SlDecider::WatchVotes(const Turn& turn) {
  const Contract& contract = turn.contract;
  const bool waits = config_.probe && contract.phase == Phase::kMerging &&
                     contract.witness.contains(config_.name) &&
                     !contract.stalls.contains(config_.name);
  if (!waits) return votes_.reset();
  const Duration timeout = StallTimeout(contract.attempt);
  if (!votes_ || votes_->job != KeyOf(contract))
    votes_ = VoteWatch{KeyOf(contract), turn.now + timeout, {}, {}, {}};
  if (!votes_->asked.empty()) {
    if (turn.now < votes_->asked_at + kProbeLost) return WakeAt(votes_->asked_at + kProbeLost);
    for (const auto& [id, name] : votes_->asked) votes_->silent.insert(name);
    votes_->asked.clear();
  }
  std::map<NodeName, StallWhy> silent;
  for (const NodeName& name : votes_->silent) {
    if (!contract.witness.contains(name)) silent.emplace(name, StallWhy::kVote);
  }
  if (!silent.empty()) return Accuse(turn, silent);
  if (turn.now < votes_->next) return WakeAt(votes_->next);
  votes_->next = turn.now + timeout;
  votes_->asked_at = turn.now;
  for (const Member& member : contract.members) {
    const Node* const node = contract.Find(member.name);
    if (node == nullptr || contract.witness.contains(member.name)) continue;
    const ProbeId id{++probes_};
    votes_->asked.emplace(id, member.name);
    turn.effects.emplace_back(
        ProbeEffect{{id, contract.name, contract.instance, member.name, node->blob_url}});
  }
  WakeAt(votes_->asked.empty() ? votes_->next : votes_->asked_at + kProbeLost);
}

std::vector<SlEffect> SlDecider::OnProbe(ProbeId id, const ProbeAnswer& answer,
                                         const LedgerState& state, Instant now) {
  if (votes_) {
    const auto asked = votes_->asked.find(id);
    if (asked != votes_->asked.end() && answer.own_fault) {
      votes_->asked.erase(asked);
    } else if (asked != votes_->asked.end()) {
      VoteWatch::Standstill& still = votes_->still[asked->second];
      if (answer.answered() && answer.progress->done_bytes != still.done_bytes)
        still = {answer.progress->done_bytes, 0};
      else
        ++still.looks;
      if (answer.answered() && still.looks < kLooksMax)
        votes_->silent.erase(asked->second);
      else
        votes_->silent.insert(asked->second);
      votes_->asked.erase(asked);
    }
  }
  return Step(state, now);
}

}  // namespace starling
