// Learning nodes with two network nodes, a sentinel and one that follows: each goes while a
// training runs, comes back, or comes back from an old copy of its ledger. Real nodes on threads,
// over loopback HTTPS, with training programs of the test's own.
#include <filesystem>
#include <future>
#include <map>
#include <thread>

#include "base/fs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sl/bridge_testing.h"
#include "sl/learning_node.h"
#include "sl/sl_testing.h"
#include "sn/network_node_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

// A learning node, and the program beside it.
class Learner {
 public:
  Learner(const DevAuthority& authority, const Clock& clock, const std::string& name,
          const std::vector<std::string>& sns)
      : name_(name),
        identity_(MakeFixedSource(
            MakeState(clock, authority, {&authority}, {.path = "/swarm/" + name + "/sl"}))) {
    LearningNodeConfig config;
    config.name = name;
    config.contract = "t";
    config.state_dir = scratch_.path();
    config.sn_urls = sns;
    config.advertise_host = config.listen_address = "127.0.0.1";
    config.blob_port = config.health_port = 0;
    config.allow_loopback = true;
    config.linger = 60s;
    config.stall_timeout = 30s;
    std::promise<void> ready;
    thread_ = std::jthread([this, config, &clock, &ready](const std::stop_token& stop) {
      const Log log = Log::ToFile("swarm.SL", LogLevel::kInfo, LogFormat::kText, log_path());
      code_ = RunLearningNode(config,
                              {clock, random_, *identity_, log,
                               [&](std::uint16_t, std::uint16_t) { ready.set_value(); }},
                              stop);
    });
    ready.get_future().wait();
    program_ = std::make_unique<TestProgram>(scratch_.path() + "/starling.sock");
  }
  void Open() {
    TestProgram::Opening opening;
    opening.min_peers = 2;
    for (const TensorPlace& tensor : layout_.tensors()) opening.tensors.push_back(tensor.spec);
    ASSERT_EQ(program_->Open(opening).at("type"), "opened");
  }
  // One round: another update, the merged model. Answers its root.
  std::string Sync(std::uint64_t round, bool finish = false) {
    const Bytes update =
        TestModel(layout_, 1000 * static_cast<std::uint64_t>(name_.front()) + round);
    const Json answer = finish ? program_->Finish(update) : program_->Sync(update);
    EXPECT_EQ(answer.value("type", ""), "merged") << answer;
    EXPECT_EQ(answer.value("counted", false), true) << answer;
    return answer.value("root", "");
  }
  Result<int> Leave() {
    EXPECT_EQ(program_->Ask({{"type", "result"}, {"loss", 0.25}}).at("type"), "ok");
    EXPECT_TRUE(program_->Send({{"type", "goodbye"}, {"reason", "done"}}));
    program_->Close();
    return End();
  }
  Result<int> End() {
    thread_.join();
    return code_;
  }
  [[nodiscard]] std::string LogText() const { return ReadFile(log_path(), 10U << 20).value_or(""); }

 private:
  [[nodiscard]] std::string log_path() const { return scratch_.path() + "/log.txt"; }

  const std::string name_;
  const ScratchDirectory scratch_;
  SystemRandom random_;
  const Layout layout_ = TestLayout();
  const std::unique_ptr<SvidSource> identity_;
  Result<int> code_ = 0;
  std::unique_ptr<TestProgram> program_;
  std::jthread thread_;
};

