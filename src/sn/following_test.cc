// Following SNs: a sentinel and its followers as whole nodes, over loopback HTTPS.
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sn/network_node_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

class FollowingTest : public ::testing::Test {
 protected:
  FollowingTest() {
    sentinel_.config.name = "sentinel";
    follower_.config.name = "follower";
    follower_.config.sentinel = false;
    a_.blob_url = b_.blob_url = sites_.url();
  }
  void Follow(NodeThread& node) const { node.config.sentinel_urls = {sentinel_.endpoint().Url()}; }
  void StartBoth() {
    ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
    Follow(follower_);
    ASSERT_TRUE(follower_.Start()) << follower_.Ended();
  }
  [[nodiscard]] Caller As(const std::string& path, const NodeThread& at) const {
    return {authority_, path, clock_, at.endpoint().port};
  }
  [[nodiscard]] Caller Sl(const NodeThread& at) const { return As("/swarm/sl", at); }
  [[nodiscard]] Place End(const NodeThread& at) const {
    const Json end = Sl(at).Get("/v1/status").body.at("end");
    return Place{Position(end.at("position").get<std::int64_t>()),
                 ParseHexDigest(end.at("head").get<std::string>()).value()};
  }
  // Returns once the follower has what the sentinel has now.
  void WaitUntilEqual() const {
    const Place end = End(sentinel_);
    while (End(follower_).position < end.position) {
      Sl(follower_).Get(StrCat("/v1/entries?from=", end.position.value(), "&wait=60000"));
    }
  }
  void Enrol(TestNode& node, const NodeThread& through) {
    for (;;) {
      const Answer answer =
          Sl(through).Post("/v1/nodes", {{"contract", "t"}, {"claim", node.Claim(End(sentinel_))}});
      if (answer.code() == "seen-too-old") continue;
      ASSERT_EQ(answer.status, 200) << answer.text;
      return;
    }
  }
  Answer Say(const std::string& entry, const NodeThread& through) const {
    return Sl(through).Post("/v1/entries", {{"entries", Json::array({entry})}});
  }
  Json Training(const NodeThread& at) const { return Sl(at).Get("/v1/contracts/t").body; }
  void WaitUntilItMerges(const NodeThread& at) const {
    for (;;) {
      const Place end = End(at);
      if (Training(at).at("phase") == "merging") return;
      Sl(at).Get(StrCat("/v1/entries?from=", end.position.value() + 1, "&wait=60000"));
    }
  }
  // Everything is said and read through `at`.
  void PlayRound(std::uint64_t round, const NodeThread& at) {
    const std::string base_text = Training(at).at("base").get<std::string>();
    const std::optional<Digest> base =
        base_text.empty() ? std::nullopt : std::optional(ParseRoot(base_text).value());
    ASSERT_EQ(Say(a_.CheckIn(End(at), round, base), at).status, 200);
    ASSERT_EQ(Say(b_.CheckIn(End(at), round, base), at).status, 200);
    WaitUntilItMerges(at);
    std::vector<Member> members;
    for (TestNode* node : {&a_, &b_})
      members.push_back({node->name(), NodeKind::kTrainer, node->Update(round), 1});
    const Digest set = SetHash(base, members);
    for (TestNode* node : {&a_, &b_})
      ASSERT_EQ(Say(node->Vote(End(at), round, set, Root(round)), at).status, 200);
    WaitUntilEqual();
  }
  static Digest Root(std::uint64_t round) { return TestDigest("merged " + std::to_string(round)); }

  RealClock clock_;
  DevAuthority authority_ = DevAuthority::InMemory("test", clock_.UtcNow()).value();
  NodeThread sentinel_{authority_, clock_};
  NodeThread follower_{authority_, clock_};
  Sites sites_{authority_, clock_};
  TestNode a_{"a", 11}, b_{"b", 12};
};

TEST_F(FollowingTest, TwoNodesTrainThroughTheFollower) {
  StartBoth();
  Enrol(a_, follower_);
  Enrol(b_, follower_);
  WaitUntilEqual();

  ASSERT_NO_FATAL_FAILURE(PlayRound(0, follower_));
  ASSERT_NO_FATAL_FAILURE(PlayRound(1, follower_));

  EXPECT_EQ(Training(follower_).at("base"), RootText(Root(1)));
  EXPECT_EQ(Training(sentinel_).at("base"), RootText(Root(1)));
  EXPECT_EQ(Training(follower_).at("nodes").at(0).at("spiffe_id"), "spiffe://test/swarm/sl");
  const Json ours = Sl(follower_).Get("/v1/entries?from=0&decode=1").body.at("entries");
  EXPECT_EQ(ours, Sl(sentinel_).Get("/v1/entries?from=0&decode=1").body.at("entries"));
  EXPECT_EQ(ours.at(1).at("payload").at("type"), "sn-joined");
  EXPECT_EQ(ours.at(1).at("claim_payload").at("api_url"), follower_.endpoint().Url());
  // The follower has said nothing itself.
  for (const Json& entry : ours) EXPECT_NE(entry.at("author"), "follower");
}

