// The whole keeper between a SPIRE server and an API of Kubernetes that are made here.
#include "tokens/keeper.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "identity/spiffe/comes_testing.h"
#include "identity/spiffe/fake_spire_testing.h"
#include "tokens/fake_kube_testing.h"

namespace starling {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::AllOf;
using testing::Comes;
using ::testing::ElementsAre;
using testing::FakeCa;
using testing::FakeKube;
using testing::FakeKubeWorld;
using testing::FakeSpire;
using testing::FakeSpireWorld;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kSn = "swarm/sn-identity";
constexpr const char* kSl = "swarm/sl-identity";
constexpr const char* kFirst = "made-token-0";

// Both clocks, each set forward by a test.
class LaterClock final : public Clock {
 public:
  [[nodiscard]] Instant Now() const override { return real_.Now() + gone_.load(); }
  [[nodiscard]] UtcTime UtcNow() const override { return real_.UtcNow() + by_.load(); }
  void Pass(minutes time) { gone_ = time; }
  void Shift(minutes by) { by_ = by; }  // The server's clock is another one: see ShiftAll().

 private:
  const RealClock real_;
  std::atomic<minutes> gone_{minutes(0)};
  std::atomic<minutes> by_{minutes(0)};
};

class TokenKeeperTest : public ::testing::Test {
 protected:
  TokenKeeperTest() {
    kube_.With([](FakeKubeWorld& world) { world.Add("swarm", "sn-identity"); });
    spire_.ServeOperator(scratch_.File("api.sock"));
    options_.server_socket = scratch_.File("api.sock");
    options_.config.trust_domain = "swarm.test";
    options_.config.space = "swarm";
    options_.config.tokens = {{"/sn-agent", "sn-identity"}};
    options_.kube = kube_.Options();
    options_.health = {.address = "127.0.0.1", .port = 0};
    options_.look = options_.full_look = 20ms;
  }
  // Whatever a test did, no token is to be read.
  ~TokenKeeperTest() override {
    Stop();
    EXPECT_THAT(LogText(), Not(HasSubstr("made-token-")));
    EXPECT_THAT(LogText(), Not(HasSubstr("token-of-this-pod")));
  }

