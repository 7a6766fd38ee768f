#include "tools/leader_kill.h"

#include <csignal>
#include <string>
#include <vector>

#include "base/text.h"
#include "crypto/merkle.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

class LeaderKillTest : public ::testing::Test {
 protected:
  LeaderKillTest() { training_.rules.min_peers = 2; }
  RoundStory& Close(std::uint64_t number, const std::string& leader,
                    const std::vector<std::string>& members = {"a", "b", "c"}) {
    RoundStory& round = training_.rounds[RoundId{number}];
    round.round = RoundId{number};
    round.closed = true;
    for (const std::string& name : members) {
      Member member;
      member.name = NodeName{name};
      round.members.push_back(member);
    }
    round.leaders = {NodeName{leader}};
    return round;
  }
  void LookAt(Duration since_start) { kill_.Look(training_, Instant{} + since_start); }

  TrainingStory training_;
  std::vector<std::string> sent_;
  LeaderKill kill_{[this](const NodeName& name, int signal) {
    sent_.push_back(StrCat(name.value(), signal == SIGSTOP   ? " stop"
                                         : signal == SIGCONT ? " continue"
                                         : signal == SIGKILL ? " kill"
                                                             : " ?"));
  }};
};

using Sent = std::vector<std::string>;

TEST_F(LeaderKillTest, StopsTheLeaderAtTheCloseAndKillsItWhenItsRoundStaysOpen) {
  Close(0, "a");
  Close(1, "b");
  LookAt(0s);
  EXPECT_EQ(sent_, Sent{});  // The first rounds are left alone.
  Close(2, "c");
  LookAt(1s);
  EXPECT_EQ(sent_, Sent{"c stop"});
  EXPECT_EQ(kill_.wake_at(), Instant{} + 1300ms);
  LookAt(1299ms);
  EXPECT_FALSE(kill_.killed());
  LookAt(1300ms);
  EXPECT_EQ(sent_, (Sent{"c stop", "c kill"}));
  EXPECT_EQ(kill_.killed(), NodeName{"c"});
  EXPECT_EQ(kill_.round(), RoundId{2});
  Close(3, "a");
  LookAt(5s);
  EXPECT_EQ(sent_.size(), 2U);
}

TEST_F(LeaderKillTest, LetsItGoOnWhenItWasTooLateAndTriesALaterRound) {
  RoundStory& round = Close(2, "c");
  LookAt(0s);
  round.root = Digest{};
  LookAt(1ms);
  EXPECT_EQ(sent_, (Sent{"c stop", "c continue"}));
  EXPECT_FALSE(kill_.wake_at());
  LookAt(1s);
  Close(3, "a");
  LookAt(2s);
  LookAt(3s);
  EXPECT_EQ(sent_, (Sent{"c stop", "c continue", "a stop", "a kill"}));
}

TEST_F(LeaderKillTest, LeavesARoundAloneThatNeedsEverybody) {
  Close(2, "a", {"a", "b"});
  LookAt(0s);
  EXPECT_EQ(sent_, Sent{});
}

}  // namespace
}  // namespace starling
