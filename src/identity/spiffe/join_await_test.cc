// A join source whose token comes later, as in a Secret that Kubernetes mounts.
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "identity/spiffe/join_source_testing.h"

namespace starling {
namespace {

using testing::FakeSpireWorld;
using ::testing::HasSubstr;
using testing::kHanging;
using testing::kToken;
namespace fs = std::filesystem;

class JoinAwaitTest : public testing::JoinSourceTest {
 protected:
  [[nodiscard]] JoinOptions Awaiting() const {
    JoinOptions options = Options("");
    options.token_file = token_file_;
    return options;
  }
  void Write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFileDurably(path, text).ok());
  }
  [[nodiscard]] bool WaitsFor(const std::string& words) const {
    return testing::Comes([&] {
      return StableCode(Trouble()) == "join-token-awaited" &&
             Trouble().message().find(words) != absl::string_view::npos;
    });
  }
  const std::string token_file_ = scratch_.File("token");
};

TEST_F(JoinAwaitTest, AFileThatIsNotThereYetIsWaitedForByName) {
  Start(Awaiting());
  ASSERT_TRUE(WaitsFor(token_file_ + ": there is no such file yet"));
  const Status waited = source_->AwaitIdentity(1ms, {});
  EXPECT_TRUE(absl::IsDeadlineExceeded(waited));
  EXPECT_THAT(std::string(waited.message()), HasSubstr(token_file_));
  Write(token_file_, kToken + "\n");
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
  EXPECT_EQ(Logged("join-token-awaited"), 1);
}

TEST_F(JoinAwaitTest, AnEmptyFileIsWaitedForToo) {
  Write(token_file_, "\n");
  Start(Awaiting());
  ASSERT_TRUE(WaitsFor("it is empty yet"));
  Write(token_file_, kToken);
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
}

TEST_F(JoinAwaitTest, TheBundleMayComeWithTheToken) {
  fs::remove(bundle_);
  Start(Awaiting());
  ASSERT_TRUE(WaitsFor("a join token"));
  Write(token_file_, kToken);
  ASSERT_TRUE(WaitsFor("the bundle of the SPIRE server in " + bundle_));
  Write(bundle_, "");
  ASSERT_TRUE(WaitsFor("it is empty yet"));
  WriteBundle(spire_);
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
}

// As the kubelet does it: files are links into a folder that is a link, which is swapped.
TEST_F(JoinAwaitTest, ASecretThatIsFilledWhereItIsMountedWakesIt) {
  const fs::path volume = scratch_.File("volume");
  fs::create_directories(volume / "..1");
  fs::create_directory_symlink("..1", volume / "..data");
  JoinOptions options = Awaiting();
  options.token_file = volume / "token";
  options.bundle_file = volume / "bundle.pem";
  Start(options);
  ASSERT_TRUE(WaitsFor("there is no such file yet"));
  fs::create_directories(volume / "..2");
  Write(volume / "..2" / "token", kToken);
  Write(volume / "..2" / "bundle.pem", spire_.BundlePem());
  fs::create_directory_symlink("..2", volume / "..tmp");
  fs::rename(volume / "..tmp", volume / "..data");
  fs::create_symlink("..data/token", volume / "token");
  fs::create_symlink("..data/bundle.pem", volume / "bundle.pem");
  EXPECT_TRUE(source_->AwaitIdentity(kHanging, {}).ok()) << Trouble();
}

TEST_F(JoinAwaitTest, ASpentTokenEndsItAsAtTheStart) {
  Start(Awaiting());
  ASSERT_TRUE(WaitsFor("a join token"));
  World([](FakeSpireWorld& world) { world.tokens.clear(); });
  Write(token_file_, kToken);
  EXPECT_EQ(StableCode(source_->AwaitIdentity(kHanging, {})), "join-token-spent");
}

TEST_F(JoinAwaitTest, WhoHasAStateWaitsForNothing) {
  StartAndAwait(Options());
  source_.reset();
  StartAndAwait(Awaiting());
  EXPECT_EQ(Logged("join-token-awaited"), 0);
  EXPECT_EQ(World([](FakeSpireWorld& world) { return world.attestations; }), 1);
}

TEST_F(JoinAwaitTest, AStateDirectoryThatCannotBeIsSaidBeforeAnyWait) {
  Write(scratch_.File("file"), "");
  JoinOptions options = Awaiting();
  options.state_dir = scratch_.File("file") + "/state";
  EXPECT_FALSE(StartAndFail(options).ok());
  options = Awaiting();
  options.bundle_file.clear();
  EXPECT_EQ(StableCode(StartAndFail(options)), "no-bootstrap-bundle");
}

TEST_F(JoinAwaitTest, AStopEndsTheWait) {
  Start(Awaiting());
  ASSERT_TRUE(WaitsFor("a join token"));
  source_.reset();  // Joins the thread.
}

}  // namespace
}  // namespace starling
