// One network node and several learning nodes in this process, over loopback HTTPS and a real
// ledger, with training programs of the test's own that speak the bridge.
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "base/fs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sl/bridge_testing.h"
#include "sl/learning_node.h"
#include "sl/sl_testing.h"
#include "sn/network_node.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

// Who shows which SPIFFE ID.
std::unique_ptr<SvidSource> IdentityOf(const DevAuthority& authority, const Clock& clock,
                                       const std::string& path) {
  return MakeFixedSource(MakeState(clock, authority, {&authority}, {.path = path}));
}

class NetworkNodeThread {
 public:
  NetworkNodeThread(const DevAuthority& authority, const Clock& clock)
      : identity_(IdentityOf(authority, clock, "/swarm/sn")) {
    config_.state_dir = scratch_.path();
    config_.listen_address = "127.0.0.1";
    config_.advertise_host = "127.0.0.1";
    config_.api_port = config_.health_port = 0;
    std::promise<std::uint16_t> ready;
    std::future<std::uint16_t> port = ready.get_future();
    thread_ = std::jthread([this, &clock, &ready](const std::stop_token& stop) {
      const auto on_ready = [&](std::uint16_t api, std::uint16_t /*health*/) {
        ready.set_value(api);
      };
      const Status ended =
          RunNetworkNode(config_, {clock, random_, *identity_, Log(), on_ready}, stop);
      EXPECT_TRUE(ended.ok()) << ended;
    });
    port_ = port.get();
  }
  [[nodiscard]] Endpoint endpoint() const { return {"127.0.0.1", port_}; }

 private:
  const ScratchDirectory scratch_;
  SystemRandom random_;
  const std::unique_ptr<SvidSource> identity_;
  NetworkNodeConfig config_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

class LearningNodeThread {
 public:
  LearningNodeThread(const DevAuthority& authority, const Clock& clock, const std::string& name,
                     const Endpoint& sn)
      : clock_(clock), identity_(IdentityOf(authority, clock, "/swarm/" + name + "/sl")) {
    config.name = name;
    config.contract = "t";
    config.state_dir = scratch_.path();
    config.sn_urls = {sn.Url()};
    config.advertise_host = "127.0.0.1";
    config.listen_address = "127.0.0.1";
    config.blob_port = config.health_port = 0;
    config.allow_loopback = true;
    config.linger = 60s;
    config.stall_timeout = 30s;
    config.keep_updates = true;
  }
  ~LearningNodeThread() {
    if (thread_.joinable()) thread_.request_stop();
  }
  LearningNodeThread(const LearningNodeThread&) = delete;
  LearningNodeThread& operator=(const LearningNodeThread&) = delete;

  void Start() {
    std::promise<void> ready;
    std::future<void> is_ready = ready.get_future();
    end_ = ended_.get_future();
    thread_ = std::jthread([this, &ready](const std::stop_token& stop) {
      bool said = false;
      const auto on_ready = [&](std::uint16_t /*blobs*/, std::uint16_t /*health*/) {
        said = true;
        ready.set_value();
      };
      const Log log = Log::ToFile("swarm.SL", LogLevel::kDebug, LogFormat::kText, log_path());
      Result<int> code =
          RunLearningNode(config, {clock_, random_, *identity_, log, on_ready}, stop);
      if (!said) ready.set_value();
      ended_.set_value(std::move(code));
    });
    is_ready.get();
  }
  Result<int> End() { return end_.get(); }
  void Stop() { thread_.request_stop(); }
  [[nodiscard]] std::string socket() const { return config.state_dir + "/starling.sock"; }
  [[nodiscard]] std::string log_path() const { return scratch_.path() + "/log.txt"; }
  [[nodiscard]] std::string LogText() const { return *ReadFile(log_path(), 10U << 20); }
  [[nodiscard]] Json ResultFile() const {
    return Json::parse(*ReadFile(config.state_dir + "/result.json"));
  }

  LearningNodeConfig config;

