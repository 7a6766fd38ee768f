// What a join source must come back from by itself, or say once.
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "identity/certificate.h"
#include "identity/certificate_testing.h"
#include "identity/spiffe/join_source_testing.h"
#include "openssl/x509v3.h"

namespace starling {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::Comes;
using testing::Der;
using testing::FakeCa;
using testing::FakeSpireWorld;
using ::testing::HasSubstr;
using testing::kHanging;
using ::testing::Not;

class JoinSourceFaultsTest : public testing::JoinSourceTest {
 protected:
  [[nodiscard]] std::size_t Roots() const { return State()->bundles.at("a").roots.size(); }
  int Looks() {
    return World([](FakeSpireWorld& w) { return w.looks; });
  }
  bool LooksCome(int more) {
    return Comes([this, until = Looks() + more] { return Looks() >= until; });
  }
};

TEST_F(JoinSourceFaultsTest, AChangeOfCasThatItMissedIsRepairedByTheBundleFile) {
  StartAndAwait(Options());
  source_.reset();
  spire_.Stop();
  World([](FakeSpireWorld& world) {
    world.signer = std::make_shared<FakeCa>("a");
    world.cas.push_back(world.signer);
  });
  spire_.Start();
  Start(Options(""));
  ASSERT_TRUE(CodeComes("unknown-authority"));
  EXPECT_THAT(NextStep(Trouble()), HasSubstr("bundle show"));
  std::filesystem::remove(bundle_);
  EXPECT_TRUE(Comes([&] { return NextStep(Trouble()).find(bundle_) != std::string::npos; }));
  WriteBundle(spire_);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(Roots(), 2U);

  JoinOptions without_file = Options("");  // The state knows the new CA from now on.
  without_file.bundle_file.clear();
  StartAndAwait(without_file);
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 1);
}

TEST_F(JoinSourceFaultsTest, AClockThatWasWrongForAMomentEndsNothing) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(6); });
  StartAndAwait(Options());
  clock_.Shift(hours(5));
  ASSERT_TRUE(CodeComes("agent-expired"));
  const int looks = Looks();
  clock_.Shift(seconds(0));
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
  EXPECT_GT(Looks(), looks);
}

TEST_F(JoinSourceFaultsTest, OneFederatedBundleThatCannotBeReadHurtsNothingElse) {
  World([](FakeSpireWorld& world) {
    world.svid_life = seconds(6);
    for (const std::string domain : {"b", "c"}) {
      world.federated[domain] = std::make_shared<FakeCa>(domain);
      world.entries[0].add_federates_with(domain);
    }
  });
  StartAndAwait(Options());
  const auto c = std::make_shared<FakeCa>("c");
  World([&](FakeSpireWorld& world) {
    world.federated_to_break = {"b"};
    world.federated["c"] = c;
  });
  const auto rotations = source_->Report().rotations;
  ASSERT_TRUE(Comes([&] { return source_->Report().rotations >= rotations + 2; }));
  EXPECT_EQ(State()->bundles.at("b").roots.size(), 1U);
  EXPECT_EQ(Der(*State()->bundles.at("c").roots.at(0)), Der(*c->certificate));
  EXPECT_TRUE(Trouble().ok()) << Trouble();
  EXPECT_EQ(Logged("the bundle of b cannot be read"), 1);
}

TEST_F(JoinSourceFaultsTest, ACertificateOfACaThatIsGoneIsReplacedBeforeItIsDue) {
  World([](FakeSpireWorld& world) { world.agent_life = seconds(12); });
  StartAndAwait(Options());
  const auto next = std::make_shared<FakeCa>("a");
  World([&](FakeSpireWorld& world) {
    world.signer = next;
    world.cas.push_back(next);
    world.renewals = 0;
  });
  // The agent is of the new CA when it is renewed again; the certificate is good for an hour.
  ASSERT_TRUE(Comes([&] { return World([](FakeSpireWorld& w) { return w.renewals; }) >= 2; }));
  ASSERT_EQ(Roots(), 2U);
  spire_.Stop();
  World([](FakeSpireWorld& world) { world.cas.erase(world.cas.begin()); });
  spire_.Start();
  ASSERT_TRUE(Comes([&] { return Roots() == 1; }));
  ASSERT_NE(State()->svid, nullptr);
  EXPECT_TRUE(Comes([&] {
    return X509_check_issued(next->certificate.get(), State()->svid->chain[0].get()) == X509_V_OK;
  }));
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
}

