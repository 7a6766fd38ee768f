#include "identity/spiffe/workload_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "grpc/support/log.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "identity/certificate_testing.h"
#include "identity/spiffe/workload_source_testing.h"
#include "identity/spiffe/workload_testing.h"

namespace starling {
namespace {

using testing::Ca;
using testing::Der;
using testing::FakeWorkloadApi;
using testing::Fields;
using testing::LeafSpec;

TEST_F(WorkloadSourceTest, TheFirstStateComesByItself) {
  StartSource();
  EXPECT_EQ(Id(), "");
  const SvidFields fields = Fields(ca_);
  api_.Push({fields});
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(Id(), "spiffe://a/swarm/sl");
  EXPECT_EQ(Der(*State()->svid->chain.at(0)), fields.chain);
  EXPECT_EQ(Der(*State()->bundles.at("a").roots.at(0)), fields.bundle);
  const SourceReport report = source_->Report();
  EXPECT_EQ(report.source, "SPIFFE Workload API unix://" + path_);
  EXPECT_TRUE(report.trouble.ok()) << report.trouble;
  EXPECT_EQ(report.updates, 1U);
}

// The fake refuses whoever lacks it, so every other test here proves that the source sends it.
TEST_F(WorkloadSourceTest, TheFakeWantsTheHeader) {
  const auto stub = SpiffeWorkloadAPI::NewStub(
      grpc::CreateChannel("unix:" + path_, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto reader = stub->FetchX509SVID(&context, X509SVIDRequest());
  X509SVIDResponse response;
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(WorkloadSourceTest, ARotationIsTakenFromTheSameStream) {
  StartWithAState();
  const SvidFields next = Fields(ca_);
  api_.Push({next});
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_EQ(Der(*State()->svid->chain.at(0)), next.chain);
  EXPECT_EQ(source_->Report().rotations, 2U);
  EXPECT_EQ(api_.streams(), 1);
}

TEST_F(WorkloadSourceTest, APushOfTheBundleAloneIsTaken) {
  SvidFields fields = Fields(ca_);
  api_.Push({fields});
  StartSource();
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  fields.bundle += Der(*Ca("a").certificate);
  api_.Push({fields});
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_EQ(State()->bundles.at("a").roots.size(), 2U);
  EXPECT_EQ(source_->Report().rotations, 1U);
  EXPECT_EQ(source_->Report().bundle_changes, 2U);
}

TEST_F(WorkloadSourceTest, NoPushIsDropped) {
  StartWithAState();
  const SvidFields fields = Fields(ca_);
  for (int i = 0; i < 50; ++i) api_.Push({fields});
  EXPECT_TRUE(UpdatesCome(51));
  EXPECT_EQ(source_->Report().updates, 51U);
  EXPECT_EQ(source_->Report().rotations, 2U);
}

TEST_F(WorkloadSourceTest, OfSeveralSvidsThePathOrTheHintChooses) {
  api_.Push({Fields(ca_, LeafSpec({"spiffe://a/default"}), "x"),
             Fields(ca_, LeafSpec({"spiffe://a/swarm/sl"}), "y")});
  StartSource();
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(Id(), "spiffe://a/swarm/sl");
  WorkloadOptions options = Options();
  options.choice.hint = "x";
  StartSource(options);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(Id(), "spiffe://a/default");
}

TEST_F(WorkloadSourceTest, WhereNoneFitsTheOffersAreNamed) {
  api_.Push({Fields(ca_, LeafSpec({"spiffe://a/default"}))});
  StartSource();
  ASSERT_TRUE(TroubleComes("no-matching-svid"));
  EXPECT_HAS(Trouble(), "spiffe://a/default");
  EXPECT_TRUE(State()->bundles.contains("a"));
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
}

TEST_F(WorkloadSourceTest, FederatedBundlesComeAndGo) {
  const Ca partner("b");
  api_.Push({Fields(ca_)}, {{"spiffe://b", Der(*partner.certificate)}});
  StartSource();
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_EQ(Der(*State()->bundles.at("b").roots.at(0)), Der(*partner.certificate));
  api_.Push({Fields(ca_)});
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_FALSE(State()->bundles.contains("b"));
}

TEST_F(WorkloadSourceTest, WithoutSvidsTheIdentityIsWithdrawnAndCanComeAgain) {
  StartWithAState();
  api_.Push({});
  ASSERT_TRUE(UpdatesCome(2));
  EXPECT_EQ(Id(), "");
  EXPECT_TRUE(State()->bundles.empty());
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
}

TEST_F(WorkloadSourceTest, AnEmptyBundleTrustsNothing) {
  StartWithAState();
  SvidFields fields = Fields(ca_);
  fields.bundle = "";
  api_.Push({fields});
  ASSERT_TRUE(TroubleComes("empty-bundle"));
  EXPECT_TRUE(State()->bundles.at("a").roots.empty());
}

TEST_F(WorkloadSourceTest, PermissionDeniedNamesTheSelectorsAndIsTriedAgain) {
  api_.Answer({grpc::StatusCode::PERMISSION_DENIED, "no identity issued"});
  StartSource();
  ASSERT_TRUE(TroubleComes("no-identity"));
  const std::string trouble = Trouble();
  EXPECT_HAS(trouble, "no registration entry matches");
  EXPECT_HAS(trouble, "unix:uid:" + std::to_string(getuid()));
  EXPECT_HAS(trouble, "unix:gid:" + std::to_string(getgid()));
  EXPECT_HAS(trouble, "process " + std::to_string(getpid()));
  EXPECT_HAS(trouble, std::filesystem::read_symlink("/proc/self/exe").string());
  EXPECT_HAS(trouble, "no identity issued");
  EXPECT_TRUE(Comes([&] { return api_.streams() > 3; }));
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  EXPECT_TRUE(Well()) << Trouble();
}

TEST_F(WorkloadSourceTest, PermissionDeniedWithdrawsTheSvidAndKeepsTheBundles) {
  StartWithAState();
  api_.Answer({grpc::StatusCode::PERMISSION_DENIED, "no identity issued"});
  ASSERT_TRUE(TroubleComes("no-identity"));
  EXPECT_EQ(Id(), "");
  EXPECT_EQ(State()->bundles.at("a").roots.size(), 1U);
  EXPECT_TRUE(Comes([&] { return api_.streams() > 3; }));
  EXPECT_EQ(source_->Report().updates, 2U);
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
}

TEST_F(WorkloadSourceTest, WhatIsHeldStaysWhileTheAgentIsUnavailable) {
  StartWithAState();
  const auto held = State();
  api_.Answer({grpc::StatusCode::UNAVAILABLE, "not ready yet"});
  ASSERT_TRUE(TroubleComes("not ready yet"));
  EXPECT_EQ(State(), held);
  EXPECT_TRUE(Comes([&] { return api_.streams() > 3; }));
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(UpdatesCome(2));
  EXPECT_TRUE(Well()) << Trouble();
}

TEST_F(WorkloadSourceTest, OtherEndsOfAStreamAreTroublesToo) {
  StartWithAState();
  const auto held = State();
  for (const auto& [code, part] : {std::pair{grpc::StatusCode::OK, "ended the stream"},
                                   std::pair{grpc::StatusCode::UNIMPLEMENTED, "no Workload API"},
                                   std::pair{grpc::StatusCode::INTERNAL, "the agent's error"}}) {
    api_.Answer({code, code == grpc::StatusCode::OK ? "" : "why"});
    EXPECT_TRUE(TroubleComes(part)) << part;
    EXPECT_EQ(State(), held);
  }
}

TEST_F(WorkloadSourceTest, InvalidArgumentEndsTheWaitAtOnce) {
  api_.Answer({grpc::StatusCode::INVALID_ARGUMENT, "security header missing from request"});
  StartSource();
  const Status status = source_->AwaitIdentity(kHanging, {});
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_HAS(status.message(), "security header missing");
  EXPECT_EQ(api_.streams(), 1);
}

TEST_F(WorkloadSourceTest, AnAgentThatIsStartedAgainIsFound) {
  StartWithAState();
  const auto held = State();
  api_.Stop();
  ASSERT_TRUE(TroubleComes(path_ + ": there is no such socket"));
  EXPECT_EQ(State(), held);
  api_.Push({Fields(ca_)});
  api_.Start();
  EXPECT_TRUE(UpdatesCome(2));
  EXPECT_TRUE(Well()) << Trouble();
}

// The pause is an hour: only that there is another socket can end it.
TEST_F(WorkloadSourceTest, AnotherSocketEndsThePause) {
  api_.Push({Fields(ca_)});
  WorkloadOptions options = Options();
  options.retry_min = options.retry_max = std::chrono::hours(1);
  StartSource(options);
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  std::filesystem::remove(path_);
  api_.Push({Fields(ca_)});
  ASSERT_TRUE(UpdatesCome(2)) << "the stream does not need the file";
  api_.Stop();
  ASSERT_TRUE(TroubleComes("the agent"));
  const std::string elsewhere = scratch_.File("new.sock");
  FakeWorkloadApi second("unix:" + elsewhere);
  second.Push({Fields(ca_)});
  std::filesystem::rename(elsewhere, path_);
  EXPECT_TRUE(UpdatesCome(3));
  EXPECT_TRUE(Well()) << Trouble();
  source_.reset();
}

TEST_F(WorkloadSourceTest, AMessageThatIsTooLargeIsRefusedAndWhatIsHeldStays) {
  StartWithAState();
  const auto held = State();
  SvidFields fields = Fields(ca_);
  fields.hint = std::string(std::size_t{5} << 20, 'x');
  api_.Push({fields});
  ASSERT_TRUE(TroubleComes("resource-exhausted"));
  EXPECT_EQ(State(), held);
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(UpdatesCome(2));
}

TEST_F(WorkloadSourceTest, GarbageIsNamedAndWhatIsHeldStays) {
  StartWithAState();
  const auto held = State();
  SvidFields fields = Fields(ca_);
  fields.chain = "garbage";
  api_.Push({fields});
  ASSERT_TRUE(TroubleComes("bad-svid"));
  EXPECT_HAS(Trouble(), "spiffe://a/swarm/sl");
  EXPECT_HAS(Trouble(), "certificate 1 is broken");
  EXPECT_EQ(State(), held);
  api_.Push({Fields(ca_)});
  EXPECT_TRUE(UpdatesCome(2));
  EXPECT_TRUE(Well()) << Trouble();
  EXPECT_EQ(api_.streams(), 1);
}

// Nobody listens there: who asks a proxy in these tests gets nowhere.
// NOLINTNEXTLINE(concurrency-mt-unsafe): before main there is one thread.
const int kProxies = setenv("http_proxy", "http://127.0.0.1:1", 1) +
                     // NOLINTNEXTLINE(concurrency-mt-unsafe): the same
                     setenv("grpc_proxy", "http://127.0.0.1:1", 1);

TEST_F(WorkloadSourceTest, OverTcpNoProxyIsAsked) {
  ASSERT_EQ(kProxies, 0);
  FakeWorkloadApi api("127.0.0.1:0");
  api.Push({Fields(ca_)});
  WorkloadOptions options = Options();
  options.address = "tcp://127.0.0.1:" + std::to_string(api.port());
  StartSource(options);
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
  source_.reset();  // Its server goes first.
}

// A node starts programs; what it talks to the agent with is not for them.
TEST_F(WorkloadSourceTest, ProgramsThatAreStartedInheritNoDescriptor) {
  StartWithAState();
  std::vector<std::string> inherited;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename().string());
    const int flags = fcntl(fd, F_GETFD);
    std::error_code error;
    const std::string what = std::filesystem::read_symlink(entry.path(), error).string();
    if (fd > 2 && flags >= 0 && (flags & FD_CLOEXEC) == 0 &&
        (what.starts_with("socket:") || what.starts_with("anon_inode:"))) {
      inherited.push_back(what);
    }
  }
  EXPECT_EQ(inherited, std::vector<std::string>{});
}

// If one of them did not, the test would hang and its limit end it.
TEST_F(WorkloadSourceTest, EndsAtOnceWhateverItWaitsFor) {
  WorkloadOptions options = Options();
  options.retry_min = options.retry_max = options.silence_max = std::chrono::hours(1);
  StartSource(options);  // for the first message
  ASSERT_TRUE(Comes([&] { return api_.streams() == 1; }));
  source_.reset();
  api_.Push({Fields(ca_)});
  StartSource(options);  // for the next message
  ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  source_.reset();
  options.address += ".missing";
  StartSource(options);  // to try again
  ASSERT_TRUE(TroubleComes("no such socket"));
  source_.reset();
  StartSource();
  source_.reset();  // before anything happened
}

TEST_F(WorkloadSourceTest, GrpcWritesNothingToStandardError) {
  ::testing::internal::CaptureStderr();
  StartWithAState();
  api_.Stop();
  EXPECT_TRUE(TroubleComes("no such socket"));
  source_.reset();
  gpr_log(GPR_ERROR, "what gRPC would say");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(WorkloadSourceTest, AnAddressThatIsNoneIsRefused) {
  WorkloadOptions options = Options();
  options.address = "agent.sock";
  const auto source = StartWorkloadSource(options, clock_, Log());
  EXPECT_EQ(StableCode(source.status()), "bad-endpoint");
}

}  // namespace
}  // namespace starling