 private:
  const ScratchDirectory scratch_;
  const Clock& clock_;
  SystemRandom random_;
  const std::unique_ptr<SvidSource> identity_;
  std::promise<Result<int>> ended_;
  std::future<Result<int>> end_;
  std::jthread thread_;
};

// What one program saw, for the comparison with an independent merge.
struct Played {
  std::vector<Bytes> updates;  // by round
  std::vector<Bytes> merged;
  std::vector<Json> answers;
};

class SwarmTest : public ::testing::Test {
 protected:
  LearningNodeThread& Add(const std::string& name) {
    nodes_[name] = std::make_unique<LearningNodeThread>(authority_, clock_, name, sn_.endpoint());
    return *nodes_[name];
  }
  [[nodiscard]] TestProgram::Opening OpeningOf(std::uint64_t weight,
                                               std::uint64_t min_peers) const {
    TestProgram::Opening opening;
    opening.weight = weight;
    opening.min_peers = min_peers;
    for (const TensorPlace& tensor : layout_.tensors()) opening.tensors.push_back(tensor.spec);
    return opening;
  }
  // An update as training would make it: here, other random bits every time.
  [[nodiscard]] Bytes UpdateOf(const std::string& name, std::uint64_t round) const {
    return TestModel(layout_, 1000 * static_cast<std::uint64_t>(name[0]) + round);
  }
  void Hand(TestProgram& program, Played& played, const Bytes& update, bool finish) const {
    played.updates.push_back(update);
    const Json answer = finish ? program.Finish(update) : program.Sync(update);
    ASSERT_TRUE(answer.is_object());
    ASSERT_EQ(answer.at("type"), "merged") << answer;
    const ByteSpan merged = program.merged();
    played.merged.emplace_back(merged.begin(), merged.end());
    played.answers.push_back(answer);
    EXPECT_EQ(answer.at("root"), RootText(RootOf(merged)));
  }
  static void SayGoodbye(TestProgram& program) {
    EXPECT_EQ(program.Ask({{"type", "result"}, {"loss", 0.25}}).at("type"), "ok");
    EXPECT_TRUE(program.Send({{"type", "goodbye"}, {"reason", "done"}}));
    program.Close();
  }
  // The mean of the updates of one round, by the plain reference.
  [[nodiscard]] Bytes MeanOf(const std::vector<const Bytes*>& updates,
                             const std::vector<std::uint64_t>& weights, const Bytes& base) const {
    Bytes merged(layout_.size());
    for (std::uint64_t chunk = 0; chunk < ChunkCount(layout_.size()); ++chunk) {
      const ByteRange range = ChunkRange(layout_.size(), chunk);
      std::vector<ByteSpan> parts;
      for (const Bytes* update : updates)
        parts.push_back(ByteSpan(*update).subspan(range.begin, range.size()));
      ReferenceMean(layout_, chunk, parts, weights,
                    ByteSpan(base).subspan(range.begin, range.size()),
                    MutableByteSpan(merged).subspan(range.begin, range.size()));
    }
    return merged;
  }
  // --- what the SN says ---
  Json Ask(const ClientRequest& request) {
    const Result<ClientResponse> answer = client_.Do(sn_.endpoint(), request, {});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? Json::parse(answer->body) : Json();
  }
  // Waits for the log to make `holds` true of the training's state; no longer than the test.
  Json WaitForTraining(const std::function<bool(const Json&)>& holds) {
    for (;;) {
      const Json end = Ask({.target = "/v1/entries?from=0"}).at("end");
      Json training = Ask({.target = "/v1/contracts/t"});
      if (training.contains("nodes") && holds(training)) return training;
      const std::int64_t next = end.at("position").get<std::int64_t>() + 1;
      Ask({.target = StrCat("/v1/entries?from=", next, "&wait=10000"), .idle_timeout = 30s});
    }
  }
  static bool Is(const Json& training, const std::string& node, const std::string& member) {
    for (const Json& each : training.at("nodes")) {
      if (each.at("name") == node) return each.at(member);
    }
    return false;
  }