TEST_F(JoinSourceFaultsTest, AStateThatCannotBeWrittenIsOneTrouble) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(4); });
  StartAndAwait(Options());
  std::filesystem::remove_all(scratch_.File("state"));
  World([](FakeSpireWorld& world) { world.cas.push_back(std::make_shared<FakeCa>("a")); });
  ASSERT_TRUE(CodeComes("join-state-unsaved"));
  const UtcTime since = source_->Report().trouble_since;
  ASSERT_TRUE(LooksCome(4));
  EXPECT_EQ(source_->Report().trouble_since, since);
  EXPECT_EQ(Logged("cannot be kept"), 1);
  EXPECT_EQ(Logged("is over"), 0);
}

TEST_F(JoinSourceFaultsTest, WhatIsLeftOutIsSaidOnce) {
  World([](FakeSpireWorld& world) {
    world.svid_life = seconds(4);
    world.federated["b"] = nullptr;
    world.entries[0].add_federates_with("b");
  });
  StartAndAwait(Options());
  ASSERT_TRUE(LooksCome(3));
  EXPECT_EQ(Logged("federated bundle b"), 1);
}

TEST_F(JoinSourceFaultsTest, WhatATokenGaveIsKeptBeforeAnythingElseIsAsked) {
  for (const bool insecure : {false, true}) {
    JoinOptions options = Options(insecure ? "another-token" : testing::kToken);
    options.insecure_bootstrap = insecure;
    options.state_dir = scratch_.File(insecure ? "insecure" : "pinned");
    if (insecure) options.bundle_file.clear();
    World([&](FakeSpireWorld& world) {
      world.tokens.insert("another-token");
      world.attestations = 0;
      world.bundles_to_lose = 1'000'000;
    });
    Start(options);
    const std::string path = JoinStatePath(options.state_dir);
    ASSERT_TRUE(Comes([&] { return ReadJoinState(path).ok(); }));
    source_.reset();  // As if it were killed.
    World([](FakeSpireWorld& world) { world.bundles_to_lose = 0; });
    options.token.clear();
    if (insecure) {
      options.insecure_bootstrap = false;
      EXPECT_EQ(StableCode(StartAndFail(options)), "no-bootstrap-bundle");
      options.insecure_bootstrap = true;
    }
    StartAndAwait(options);
    EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 1);
    EXPECT_FALSE(ReadJoinState(path)->bundle.roots.empty());
  }
}

TEST_F(JoinSourceFaultsTest, ATokenIsNotSpentWhereItsAgentHasNoRoom) {
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit whole{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &whole), 0);
  const rlimit little{.rlim_cur = 8192, .rlim_max = whole.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &little), 0);
  const auto source = StartJoinSource(Options(), clock_, log_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &whole), 0);
  std::signal(SIGXFSZ, before);
  ASSERT_FALSE(source.ok());
  EXPECT_THAT(std::string(source.status().message()), HasSubstr(scratch_.File("state")));
  EXPECT_EQ(World([](FakeSpireWorld& w) { return w.attestations; }), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.File("state")));
}

TEST_F(JoinSourceFaultsTest, WhatAKilledProcessLeftIsRemoved) {
  const std::string path = JoinStatePath(scratch_.File("state"));
  const std::vector<std::string> left = {path + ".tmp1.0", path + ".tmp77.12",
                                         scratch_.File("state/spire-agent.try.tmp1.1")};
  const std::string other = path + ".tmpl";
  ASSERT_TRUE(MakeDirectories(scratch_.File("state")).ok());
  for (const std::string& file : left) ASSERT_TRUE(WriteFileDurably(file, "key").ok());
  ASSERT_TRUE(WriteFileDurably(other, "of somebody else").ok());
  StartAndAwait(Options());
  for (const std::string& file : left) EXPECT_FALSE(std::filesystem::exists(file)) << file;
  EXPECT_TRUE(std::filesystem::exists(other));
}

TEST_F(JoinSourceFaultsTest, AnExceptionEndsItWithAnErrorAndNotTheProcess) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(4); });
  StartAndAwait(Options());
  clock_.ThrowOnce();
  ASSERT_TRUE(Comes([&] { return absl::IsInternal(Trouble()); }));
  EXPECT_THAT(std::string(Trouble().message()), HasSubstr("no clock"));
  EXPECT_NE(State()->svid, nullptr);
}

TEST_F(JoinSourceFaultsTest, NoPartOfATokenIsRepeatedWhereTheServersWordsAreCut) {
  const std::string start = "2fd1-";
  const Status status = StartAndFail(Options(start + std::string(1000, 't')));
  EXPECT_EQ(StableCode(status), "join-token-spent");
  EXPECT_THAT(ErrorLine(status, ""), Not(HasSubstr(start)));
}

}  // namespace
}  // namespace starling