TEST_F(FollowingTest, ListsTheSentinelAndItsFollowers) {
  StartBoth();
  const Json at_sentinel = Sl(sentinel_).Get("/v1/nodes").body.at("nodes");
  const Json at_follower = Sl(follower_).Get("/v1/nodes").body.at("nodes");
  ASSERT_EQ(at_sentinel.size(), 2U);
  EXPECT_EQ(at_sentinel.at(0).at("type"), "SENTINEL");
  EXPECT_EQ(at_sentinel.at(1).at("type"), "SN");
  EXPECT_EQ(at_sentinel.at(1).at("port"), follower_.endpoint().port);
  EXPECT_GT(at_sentinel.at(1).at("alive_unix_ms"), 0);
  ASSERT_EQ(at_follower.size(), 2U);
  EXPECT_EQ(at_follower.at(0).at("type"), "SN");
  EXPECT_EQ(at_follower.at(0).at("uuid"), at_sentinel.at(1).at("uuid"));
  EXPECT_EQ(at_follower.at(1).at("type"), "SENTINEL");
  EXPECT_EQ(at_follower.at(1).at("uuid"), at_sentinel.at(0).at("uuid"));
}

TEST_F(FollowingTest, OperatorsAndRefusalsPassThrough) {
  StartBoth();
  Caller boss = As("/swarm/operator", follower_);
  EXPECT_EQ(boss.Post("/v1/contracts", {{"name", "t"}, {"rules", {{"min_peers", 2}}}}).status, 200);
  EXPECT_EQ(boss.Post("/v1/contracts", {{"name", "t"}, {"rules", Json::object()}}).code(),
            "exists");
  Enrol(a_, follower_);
  EXPECT_EQ(boss.Post("/v1/contracts/t", {{"action", "amend"}, {"min_peers", 1}}).status, 200);
  const Answer refused = Sl(follower_).Post("/v1/contracts/t", {{"action", "reset"}});
  EXPECT_EQ(refused.code(), "wrong-path");
  EXPECT_THAT(refused.text, HasSubstr("spiffe://test/swarm/sl"));
  EXPECT_EQ(boss.Post("/v1/sns", {{"claim", "x"}}).code(), "wrong-path");
  WaitUntilEqual();
  EXPECT_EQ(Training(follower_).at("rules").at("min_peers"), 1);
  TestNode stranger("c", 13);
  EXPECT_EQ(Say(stranger.CheckIn(End(sentinel_), 0), follower_).code(), "unknown-key");
}

TEST_F(FollowingTest, OnlyNetworkNodesSpeakForOthers) {
  StartBoth();
  const auto headers = std::map<std::string, std::string>{
      {"content-type", "application/json"}, {"starling-for", "spiffe://test/swarm/operator"}};
  const ClientRequest request{.method = "POST",
                              .target = "/v1/contracts",
                              .headers = headers,
                              .body = R"({"name":"x","rules":{}})"};
  for (const NodeThread* at : {&sentinel_, &follower_}) {
    const Result<ClientResponse> answer = Sl(*at).Try(request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->status, 403);
  }
}

TEST_F(FollowingTest, TheSameBytesThroughAnotherSnAreASuccess) {
  StartBoth();
  Enrol(a_, sentinel_);
  const std::string entry = a_.CheckIn(End(sentinel_), 0);
  EXPECT_EQ(Say(entry, follower_).status, 200);
  const Place end = End(sentinel_);
  EXPECT_EQ(Say(entry, sentinel_).status, 200);
  EXPECT_EQ(Say(entry, follower_).status, 200);
  EXPECT_EQ(End(sentinel_), end);
}

TEST_F(FollowingTest, ARestartedFollowerGoesOnFromWhatItHas) {
  StartBoth();
  Enrol(a_, follower_);
  WaitUntilEqual();
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  Enrol(b_, sentinel_);
  const std::int64_t end = End(sentinel_).position.value();

  ASSERT_TRUE(follower_.Start()) << follower_.Ended();

  EXPECT_EQ(End(follower_), End(sentinel_));
  EXPECT_EQ(end, End(sentinel_).position.value());  // It has not joined a second time.
  ASSERT_NO_FATAL_FAILURE(PlayRound(0, follower_));
}