  void Start() {
    port_ = 0;
    thread_ = std::jthread([this](const std::stop_token& stop) {
      const Status status = RunTokenKeeper(
          options_, {clock_, log_, [this](std::uint16_t port) { port_ = port; }}, stop);
      EXPECT_TRUE(status.ok()) << status;
    });
    ASSERT_TRUE(Comes([&] { return port_ != 0; }));
  }
  void Stop() { thread_ = {}; }
  [[nodiscard]] ClientResponse Page(const std::string& path) const {
    const auto page = PlainGet({"127.0.0.1", port_}, path, 60s, {});
    EXPECT_TRUE(page.ok()) << page.status();
    return page.value_or(ClientResponse{});
  }
  bool ReadyComes() {
    return Comes([&] { return Page("/readyz").status == 200; });
  }
  bool ReadyzComes(const std::string& words) {
    return Comes([&] {
      const ClientResponse page = Page("/readyz");
      return page.status == 503 && page.body.find(words) != std::string::npos;
    });
  }
  std::string Data(const std::string& key, const char* secret = kSn) {
    return kube_.With([&](FakeKubeWorld& world) {
      return world.secrets[secret].contains("data") && world.secrets[secret]["data"].contains(key)
                 ? world.Data(secret, key)
                 : std::string();
    });
  }
  bool TokenComes(const std::string& token, const char* secret = kSn) {
    return Comes([&] { return Data("token", secret) == token; });
  }
  // So many more requests have come: the keeper has looked again, and more than once.
  bool LooksCome(std::size_t requests = 5) {
    const auto count = [&] {
      return kube_.With([](FakeKubeWorld& world) { return world.heads.size(); });
    };
    return Comes([&, until = count() + requests] { return count() >= until; });
  }
  std::size_t TokensMade() {
    return spire_.With([](FakeSpireWorld& world) { return world.made_tokens.size(); });
  }
  // The clocks of a pod are one.
  void ShiftAll(minutes by) {
    spire_.With([&](FakeSpireWorld& world) { world.token_clock_shift = by; });
    clock_.Shift(by);
  }
  // As AttestAgent does it.
  void Spend(const std::string& token) {
    spire_.With([&](FakeSpireWorld& world) {
      EXPECT_EQ(world.tokens.erase(token), 1U);
      world.agents["spiffe://swarm.test/spire/agent/join_token/" + token] = {};
    });
  }
  // Of tokens: these tests have no other entries.
  int Aliases() {
    return spire_.With(
        [](FakeSpireWorld& world) { return static_cast<int>(world.registered.size()); });
  }
  std::vector<std::string> Changes() {
    return spire_.With([](FakeSpireWorld& world) { return world.changes; });
  }
  [[nodiscard]] std::string LogText() const {
    return ReadFile(scratch_.File("log"), std::size_t{1} << 24).value_or("");
  }
  [[nodiscard]] int Logged(std::string_view words) const {
    const std::string text = LogText();
    int count = 0;
    for (std::size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
      ++count;
    return count;
  }

  const ScratchDirectory scratch_;
  const Log log_ = Log::ToFile("test", LogLevel::kDebug, LogFormat::kText, scratch_.File("log"));
  LaterClock clock_;
  FakeSpire spire_{"swarm.test"};
  FakeKube kube_{RealClock().UtcNow()};
  TokenKeeperOptions options_;
  std::atomic<std::uint16_t> port_{0};
  std::jthread thread_;  // Last: it uses the others.
};

TEST_F(TokenKeeperTest, ASecretGetsATokenAndTheBundle) {
  Start();
  ASSERT_TRUE(ReadyComes());
  EXPECT_EQ(Data("token"), kFirst);
  EXPECT_EQ(Data("bundle.pem"), spire_.BundlePem());
  kube_.With([](FakeKubeWorld& world) {
    const Json& annotations = world.secrets[kSn]["metadata"]["annotations"];
    EXPECT_EQ(annotations["starling.dev/token-agent"], "spiffe://swarm.test/sn-agent");
    EXPECT_THAT(annotations["starling.dev/token-expires"].get<std::string>(),
                ::testing::EndsWith("Z"));
    // Both in one request: whoever mounts the Secret never sees one without the other.
    EXPECT_THAT(world.texts.at(0), "{}");
    EXPECT_THAT(world.texts.at(1), AllOf(HasSubstr("\"token\""), HasSubstr("\"bundle.pem\"")));
  });
  EXPECT_EQ(Page("/startupz").status, 200);
  EXPECT_THAT(Page("/readyz").body, HasSubstr("secret swarm/sn-identity: ready"));
  EXPECT_THAT(Page("/metrics").body, HasSubstr("starling_join_tokens_total{reason=\"first\"} 1\n"));
}

TEST_F(TokenKeeperTest, ASpentTokenIsReplacedAndSaidInOneLine) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  Spend(kFirst);
  ASSERT_TRUE(TokenComes("made-token-1"));
  ASSERT_TRUE(LooksCome());
  EXPECT_EQ(Logged("the Secret swarm/sn-identity has a new join token, as its node has used"), 1);
  EXPECT_EQ(TokensMade(), 2U);
  EXPECT_THAT(Changes(), ElementsAre());  // The alias of the agent that lives stays.
}

TEST_F(TokenKeeperTest, ATokenThatTheServerLostIsReplaced) {
  options_.full_look = hours(1);
  options_.config.entries = {
      {.id = "starling-1", .path = "/sn", .parent = "/sn-agent", .selectors = {"u:1"}}};
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  spire_.With([](FakeSpireWorld& world) {
    world.tokens.clear();
    world.registered.clear();
  });
  ASSERT_TRUE(TokenComes("made-token-1"));
  ASSERT_TRUE(Comes([&] { return Changes().size() == 2; }));
  EXPECT_THAT(Changes(), ElementsAre("create", "create"));
  EXPECT_EQ(Logged("as the server does not know the old one"), 1);
  EXPECT_EQ(TokensMade(), 2U);
}

TEST_F(TokenKeeperTest, AfterARestartTheTokenThatIsThereStays) {
  Start();
  ASSERT_TRUE(ReadyComes());
  Stop();
  Start();
  ASSERT_TRUE(ReadyComes());
  ASSERT_TRUE(LooksCome());
  EXPECT_EQ(Data("token"), kFirst);
  EXPECT_EQ(TokensMade(), 1U);
  Stop();
  Spend(kFirst);
  Start();
  EXPECT_TRUE(TokenComes("made-token-1"));
}

TEST_F(TokenKeeperTest, ASecretThatWasMadeAnewIsFilledAgain) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  kube_.With([](FakeKubeWorld& world) { world.Add("swarm", "sn-identity"); });
  EXPECT_TRUE(TokenComes("made-token-1"));
}

