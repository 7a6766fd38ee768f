// How an SL leaves, and what it tells of itself meanwhile.
#include <algorithm>

#include "base/text.h"
#include "protocol/sl_decider.h"

namespace starling {
namespace {

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
  if (!missing.empty()) StrAppend(&text, "; never fetched by ", NamesText(missing));
  return text;
}

}  // namespace

void SlDecider::LeaveEarly(const Turn& turn) {
  if (turn.me.present && turn.contract.phase != Phase::kDone) {
    // Until the log has it; the driver bounds this wait.
    if (MaySay(Word::kAway, RoundId{0}, AttemptId{0}, Digest{}, turn.now))
      turn.effects.emplace_back(
          AppendEffect{NodeAway{config_.name, "its program ended before its training did"}});
    return;
  }
  Exit("the program ended before its training did", false, turn.effects);
}

void SlDecider::Leave(const Turn& turn) {
  if (turn.contract.phase != Phase::kDone) return;
  if (!done_since_) done_since_ = turn.now;
  const std::vector<NodeName> missing = PresentWithout(turn.contract, turn.contract.holders);
  summary_ = SummaryOf(turn.contract, missing);
  const Instant lingered = *done_since_ + config_.linger;
  // After a restart perhaps no program comes back for the model.
  const bool alone = !program_ && finished_ && (!program_by_ || turn.now >= *program_by_);
  const bool served = over_ || alone || (!program_ && turn.now >= lingered);
  if (!final_kept_ || (!served && program_)) return;
  if (!served && finished_ && program_by_) WakeAt(*program_by_);
  if (served && (missing.empty() || turn.now >= lingered)) {
    Forget(turn.effects);
    return Exit(summary_, true, turn.effects);
  }
  WakeAt(lingered);
}

std::vector<NodeName> SlDecider::WaitedFor(const Contract& contract) const {
  std::set<NodeName> here;
  if (contract.phase == Phase::kDone) return PresentWithout(contract, contract.holders);
  if (contract.phase == Phase::kMerging) {
    std::vector<NodeName> missing;
    for (const Member& member : contract.members) {
      if (!contract.witness.contains(member.name)) missing.push_back(member.name);
    }
    return missing;
  }
  for (const auto& [name, node] : contract.nodes) {
    if (node.present && (node.checkin || node.kind != NodeKind::kTrainer)) here.insert(name);
  }
  return PresentWithout(contract, here);
}

std::string SlDecider::WaitingText(const LedgerState& state) const {
  const Contract* const contract = Find(state);
  if (!instance_ || contract == nullptr || contract->instance != *instance_) {
    if (!opened_ || exit_said_) return "";
    return StrCat("waiting for the SN to let this node in", refusal_.empty() ? "" : ": ", refusal_);
  }
  const std::string round = StrCat("round ", contract->round.value());
  if (contract->sealed_round && NeedsSealed(*contract) && arena_model_ != contract->base) {
    const std::vector<NodeName> holders(contract->holders.begin(), contract->holders.end());
    const std::string model = StrCat("model ", ShortText(*contract->base));
    return holders.empty() ? StrCat("waiting for a node that holds ", model)
                           : StrCat("fetching ", model, " from ", NamesText(holders));
  }
  if (contract->phase == Phase::kMerging) {
    const std::vector<NodeName> missing = WaitedFor(*contract);
    return StrCat(round, " is being merged, leader ", LeaderOf(*contract).value(), ", ",
                  contract->witness.size(), " of ", contract->members.size(), " have voted",
                  missing.empty() ? "" : "; waiting for ", NamesText(missing));
  }
  const std::vector<NodeName> missing = WaitedFor(*contract);
  if (contract->phase == Phase::kDone) {
    return missing.empty() ? ""
                           : StrCat("serving the final model until ", NamesText(missing),
                                    missing.size() == 1 ? " has it" : " have it");
  }
  const auto present = std::count_if(contract->nodes.begin(), contract->nodes.end(),
                                     [](const auto& item) { return item.second.present; });
  if (!missing.empty())
    return StrCat(round, ": waiting for ", missing.size(), " of ", present, ": ",
                  NamesText(missing));
  for (const auto& [name, key] : contract->rules.members) {
    if (!contract->nodes.contains(name))
      return StrCat(round, " waits for ", name.value(), " to enrol");
  }
  const std::uint64_t quorum = contract->rules.min_peers.value_or(1);
  return static_cast<std::uint64_t>(present) < quorum
             ? StrCat(round, ": ", present, " here, the quorum is ", quorum)
             : StrCat(round, " is about to close");
}

std::optional<Waiting> SlDecider::WaitingNow(const LedgerState& state, Instant now) const {
  Waiting waiting;
  waiting.contract = config_.contract;
  waiting.what = WaitingText(state);
  if (waiting.what.empty()) return std::nullopt;
  waiting.since = waits_since_;
  waiting.until = wake_;
  const Contract* const contract = Find(state);
  if (!instance_ || contract == nullptr || contract->instance != *instance_) {
    waiting.since = training_since_;
    waiting.until = enrol_next_;
    waiting.next = enrol_next_ && now < *enrol_next_ ? "asks again" : "the SN answers";
    return waiting;
  }
  waiting.on = WaitedFor(*contract);
  if (votes_) waiting.silent.assign(votes_->silent.begin(), votes_->silent.end());
  switch (contract->phase) {
    case Phase::kCollecting:
      waiting.next = "they check in, or the SN closes the round without them";
      waiting.until.reset();
      break;
    case Phase::kMerging:
      waiting.next = "sealed when enough nodes agree; who does not answer is named";
      break;
    case Phase::kDone:
      waiting.next = "leaves when they have it, or when it has lingered";
      if (done_since_) waiting.until = *done_since_ + config_.linger;
      break;
  }
  return waiting;
}

std::optional<Progress> SlDecider::ProgressNow(Position instance, const LedgerState& state,
                                               Instant now) const {
  const Contract* const contract = Find(state);
  if (instance_ != instance || contract == nullptr || contract->instance != instance ||
      Me(*contract) == nullptr || exit_said_)
    return std::nullopt;
  Progress progress;
  progress.round = contract->round;
  progress.attempt = contract->attempt;
  progress.phase = contract->phase;
  const bool trains = program_ && pending_ == Pending::kNone && !finished_ && !over_ && !gone_;
  if (!trains || (!answered_ && contract->sealed_round)) return progress;
  progress.training_on = answered_ ? RoundId{answered_->value() + 1} : RoundId{0};
  progress.training_ms = static_cast<std::uint64_t>(Millis(now - training_since_));
  return progress;
}

}  // namespace starling