TEST_F(FollowingTest, ADamagedCopyIsMadeWholeAgain) {
  StartBoth();
  Enrol(a_, follower_);
  WaitUntilEqual();
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  for (const char* part : {"-wal", "-shm"}) std::filesystem::remove(follower_.ledger_path() + part);
  std::ofstream(follower_.ledger_path(), std::ios::trunc) << "torn";

  ASSERT_TRUE(follower_.Start()) << follower_.Ended();

  EXPECT_EQ(End(follower_), End(sentinel_));
  EXPECT_TRUE(std::filesystem::exists(follower_.ledger_path() + ".damaged"));
}

TEST_F(FollowingTest, AFollowerWaitsForItsSentinelAndSaysSo) {
  const std::uint16_t port = UnusedPort();
  follower_.config.sentinel_urls = {Endpoint{"127.0.0.1", port}.Url()};
  follower_.config.health_port = UnusedPort();
  follower_.Begin();
  const Endpoint health{"127.0.0.1", follower_.config.health_port};
  std::string ready;
  while (ready.find("does not") == std::string::npos &&
         ready.find("Connection refused") == std::string::npos) {
    const Result<ClientResponse> answer = PlainGet(health, "/readyz", 60s, {});
    if (!answer.ok()) continue;  // Its port opens in a moment.
    EXPECT_EQ(answer->status, 503);
    ready = answer->body;
  }
  EXPECT_THAT(ready, HasSubstr(Endpoint({"127.0.0.1", port}).Url()));
  EXPECT_THAT(ready, HasSubstr("is away since"));
  EXPECT_THAT(ready, HasSubstr("next: asked again"));

  sentinel_.config.api_port = port;
  ASSERT_TRUE(sentinel_.Start());
  EXPECT_TRUE(follower_.Started());
  EXPECT_EQ(follower_.Health("/readyz").status, 200);
  EXPECT_THAT(follower_.Health("/readyz").body, HasSubstr("sentinel: ready, follows https://"));
}

TEST_F(FollowingTest, AFollowerThatWaitsCanBeStopped) {
  follower_.config.sentinel_urls = {Endpoint{"127.0.0.1", UnusedPort()}.Url()};
  follower_.Begin();
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  EXPECT_FALSE(follower_.Started());
}

TEST_F(FollowingTest, WithoutItsSentinelItServesReadsAndRefusesTheRestInWords) {
  StartBoth();
  Enrol(a_, follower_);
  WaitUntilEqual();
  const Place end = End(follower_);
  const std::string entry = a_.CheckIn(end, 0);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());

  // A tail that waits learns that nothing can come.
  const Answer tail =
      Sl(follower_).Get(StrCat("/v1/entries?from=", end.position.value() + 1, "&wait=60000"));
  EXPECT_EQ(tail.status, 503);
  EXPECT_EQ(tail.code(), "sentinel-away");
  EXPECT_EQ(Say(entry, follower_).code(), "sentinel-away");
  EXPECT_EQ(Training(follower_).at("name"), "t");
  EXPECT_THAT(Training(follower_).at("waiting").at(0).at("what").get<std::string>(),
              HasSubstr("the sentinel is away"));
  const Json status = Sl(follower_).Get("/v1/status").body;
  EXPECT_THAT(status.at("follows").at("trouble").get<std::string>(), HasSubstr("is away since"));
  EXPECT_EQ(Sl(follower_).Get("/v1/entries?from=0").body.at("entries").size(),
            static_cast<std::size_t>(end.position.value()) + 1);
  EXPECT_EQ(follower_.Health("/readyz").status, 503);

  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  for (;;) {
    const Answer answer = Say(entry, follower_);
    if (answer.status == 200) break;
    EXPECT_EQ(answer.status, 503) << answer.text;
  }
  WaitUntilEqual();
  EXPECT_EQ(End(follower_), End(sentinel_));
}

TEST_F(FollowingTest, AnSnCanFollowAFollower) {
  StartBoth();
  NodeThread third(authority_, clock_);
  third.config.name = "third";
  third.config.sentinel = false;
  third.config.sentinel_urls = {follower_.endpoint().Url()};
  ASSERT_TRUE(third.Start()) << third.Ended();
  Enrol(a_, third);
  EXPECT_EQ(Training(sentinel_).at("nodes").at(0).at("spiffe_id"), "spiffe://test/swarm/sl");
  const Json at_sentinel = Sl(sentinel_).Get("/v1/nodes").body.at("nodes");
  EXPECT_EQ(at_sentinel.size(), 4U);
}

TEST_F(FollowingTest, ATakenNameIsRefusedWithTheNextStep) {
  StartBoth();
  NodeThread second(authority_, clock_);
  second.config.name = "follower";
  second.config.sentinel = false;
  Follow(second);
  EXPECT_FALSE(second.Start());
  const Status ended = second.Ended();
  EXPECT_EQ(StableCode(ended), "name-taken");
  EXPECT_THAT(NextStep(ended), HasSubstr("--name"));
  second.config.name = "";  // One that its key gives.
  EXPECT_TRUE(second.Start()) << second.Ended();
}

