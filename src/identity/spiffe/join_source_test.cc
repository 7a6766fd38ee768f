#include "identity/spiffe/join_source.h"

#include <filesystem>
#include <memory>
#include <string>

#include "base/fs.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "identity/bundle_json.h"
#include "identity/certificate.h"
#include "identity/join_state.h"
#include "identity/spiffe/join_source_testing.h"
#include "openssl/x509v3.h"

namespace starling {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using testing::Comes;
using testing::FakeCa;
using testing::FakeSpire;
using testing::FakeSpireWorld;
using ::testing::HasSubstr;
using testing::JoinSourceTest;
using testing::kHanging;
using testing::kToken;
using ::testing::Not;
using Refusal = spire::api::types::PermissionDeniedDetails;

TEST_F(JoinSourceTest, ATokenBecomesTheIdentityOfItsEntry) {
  World([](FakeSpireWorld& world) {
    world.federated["b"] = std::make_shared<FakeCa>("b");
    world.entries[0].add_federates_with("b");
    world.entries[0].add_federates_with("unknown");
  });
  StartAndAwait(Options());
  EXPECT_EQ(State()->svid->id.text(), "spiffe://a/swarm/sl");
  EXPECT_EQ(State()->bundles.size(), 2U);
  EXPECT_EQ(State()->bundles.at("b").roots.size(), 1U);
  EXPECT_TRUE(Trouble().ok()) << Trouble();
  EXPECT_THAT(source_->Report().source, HasSubstr(StrCat("127.0.0.1:", spire_.port())));
  EXPECT_THAT(LogText(), HasSubstr("no bundle of unknown"));
  EXPECT_THAT(LogText(), Not(HasSubstr("insecure")));
}

TEST_F(JoinSourceTest, ARestartNeedsNoTokenAndTakesTheSpentOne) {
  StartAndAwait(Options());
  StartAndAwait(Options(""));
  StartAndAwait(Options());
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 1);
}

TEST_F(JoinSourceTest, ASpentTokenEndsItWithoutASecondTry) {
  const Status status = StartAndFail(Options("2fd1-token-that-was-spent"));
  EXPECT_EQ(StableCode(status), "join-token-spent");
  EXPECT_THAT(ErrorLine(status, ""),
              AllOf(HasSubstr("already been used"), HasSubstr("spire-server token generate"),
                    Not(HasSubstr("2fd1"))));
  EXPECT_THAT(LogText(), Not(HasSubstr("2fd1")));
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 1);
}

TEST_F(JoinSourceTest, AnotherTokenAttestsAndTheOldAgentStaysUntilItWorked) {
  StartAndAwait(Options());
  const std::string path = JoinStatePath(scratch_.File("state"));
  const std::string before = ReadFile(path).value();
  EXPECT_EQ(StableCode(StartAndFail(Options("another-token"))), "join-token-spent");
  EXPECT_EQ(ReadFile(path).value(), before);
  StartAndAwait(Options(""));

  World([](FakeSpireWorld& world) { world.tokens.insert("another-token"); });
  StartAndAwait(Options("another-token"));
  EXPECT_NE(ReadFile(path).value(), before);
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.agents.size(); }), 2U);
}

TEST_F(JoinSourceTest, ABrokenStateIsNamedAndReplacedByAToken) {
  const std::string path = JoinStatePath(scratch_.File("state"));
  ASSERT_TRUE(MakeDirectories(scratch_.File("state")).ok());
  ASSERT_TRUE(WriteFileDurably(path, "{\"format\":1").ok());
  const Status status = StartAndFail(Options(""));
  EXPECT_EQ(StableCode(status), "join-state-broken");
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  StartAndAwait(Options());
  EXPECT_THAT(LogText(), AllOf(HasSubstr(path), HasSubstr("the join token replaces it")));
  StartAndAwait(Options(""));
}

