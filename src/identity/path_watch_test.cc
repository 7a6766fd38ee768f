#include "identity/path_watch.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

namespace fs = std::filesystem;

// inotify tells what this thread did before the call that did it returns: nothing is waited for.
class PathWatchTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string Path(const std::string& name) const { return scratch_.File(name); }
  static void Write(const std::string& path) { std::ofstream(path) << "x"; }

  const ScratchDirectory scratch_;
  PathWatch watch_;
};

TEST_F(PathWatchTest, AFileWrittenRenamedOverOrRemovedIsTold) {
  Write(Path("a"));
  watch_.AddFile(Path("a"));
  EXPECT_FALSE(watch_.Take());
  Write(Path("a"));
  EXPECT_TRUE(watch_.Take());
  ASSERT_TRUE(WriteFileDurably(Path("a"), "y").ok());
  EXPECT_TRUE(watch_.Take());
  ASSERT_EQ(chmod(Path("a").c_str(), 0600), 0);
  EXPECT_TRUE(watch_.Take());
  fs::remove(Path("a"));
  EXPECT_TRUE(watch_.Take());
}

TEST_F(PathWatchTest, NeighboursAndReadersAreNotTold) {
  Write(Path("a"));
  watch_.AddFile(Path("a"));
  Write(Path("b"));
  fs::create_directory(Path("folder"));
  ASSERT_TRUE(ReadFile(Path("a")).ok());
  EXPECT_FALSE(watch_.Take());
}

TEST_F(PathWatchTest, AFileThatIsNotThereYetIsTold) {
  watch_.AddFile(Path("folder/a"));
  fs::create_directory(Path("folder"));
  EXPECT_TRUE(watch_.Take());
  watch_ = PathWatch();
  watch_.AddFile(Path("folder/a"));
  Write(Path("folder/a"));
  EXPECT_TRUE(watch_.Take());
}

TEST_F(PathWatchTest, ALinkOnTheWayThatIsSwappedIsTold) {
  fs::create_directories(Path("v1/in"));
  fs::create_directories(Path("v2/in"));
  Write(Path("v1/in/a"));
  Write(Path("v2/in/a"));
  fs::create_directory(Path("mount"));
  fs::create_symlink("../v1", Path("mount/..data"));
  fs::create_symlink("..data/in/a", Path("mount/a"));
  watch_.AddFile(Path("mount/a"));
  Write(Path("v2/in/a"));
  EXPECT_FALSE(watch_.Take());
  Write(Path("v1/in/a"));
  EXPECT_TRUE(watch_.Take());
  fs::create_symlink(Path("v2"), Path("mount/..tmp"));
  EXPECT_FALSE(watch_.Take());
  fs::rename(Path("mount/..tmp"), Path("mount/..data"));
  EXPECT_TRUE(watch_.Take());
}

TEST_F(PathWatchTest, AFolderAboveThatIsMovedAwayIsTold) {
  fs::create_directories(Path("up/in"));
  Write(Path("up/in/a"));
  watch_.AddFile(Path("up/in/a"));
  fs::rename(Path("up"), Path("gone"));
  EXPECT_TRUE(watch_.Take());
}

TEST_F(PathWatchTest, OfAFolderEveryFileIsTold) {
  fs::create_directory(Path("cas"));
  Write(Path("elsewhere"));
  fs::create_symlink(Path("elsewhere"), Path("cas/1.pem"));
  watch_.AddFolder(Path("cas"));
  Write(Path("cas/2.pem"));
  EXPECT_TRUE(watch_.Take());
  Write(Path("elsewhere"));
  EXPECT_TRUE(watch_.Take());
  fs::remove(Path("cas/1.pem"));
  EXPECT_TRUE(watch_.Take());
  EXPECT_FALSE(watch_.Take());
}

TEST_F(PathWatchTest, LinksThatLeadInACircleEnd) {
  fs::create_symlink("b", Path("a"));
  fs::create_symlink("a", Path("b"));
  watch_.AddFile(Path("a"));
  fs::remove(Path("b"));
  EXPECT_TRUE(watch_.Take());
}

}  // namespace
}  // namespace starling
