#include "tools/leader_kill.h"

#include <csignal>

namespace starling {
namespace {

constexpr std::uint64_t kFirstRound = 2;  // people have seen how a round goes
// A stopped leader whose round is still open after this has not merged it.
constexpr Duration kJudgeAfter = 300ms;

}  // namespace

void LeaderKill::Look(const TrainingStory& training, Instant now) {
  if (killed_ || training.rounds.empty()) return;
  if (leader_) {
    const auto stopped_in = training.rounds.find(*round_);
    const bool sealed = stopped_in == training.rounds.end() || stopped_in->second.root;
    if (!sealed && now < *judge_at_) return;
    signal_(*leader_, sealed ? SIGCONT : SIGKILL);
    if (!sealed) killed_ = leader_;
    leader_.reset();
    judge_at_.reset();
    return;
  }
  const RoundStory& round = training.rounds.rbegin()->second;
  // The others must be enough to go on.
  const bool enough = round.members.size() > training.rules.min_peers.value_or(1);
  if (round.round.value() < kFirstRound || !round.closed || round.root || !enough) return;
  if (round_ && round.round <= *round_) return;
  round_ = round.round;
  leader_ = round.leaders.back();
  judge_at_ = now + kJudgeAfter;
  signal_(*leader_, SIGSTOP);
}

}  // namespace starling