  const RealClock clock_;
  const DevAuthority authority_ = MakeAuthority("swarm.local", clock_);
  const Layout layout_ = TestLayout();
  NetworkNodeThread sn_{authority_, clock_};
  Party operator_{clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/operator"}),
                  PeerPolicy{{}, {"*/sn"}}};
  HttpClient client_{*operator_.tls, HttpClientOptions{}};
  std::map<std::string, std::unique_ptr<LearningNodeThread>> nodes_;
};

TEST_F(SwarmTest, ThreeNodesGetTheModelsThatAnIndependentMergeGives) {
  const std::map<std::string, std::uint64_t> weights = {{"a", 1}, {"b", 3}, {"c", 100}};
  constexpr std::uint64_t kRounds = 4;  // trained; before them round 0, after them the closing one
  std::map<std::string, Played> played;
  for (const auto& [name, weight] : weights) {
    played[name];
    Add(name).Start();
  }
  {
    std::vector<std::jthread> programs;
    for (const auto& [name, weight] : weights) {
      programs.emplace_back([this, name = name, weight = weight, &played] {
        TestProgram program(nodes_.at(name)->socket());
        const Json opened = program.Open(OpeningOf(weight, 3));
        ASSERT_EQ(opened.at("type"), "opened") << opened;
        EXPECT_EQ(opened.at("node"), name);
        for (std::uint64_t round = 0; round <= kRounds; ++round)
          Hand(program, played.at(name), UpdateOf(name, round), false);
        Hand(program, played.at(name), UpdateOf(name, kRounds + 1), true);
        SayGoodbye(program);
      });
    }
  }

  for (const auto& [name, node] : nodes_) {
    const Result<int> code = node->End();
    ASSERT_TRUE(code.ok()) << name << ": " << code.status();
    EXPECT_EQ(*code, 0);
  }
  const Played& a = played.at("a");
  const std::set<Bytes> first = {played.at("a").updates[0], played.at("b").updates[0],
                                 played.at("c").updates[0]};
  ASSERT_EQ(a.merged.size(), kRounds + 2);
  EXPECT_TRUE(first.contains(a.merged[0])) << "round 0 is the leader's model";
  for (std::size_t round = 0; round < a.merged.size(); ++round) {
    for (const auto& [name, each] : played) {
      EXPECT_TRUE(each.merged[round] == a.merged[round]) << name << " in round " << round;
      EXPECT_EQ(each.answers[round].at("round"), round);
      EXPECT_EQ(each.answers[round].at("counted"), true);
      EXPECT_EQ(each.answers[round].at("over"), round == kRounds + 1);
      EXPECT_EQ(each.answers[round].at("participants"), Json({"a", "b", "c"}));
    }
    if (round == 0) continue;
    const Bytes expected =
        MeanOf({&a.updates[round], &played.at("b").updates[round], &played.at("c").updates[round]},
               {1, 3, 100}, a.merged[round - 1]);
    EXPECT_TRUE(a.merged[round] == expected) << "round " << round;
  }
  for (const auto& [name, node] : nodes_) {
    const Json result = node->ResultFile();
    EXPECT_EQ(result.at("root"), RootText(RootOf(a.merged.back())));
    EXPECT_EQ(result.at("rounds"), kRounds + 2);
    EXPECT_EQ(result.at("same_on"), 3);
    EXPECT_EQ(result.at("loss"), 0.25);
    const Result<Slice> file = MapFile(result.at("model"));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(AsText(file->bytes) == AsText(a.merged.back()));
    const Bytes& update = played.at(name).updates[2];
    const std::string path =
        StrCat(node->config.state_dir, "/updates/2-", HexOf(RootOf(update)), ".safetensors");
    const Result<Slice> kept = MapFile(path);
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_TRUE(AsText(kept->bytes) == AsText(update));
    EXPECT_THAT(node->LogText(), HasSubstr("round 2: merged a, b, c; leader "));
  }
}

TEST_F(SwarmTest, ALateNodeGetsTheModelAndTakesPartFromThere) {
  for (const std::string name : {"a", "b", "c"}) Add(name);
  nodes_.at("a")->Start();
  nodes_.at("b")->Start();
  nodes_.at("c")->Start();
  std::map<std::string, Played> played = {{"a", {}}, {"b", {}}, {"c", {}}};
  std::promise<void> two_rounds;
  std::promise<void> c_is_in;
  const std::shared_future<void> wait_for_c = c_is_in.get_future().share();
  {
    std::vector<std::jthread> programs;
    for (const std::string name : {"a", "b"}) {
      programs.emplace_back([this, name, &played, &two_rounds, wait_for_c] {
        TestProgram program(nodes_.at(name)->socket());
        ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
        for (std::uint64_t round = 0; round <= 1; ++round)
          Hand(program, played.at(name), UpdateOf(name, round), false);
        if (name == "a") two_rounds.set_value();
        wait_for_c.wait();
        Hand(program, played.at(name), UpdateOf(name, 2), false);
        Hand(program, played.at(name), UpdateOf(name, 3), true);
        SayGoodbye(program);
      });
    }
    programs.emplace_back([this, &played, &two_rounds, &c_is_in] {
      two_rounds.get_future().wait();
      TestProgram program(nodes_.at("c")->socket());
      ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
      Hand(program, played.at("c"), UpdateOf("c", 1), false);  // comes too late to count
      const std::jthread others([this, &c_is_in] {
        WaitForTraining([](const Json& training) { return Is(training, "c", "checked_in"); });
        c_is_in.set_value();
      });
      Hand(program, played.at("c"), UpdateOf("c", 2), false);
      Hand(program, played.at("c"), UpdateOf("c", 3), true);
      SayGoodbye(program);
    });
  }

  for (const auto& [name, node] : nodes_) EXPECT_EQ(node->End().value_or(-1), 0) << name;
  const Played& a = played.at("a");
  const Played& c = played.at("c");
  ASSERT_EQ(c.answers.size(), 3U);
  ASSERT_EQ(a.merged.size(), 4U);
  EXPECT_EQ(c.answers[0].at("counted"), false);
  EXPECT_EQ(c.answers[0].at("round"), 1);
  EXPECT_TRUE(c.merged[0] == a.merged[1]);
  EXPECT_EQ(c.answers[1].at("counted"), true);
  EXPECT_TRUE(c.merged[1] == MeanOf({&a.updates[2], &played.at("b").updates[2], &c.updates[1]},
                                    {1, 1, 1}, a.merged[1]));
  EXPECT_TRUE(c.merged[2] == a.merged[3]);
}

TEST_F(SwarmTest, AnotherModelIsRefusedWithTheDifferenceSpelledOut) {
  LearningNodeThread& a = Add("a");
  LearningNodeThread& b = Add("b");
  a.Start();
  b.Start();
  TestProgram first(a.socket());
  ASSERT_EQ(first.Open(OpeningOf(1, 2)).at("type"), "opened");
  TestProgram::Opening other = OpeningOf(1, 2);
  for (TensorSpec& tensor : other.tensors) {
    if (tensor.name == "steps") tensor.shape = {6};
  }

  TestProgram second(b.socket());
  const Json answer = second.Open(other);
  second.Close();
  const Result<int> code = b.End();

  ASSERT_EQ(answer.at("type"), "error");
  EXPECT_THAT(answer.at("cause").get<std::string>(), HasSubstr("steps: I64 [6] here, I64 [5]"));
  EXPECT_THAT(std::string(code.status().message()), HasSubstr("steps: I64 [6] here, I64 [5]"));
}

TEST_F(SwarmTest, OtherRulesAreRefused) {
  LearningNodeThread& a = Add("a");
  LearningNodeThread& b = Add("b");
  a.Start();
  b.Start();
  TestProgram first(a.socket());
  ASSERT_EQ(first.Open(OpeningOf(1, 2)).at("type"), "opened");
  TestProgram::Opening other = OpeningOf(1, 2);
  other.sync_interval = 99;

  TestProgram second(b.socket());
  const Json answer = second.Open(other);
  second.Close();

  ASSERT_EQ(answer.at("type"), "error");
  EXPECT_THAT(answer.at("cause").get<std::string>(),
              HasSubstr("sync_interval: 10 in the training, 99 here"));
  EXPECT_FALSE(b.End().ok());
}

TEST_F(SwarmTest, AProgramThatEndsWithoutASyncIsAnErrorWithItsLastLines) {
  LearningNodeThread& a = Add("a");
  a.config.program = {"/bin/sh", "-c", "echo no data found; exit 3"};
  LearningNodeThread& b = Add("b");
  b.config.program = {"/bin/sh", "-c", "echo all is well"};
  a.Start();
  b.Start();

  EXPECT_EQ(a.End().value_or(-1), 3);
  EXPECT_EQ(b.End().value_or(-1), 1);
  EXPECT_THAT(a.LogText(), HasSubstr("no data found"));
  EXPECT_THAT(a.LogText(), HasSubstr("ended with exit code 3 without a single sync"));
  EXPECT_THAT(b.LogText(), HasSubstr("without a single sync"));
}

TEST_F(SwarmTest, AProgramThatVanishesIsReportedAndItsNodeLeaves) {
  LearningNodeThread& a = Add("a");
  a.Start();
  TestProgram program(a.socket());
  ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
  ASSERT_TRUE(program.Send({{"type", "log"}, {"level", "ERROR"}, {"lines", {"it burns"}}}));
  program.Close();

  EXPECT_EQ(a.End().value_or(-1), 1);
  EXPECT_THAT(a.LogText(), HasSubstr("it burns"));
  EXPECT_THAT(a.LogText(), HasSubstr("closed without a goodbye"));
  EXPECT_FALSE(Is(Ask({.target = "/v1/contracts/t"}), "a", "present"));
}

TEST_F(SwarmTest, AStoppedNodeLeavesTheTraining) {
  LearningNodeThread& a = Add("a");
  a.Start();
  TestProgram program(a.socket());
  ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");

  a.Stop();

  EXPECT_EQ(a.End().value_or(-1), 143);
  EXPECT_FALSE(Is(Ask({.target = "/v1/contracts/t"}), "a", "present"));
}

TEST_F(SwarmTest, TrainingBeginsFromAModelOfOneNode) {
  const Bytes initial = TestModel(layout_, 5);
  const ScratchDirectory files;
  const std::string path = files.path() + "/initial.safetensors";
  ASSERT_TRUE(WriteFileDurably(path, AsText(initial)).ok());
  const Json created = Ask(
      {.method = "POST",
       .target = "/v1/contracts",
       .headers = {{"content-type", "application/json"}},
       .body = Json{{"name", "t"}, {"rules", {{"initial", RootText(RootOf(initial))}}}}.dump()});
  ASSERT_TRUE(created.contains("position")) << created;
  Add("a").config.initial_file = path;
  Add("b");
  std::map<std::string, Played> played = {{"a", {}}, {"b", {}}};
  {
    std::vector<std::jthread> programs;
    for (const auto& [name, node] : nodes_) {
      node->Start();
      programs.emplace_back([this, name = name, &played] {
        TestProgram program(nodes_.at(name)->socket());
        ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
        Hand(program, played.at(name), UpdateOf(name, 0), false);  // replaced by the initial model
        Hand(program, played.at(name), UpdateOf(name, 1), false);
        Hand(program, played.at(name), UpdateOf(name, 2), true);
        SayGoodbye(program);
      });
    }
  }

  for (const auto& [name, node] : nodes_) {
    EXPECT_EQ(node->End().value_or(-1), 0) << name;
    ASSERT_EQ(played.at(name).merged.size(), 3U);
    EXPECT_TRUE(played.at(name).merged[0] == initial) << name;
    EXPECT_EQ(played.at(name).answers[0].at("counted"), false);
    EXPECT_TRUE(played.at(name).merged[1] ==
                MeanOf({&played.at("a").updates[1], &played.at("b").updates[1]}, {1, 1}, initial));
  }
}

TEST_F(SwarmTest, TheTrainingsBlobsAndStateAreClosedToStrangersButNotToOperators) {
  LearningNodeThread& a = Add("a");
  a.Start();
  TestProgram program(a.socket());
  ASSERT_EQ(program.Open(OpeningOf(1, 1)).at("type"), "opened");
  const Json training = WaitForTraining([](const Json& t) { return Is(t, "a", "present"); });
  const Endpoint blobs =
      *Endpoint::Parse(training.at("nodes").at(0).at("blob_url").get<std::string>());
  Party stranger(clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/x/sl"}),
                 PeerPolicy{{}, {"*/sl"}});
  Party boss(clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/operator"}),
             PeerPolicy{{}, {"*/sl"}});
  HttpClient strangers_client(*stranger.tls, {});
  HttpClient bosss_client(*boss.tls, {});

  const auto refused = strangers_client.Do(blobs, {.target = "/v1/models"}, {});
  const auto allowed = bosss_client.Do(blobs, {.target = "/v1/models"}, {});

  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ(refused->status, 403);
  ASSERT_TRUE(allowed.ok()) << allowed.status();
  EXPECT_EQ(allowed->status, 200);
}

}  // namespace
}  // namespace starling
