// Learning nodes with two network nodes, a sentinel and one that follows: each goes while a
// training runs, comes back, or comes back from an old copy of its ledger. Real nodes on threads,
// over loopback HTTPS, with training programs of the test's own.
#include <filesystem>
#include <future>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/swarm_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

// sn_ is the sentinel.
class FollowingSwarmTest : public SwarmTest {
 protected:
  FollowingSwarmTest() {
    follower_.config.name = "follower";
    follower_.config.sentinel = false;
  }
  void StartFollower() {
    follower_.config.sentinel_urls = {sn_.endpoint().Url()};
    ASSERT_TRUE(follower_.Start()) << follower_.Ended();
  }
  // Goes back to an old copy of its ledger.
  void RestoreSentinelFrom(const std::string& copy) {
    EXPECT_EQ(sn_.Stop(), absl::OkStatus());
    std::filesystem::copy_file(copy, sn_.ledger_path(),
                               std::filesystem::copy_options::overwrite_existing);
    ASSERT_TRUE(sn_.Start()) << sn_.Ended();
  }
  void CopyOfSentinelTo(const std::string& path) {
    EXPECT_EQ(sn_.Stop(), absl::OkStatus());
    sn_.CopyLedgerTo(path);
    ASSERT_TRUE(sn_.Start()) << sn_.Ended();
  }
  // Learning nodes a and b, with their programs, that know these SNs.
  void AddLearners(const std::vector<std::string>& sns) {
    for (const std::string name : {"a", "b"}) {
      LearningNodeThread& node = Add(name);
      node.config.sn_urls = sns;
      node.Start();
      programs_[name] = std::make_unique<TestProgram>(node.socket());
      ASSERT_EQ(programs_[name]->Open(OpeningOf(1, 2)).at("type"), "opened");
    }
  }
  // One round of both: another update each, the same merged model.
  void Play(std::uint64_t round, bool finish = false) {
    std::map<std::string, std::future<std::string>> roots;
    for (const auto& [name, program] : programs_) {
      const auto sync = [&program = *program, update = UpdateOf(name, round), finish] {
        const Json answer = finish ? program.Finish(update) : program.Sync(update);
        EXPECT_EQ(answer.value("type", ""), "merged") << answer;
        EXPECT_EQ(answer.value("counted", false), true) << answer;
        return answer.value("root", "");
      };
      roots[name] = std::async(std::launch::async, sync);
    }
    const std::string root = roots.at("a").get();
    EXPECT_EQ(root, roots.at("b").get()) << "round " << round;
    EXPECT_FALSE(root.empty());
  }
  void Leave() {
    for (const auto& [name, program] : programs_) SayGoodbye(*program);
    for (const auto& [name, node] : nodes_) {
      const Result<int> ended = node->End();
      EXPECT_TRUE(ended.ok()) << name << ": " << ended.status();
      EXPECT_EQ(ended.value_or(-1), 0);
    }
  }
  // How often each node has checked in, and that no entry was ignored.
  void ExpectSaidOnce(std::uint64_t rounds) {
    std::map<std::string, std::uint64_t> checkins;
    const Json answer = Ask({.target = "/v1/entries?from=0&decode=1"});
    for (const Json& entry : answer.at("entries")) {
      EXPECT_EQ(entry.at("ignored"), "") << entry.at("payload");
      if (entry.at("payload").at("type") == "checked-in")
        ++checkins[entry.at("author").get<std::string>()];
    }
    EXPECT_EQ(checkins, (std::map<std::string, std::uint64_t>{{"a", rounds}, {"b", rounds}}));
  }

  NodeThread follower_{authority_, clock_};
  std::map<std::string, std::unique_ptr<TestProgram>> programs_;
};

TEST_F(FollowingSwarmTest, ATrainingRunsThroughTheFollowerAlone) {
  StartFollower();
  AddLearners({follower_.endpoint().Url()});
  for (std::uint64_t round = 0; round < 3; ++round) Play(round);
  Play(3, true);
  Leave();
  ExpectSaidOnce(3);
}

TEST_F(FollowingSwarmTest, LearningNodesMoveToTheOtherSnWhenTheirsGoes) {
  StartFollower();
  AddLearners({follower_.endpoint().Url(), sn_.endpoint().Url()});
  Play(0);
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  Play(1);
  ASSERT_TRUE(follower_.Start()) << follower_.Ended();
  Play(2);
  Play(3, true);
  Leave();
  ExpectSaidOnce(3);
  EXPECT_THAT(nodes_.at("a")->LogText(), HasSubstr(sn_.endpoint().Url()));
}

TEST_F(FollowingSwarmTest, ATrainingWaitsForARestartedSentinelAndGoesOn) {
  StartFollower();
  AddLearners({follower_.endpoint().Url()});
  Play(0);
  EXPECT_EQ(sn_.Stop(), absl::OkStatus());
  auto round = std::async(std::launch::async, [this] { Play(1); });
  ASSERT_TRUE(sn_.Start()) << sn_.Ended();
  round.get();
  Play(2, true);
  Leave();
  ExpectSaidOnce(2);
}

// Nobody follows: what the old copy lacks is taken back from the learning nodes.
TEST_F(FollowingSwarmTest, ARestoredSentinelGetsItsEntriesBackFromLearningNodes) {
  AddLearners({sn_.endpoint().Url()});
  Play(0);
  const ScratchDirectory backup;
  CopyOfSentinelTo(backup.File("ledger.db"));
  Play(1);
  Play(2);
  RestoreSentinelFrom(backup.File("ledger.db"));
  Play(3);
  Play(4, true);
  Leave();
  EXPECT_THAT(sn_.LogText(), HasSubstr("which this ledger had lost"));
  ExpectSaidOnce(4);
}

// The old copy knows nobody; the learning nodes show what they have seen, and where they are.
TEST_F(FollowingSwarmTest, ASentinelRestoredFromItsFirstEntryHearsOfTheRest) {
  const ScratchDirectory backup;
  CopyOfSentinelTo(backup.File("ledger.db"));
  AddLearners({sn_.endpoint().Url()});
  Play(0);
  RestoreSentinelFrom(backup.File("ledger.db"));
  Play(1);
  Play(2, true);
  Leave();
  ExpectSaidOnce(2);
}

}  // namespace
}  // namespace starling
