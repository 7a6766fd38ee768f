// Where an SL belongs: enrolment, coming back after a restart or an absence, and what it keeps on
// its disk for that.
#include <algorithm>

#include "base/text.h"
#include "protocol/sl_decider.h"

namespace starling {
namespace {

constexpr Duration kReturnFirst = 1s;
constexpr Duration kReturnMax = 60s;
constexpr Duration kEnrolPatience = 30s;
constexpr Duration kProgramPatience = 60s;  // a program that is started beside it, to open

}  // namespace

// Until it is in: asks, and knows its own instance from one that was over before.
void SlDecider::Enrol(const Contract* contract, const Node* me, Instant now, Effects& effects) {
  if (gone_) return Exit("the program ended before its training began", false, effects);
  // A log that is not read to its end may show a training that is over as one under way.
  if (!started_) return;
  if (memory_.instance && Resume(contract, me, now, effects)) return;
  if (!opened_) return;
  const bool over = contract != nullptr && contract->phase == Phase::kDone;
  if (enrol_sent_ || over_before_) {
    if (me != nullptr && over_before_ != contract->instance) return BeAt(*contract, effects);
  }
  if (enrol_next_ && now < *enrol_next_) return WakeAt(*enrol_next_);
  enrol_sent_ = true;
  enrol_next_ = now + kEnrolPatience;  // An enrolment can get lost in a reorganisation.
  WakeAt(*enrol_next_);
  over_before_ = over ? contract->instance : Position{-1};
  effects.emplace_back(EnrolEffect{std::nullopt});
}

void SlDecider::BeAt(const Contract& contract, Effects& effects) {
  instance_ = contract.instance;
  enrol_sent_ = false;
  enrol_next_.reset();
  enrol_pause_ = Duration::zero();
  if (!config_.durable || memory_.instance == instance_) return;
  memory_.instance = instance_;
  effects.emplace_back(RememberEffect{instance_});
}

void SlDecider::Forget(Effects& effects) {
  if (config_.durable && memory_.instance) effects.emplace_back(RememberEffect{std::nullopt});
  memory_.instance.reset();
}

// A restarted SL goes on where it was enrolled, if that is still under way or has just ended. It
// says so by enrolling again: its address may be another one.
bool SlDecider::Resume(const Contract* contract, const Node* me, Instant now, Effects& effects) {
  if (contract == nullptr || contract->instance != *memory_.instance) {
    Forget(effects);
    return false;
  }
  BeAt(*contract, effects);
  if (me == nullptr) return true;  // Removed() tells why.
  finished_ = me->kind != NodeKind::kTrainer;
  if (!program_by_) program_by_ = now + kProgramPatience;
  if (contract->phase == Phase::kDone || LostSnapshot(*me)) return true;
  enrol_sent_ = true;
  enrol_next_ = now + kReturnFirst;
  effects.emplace_back(EnrolEffect{instance_});
  return true;
}

// A node that was taken for away comes back: by its next check-in where that is at hand, else by
// enrolling again.
void SlDecider::Return(const Turn& turn) {
  if (turn.me.present) {
    if (enrol_next_ && turn.now >= *enrol_next_ + kReturnMax) {
      enrol_next_.reset();
      enrol_pause_ = Duration::zero();
    }
    if (LostSnapshot(turn.me) && turn.contract.phase == Phase::kCollecting &&
        MaySay(Word::kAway, turn.contract.round, turn.contract.attempt, Digest{}, turn.now)) {
      // Every round would have to be merged twice because of it.
      turn.effects.emplace_back(AppendEffect{NodeAway{config_.name, "its update is lost"}});
    }
    return;
  }
  const bool speaks = pending_ == Pending::kSync && turn.me.kind == NodeKind::kTrainer &&
                      (turn.contract.phase == Phase::kMerging || !Behind(turn.contract));
  if (turn.contract.phase == Phase::kDone || LostSnapshot(turn.me) || speaks) return;
  EnrolAgain(turn.now, turn.effects);
}

// More and more slowly when that does not last.
void SlDecider::EnrolAgain(Instant now, Effects& effects) {
  if (enrol_next_ && now < *enrol_next_) return WakeAt(*enrol_next_);
  enrol_pause_ = std::clamp(enrol_pause_ * 2, kReturnFirst, kReturnMax);
  enrol_next_ = now + enrol_pause_;
  WakeAt(*enrol_next_);
  enrol_sent_ = true;
  effects.emplace_back(EnrolEffect{instance_});
}

// The training goes on without this node, or another one has taken its name.
void SlDecider::Removed(const Contract* contract, Instant now, Effects& effects) {
  if (over_) {
    if (!final_kept_) return;
    Forget(effects);
    return Exit(summary_, true, effects);
  }
  const bool replaced = contract != nullptr && contract->instance != *instance_;
  const bool taken = !replaced && contract != nullptr && contract->Find(config_.name) != nullptr;
  const bool revoked =
      contract != nullptr && contract->revoked_kids.contains(Thumbprint(config_.key));
  // Neither: the SN has read less of the log than this node has, or its enrolment was taken back.
  if (!replaced && !taken && !revoked && contract != nullptr && contract->phase != Phase::kDone)
    return EnrolAgain(now, effects);
  Forget(effects);
  Exit(replaced ? "the training was reset or started anew by an operator"
                : (taken     ? "another key has taken this node's name"
                   : revoked ? "this node was revoked by an operator"
                             : "the training ended without this node"),
       false, effects);
}

// The bytes of an own update are at hand: in the arena while the program waits, or on the disk.
bool SlDecider::Holds(const std::optional<Digest>& update) const {
  if (!update) return true;
  return (pending_ != Pending::kNone && update_ == update) || memory_.updates.contains(*update);
}

bool SlDecider::LostSnapshot(const Node& me) const {
  return me.kind == NodeKind::kSnapshot && !Holds(me.snapshot);
}

// Updates that no round can need any more may go: the log that says so is final. What was on the
// disk at the start may be spoken of by an entry that is not final so far; it goes once the log has
// spoken of it, or of an update that was made since.
void SlDecider::Tidy(const Turn& turn) {
  // Of models only the newest matter here; the driver keeps older ones for people.
  std::erase_if(memory_.models, [&](const Digest& model) {
    return turn.contract.base != model && (!computed_ || computed_->root != model);
  });
  if (!config_.durable) return;
  const bool done = turn.contract.phase == Phase::kDone;
  const Member* const member = turn.contract.FindMember(config_.name);
  std::set<Digest> spoken;
  for (const std::optional<Digest>& update :
       {turn.me.checkin, turn.me.snapshot, member != nullptr ? member->update : std::nullopt}) {
    if (update) spoken.insert(*update);
  }
  if (std::ranges::any_of(spoken, [&](const Digest& each) { return !inherited_.contains(each); }))
    inherited_.clear();
  for (const Digest& update : spoken) inherited_.erase(update);
  std::vector<Digest> dropped;
  for (const Digest& update : memory_.updates) {
    const bool offered = pending_ != Pending::kNone && update_ == update;
    if (done || (!offered && !spoken.contains(update) && !inherited_.contains(update)))
      dropped.push_back(update);
  }
  for (const Digest& update : dropped) {
    memory_.updates.erase(update);
    if (store_asked_ == update) store_asked_.reset();
    turn.effects.emplace_back(DropUpdateEffect{update});
  }
}

}  // namespace starling
