// For tests of whole swarms: one network node and several learning nodes in this process, over
// loopback HTTPS and a real ledger, with training programs of the test's own that speak the bridge.
#pragma once

#include <array>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gtest/gtest.h"
#include "http/tls.h"
#include "sl/bridge_testing.h"
#include "sl/learning_node.h"
#include "sl/sl_testing.h"
#include "sn/network_node_testing.h"

namespace starling {

class LearningNodeThread {
 public:
  LearningNodeThread(const DevAuthority& authority, const Clock& clock, const std::string& name,
                     const Endpoint& sn)
      : clock_(clock),
        identity_(MakeFixedSource(
            MakeState(clock, authority, {&authority}, {.path = "/swarm/" + name + "/sl"}))) {
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
    std::promise<std::uint16_t> ready;
    std::future<std::uint16_t> health_port = ready.get_future();
    ended_ = {};
    end_ = ended_.get_future();
    thread_ = std::jthread([this, &ready](const std::stop_token& stop) {
      bool said = false;
      const auto on_ready = [&](std::uint16_t /*blobs*/, std::uint16_t health) {
        said = true;
        ready.set_value(health);
      };
      const Log log = Log::ToFile("swarm.SL", LogLevel::kDebug, LogFormat::kText, log_path());
      Result<int> code =
          RunLearningNode(config, {clock_, random_, *identity_, log, on_ready}, stop);
      if (!said) ready.set_value(0);
      ended_.set_value(std::move(code));
    });
    health_port_ = health_port.get();
  }
  Result<int> End() { return end_.get(); }
  void Stop() { thread_.request_stop(); }
  // What /readyz says.
  [[nodiscard]] std::string Readiness() const {
    const auto stream = Stream::ConnectPlain("127.0.0.1", health_port_, 60s, 60s, {});
    EXPECT_TRUE(stream.ok()) << stream.status();
    std::string text;
    if (!stream.ok() ||
        !(*stream)
             ->WriteAll(AsBytes("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
             .ok())
      return text;
    std::array<std::byte, 4096> block{};
    for (;;) {
      const Result<std::size_t> count = (*stream)->ReadSome(block);
      if (!count.ok() || *count == 0) return text;
      text += AsText(ByteSpan(block).first(*count));
    }
  }
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
  std::uint16_t health_port_ = 0;
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
  SwarmTest() { EXPECT_TRUE(sn_.Start()) << sn_.Ended(); }
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
  // What the log says of a node; null before it has enrolled.
  static Json Of(const Json& training, const std::string& node, const std::string& member) {
    for (const Json& each : training.at("nodes")) {
      if (each.at("name") == node) return each.at(member);
    }
    return nullptr;
  }
  static bool Is(const Json& training, const std::string& node, const std::string& member) {
    return Of(training, node, member) == true;
  }

  const RealClock clock_;
  const DevAuthority authority_ = MakeAuthority("swarm.local", clock_);
  const Layout layout_ = TestLayout();
  NodeThread sn_{authority_, clock_};
  Party operator_{clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/operator"}),
                  PeerPolicy{{}, {"*/sn"}}};
  HttpClient client_{*operator_.tls, HttpClientOptions{}};
  std::map<std::string, std::unique_ptr<LearningNodeThread>> nodes_;
};

}  // namespace starling
