#include "kube/overlay_folder.h"

#include <sys/stat.h>

#include <filesystem>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling::kube {
namespace {

using ::testing::HasSubstr;

// sha256sum of "mine"
constexpr std::string_view kHashOfMine =
    "3fd30542fe3f61b14bd4a4b2dc0b6fb30fa6f63ebce52dd1778aaa8c4dc02cff";

TEST(OverlayFolder, ReplacesOnlyWhatAnImportMade) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}, {"b.yaml", "b"}}, false).ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/own.yaml", "own").ok());
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "A"}}, false).ok());
  EXPECT_EQ(ReadFile(folder + "/a.yaml").value_or("missing"), "A");
  EXPECT_FALSE(std::filesystem::exists(folder + "/b.yaml"));
  EXPECT_EQ(ReadFile(folder + "/own.yaml").value_or("missing"), "own");
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
  EXPECT_EQ(ReadFile(others + "/a.yaml").value_or("missing"), "theirs");
  ASSERT_TRUE(WriteOverlay(others, {{"a.yaml", "a"}}, true).ok());
  EXPECT_EQ(ReadFile(others + "/a.yaml").value_or("missing"), "a");
}

TEST(OverlayFolder, RefusesAFileThatNoImportMade) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}}, false).ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/b.yaml", "theirs").ok());
  const Status refused = WriteOverlay(folder, {{"a.yaml", "A"}, {"b.yaml", "b"}}, false);
  EXPECT_EQ(StableCode(refused), "not-ours");
  EXPECT_THAT(refused.message(), HasSubstr("b.yaml is there, and no import made it"));
  EXPECT_EQ(ReadFile(folder + "/a.yaml").value_or("missing"), "a");  // Nothing was written.
  EXPECT_EQ(ReadFile(folder + "/b.yaml").value_or("missing"), "theirs");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "A"}, {"b.yaml", "b"}}, true).ok());
  EXPECT_EQ(ReadFile(folder + "/b.yaml").value_or("missing"), "b");
}

TEST(OverlayFolder, RefusesAFileThatWasEdited) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}, {"b.yaml", "b"}}, false).ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/a.yaml", "edited").ok());
  // Whether it would be replaced or removed.
  for (const std::string name : {"a.yaml", "b.yaml"}) {
    const Status refused = WriteOverlay(folder, {{name, "new"}}, false);
    EXPECT_EQ(StableCode(refused), "not-ours");
    EXPECT_THAT(refused.message(), HasSubstr("a.yaml was edited"));
    EXPECT_THAT(NextStep(refused), HasSubstr("--force"));
    EXPECT_EQ(ReadFile(folder + "/a.yaml").value_or("missing"), "edited");
    EXPECT_EQ(ReadFile(folder + "/b.yaml").value_or("missing"), "b");
  }
  ASSERT_TRUE(WriteOverlay(folder, {{"b.yaml", "B"}}, true).ok());
  EXPECT_EQ(ReadFile(folder + "/a.yaml").value_or("missing"),
            "edited");  // Nothing came in its place.
  EXPECT_EQ(ReadFile(folder + "/b.yaml").value_or("missing"), "B");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "A"}}, true).ok());
  EXPECT_EQ(ReadFile(folder + "/a.yaml").value_or("missing"), "A");
  EXPECT_FALSE(std::filesystem::exists(folder + "/b.yaml"));
}

// As it stands when an import was killed between two files.
TEST(OverlayFolder, RepeatsAnImportThatWasCutOff) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  const std::map<std::string, std::string> files = {{"a.yaml", "A"}, {"b.yaml", "B"}};
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}, {"b.yaml", "b"}}, false).ok());
  const std::string before = *ReadFile(folder + "/.starling-import");
  ASSERT_TRUE(WriteOverlay(folder, files, false).ok());
  const std::string after = *ReadFile(folder + "/.starling-import");
  ASSERT_TRUE(WriteFileDurably(folder + "/b.yaml", "b").ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/.starling-import", before + after).ok());
  ASSERT_TRUE(WriteOverlay(folder, files, false).ok());
  EXPECT_EQ(ReadFile(folder + "/b.yaml").value_or("missing"), "B");
  EXPECT_EQ(ReadFile(folder + "/.starling-import").value_or("missing"), after);
}

TEST(OverlayFolder, IsReadByItsOwnerOnly) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}}, false).ok());
  for (const char* const name : {"/a.yaml", "/.starling-import"}) {
    struct stat found = {};
    ASSERT_EQ(stat((folder + name).c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777U, 0600U) << name;
  }
}

// A marker that was written by somebody else names no file outside of the folder.
TEST(OverlayFolder, RemovesNothingOutside) {
  const ScratchDirectory scratch;
  const std::string folder = scratch.File("overlay");
  ASSERT_TRUE(WriteFileDurably(scratch.File("out.yaml"), "mine").ok());
  ASSERT_TRUE(MakeDirectories(folder).ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/.starling-import",
                               // The hash of each is right.
                               StrCat(kHashOfMine, "  ../out.yaml\n", kHashOfMine, "  notes.txt\n"))
                  .ok());
  ASSERT_TRUE(WriteFileDurably(folder + "/notes.txt", "mine").ok());
  ASSERT_TRUE(WriteOverlay(folder, {{"a.yaml", "a"}}, false).ok());
  EXPECT_TRUE(std::filesystem::exists(scratch.File("out.yaml")));
  EXPECT_TRUE(std::filesystem::exists(folder + "/notes.txt"));
}

}  // namespace
}  // namespace starling::kube
