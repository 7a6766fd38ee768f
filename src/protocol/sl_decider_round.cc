// A round as an SL goes through it: its word, the merge, the vote, the sealed model.
#include <algorithm>

#include "base/text.h"
#include "protocol/sl_decider.h"

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

}  // namespace

// Another round has been sealed than the one whose model the program loaded last.
bool SlDecider::Behind(const Contract& contract) const {
  return contract.sealed_round != answered_;
}

// An update of before a restart is still checked in: the program of now waits for the round that it
// counts in, so that no work is lost.
bool SlDecider::Standing(const Contract& contract) const {
  const Node* const me = Me(contract);
  return pending_ == Pending::kSync && contract.phase == Phase::kCollecting && me != nullptr &&
         me->present && me->checkin && me->checkin != update_ && Holds(me->checkin);
}

// The sealed model is needed when the program waits for it, or at the end. Never while the program
// owns the arenas.
bool SlDecider::NeedsSealed(const Contract& contract) const {
  if (contract.phase == Phase::kDone) {
    const bool alone = !program_ && !memory_.models.contains(*contract.base);
    return pending_ != Pending::kNone || alone;
  }
  return pending_ == Pending::kSync && contract.phase == Phase::kCollecting && Behind(contract) &&
         !Standing(contract);
}

void SlDecider::Receive(const Turn& turn) {
  const Contract& contract = turn.contract;
  if (!contract.sealed_round) return;
  if (program_ && pending_ == Pending::kNone && !over_ && Behind(contract) &&
      attention_said_ != contract.sealed_round) {
    attention_said_ = contract.sealed_round;
    turn.effects.emplace_back(AttentionEffect{});
  }
  const bool done = contract.phase == Phase::kDone;
  const bool on_disk = memory_.models.contains(*contract.base);
  if (arena_model_ == contract.base) {
    Answer(turn);
    if (keep_asked_ != contract.sealed_round) {
      keep_asked_ = contract.sealed_round;
      if (done) final_asked_ = contract.base;
      const bool asked = config_.durable && computed_ && computed_->root == *contract.base &&
                         computed_->job.round == *contract.sealed_round;
      if (done || !asked)
        turn.effects.emplace_back(KeepEffect{*contract.sealed_round, *contract.base, done});
    }
    if (config_.durable && !memory_.models.contains(*contract.base)) return;
  } else {
    Fetch(turn);
    if (!on_disk) return;
    if (done && !final_asked_) {
      final_asked_ = contract.base;
      final_kept_ = true;
    }
  }
  Hold(turn);
}

void SlDecider::Fetch(const Turn& turn) {
  const Contract& contract = turn.contract;
  const bool under_way = arena_task_ == ArenaTask::kFetch && fetching_ == contract.base;
  if (!NeedsSealed(contract) || under_way) return;
  if (contract.holders.empty() && !memory_.models.contains(*contract.base)) return;
  arena_task_ = ArenaTask::kFetch;
  fetching_ = contract.base;
  arena_model_.reset();
  turn.effects.emplace_back(
      FetchEffect{*contract.base, {contract.holders.begin(), contract.holders.end()}});
}

// "I hold these bytes", taking part or not.
void SlDecider::Hold(const Turn& turn) {
  const Contract& contract = turn.contract;
  if (contract.holders.contains(config_.name)) return;
  const auto spoken = spoken_.find(Word::kVote);
  const bool voting = spoken != spoken_.end() && spoken->second.under_way &&
                      spoken->second.round == *contract.sealed_round &&
                      spoken->second.what == *contract.base;
  if (voting ||
      !MaySay(Word::kHold, *contract.sealed_round, AttemptId{0}, *contract.base, turn.now))
    return;
  turn.effects.emplace_back(AppendEffect{
      RoundMerged{*contract.sealed_round, AttemptId{0}, Digest{}, *contract.base, {}}});
}