TEST_F(TokenKeeperTest, AChangeOfCasReachesTheSecretAndLeavesItsToken) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  spire_.With(
      [](FakeSpireWorld& world) { world.cas.push_back(std::make_shared<FakeCa>("swarm.test")); });
  EXPECT_TRUE(Comes([&] { return Data("bundle.pem") == spire_.BundlePem(); }));
  EXPECT_EQ(Data("token"), kFirst);
}

TEST_F(TokenKeeperTest, ATokenNearItsEndIsReplacedAndItsAliasGoesOnceItIsOver) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  ShiftAll(minutes(50));
  ASSERT_TRUE(TokenComes("made-token-1"));
  ASSERT_TRUE(LooksCome());
  EXPECT_THAT(Changes(), ElementsAre());  // Until then a node may still use it.
  Stop();
  ShiftAll(minutes(61));
  Start();
  ASSERT_TRUE(Comes([&] { return !Changes().empty(); }));
  spire_.With([](FakeSpireWorld& world) {
    for (const auto& entry : world.registered) EXPECT_NE(entry.id(), "alias-of-made-token-0");
  });
  ASSERT_TRUE(LooksCome());
  EXPECT_THAT(Changes(), ElementsAre("delete"));
}

TEST_F(TokenKeeperTest, TheAliasOfATokenOfAnotherAgentGoesToo) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  Stop();
  options_.config.tokens = {{"/other-agent", "sn-identity"}};
  Start();
  ASSERT_TRUE(TokenComes("made-token-1"));
  EXPECT_EQ(Aliases(), 2);
  ShiftAll(minutes(61));
  EXPECT_TRUE(Comes([&] { return Changes().size() == 1; }));
  ASSERT_TRUE(TokenComes("made-token-2"));
  spire_.With([](FakeSpireWorld& world) {
    for (const auto& entry : world.registered) EXPECT_NE(entry.spiffe_id().path(), "/sn-agent");
  });
}

TEST_F(TokenKeeperTest, AnAliasThatCannotBeRemovedKeepsNoTokenBack) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  ShiftAll(minutes(50));
  ASSERT_TRUE(TokenComes("made-token-1"));
  ASSERT_TRUE(ReadyComes());
  spire_.With([](FakeSpireWorld& world) { world.refuses_deletes = true; });
  ShiftAll(minutes(61));
  ASSERT_TRUE(ReadyzComes("secret swarm/sn-identity: spire-server-error"));
  Spend("made-token-1");
  EXPECT_TRUE(TokenComes("made-token-2"));
  spire_.With([](FakeSpireWorld& world) { world.refuses_deletes = false; });
  EXPECT_TRUE(ReadyComes());
  EXPECT_THAT(Changes(), ElementsAre("delete"));
}

TEST_F(TokenKeeperTest, TheAliasOfATokenWhoseAnswerWasLostGoesToo) {
  spire_.With([](FakeSpireWorld& world) { world.token_answers_to_lose = 1; });
  Start();
  ASSERT_TRUE(TokenComes("made-token-1"));
  EXPECT_EQ(Aliases(), 2);
  Spend("made-token-1");
  ASSERT_TRUE(TokenComes("made-token-2"));
  ShiftAll(minutes(61));
  ASSERT_TRUE(Comes([&] { return !Changes().empty(); }));
  spire_.With([](FakeSpireWorld& world) {
    for (const auto& entry : world.registered) EXPECT_NE(entry.id(), "alias-of-made-token-0");
  });
}

TEST_F(TokenKeeperTest, AnAliasOfATokenThatWasUsedAtTheLastMomentStays) {
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  ShiftAll(minutes(50));
  ASSERT_TRUE(TokenComes("made-token-1"));
  Spend(kFirst);
  ShiftAll(minutes(61));
  ASSERT_TRUE(Comes([&] {
    return kube_.With([](FakeKubeWorld& world) {
      return world.secrets[kSn]["metadata"]["annotations"]["starling.dev/retired-entries"] == "";
    });
  }));
  EXPECT_THAT(Changes(), ElementsAre());
}

