#include "sn/network_node.h"

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "identity/live_source.h"
#include "sn/network_node_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

class NetworkNodeTest : public ::testing::Test {
 protected:
  NetworkNodeTest() : authority_(DevAuthority::InMemory("test", clock_.UtcNow()).value()) {
    auto state = std::make_shared<IdentityState>();
    const UtcTime now = clock_.UtcNow();
    state->svid =
        authority_.Issue({.path = "/swarm/sn", .not_before = now - 1h, .not_after = now + 1h})
            .value();
    state->bundles["test"] = authority_.bundle();
    source_ = MakeFixedSource(state);
    config_.state_dir = scratch_.path() + "/state";
    config_.listen_address = "127.0.0.1";
    config_.api_port = config_.health_port = 0;
    config_.allow_loopback = true;
    a_.blob_url = b_.blob_url = sites_.url();
  }
  ~NetworkNodeTest() override { Stop(); }

  void Start(const Log& log = {}) {
    std::promise<std::pair<std::uint16_t, std::uint16_t>> ready;
    auto ports = ready.get_future();
    node_ =
        std::jthread([this, log, ready = std::move(ready)](const std::stop_token& stop) mutable {
          bool said = false;
          const auto on_ready = [&](std::uint16_t api, std::uint16_t health) {
            said = true;
            ready.set_value({api, health});
          };
          ended_ = RunNetworkNode(config_, {clock_, random_, *source_, log, on_ready}, stop);
          if (!said) ready.set_value({0, 0});
        });
    std::tie(api_port_, health_port_) = ports.get();
    if (api_port_ == 0) return;
    sl_ = std::make_unique<Caller>(authority_, "/swarm/sl", clock_, api_port_);
    boss_ = std::make_unique<Caller>(authority_, "/swarm/operator", clock_, api_port_);
  }
  void Stop() {
    sl_.reset();
    boss_.reset();
    if (!node_.joinable()) return;
    node_.request_stop();
    node_.join();
  }
  std::string PlainGet(const std::string& path) const {
    auto stream = Stream::ConnectPlain("127.0.0.1", health_port_, 10s, 10s, {});
    EXPECT_TRUE(stream.ok()) << stream.status();
    if (!stream.ok()) return "";
    EXPECT_TRUE((*stream)
                    ->WriteAll(AsBytes("GET " + path +
                                       " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
                    .ok());
    std::string out;
    std::array<std::byte, 4096> buffer{};
    for (;;) {
      const Result<std::size_t> got = (*stream)->ReadSome(buffer);
      if (!got.ok() || *got == 0) return out;
      out += ToString(ByteSpan(buffer).first(*got));
    }
  }
  Place End() {
    const Json end = sl_->Get("/v1/entries?from=0").body.at("end");
    return Place{Position(end.at("position").get<std::int64_t>()),
                 ParseHexDigest(end.at("head").get<std::string>()).value()};
  }
  Json Training() { return sl_->Get("/v1/contracts/t").body; }
  void Enrol(TestNode& node, const Rules& rules = StatedRules()) {
    Answer answer =
        sl_->Post("/v1/nodes", {{"contract", "t"}, {"claim", node.Claim(End(), rules)}});
    if (answer.code() == "seen-too-old") {
      EXPECT_EQ(answer.status, 409);
      const Json& place = answer.body.at("place");
      const Place fresh{Position(place.at(0).get<std::int64_t>()),
                        ParseHexDigest(place.at(1).get<std::string>()).value()};
      answer = sl_->Post("/v1/nodes", {{"contract", "t"}, {"claim", node.Claim(fresh, rules)}});
    }
    ASSERT_EQ(answer.status, 200) << answer.text;
  }
  Answer Say(const std::string& entry) {
    return sl_->Post("/v1/entries", {{"entries", Json::array({entry})}});
  }
  // The SN asks the nodes before it closes a round.
  void WaitUntilItMerges() {
    for (;;) {
      const Place end = End();
      if (Training().at("phase") == "merging") return;
      sl_->Get(StrCat("/v1/entries?from=", end.position.value() + 1, "&wait=60000"));
    }
  }
  void PlayRound(std::uint64_t round) {
    const std::string base_text = Training().at("base").get<std::string>();
    const std::optional<Digest> base =
        base_text.empty() ? std::nullopt : std::optional(ParseRoot(base_text).value());
    ASSERT_EQ(Say(a_.CheckIn(End(), round, base)).status, 200);
    ASSERT_EQ(Say(b_.CheckIn(End(), round, base)).status, 200);
    WaitUntilItMerges();
    std::vector<Member> members;
    for (TestNode* node : {&a_, &b_})
      members.push_back({node->name(), NodeKind::kTrainer, node->Update(round), 1});
    const Digest set = SetHash(base, members);
    for (TestNode* node : {&a_, &b_})
      ASSERT_EQ(Say(node->Vote(End(), round, set, Root(round))).status, 200);
  }
  static Digest Root(std::uint64_t round) { return TestDigest("merged " + std::to_string(round)); }

  RealClock clock_;
  SystemRandom random_;
  const ScratchDirectory scratch_;
  DevAuthority authority_;
  std::unique_ptr<SvidSource> source_;
  NetworkNodeConfig config_;
  Status ended_;
  std::uint16_t api_port_ = 0, health_port_ = 0;
  std::unique_ptr<Caller> sl_, boss_;
  Sites sites_{authority_, clock_};
  TestNode a_{"a", 11}, b_{"b", 12};
  std::jthread node_;
};

TEST_F(NetworkNodeTest, SaysThatItIsUpReadyAndHowMuchItHolds) {
  Start();
  EXPECT_EQ(sl_->Get("/is_up").text, "OK");
  EXPECT_THAT(PlainGet("/livez"), HasSubstr("200"));
  EXPECT_THAT(PlainGet("/startupz"), HasSubstr("started"));
  const std::string ready = PlainGet("/readyz");
  EXPECT_THAT(ready, HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(ready, HasSubstr("ledger: ready, 1 entries"));
  EXPECT_THAT(ready, HasSubstr("identity: ready, valid until "));
  EXPECT_THAT(PlainGet("/metrics"), HasSubstr("\nstarling_ledger_entries 1\n"));
}

TEST_F(NetworkNodeTest, TwoNodesTrainThroughTheApi) {
  Start();
  Enrol(a_);
  Enrol(b_);
  ASSERT_NO_FATAL_FAILURE(PlayRound(0));
  const Json training = Training();
  EXPECT_EQ(training.at("phase"), "collecting");
  EXPECT_EQ(training.at("round"), 1);
  EXPECT_EQ(training.at("rounds_sealed"), 1);
  EXPECT_EQ(training.at("base"), RootText(Root(0)));
  EXPECT_EQ(training.at("participants"), Json::array({"a", "b"}));
  EXPECT_EQ(training.at("nodes").at(0).at("spiffe_id"), "spiffe://test/swarm/sl");
  EXPECT_EQ(training.at("nodes").at(0).at("holder"), true);
  EXPECT_EQ(training.at("rules").at("min_peers"), 2);
  const Json status = sl_->Get("/v1/status").body;
  EXPECT_EQ(status.at("contracts").at(0), training);
  EXPECT_THAT(PlainGet("/metrics"), HasSubstr("starling_rounds_sealed{training=\"t\"} 1"));
  EXPECT_EQ(sl_->Get("/v1/contracts/none").status, 404);
}

TEST_F(NetworkNodeTest, ShowsEntriesDecodedWithTheirAuthorsAndReasons) {
  Start();
  Enrol(a_);
  const Answer ignored = Say(a_.CheckIn(End(), 7));
  EXPECT_EQ(ignored.status, 200);
  EXPECT_FALSE(ignored.body.at("ignored").at(0).get<std::string>().empty());
  const Json page = sl_->Get("/v1/entries?from=1&decode=1").body;
  const Json& entries = page.at("entries");
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries.at(0).at("payload").at("type"), "contract-created");
  EXPECT_EQ(entries.at(1).at("claim_payload").at("name"), "a");
  EXPECT_EQ(entries.at(1).at("ignored"), "");
  EXPECT_EQ(entries.at(2).at("author"), "a");
  EXPECT_EQ(entries.at(2).at("ignored"), ignored.body.at("ignored").at(0));
  EXPECT_EQ(page.at("end"), page.at("final"));
  EXPECT_FALSE(sl_->Get("/v1/entries?from=1").body.at("entries").at(0).contains("payload"));
}

TEST_F(NetworkNodeTest, ListsItselfAndTheNodesWithWhenTheyWereHeardOf) {
  Start();
  Enrol(a_);
  Enrol(b_);
  sl_->Get("/v1/entries?from=0", {{"Starling-Node", "t/a"}});
  const Json nodes = sl_->Get("/v1/nodes").body.at("nodes");
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes.at(0).at("type"), "SENTINEL");
  EXPECT_EQ(nodes.at(0).at("port"), api_port_);
  EXPECT_EQ(nodes.at(1).at("name"), "a");
  EXPECT_EQ(nodes.at(1).at("host"), "127.0.0.1");
  EXPECT_EQ(nodes.at(1).at("parent"), nodes.at(0).at("uuid"));
  EXPECT_GT(nodes.at(1).at("alive_unix_ms"), 0);
  EXPECT_EQ(nodes.at(2).at("alive_unix_ms"), 0);
}

TEST_F(NetworkNodeTest, ALongPollEndsBeforeItsConnectionDoes) {
  Start();
  // With one that is over it would get no second connection.
  Caller brief(authority_, "/swarm/sl", clock_, api_port_, 9s);
  EXPECT_EQ(brief.Get("/v1/entries?from=1000&wait=25000").status, 200);
}

TEST_F(NetworkNodeTest, OnlyThePathsThatMayCallARoute) {
  Start();
  Enrol(a_);
  EXPECT_EQ(sl_->Post("/v1/contracts", {{"name", "x"}, {"rules", Json::object()}}).code(),
            "wrong-path");
  EXPECT_EQ(sl_->Post("/v1/contracts/t", {{"action", "reset"}}).status, 403);
  EXPECT_EQ(boss_->Post("/v1/entries", {{"entries", {"x"}}}).code(), "wrong-path");
  EXPECT_EQ(boss_->Post("/v1/nodes", {{"contract", "t"}, {"claim", "x"}}).status, 403);
  EXPECT_EQ(boss_->Get("/v1/contracts").status, 200);
  Caller stranger(authority_, "/swarm/else", clock_, api_port_);
  EXPECT_FALSE(stranger.Try({.target = "/is_up"}).ok());
  EXPECT_THAT(PlainGet("/metrics"), HasSubstr("starling_refused_total{reason=\"wrong-path\"}"));
}

TEST_F(NetworkNodeTest, OperatorsRunTrainings) {
  config_.auto_create = false;
  Start();
  EXPECT_EQ(sl_->Post("/v1/nodes", {{"contract", "t"}, {"claim", a_.Claim(End())}}).code(),
            "no-such-training");
  EXPECT_EQ(boss_->Post("/v1/contracts", {{"name", "t"}, {"rules", {{"min_peers", 2}}}})
                .body.at("position"),
            1);
  EXPECT_EQ(boss_->Post("/v1/contracts", {{"name", "t"}, {"rules", Json::object()}}).status, 409);
  Enrol(a_);
  EXPECT_EQ(boss_->Post("/v1/contracts/t", {{"action", "amend"}, {"min_peers", 1}}).status, 200);
  EXPECT_EQ(Training().at("rules").at("min_peers"), 1);
  EXPECT_EQ(boss_->Post("/v1/contracts/t", {{"action", "revoke"}, {"node", "a"}}).status, 200);
  EXPECT_TRUE(Training().at("nodes").empty());
  EXPECT_EQ(boss_->Post("/v1/contracts/t", {{"action", "reset"}}).status, 200);
}

TEST_F(NetworkNodeTest, RefusesWhatIsMalformedAndGoesOn) {
  Start();
  Enrol(a_);
  const Place end = End();
  for (const std::string body :
       {"", "{", "[]", "{\"entries\":[1]}", "{\"entries\":[]}", "{\"entries\":[\"x\"],\"more\":1}",
        "{\"entries\":[\"x\",\"x\"]}"}) {
    EXPECT_EQ(sl_->PostText("/v1/entries", body).status, 400) << body;
  }
  EXPECT_GE(sl_->PostText("/v1/entries", std::string(300'000, ' ')).status, 400);
  for (const std::string query :
       {"from=x", "from=-1", "from=99999999999999999999", "wait=1s", "decode=yes"}) {
    EXPECT_EQ(sl_->Get("/v1/entries?" + query).status, 400) << query;
  }
  EXPECT_EQ(boss_->Post("/v1/contracts/t", {{"action", "dance"}}).status, 400);
  EXPECT_EQ(boss_->Post("/v1/contracts", {{"name", "../x"}, {"rules", Json::object()}}).status,
            400);
  TestNode stranger("c", 13);
  EXPECT_EQ(Say(stranger.CheckIn(end, 0)).code(), "unknown-key");
  const std::string entry = a_.CheckIn(end, 0);
  EXPECT_EQ(Say(entry).status, 200);
  EXPECT_EQ(Say(entry).status, 200);  // The same bytes again: the answer may have been lost.
  a_.ForgetOneSeq();
  EXPECT_EQ(Say(a_.CheckIn(end, 1)).code(), "seq-used");
  EXPECT_EQ(End().position.value(), end.position.value() + 1);
}

TEST_F(NetworkNodeTest, AnotherHeadAtTheSamePlaceIsASplitLedger) {
  Start();
  const Place end = End();
  EXPECT_EQ(sl_->Get("/v1/contracts", {{"Starling-Seen", "0:" + HexOf(end.head)}}).status, 200);
  const Answer split =
      sl_->Get("/v1/contracts", {{"Starling-Seen", "0:" + HexOf(TestDigest("x"))}});
  EXPECT_EQ(split.status, 409);
  EXPECT_EQ(split.code(), "split-ledger");
  EXPECT_EQ(sl_->Get("/v1/contracts", {{"Starling-Seen", "5:" + HexOf(end.head)}}).code(),
            "seen-ahead");
  EXPECT_EQ(sl_->Get("/v1/contracts", {{"Starling-Seen", "zero"}}).status, 400);
}

TEST_F(NetworkNodeTest, ATailIsWokenByAnAppend) {
  Start();
  Enrol(a_);
  const std::int64_t next = End().position.value() + 1;
  const std::string entry = a_.CheckIn(End(), 0);
  auto tail = std::async(std::launch::async, [&] {
    return sl_->Get(StrCat("/v1/entries?from=", next, "&wait=60000"));
  });
  ASSERT_EQ(boss_->Get("/v1/status").status, 200);
  ASSERT_EQ(Say(entry).status, 200);
  const Json entries = tail.get().body.at("entries");
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries.at(0).at("entry"), entry);
}

TEST_F(NetworkNodeTest, AStopEndsTailsAndTheNode) {
  Start();
  auto tail = std::async(std::launch::async, [&] {
    return sl_->Try({.target = "/v1/entries?from=99&wait=60000", .idle_timeout = 90s});
  });
  ASSERT_EQ(boss_->Get("/is_up").status, 200);
  node_.request_stop();
  node_.join();
  EXPECT_EQ(ended_, absl::OkStatus());
  static_cast<void>(tail.get());  // Answered or cut off, but ended.
}

TEST_F(NetworkNodeTest, ARestartKeepsTheLedgerAndGoesOn) {
  Start();
  Enrol(a_);
  Enrol(b_);
  ASSERT_NO_FATAL_FAILURE(PlayRound(0));
  const Place end = End();
  const Json uuid = sl_->Get("/v1/nodes").body.at("nodes").at(0).at("uuid");
  Stop();
  Start();
  EXPECT_EQ(End(), end);
  EXPECT_EQ(sl_->Get("/v1/nodes").body.at("nodes").at(0).at("uuid"), uuid);
  ASSERT_NO_FATAL_FAILURE(PlayRound(1));
  EXPECT_EQ(Training().at("base"), RootText(Root(1)));
}

TEST_F(NetworkNodeTest, OneLedgerHasOneNode) {
  Start();
  const auto ready = [](std::uint16_t, std::uint16_t) {};
  const Status second = RunNetworkNode(config_, {clock_, random_, *source_, Log(), ready}, {});
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition) << second;
  EXPECT_EQ(sl_->Get("/is_up").status, 200);
}

TEST_F(NetworkNodeTest, AnotherKeyDoesNotTakeALedgerOver) {
  Start();
  Stop();
  ASSERT_TRUE(std::filesystem::remove(config_.state_dir + "/ledger-key.pem"));
  Start();
  EXPECT_EQ(StableCode(ended_), "wrong-ledger-key");
}

// A source whose identity comes when the test says so, and which says when it is waited for.
class LateSource : public LiveSource {
 public:
  using LiveSource::LiveSource;
  using LiveSource::Publish;
  [[nodiscard]] Status AwaitIdentity(Duration span, const std::stop_token& stop) const override {
    awaited_.test_and_set();
    awaited_.notify_all();
    return LiveSource::AwaitIdentity(span, stop);
  }
  void WaitUntilAwaited() const { awaited_.wait(false); }

 private:
  mutable std::atomic_flag awaited_;
};

// Who comes before would be refused, and blamed for it.
TEST_F(NetworkNodeTest, NobodyReachesTheApiBeforeThereIsACertificate) {
  auto source = std::make_unique<LateSource>("late", clock_, Log());
  LateSource& late = *source;
  const std::shared_ptr<const IdentityState> state = source_->Current();
  source_ = std::move(source);
  config_.api_port = UnusedPort();
  config_.health_port = UnusedPort();
  const std::string log_path = scratch_.path() + "/log.txt";
  std::jthread start(
      [&] { Start(Log::ToFile("swarm.SN", LogLevel::kInfo, LogFormat::kText, log_path)); });
  late.WaitUntilAwaited();

  EXPECT_FALSE(Stream::ConnectPlain("127.0.0.1", config_.api_port, 10s, 10s, {}).ok());
  const Result<ClientResponse> page =
      starling::PlainGet({"127.0.0.1", config_.health_port}, "/startupz", 10s, {});
  EXPECT_EQ(page.value_or(ClientResponse{}).body, "starting: waiting for an identity\n");

  late.Publish(state);
  start.join();
  EXPECT_EQ(sl_->Get("/is_up").text, "OK");
  EXPECT_EQ(ReadFile(log_path, 1U << 20)->find("WARNING"), std::string::npos);
}

TEST_F(NetworkNodeTest, AFollowingSnNeedsASentinel) {
  config_.sentinel = false;
  Start();
  EXPECT_EQ(StableCode(ended_), "no-sentinel");
}

TEST_F(NetworkNodeTest, SaysTheLinesThatPeopleWaitForOnceAndInOrder) {
  const std::string path = scratch_.path() + "/log";
  Start(Log::ToFile("swarm.SN", LogLevel::kInfo, LogFormat::kText, path));
  const std::string port = std::to_string(api_port_);
  Stop();
  const std::string text = ReadFile(path).value();
  std::size_t at = 0;
  for (const std::string& line :
       {std::string("swarm.blCnt : INFO : Setting up blockchain layer for the swarm node: START\n"),
        std::string("swarm.SN : INFO : first node: creating the ledger\n"),
        std::string(
            "swarm.blCnt : INFO : Setting up blockchain layer for the swarm node: FINISHED\n"),
        "swarm.blCnt : INFO : Starting SWARM-API-SERVER on port: " + port + "\n"}) {
    const std::size_t found = text.find(line, at);
    ASSERT_NE(found, std::string::npos) << line << text;
    EXPECT_EQ(text.find(line, found + 1), std::string::npos) << line;
    at = found;
  }
}

TEST_F(NetworkNodeTest, SaysThePortAs03DidWhenAskedTo) {
  const std::string path = scratch_.path() + "/log";
  config_.hpe03_log_form = true;
  Start(Log::ToFile("swarm.SN", LogLevel::kInfo, LogFormat::kText, path));
  const std::string line = StrCat("Starting SWARM-API-SERVER on port :", api_port_, "\n");
  Stop();
  EXPECT_THAT(ReadFile(path).value(), HasSubstr(line));
}

}  // namespace
}  // namespace starling
