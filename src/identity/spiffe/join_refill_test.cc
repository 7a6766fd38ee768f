// A join source whose token is in a file that is refilled each time its token is spent.
#include <filesystem>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "identity/spiffe/join_source_testing.h"

namespace starling {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::AllOf;
using testing::Comes;
using testing::FakeCa;
using testing::FakeSpireWorld;
using ::testing::HasSubstr;
using testing::kHanging;
using testing::kToken;
using ::testing::Not;

const std::string kNext = "5f27-next-token-of-this-test";

class JoinRefillTest : public testing::JoinSourceTest {
 protected:
  JoinRefillTest() {
    World([](FakeSpireWorld& world) { world.tokens.insert(kNext); });
  }
  ~JoinRefillTest() override { EXPECT_THAT(LogText(), Not(HasSubstr(kNext))); }

  void Fill(const std::string& token) { ASSERT_TRUE(WriteFileDurably(token_file_, token).ok()); }
  // As a node gives them: what the file holds now.
  [[nodiscard]] JoinOptions InFile(const std::string& token) {
    JoinOptions options = Options(token);
    options.token_file = token_file_;
    Fill(token);
    return options;
  }
  void Evict() {
    World([](FakeSpireWorld& world) { world.agents.clear(); });
  }
  int Attestations() {
    return World([](FakeSpireWorld& world) { return world.attestations; });
  }
  [[nodiscard]] std::string KeptFrom() const {
    const Result<JoinState> state = ReadJoinState(JoinStatePath(scratch_.File("state")));
    return state.ok() ? state->token_hash : "";
  }
  const std::string token_file_ = scratch_.File("token");
};

TEST_F(JoinRefillTest, ARestartKeepsItsAgentAndLeavesTheNewToken) {
  StartAndAwait(InFile(kToken));
  StartAndAwait(InFile(kNext));
  StartAndAwait(InFile(""));
  EXPECT_EQ(Attestations(), 1);
  EXPECT_EQ(KeptFrom(), TokenHash(kToken));
  EXPECT_TRUE(World([](FakeSpireWorld& world) { return world.tokens.contains(kNext); }));
}

TEST_F(JoinRefillTest, AnAgentThatRanOutIsReplacedAtTheStart) {
  World([](FakeSpireWorld& world) { world.agent_life = seconds(6); });
  StartAndAwait(InFile(kToken));
  source_.reset();
  clock_.Shift(minutes(1));
  EXPECT_EQ(StableCode(StartAndFail(InFile(kToken))), "agent-expired");
  World([](FakeSpireWorld& world) { world.agent_life = seconds(3600); });
  StartAndAwait(InFile(kNext));
  EXPECT_EQ(KeptFrom(), TokenHash(kNext));
}

TEST_F(JoinRefillTest, AnEvictedAgentIsReplacedAtARestart) {
  StartAndAwait(InFile(kToken));
  source_.reset();
  Evict();
  StartAndAwait(InFile(kNext));
  EXPECT_EQ(Attestations(), 2);
  EXPECT_EQ(KeptFrom(), TokenHash(kNext));
  EXPECT_EQ(Logged("makes another agent"), 1);
  StartAndAwait(InFile(kNext));
  EXPECT_EQ(Attestations(), 2);
}

TEST_F(JoinRefillTest, TheFileIsReadAgainWhenTheServerRefuses) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(8); });
  StartAndAwait(InFile(kToken));
  Fill(kNext);
  // A new agent has no entries for a moment; the certificate that is held stays meanwhile.
  World([](FakeSpireWorld& world) {
    world.agents.clear();
    world.entries.clear();
  });
  ASSERT_TRUE(Comes([&] { return KeptFrom() == TokenHash(kNext); }));
  const auto looks = [&] { return World([](FakeSpireWorld& world) { return world.looks; }); };
  ASSERT_TRUE(Comes([&, until = looks() + 1] { return looks() >= until; }));
  const auto rotations = source_->Report().rotations;
  World([](FakeSpireWorld& world) { world.AddEntry("e-1", "/swarm/sl"); });
  EXPECT_TRUE(Comes([&] { return source_->Report().rotations > rotations; })) << Trouble();
  EXPECT_EQ(Attestations(), 2);
  // Where all this took so long that the entry counts as gone, that is said.
  EXPECT_LE(Logged("was withdrawn"), Logged("no-matching-entry"));
  EXPECT_TRUE(Trouble().ok()) << Trouble();
}

TEST_F(JoinRefillTest, AnEvictedAgentWithItsOwnTokenOrNoneEndsAtOnce) {
  StartAndAwait(InFile(kToken));
  source_.reset();
  Evict();
  for (const std::string& token : {kToken, std::string()}) {
    const Status end = StartAndFail(InFile(token));
    EXPECT_EQ(StableCode(end), "agent-refused");
    EXPECT_THAT(std::string(end.message()), AllOf(HasSubstr("evicted"), HasSubstr(token_file_)));
  }
  const JoinOptions options = InFile(kToken);
  std::filesystem::remove(token_file_);
  EXPECT_EQ(StableCode(StartAndFail(options)), "agent-refused");
  EXPECT_EQ(Attestations(), 1);
}