TEST_F(TokenKeeperTest, EntriesAreMadeOnceAndPutRight) {
  SpireEntry entry{.id = "starling-1",
                   .path = "/sn",
                   .parent = "/sn-agent",
                   .selectors = {"unix:uid:0"},
                   .dns_names = {"sn"},
                   .federates_with = {},
                   .x509_svid_ttl = hours(1)};
  options_.config.entries = {entry};
  spire_.With([](FakeSpireWorld& world) {  // Somebody else's, and more than a page of them.
    for (int i = 0; i < 5; ++i) {
      auto& other = world.registered.emplace_back();
      other.set_id(StrCat("other-", i));
      other.mutable_spiffe_id()->set_trust_domain("swarm.test");
      other.mutable_spiffe_id()->set_path("/sn");
      other.mutable_parent_id()->set_trust_domain("swarm.test");
      other.mutable_parent_id()->set_path("/sn-agent");
      other.add_selectors()->set_type(StrCat("t", i));
    }
  });
  Start();
  ASSERT_TRUE(ReadyComes());
  ASSERT_TRUE(LooksCome());
  EXPECT_THAT(Changes(), ElementsAre("create"));
  spire_.With([](FakeSpireWorld& world) {
    for (auto& one : world.registered) {
      if (one.id() == "starling-1") one.clear_dns_names();
    }
  });
  ASSERT_TRUE(Comes([&] { return Changes().size() == 2; }));
  ASSERT_TRUE(LooksCome());
  EXPECT_THAT(Changes(), ElementsAre("create", "update"));
  spire_.With([](FakeSpireWorld& world) {
    EXPECT_EQ(world.registered.size(), 7U);  // those five, ours, and the alias
    for (const auto& one : world.registered) {
      if (one.id() != "starling-1") continue;
      EXPECT_EQ(one.dns_names_size(), 1);
      EXPECT_EQ(one.selectors(0).type(), "unix");
      EXPECT_EQ(one.selectors(0).value(), "uid:0");
      EXPECT_EQ(one.x509_svid_ttl(), 3600);
    }
  });
}

TEST_F(TokenKeeperTest, AnEntryThatIsRefusedHurtsNothingElse) {
  options_.config.entries = {
      {.id = "starling-1", .path = "/bad", .parent = "/x", .selectors = {"u:1"}},
      {.id = "starling-2", .path = "/good", .parent = "/x", .selectors = {"u:1"}}};
  spire_.With([](FakeSpireWorld& world) { world.refused_path = "/bad"; });
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  EXPECT_TRUE(ReadyzComes("making the entry of /bad: no such federated bundle"));
  EXPECT_THAT(Changes(), ElementsAre("create"));
  spire_.With([](FakeSpireWorld& world) { world.refused_path.clear(); });
  EXPECT_TRUE(ReadyComes());
}

TEST_F(TokenKeeperTest, AServerThatIsNotThereYetIsWaitedFor) {
  spire_.Stop();
  Start();
  ASSERT_TRUE(ReadyzComes("spire-server-unreachable"));
  EXPECT_THAT(Page("/readyz").body, AllOf(HasSubstr(options_.server_socket), HasSubstr("since 2")));
  EXPECT_EQ(Page("/startupz").status, 200);
  spire_.Start();
  EXPECT_TRUE(ReadyComes());
  EXPECT_EQ(Logged("INFO : spire-server: spire-server-unreachable"), 1);
  EXPECT_EQ(Logged("WARNING"), 0);
  // It was there: now it is missed.
  spire_.Stop();
  EXPECT_TRUE(
      Comes([&] { return Logged("WARNING : spire-server: spire-server-unreachable") == 1; }));
}

TEST_F(TokenKeeperTest, AServerThatIsNotThereAfterAMinuteIsAWarning) {
  spire_.Stop();
  Start();
  ASSERT_TRUE(Comes([&] { return Logged("INFO : spire-server: spire-server-unreachable") == 1; }));
  EXPECT_EQ(Logged("WARNING"), 0);
  clock_.Pass(minutes(1));
  EXPECT_TRUE(
      Comes([&] { return Logged("WARNING : spire-server: spire-server-unreachable") == 1; }));
}

TEST_F(TokenKeeperTest, AServerOfAnotherTrustDomainGetsNoEntry) {
  options_.config.trust_domain = "another.test";
  options_.config.entries = {
      {.id = "starling-1", .path = "/a", .parent = "/x", .selectors = {"u:1"}}};
  Start();
  EXPECT_TRUE(ReadyzComes("wrong-trust-domain"));
  EXPECT_THAT(Changes(), ElementsAre());
  EXPECT_EQ(TokensMade(), 0U);
}

