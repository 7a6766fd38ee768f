#include "kube/overlay_folder.h"

#include <filesystem>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling::kube {
namespace {

using ::testing::HasSubstr;

TEST(OverlayFolder, ReplacesOnlyWhatAnImportMade) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}, {"b.yaml", "b"}}, false).ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/own.yaml", "own").ok());
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "A"}}, false).ok());
  EXPECT_EQ(*ReadFile(folder + "/a.yaml"), "A");
  EXPECT_FALSE(std::filesystem::exists(folder + "/b.yaml"));
  EXPECT_EQ(*ReadFile(folder + "/own.yaml"), "own");
}

TEST(OverlayFolder, WritesIntoAnothersOnlyByForce) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(MakeDirectories(folder).ok());
  EXPECT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}}, false).ok());  // It was empty.

  const std::string others = scratch.File("others");
  ASSERT_TRUE(MakeDirectories(others).ok());
  ASSERT_TRUE(WriteFileDurably(others + "/a.yaml", "theirs").ok());
  const Status refused = WriteOverlay(others, {{"a.yaml", "a"}}, false);
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(others + "/a.yaml"), "theirs");
  ASSERT_TRUE(WriteOverlay(others, {{"a.yaml", "a"}}, true).ok());
  EXPECT_EQ(*ReadFile(others + "/a.yaml"), "a");
}

// A marker that was written by somebody else names no file outside of the folder.
TEST(OverlayFolder, RemovesNothingOutside) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteFileDurably(scratch.File("out.yaml"), "out").ok());
  ASSERT_TRUE(MakeDirectories(folder).ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/.starling-import", "../out.yaml\nnotes.txt\n").ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/notes.txt", "mine").ok());
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}}, false).ok());
  EXPECT_TRUE(std::filesystem::exists(scratch.File("out.yaml")));
  EXPECT_TRUE(std::filesystem::exists(folder + "/notes.txt"));
}

}  // namespace
}  // namespace starling::kube