TEST_F(JoinSourceTest, AStateThatCannotBeWrittenIsNamedAndKeepsNothingFromWorking) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(8); });
  StartAndAwait(Options());
  std::filesystem::remove_all(scratch_.File("state"));
  World([](FakeSpireWorld& world) { world.cas.push_back(std::make_shared<FakeCa>("a")); });
  ASSERT_TRUE(CodeComes("join-state-unsaved"));
  EXPECT_EQ(State()->bundles.at("a").roots.size(), 2U);
  EXPECT_THAT(std::string(Trouble().message()), HasSubstr(scratch_.File("state")));
  ASSERT_TRUE(MakeDirectories(scratch_.File("state")).ok());
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
  StartAndAwait(Options(""));
}

TEST_F(JoinSourceTest, ABundleFileThatIsOutOfDateMayBeReplacedMeanwhile) {
  const std::string other = CertificatePem(*FakeCa("a").certificate).value();
  ASSERT_TRUE(WriteFileDurably(bundle_, other).ok());
  Start(Options());
  ASSERT_TRUE(CodeComes("unknown-authority"));
  WriteBundle(spire_);
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
}

TEST_F(JoinSourceTest, TheBundleMayBeOfTheSpiffeFormat) {
  const BundleDocument document{.bundle = {ParseCertificates(spire_.BundlePem()).value()}};
  ASSERT_TRUE(WriteFileDurably(bundle_, BundleJson(document).value()).ok());
  StartAndAwait(Options());
}

TEST_F(JoinSourceTest, AServerThatIsAnotherOneGetsNoToken) {
  FakeSpire other_path("a", "/spire/agent/x"), other_domain("b"), other_ca("a");
  for (FakeSpire* const server : {&other_path, &other_domain, &other_ca}) {
    WriteBundle(server == &other_ca ? spire_ : *server);
    JoinOptions options = Options();
    options.server_port = server->port();
    Start(std::move(options));
    EXPECT_TRUE(Comes([&] { return !Trouble().ok(); }));
    EXPECT_THAT(std::string(Trouble().message()), HasSubstr("is not believed"));
    EXPECT_THAT(NextStep(Trouble()), HasSubstr("bundle show"));
    EXPECT_EQ(server->With([](FakeSpireWorld& w) { return w.attestations; }), 0);
  }
}

TEST_F(JoinSourceTest, InsecureBootstrapIsAskedForAndWarnedOf) {
  JoinOptions options = Options();
  options.bundle_file.clear();
  EXPECT_EQ(StableCode(StartAndFail(options)), "no-bootstrap-bundle");
  options.insecure_bootstrap = true;
  StartAndAwait(options);
  const std::string log = LogText();
  const std::size_t at = log.find("insecure bootstrap");
  EXPECT_NE(at, std::string::npos);
  EXPECT_EQ(log.find("insecure bootstrap", at + 1), std::string::npos);
}

TEST_F(JoinSourceTest, InsecureBootstrapStillWantsAServer) {
  FakeSpire other("a", "/swarm/sn");
  JoinOptions options = Options();
  options.server_port = other.port();
  options.insecure_bootstrap = true;
  Start(options);
  EXPECT_TRUE(CodeComes("wrong-path"));
  EXPECT_EQ(other.With([](FakeSpireWorld& w) { return w.attestations; }), 0);
}

TEST_F(JoinSourceTest, AfterAnInsecureBootstrapTheBundleCounts) {
  JoinOptions options = Options();
  options.insecure_bootstrap = true;
  StartAndAwait(options);
  const FakeSpire other("a");
  options.server_port = other.port();
  options.token.clear();
  Start(options);
  EXPECT_TRUE(CodeComes("unknown-authority"));
}

TEST_F(JoinSourceTest, CertificateAndAgentAreRenewedWhileTheyLast) {
  World([](FakeSpireWorld& world) {
    world.svid_life = seconds(6);
    world.agent_life = seconds(12);
  });
  StartAndAwait(Options());
  EXPECT_TRUE(Comes([&] {
    return source_->Report().rotations >= 4 &&
           World([](FakeSpireWorld& w) { return w.renewals; }) >= 2;
  }));
  EXPECT_TRUE(Trouble().ok()) << Trouble();
  StartAndAwait(Options(""));  // The newest agent is the one that was kept.
}

