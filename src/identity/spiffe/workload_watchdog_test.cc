// Agents that live and say nothing.
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "identity/certificate_testing.h"
#include "identity/spiffe/workload_source.h"
#include "identity/spiffe/workload_source_testing.h"
#include "identity/spiffe/workload_testing.h"

namespace starling {
namespace {

using testing::Der;
using testing::FakeWorkloadApi;
using testing::Fields;
using testing::kNow;

// Long enough for several looks at the path, for what must not happen in them.
constexpr Duration kAWhile = std::chrono::seconds(3);

// The old agent says nothing and lives on, without a name: only its stream could hold the source.
TEST_F(WorkloadSourceTest, AnotherSocketEndsAStreamWhoseAgentLivesOn) {
  StartWithAState();
  const std::string elsewhere = scratch_.File("new.sock");
  FakeWorkloadApi second("unix:" + elsewhere);
  const SvidFields fields = Fields(ca_);
  second.Push({fields});
  std::filesystem::rename(elsewhere, path_);
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_EQ(Der(*State()->svid->chain.at(0)), fields.chain);
  EXPECT_TRUE(Well()) << Trouble();
  EXPECT_EQ(second.streams(), 1);
  source_.reset();
}

TEST_F(WorkloadSourceTest, AnotherSocketEndsAStreamThatNeverSpoke) {
  StartSource();
  ASSERT_TRUE(Comes([&] { return api_.streams() == 1; }));
  const std::string elsewhere = scratch_.File("new.sock");
  FakeWorkloadApi second("unix:" + elsewhere);
  second.Push({Fields(ca_)});
  std::filesystem::rename(elsewhere, path_);
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  source_.reset();
}

TEST_F(WorkloadSourceTest, ASocketOnWhichNobodyListensEndsNoStream) {
  StartWithAState();
  std::filesystem::remove(path_);
  const UniqueFd bound(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_FALSE(Comes([&] { return !Well(); }, kAWhile)) << Trouble();
  api_.Push({Fields(ca_)});
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_EQ(api_.streams(), 1);
  EXPECT_TRUE(Well()) << Trouble();
}

// It takes connections, as the kernel does for it, and says nothing.
TEST_F(WorkloadSourceTest, AnAgentThatHangsIsNamedBeforeTheEndAndANewOneTakesOver) {
  WorkloadOptions options = Options();
  options.silence_max = std::chrono::milliseconds(20);
  api_.Push({Fields(ca_)});
  StartSource(options);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  const auto held = State();
  api_.Hang();
  clock_.Advance(std::chrono::minutes(31));  // Of two hours, one of which was over.
  ASSERT_TRUE(TroubleComes("the agent has said nothing since " + FormatUtc(kNow) +
                           ", and our certificate is past three quarters of its life"))
      << Trouble();
  EXPECT_EQ(State(), held);
  clock_.Advance(std::chrono::minutes(30));
  ASSERT_TRUE(TroubleComes("the agent has said nothing since " + FormatUtc(kNow) +
                           ", and our certificate has expired"))
      << Trouble();
  const int streams = api_.streams();
  EXPECT_TRUE(Comes([&] { return api_.streams() > streams; })) << "it is asked again";
  const std::string elsewhere = scratch_.File("new.sock");
  FakeWorkloadApi second("unix:" + elsewhere);
  second.Push({Fields(ca_)});
  std::filesystem::rename(elsewhere, path_);
  EXPECT_TRUE(UpdatesCome(2));
  EXPECT_TRUE(Comes([&] { return Well(); })) << Trouble();
  source_.reset();
}

TEST_F(WorkloadSourceTest, AnAgentThatHangsNoMoreIsTakenAgain) {
  WorkloadOptions options = Options();
  options.silence_max = std::chrono::milliseconds(20);
  api_.Push({Fields(ca_)});
  StartSource(options);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  api_.Hang();
  clock_.Advance(std::chrono::minutes(31));
  ASSERT_TRUE(TroubleComes("the agent has said nothing since"));
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(UpdatesCome(2));
  EXPECT_TRUE(Comes([&] { return Well(); })) << Trouble();
}

// Its server is away, so it cannot renew: on a new stream it says what it has, and is not blamed.
TEST_F(WorkloadSourceTest, AnAgentThatOnlyHasNothingNewIsNotNamed) {
  WorkloadOptions options = Options();
  options.silence_max = options.retry_max = std::chrono::minutes(10);  // However slow it is.
  api_.Push({Fields(ca_)});
  StartSource(options);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  clock_.Advance(std::chrono::minutes(29));  // Just before three quarters.
  EXPECT_FALSE(Comes([&] { return api_.streams() > 1; }, kAWhile));
  clock_.Advance(std::chrono::minutes(2));
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_TRUE(Well()) << Trouble();
  EXPECT_FALSE(Comes([&] { return api_.streams() > 2; }, kAWhile)) << "one answer is enough";
  clock_.Advance(std::chrono::minutes(30));  // And once more at the end.
  ASSERT_TRUE(UpdatesCome(3));
  EXPECT_TRUE(Well()) << Trouble();
  EXPECT_EQ(source_->Report().rotations, 1U);
  EXPECT_EQ(api_.streams(), 3);
}

TEST_F(WorkloadSourceTest, AnAgentThatSaysNothingIsNamedAndWaitedFor) {
  WorkloadOptions options = Options();
  options.silence_max = std::chrono::milliseconds(20);
  StartSource(options);
  ASSERT_TRUE(TroubleComes("has said nothing"));
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(api_.streams(), 1);
  EXPECT_TRUE(Well()) << Trouble();
}

}  // namespace
}  // namespace starling