TEST_F(FollowingTest, ACopyIsNoLedgerToOrder) {
  StartBoth();
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  follower_.config.sentinel = true;
  EXPECT_FALSE(follower_.Start());
  EXPECT_EQ(StableCode(follower_.Ended()), "not-the-sentinel");
}

// A sentinel that was restored from an old copy asks its follower before it says anything.
TEST_F(FollowingTest, ARestoredSentinelGetsItsEntriesBack) {
  StartBoth();
  Enrol(a_, sentinel_);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  const ScratchDirectory backup;
  sentinel_.CopyLedgerTo(backup.File("ledger.db"));
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Enrol(b_, sentinel_);
  ASSERT_NO_FATAL_FAILURE(PlayRound(0, sentinel_));
  const Place end = End(sentinel_);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  std::filesystem::copy_file(backup.File("ledger.db"), sentinel_.ledger_path(),
                             std::filesystem::copy_options::overwrite_existing);

  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();

  EXPECT_GE(End(sentinel_).position, end.position);
  EXPECT_EQ(Sl(sentinel_)
                .Get("/v1/contracts/t",
                     {{"Starling-Seen", StrCat(end.position.value(), ":", HexOf(end.head))}})
                .status,
            200);
  EXPECT_EQ(Training(sentinel_).at("base"), RootText(Root(0)));
  ASSERT_NO_FATAL_FAILURE(PlayRound(1, follower_));
  EXPECT_THAT(sentinel_.LogText(), HasSubstr("entries back from follower"));
}

// The old copy knows of nobody: the follower shows where it stands, and is asked.
TEST_F(FollowingTest, ARestoredSentinelHearsOfWhatItLacks) {
  ASSERT_TRUE(sentinel_.Start());
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  const ScratchDirectory backup;
  sentinel_.CopyLedgerTo(backup.File("ledger.db"));
  StartBoth();
  Enrol(a_, follower_);
  WaitUntilEqual();
  const Place end = End(follower_);
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  std::filesystem::copy_file(backup.File("ledger.db"), sentinel_.ledger_path(),
                             std::filesystem::copy_options::overwrite_existing);

  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Sl(sentinel_).Get(StrCat("/v1/entries?from=", end.position.value(), "&wait=60000"));

  EXPECT_EQ(End(sentinel_), end);
  EXPECT_EQ(Training(sentinel_).at("nodes").size(), 1U);
}

// Both sides of a fork stop.
TEST_F(FollowingTest, ACopyThatContradictsTheSentinelStopsBoth) {
  StartBoth();
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  const ScratchDirectory backup;
  sentinel_.CopyLedgerTo(backup.File("ledger.db"));
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Enrol(a_, follower_);
  WaitUntilEqual();
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  EXPECT_EQ(sentinel_.Stop(), absl::OkStatus());
  std::filesystem::copy_file(backup.File("ledger.db"), sentinel_.ledger_path(),
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(sentinel_.Start()) << sentinel_.Ended();
  Enrol(b_, sentinel_);  // Nobody could tell it better: another log begins.
  const Place other = End(sentinel_);

  EXPECT_FALSE(follower_.Start());

  const Status ended = follower_.Ended();
  EXPECT_EQ(StableCode(ended), "split-ledger") << ended;
  EXPECT_THAT(std::string(ended.message()), HasSubstr("at position "));
  EXPECT_EQ(std::string(ended.message()).find('\n'), std::string::npos);
  const ClientResponse ready = sentinel_.Health("/readyz");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("at position "));
  EXPECT_EQ(Say(b_.CheckIn(other, 0), sentinel_).code(), "split-ledger");
  EXPECT_EQ(End(sentinel_), other);
}

// A copy of another swarm's ledger is its owner's trouble, not the sentinel's.
TEST_F(FollowingTest, ACopyOfAnotherSwarmsLedgerStopsOnlyItself) {
  StartBoth();
  EXPECT_EQ(follower_.Stop(), absl::OkStatus());
  NodeThread other(authority_, clock_);
  other.config.name = "other";
  ASSERT_TRUE(other.Start());
  Follow(follower_);
  follower_.config.sentinel_urls = {other.endpoint().Url()};

  EXPECT_FALSE(follower_.Start());

  EXPECT_EQ(StableCode(follower_.Ended()), "split-ledger") << follower_.Ended();
  EXPECT_EQ(other.Health("/readyz").status, 200);
}

}  // namespace
}  // namespace starling