void SlDecider::Answer(const Turn& turn) {
  const Contract& contract = turn.contract;
  const bool done = contract.phase == Phase::kDone;
  const bool sync = pending_ == Pending::kSync && Behind(contract) &&
                    contract.phase != Phase::kMerging && !Standing(contract);
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
  loaded_ = true;
  training_since_ = turn.now;
  over_ = done;
  answered_ = contract.sealed_round;
  turn.effects.emplace_back(std::move(answer));
}

void SlDecider::Work(const Turn& turn) {
  const Contract& contract = turn.contract;
  const JobKey key = KeyOf(contract);
  const Member* const member = contract.FindMember(config_.name);
  const bool arenas_are_free = pending_ != Pending::kNone || !loaded_;
  if (contract.phase == Phase::kMerging && member != nullptr && job_ != key) {
    const bool own = member->kind == NodeKind::kTrainer || member->kind == NodeKind::kSnapshot;
    if (own && !Holds(member->update)) return Accuse(turn, {{config_.name, StallWhy::kLost}});
    if (arenas_are_free) {
      job_ = key;
      failures_.clear();
      arena_task_ = ArenaTask::kMerge;
      arena_model_.reset();
      fetching_.reset();
      turn.effects.emplace_back(MergeEffect{JobOf(contract)});
      return;
    }
  }
  // The attempt is over, and no other merge has taken its place.
  if (arena_task_ == ArenaTask::kMerge && job_->round == contract.round && job_ != key) {
    arena_task_ = ArenaTask::kNone;
    turn.effects.emplace_back(AbandonEffect{});
  }
}

void SlDecider::Vote(const Turn& turn) {
  const Contract& contract = turn.contract;
  if (contract.phase != Phase::kMerging || !computed_ || computed_->job != KeyOf(contract) ||
      computed_->set != contract.set || contract.witness.contains(config_.name))
    return;
  if (config_.durable && !memory_.models.contains(computed_->root)) return;
  if (!MaySay(Word::kVote, contract.round, contract.attempt, computed_->root, turn.now)) return;
  turn.effects.emplace_back(AppendEffect{RoundMerged{contract.round, contract.attempt, contract.set,
                                                     computed_->root, computed_->report}});
}

void SlDecider::Speak(const Turn& turn) {
  const Contract& contract = turn.contract;
  if (turn.me.kind != NodeKind::kTrainer) return;
  const bool finish = pending_ == Pending::kFinish;
  // A program that finishes before the first merge takes part in it first: there is no model yet
  // that it could end with.
  const bool offers = pending_ == Pending::kSync || (finish && contract.round.value() == 0);
  const bool known = turn.me.checkin == update_ && turn.me.present;
  if (offers && contract.phase == Phase::kCollecting && !Behind(contract) && !known) {
    if (MaySay(Word::kCheckIn, contract.round, contract.attempt, *update_, turn.now))
      turn.effects.emplace_back(
          AppendEffect{CheckedIn{contract.round, *update_, contract.base, report_}});
    Store(turn.effects);  // Behind the statement: nobody waits for the disk.
  }
  if (!finish || contract.phase == Phase::kDone || contract.round.value() < 1) return;
  if (mode_ == FinishMode::kSnapshot) {
    // It is to be served until the end, whatever happens to this process.
    Store(turn.effects);
    if (config_.durable && !memory_.updates.contains(*update_)) return;
  }
  if (!MaySay(Word::kFinish, RoundId{0}, AttemptId{0}, *update_, turn.now)) return;
  NodeFinished finished{mode_, std::nullopt, report_};
  if (mode_ == FinishMode::kSnapshot) finished.update = update_;
  turn.effects.emplace_back(AppendEffect{std::move(finished)});
}

void SlDecider::Store(Effects& effects) {
  if (!config_.durable || store_asked_ == update_ || memory_.updates.contains(*update_)) return;
  store_asked_ = update_;
  effects.emplace_back(StoreUpdateEffect{*update_});
}

}  // namespace starling