TEST_F(TokenKeeperTest, WhileKubernetesIsAwayItTriesWithTheTokenThatItHas) {
  options_.full_look = hours(1);
  kube_.Answers(false);
  Start();
  ASSERT_TRUE(ReadyzComes("kube-unreachable"));
  kube_.Answers(true);
  ASSERT_TRUE(ReadyComes());
  kube_.Answers(false);
  Spend(kFirst);
  ASSERT_TRUE(ReadyzComes("kube-unreachable"));
  ASSERT_TRUE(Comes([&] { return TokensMade() == 2; }));
  kube_.Answers(true);
  ASSERT_TRUE(TokenComes("made-token-1"));
  ASSERT_TRUE(ReadyComes());
  EXPECT_EQ(TokensMade(), 2U);
}

TEST_F(TokenKeeperTest, AMissingSecretIsNamedAndTheOthersAreKept) {
  options_.config.tokens = {{"/sl-agent", "sl-identity"}, {"/sn-agent", "sn-identity"}};
  Start();
  ASSERT_TRUE(Comes([&] { return !Data("token").empty(); }));
  ASSERT_TRUE(ReadyzComes("the Secret swarm/sl-identity is missing"));
  EXPECT_THAT(Page("/readyz").body, HasSubstr("create it empty"));
  EXPECT_EQ(Logged("kube-secret-missing"), 1);
  kube_.With([](FakeKubeWorld& world) { world.Add("swarm", "sl-identity"); });
  EXPECT_TRUE(ReadyComes());
  EXPECT_THAT(Data("token", kSl), HasSubstr("made-token-"));
}

TEST_F(TokenKeeperTest, AnApiThatIsAwayIsAskedOnceForAllSecrets) {
  options_.config.tokens = {{"/sl-agent", "sl-identity"}, {"/sn-agent", "sn-identity"}};
  kube_.With([](FakeKubeWorld& world) { world.Add("swarm", "sl-identity"); });
  kube_.Answers(false);
  Start();
  ASSERT_TRUE(ReadyzComes("secret swarm/sn-identity: kube-unreachable"));
  EXPECT_THAT(Page("/readyz").body, HasSubstr("secret swarm/sl-identity: kube-unreachable"));
  kube_.With([](FakeKubeWorld& world) {
    for (const std::string& head : world.heads)
      EXPECT_THAT(head, HasSubstr("/secrets/sl-identity?"));  // the first of them
  });
  kube_.Answers(true);
  ASSERT_TRUE(ReadyComes());
  EXPECT_EQ(TokensMade(), 2U);
}

TEST_F(TokenKeeperTest, AnAnswerThatCannotBeUsedHoldsNoOtherSecretUp) {
  options_.config.tokens = {{"/sl-agent", "sl-identity"}, {"/sn-agent", "sn-identity"}};
  kube_.With(
      [](FakeKubeWorld& world) { world.answers[kSl] = testing::WebServer::Whole(200, "<html>"); });
  Start();
  ASSERT_TRUE(TokenComes(kFirst));
  EXPECT_TRUE(ReadyzComes("secret swarm/sl-identity: kube-unavailable"));
  EXPECT_TRUE(ReadyzComes("secret swarm/sn-identity: ready"));
}

TEST_F(TokenKeeperTest, AServerWhoseClockIsAnotherIsNamedAndItsTokenIsNotUsed) {
  spire_.With([](FakeSpireWorld& world) { world.token_clock_shift = -minutes(50); });
  Start();
  ASSERT_TRUE(ReadyzComes("clocks-differ"));
  ASSERT_TRUE(Comes([&] { return Changes().size() >= 2; }));  // So many were made, and left.
  EXPECT_LE(Aliases(), 1);
  EXPECT_EQ(Logged("clocks-differ"), 1);
  EXPECT_EQ(Data("token"), "");
  spire_.With([](FakeSpireWorld& world) { world.token_clock_shift = minutes(0); });
  EXPECT_TRUE(ReadyComes());
}

TEST_F(TokenKeeperTest, AWebhookThatTakesTheAnnotationsOutCostsNoTokens) {
  kube_.With([](FakeKubeWorld& world) { world.strip_annotation = "starling.dev/token-expires"; });
  Start();
  ASSERT_TRUE(ReadyzComes("does not hold what was set"));
  ASSERT_TRUE(LooksCome(3));
  EXPECT_EQ(TokensMade(), 1U);
}

}  // namespace
}  // namespace starling