class FollowingSwarmTest : public ::testing::Test {
 protected:
  FollowingSwarmTest() {
    sentinel_.config.name = "sentinel";
    follower_.config.name = "follower";
    follower_.config.sentinel = false;
    EXPECT_TRUE(sentinel_.Start());
  }
  void StartFollower() {
    follower_.config.sentinel_urls = {sentinel_.endpoint().Url()};
    ASSERT_TRUE(follower_.Start()) << follower_.Ended();
  }
  void AddLearners(const std::vector<std::string>& sns) {
    for (const char* const name : {"a", "b"}) {
      learners_[name] = std::make_unique<Learner>(authority_, clock_, name, sns);
      learners_[name]->Open();
    }
  }
  void Play(std::uint64_t round, bool finish = false) {
    std::map<std::string, std::future<std::string>> roots;
    for (const auto& [name, learner] : learners_) {
      roots[name] = std::async(std::launch::async, [learner = learner.get(), round, finish] {
        return learner->Sync(round, finish);
      });
    }
    const std::string root = roots.at("a").get();
    EXPECT_EQ(root, roots.at("b").get()) << "round " << round;
    EXPECT_FALSE(root.empty());
  }
  void Leave() {
    std::map<std::string, std::future<Result<int>>> codes;
    for (const auto& [name, learner] : learners_) {
      codes[name] =
          std::async(std::launch::async, [learner = learner.get()] { return learner->Leave(); });
    }
    for (auto& [name, code] : codes) {
      const Result<int> ended = code.get();
      EXPECT_TRUE(ended.ok()) << name << ": " << ended.status();
      EXPECT_EQ(ended.value_or(-1), 0);
    }
  }
  [[nodiscard]] Json Entries(const NodeThread& at) const {
    Caller caller(authority_, "/swarm/operator", clock_, at.endpoint().port);
    return caller.Get("/v1/entries?from=0&decode=1").body.at("entries");
  }
  // How often `type` was said by each node, and that nothing was ignored.
  void ExpectSaidOnce(const Json& entries, std::uint64_t rounds) const {
    std::map<std::string, std::uint64_t> checkins;
    for (const Json& entry : entries) {
      EXPECT_EQ(entry.at("ignored"), "") << entry.at("payload");
      if (entry.at("payload").at("type") == "checked-in")
        ++checkins[entry.at("author").get<std::string>()];
    }
    EXPECT_EQ(checkins.at("a"), rounds);
    EXPECT_EQ(checkins.at("b"), rounds);
  }

  const RealClock clock_;
  const DevAuthority authority_ = MakeAuthority("test", clock_);
  NodeThread sentinel_{authority_, clock_};
  NodeThread follower_{authority_, clock_};
  std::map<std::string, std::unique_ptr<Learner>> learners_;
};

TEST_F(FollowingSwarmTest, ATrainingRunsThroughTheFollowerAlone) {
  StartFollower();
  AddLearners({follower_.endpoint().Url()});
  for (std::uint64_t round = 0; round < 3; ++round) Play(round);
  Play(3, true);
  Leave();
  ExpectSaidOnce(Entries(sentinel_), 3);
}

TEST_F(FollowingSwarmTest, LearningNodesMoveToTheOtherSnWhenTheirsGoes) {
  StartFollower();
  AddLearners({follower_.endpoint().Url(), sentinel_.endpoint().Url()});
  Play(0);
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  Play(1);
  ASSERT_TRUE(follower_.Start()) << follower_.Ended();
  Play(2);
  Play(3, true);
  Leave();
  ExpectSaidOnce(Entries(sentinel_), 3);
  EXPECT_THAT(learners_.at("a")->LogText(), HasSubstr(sentinel_.endpoint().Url()));
}

TEST_F(FollowingSwarmTest, ATrainingWaitsForARestartedSentinelAndGoesOn) {
  StartFollower();
  AddLearners({follower_.endpoint().Url()});
  Play(0);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  auto round = std::async(std::launch::async, [this] { Play(1); });
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  round.get();
  Play(2, true);
  Leave();
  ExpectSaidOnce(Entries(sentinel_), 2);
}

// Nobody follows: what the old copy lacks is taken back from the learning nodes.
TEST_F(FollowingSwarmTest, ARestoredSentinelGetsItsEntriesBackFromLearningNodes) {
  AddLearners({sentinel_.endpoint().Url()});
  Play(0);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  const ScratchDirectory backup;
  sentinel_.CopyLedgerTo(backup.File("ledger.db"));
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Play(1);
  Play(2);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  std::filesystem::copy_file(backup.File("ledger.db"), sentinel_.ledger_path(),
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Play(3);
  Play(4, true);
  Leave();
  EXPECT_THAT(sentinel_.LogText(), HasSubstr("which this ledger had lost"));
  ExpectSaidOnce(Entries(sentinel_), 4);
}

// The old copy knows nobody; the learning nodes show what they have seen, and where they are.
TEST_F(FollowingSwarmTest, ASentinelRestoredFromItsFirstEntryHearsOfTheRest) {
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  const ScratchDirectory backup;
  sentinel_.CopyLedgerTo(backup.File("ledger.db"));
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  AddLearners({sentinel_.endpoint().Url()});
  Play(0);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  std::filesystem::copy_file(backup.File("ledger.db"), sentinel_.ledger_path(),
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Play(1);
  Play(2, true);
  Leave();
  ExpectSaidOnce(Entries(sentinel_), 2);
}

}  // namespace
}  // namespace starling