TEST_F(JoinSourceTest, ACaIsReplacedUnderARunningNode) {
  World([](FakeSpireWorld& world) {
    world.svid_life = seconds(8);
    world.agent_life = seconds(12);
  });
  StartAndAwait(Options());
  const auto roots = [&] { return State()->bundles.at("a").roots.size(); };
  const auto next = std::make_shared<FakeCa>("a");
  World([&](FakeSpireWorld& world) { world.cas.push_back(next); });
  ASSERT_TRUE(Comes([&] { return roots() == 2; }));

  spire_.Stop();
  World([&](FakeSpireWorld& world) {
    world.signer = next;
    world.renewals = world.svids = 0;
  });
  spire_.Start();
  ASSERT_TRUE(Comes(
      [&] { return World([](FakeSpireWorld& w) { return w.renewals > 0 && w.svids > 0; }); }));
  ASSERT_TRUE(Comes([&] {
    return X509_check_issued(next->certificate.get(), State()->svid->chain[0].get()) == X509_V_OK;
  }));
  World([](FakeSpireWorld& world) { world.cas.erase(world.cas.begin()); });
  EXPECT_TRUE(Comes([&] { return roots() == 1; }));
  const int looks = World([](FakeSpireWorld& w) { return w.looks; });
  EXPECT_TRUE(Comes([&] { return World([](FakeSpireWorld& w) { return w.looks; }) > looks; }));
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
}

TEST_F(JoinSourceTest, WhatATaintedCaSignedIsReplacedAtOnceAndStillBelieved) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(12); });
  StartAndAwait(Options());
  const auto next = std::make_shared<FakeCa>("a");
  World([&](FakeSpireWorld& world) {
    world.tainted = world.signer;
    world.signer = next;
    world.cas.push_back(next);
  });
  // Half of the agent's life is half an hour.
  ASSERT_TRUE(Comes([&] { return World([](FakeSpireWorld& w) { return w.renewals; }) == 1; }));
  ASSERT_TRUE(Comes([&] {
    return X509_check_issued(next->certificate.get(), State()->svid->chain[0].get()) == X509_V_OK;
  }));
  EXPECT_EQ(State()->bundles.at("a").roots.size(), 2U);
  World([](FakeSpireWorld& world) { world.cas.erase(world.cas.begin()); });
  EXPECT_TRUE(Comes([&] { return State()->bundles.at("a").roots.size() == 1; }));
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.renewals; }), 1);
}

TEST_F(JoinSourceTest, AnOutageIsNamedAndEndsByItself) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(8); });
  StartAndAwait(Options());
  spire_.Stop();
  ASSERT_TRUE(CodeComes("spire-server-unreachable"));
  EXPECT_THAT(std::string(Trouble().message()),
              AllOf(HasSubstr(StrCat("127.0.0.1:", spire_.port())), HasSubstr("refused")));
  EXPECT_THAT(NextStep(Trouble()), HasSubstr("a new join token is needed"));
  EXPECT_NE(State()->svid, nullptr);
  spire_.Start();
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
}

TEST_F(JoinSourceTest, AStartWaitsForTheServer) {
  spire_.Stop();
  Start(Options());
  ASSERT_TRUE(CodeComes("spire-server-unreachable"));
  spire_.Start();
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
}

TEST_F(JoinSourceTest, AnAgentThatRanOutInAnOutageWantsANewToken) {
  World([](FakeSpireWorld& world) { world.agent_life = seconds(6); });
  StartAndAwait(Options());
  spire_.Stop();
  ASSERT_TRUE(CodeComes("agent-expired"));
  EXPECT_THAT(NextStep(Trouble()), HasSubstr("spire-server token generate"));
  EXPECT_NE(State()->svid, nullptr);  // It is good for an hour.
  EXPECT_EQ(StableCode(StartAndFail(Options(""))), "agent-expired");
}