TEST_F(JoinRefillTest, ASpentTokenInTheFileEndsItAndTheOldStateStays) {
  StartAndAwait(InFile(kToken));
  source_.reset();
  World([](FakeSpireWorld& world) {
    world.agents.clear();
    world.tokens.clear();
  });
  EXPECT_EQ(StableCode(StartAndFail(InFile(kNext))), "join-token-spent");
  EXPECT_EQ(KeptFrom(), TokenHash(kToken));
}

TEST_F(JoinRefillTest, ANodeThatRunsWaitsForAnotherToken) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(8); });
  StartAndAwait(InFile(kToken));
  Evict();
  ASSERT_TRUE(CodeComes("agent-refused"));
  EXPECT_THAT(std::string(Trouble().message()), HasSubstr(token_file_));
  EXPECT_THAT(NextStep(Trouble()), HasSubstr("put another one there"));
  Fill(kNext);
  ASSERT_TRUE(Comes([&] { return KeptFrom() == TokenHash(kNext); }));
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
  EXPECT_EQ(Attestations(), 2);
}

TEST_F(JoinRefillTest, ANodeThatRunsTriesASpentTokenOnceAndWaitsForAnother) {
  const std::string last = "1c44-last-token-of-this-test";
  World([&](FakeSpireWorld& world) {
    world.svid_life = seconds(8);
    world.tokens = {kToken, last};
  });
  StartAndAwait(InFile(kToken));
  Fill(kNext);
  Evict();
  ASSERT_TRUE(Comes([&] {
    return Trouble().message().find("token that the server does not take") !=
           absl::string_view::npos;
  })) << Trouble();
  EXPECT_EQ(KeptFrom(), TokenHash(kToken));
  const auto looks = [&] { return World([](FakeSpireWorld& world) { return world.looks; }); };
  ASSERT_TRUE(Comes([&, until = looks() + 2] { return looks() >= until; }));
  EXPECT_EQ(Attestations(), 2);
  Fill(last);
  ASSERT_TRUE(Comes([&] { return KeptFrom() == TokenHash(last); }));
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
  EXPECT_EQ(Attestations(), 3);
}

TEST_F(JoinRefillTest, ANodeWhoseAgentRanOutTakesAnotherToken) {
  World([](FakeSpireWorld& world) {
    world.agent_life = minutes(30);
    world.svid_life = seconds(6);
  });
  StartAndAwait(InFile(kToken));
  World([](FakeSpireWorld& world) { world.agent_life = world.svid_life = minutes(120); });
  clock_.Shift(minutes(40));  // The server's own certificate is good for an hour.
  ASSERT_TRUE(CodeComes("agent-expired"));
  EXPECT_THAT(std::string(Trouble().message()), HasSubstr(token_file_));
  Fill(kNext);
  ASSERT_TRUE(Comes([&] { return KeptFrom() == TokenHash(kNext); })) << Trouble();
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
}

TEST_F(JoinRefillTest, AClockThatIsWrongForAMomentSpendsNoToken) {
  World([](FakeSpireWorld& world) { world.svid_life = seconds(6); });
  StartAndAwait(InFile(kToken));
  Fill(kNext);
  clock_.Shift(minutes(300));
  ASSERT_TRUE(CodeComes("agent-expired"));
  EXPECT_THAT(NextStep(Trouble()), HasSubstr("once the SPIRE server answers"));
  clock_.Shift(seconds(0));
  EXPECT_TRUE(Comes([&] { return Trouble().ok(); })) << Trouble();
  EXPECT_EQ(Attestations(), 1);
  EXPECT_EQ(KeptFrom(), TokenHash(kToken));
}

TEST_F(JoinRefillTest, ARefusingServerIsBelievedWithoutItsFile) {
  StartAndAwait(InFile(kToken));
  source_.reset();
  Evict();
  std::filesystem::remove(bundle_);
  StartAndAwait(InFile(kNext));
}

// It has another CA, which never signed the agent, so that it ends the connection unsaid.
TEST_F(JoinRefillTest, AServerThatLostAllTakesTheNewTokenByTheNewBundle) {
  StartAndAwait(InFile(kToken));
  source_.reset();
  spire_.Stop();
  World([](FakeSpireWorld& world) {
    world.agents.clear();
    world.signer = std::make_shared<FakeCa>("a");
    world.cas = {world.signer};
  });
  spire_.Start();
  Start(InFile(kNext));
  ASSERT_TRUE(CodeComes("unknown-authority"));
  EXPECT_EQ(Attestations(), 1);
  WriteBundle(spire_);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
  EXPECT_EQ(KeptFrom(), TokenHash(kNext));
  EXPECT_EQ(State()->bundles.at("a").roots.size(), 1U);

  // Without another token it ends at once, and says so at each start.
  Evict();
  spire_.Stop();
  World([](FakeSpireWorld& world) {
    world.signer = std::make_shared<FakeCa>("a");
    world.cas = {world.signer};
  });
  spire_.Start();
  WriteBundle(spire_);
  for (int start = 0; start < 2; ++start)
    EXPECT_EQ(StableCode(StartAndFail(InFile(kNext))), "agent-refused");
}

TEST_F(JoinRefillTest, ATokenThatCameLateIsNoOutageOfTheServer) {
  JoinOptions options = InFile("");
  Start(options);
  ASSERT_TRUE(CodeComes("join-token-awaited"));
  Fill(kToken);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
  EXPECT_TRUE(Comes([&] { return Logged("is over") == 1; }));
  EXPECT_EQ(Logged("again"), 0);
}

}  // namespace
}  // namespace starling