TEST_F(JoinSourceTest, ARefusedAgentEndsItWithTheReason) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(4); });
  StartAndAwait(Options());
  World([](FakeSpireWorld& world) { world.refuses_agents = Refusal::AGENT_BANNED; });
  ASSERT_TRUE(CodeComes("agent-refused"));
  EXPECT_THAT(std::string(Trouble().message()), HasSubstr("banned"));
}

TEST_F(JoinSourceTest, AnAgentOfWhichAnotherCertificateIsActiveIsRefused) {
  StartAndAwait(Options());
  World([](FakeSpireWorld& world) {
    for (auto& [id, agent] : world.agents) agent.active = "another";
  });
  EXPECT_EQ(StableCode(StartAndFail(Options(""))), "agent-refused");
}

TEST_F(JoinSourceTest, NoOtherEntryIsTakenThanTheOneAskedFor) {
  World([](FakeSpireWorld& world) {
    world.entries.clear();
    world.AddEntry("e-2", "/swarm/sn");
    world.AddEntry("e-3", "/swarm/swci");
  });
  Start(Options());
  ASSERT_TRUE(CodeComes("no-matching-entry"));
  EXPECT_THAT(std::string(Trouble().message()),
              AllOf(HasSubstr("spiffe://a/swarm/sn"), HasSubstr("spiffe://a/swarm/swci")));
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.svids; }), 0);
  World([](FakeSpireWorld& world) { world.AddEntry("e-1", "/swarm/sl"); });
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(State()->svid->id.text(), "spiffe://a/swarm/sl");
}

TEST_F(JoinSourceTest, ANewAgentsEntriesComeALittleLaterWhichIsNoTrouble) {
  World([](FakeSpireWorld& world) { world.entries.clear(); });
  Start(Options());
  ASSERT_TRUE(Comes([&] { return World([](FakeSpireWorld& w) { return w.looks; }) >= 2; }));
  World([](FakeSpireWorld& world) { world.AddEntry("e-1", "/swarm/sl"); });
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_THAT(LogText(), Not(HasSubstr("WARNING")));
}

TEST_F(JoinSourceTest, AnEntryThatIsGoneWithdrawsItsCertificate) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(8); });
  StartAndAwait(Options());
  World([](FakeSpireWorld& world) { world.entries.clear(); });
  ASSERT_TRUE(CodeComes("no-matching-entry"));
  EXPECT_EQ(State()->svid, nullptr);
  EXPECT_EQ(State()->bundles.size(), 1U);
  World([](FakeSpireWorld& world) { world.AddEntry("e-9", "/swarm/sl"); });
  EXPECT_TRUE(Comes([&] { return State()->svid != nullptr; }));
}

TEST_F(JoinSourceTest, TheRateLimitOfAttestationsIsWaitedOut) {
  World([](FakeSpireWorld& world) { world.attestations_to_limit = 1; });
  StartAndAwait(Options());
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 2);
}

TEST_F(JoinSourceTest, ATokenIsNotLostWithTheAnswerBehindIt) {
  World([](FakeSpireWorld& world) { world.bundles_to_lose = 1; });
  StartAndAwait(Options());
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 1);
}

TEST_F(JoinSourceTest, WrongOptionsAreRefusedBeforeATokenIsSpent) {
  std::vector<JoinOptions> wrong(6, Options());
  wrong[0].server_host.clear();
  wrong[1].trust_domain = "A/b";
  wrong[2].state_dir.clear();
  wrong[3].state_dir = "/proc/nothing/can/be/made/here";
  wrong[4].bundle_file = scratch_.File("missing.pem");
  wrong[5].bundle_file = log_path_;
  for (const JoinOptions& options : wrong) {
    EXPECT_FALSE(StartJoinSource(options, clock_, log_).ok());
  }
  EXPECT_EQ(StableCode(StartJoinSource(Options(""), clock_, log_).status()), "join-token-missing");
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 0);
}

}  // namespace
}  // namespace starling
