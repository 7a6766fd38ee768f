// Files and logs: on a real file system, in a directory of each test's own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/fs.h"
#include "base/log.h"
#include "base/scratch_testing.h"
#include "base/text.h"

namespace starling {
namespace {

namespace stdfs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class Files : public ::testing::Test {
 protected:
  [[nodiscard]] std::string Path(std::string_view name) const {
    return StrCat(folder_.path(), "/", name);
  }
  [[nodiscard]] std::size_t FileCount() const {
    return static_cast<std::size_t>(std::distance(stdfs::directory_iterator(folder_.path()), {}));
  }

 private:
  const ScratchDirectory folder_;
};

TEST_F(Files, ADurableWriteReplacesTheOldContentAndSetsTheMode) {
  ASSERT_TRUE(WriteFileDurably(Path("key"), "old and longer", 0600).ok());
  ASSERT_TRUE(WriteFileDurably(Path("key"), "new", 0600).ok());
  EXPECT_EQ(ReadFile(Path("key")).value(), "new");
  EXPECT_EQ(FileCount(), 1U);
  struct stat info {};
  ASSERT_EQ(stat(Path("key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(Files, AFileDroppedBeforeCommitLeavesNothingBehind) {
  ASSERT_TRUE(WriteFileDurably(Path("model"), "old").ok());
  {
    Result<DurableFile> file = DurableFile::Create(Path("model"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->Append(AsBytes("half of the n")).ok());
    EXPECT_EQ(ReadFile(Path("model")).value(), "old");
  }
  EXPECT_EQ(ReadFile(Path("model")).value(), "old");
  EXPECT_EQ(FileCount(), 1U);
}

TEST_F(Files, WhatAKilledProcessOfOurIdLeftIsPassedOverAndCanBeRemoved) {
  std::string name;
  {
    const Result<DurableFile> file = DurableFile::Create(Path("key"));
    ASSERT_TRUE(file.ok());
    name = stdfs::directory_iterator(Path(""))->path().filename().string();
  }
  const std::size_t dot = name.rfind('.') + 1;
  const int next = std::stoi(name.substr(dot)) + 1;
  std::vector<std::string> left;
  for (int i = 0; i < 3; ++i) left.push_back(Path(StrCat(name.substr(0, dot), next + i)));
  for (const std::string& file : left) {
    const UniqueFd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(fd.valid());
  }
  ASSERT_TRUE(WriteFileDurably(Path("key"), "new").ok());
  EXPECT_EQ(ReadFile(Path("key")).value(), "new");
  EXPECT_EQ(FileCount(), 4U);  // They may be another process's.

  ASSERT_TRUE(WriteFileDurably(Path("key.tmp"), "no leftover").ok());
  ASSERT_TRUE(WriteFileDurably(Path("key.tmp1x"), "no leftover").ok());
  ASSERT_TRUE(WriteFileDurably(Path("other.tmp1.2"), "not of this file").ok());
  ASSERT_TRUE(RemoveLeftovers(Path("key")).ok());
  for (const std::string& file : left) EXPECT_FALSE(stdfs::exists(file)) << file;
  EXPECT_EQ(FileCount(), 4U);
  EXPECT_TRUE(RemoveLeftovers(Path("missing/key")).ok());
}

TEST_F(Files, AFileAppearsWholeAtItsCommit) {
  Result<DurableFile> created = DurableFile::Create(Path("model"));
  ASSERT_TRUE(created.ok());
  DurableFile file = *std::move(created);
  ASSERT_TRUE(file.Append(AsBytes("ab")).ok());
  ASSERT_TRUE(file.Append(AsBytes("cd")).ok());
  EXPECT_FALSE(stdfs::exists(Path("model")));
  ASSERT_TRUE(file.Commit(/*sync=*/false).ok());
  EXPECT_EQ(ReadFile(Path("model")).value(), "abcd");
}

TEST_F(Files, WhatIsMissingIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadFile(Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(MapFile(Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(WriteFileDurably(Path("none/x"), "")));
  EXPECT_THAT(ReadFile(Path("none")).status().message(), HasSubstr("none: No such file"));
}

TEST_F(Files, ReadingStopsAtTheLimit) {
  ASSERT_TRUE(WriteFileDurably(Path("big"), std::string(100, 'x')).ok());
  EXPECT_EQ(ReadFile(Path("big"), 100).value().size(), 100U);
  EXPECT_TRUE(absl::IsResourceExhausted(ReadFile(Path("big"), 99).status()));
  EXPECT_FALSE(ReadFile(Path(".")).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(ReadFile("/dev/zero", 1000).status()));
}

TEST_F(Files, DirectoriesAreMadeWithTheirMode) {
  ASSERT_TRUE(MakeDirectories(Path("a/b/c"), 0700).ok());
  ASSERT_TRUE(MakeDirectories(Path("a/b/c"), 0700).ok());
  EXPECT_EQ(stdfs::status(Path("a/b/c")).permissions(), stdfs::perms::owner_all);
  ASSERT_TRUE(WriteFileDurably(Path("file"), "").ok());
  EXPECT_FALSE(MakeDirectories(Path("file/below")).ok());
}

TEST_F(Files, AMapOutlivesTheFilesName) {
  ASSERT_TRUE(WriteFileDurably(Path("model"), "bytes").ok());
  const Slice slice = MapFile(Path("model")).value();
  stdfs::remove(Path("model"));
  EXPECT_EQ(AsText(slice.bytes), "bytes");
}

TEST_F(Files, OnlyFilesAreMapped) {
  ASSERT_TRUE(WriteFileDurably(Path("empty"), "").ok());
  EXPECT_TRUE(MapFile(Path("empty")).value().bytes.empty());
  EXPECT_FALSE(MapFile(Path(".")).ok());
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_FALSE(MapFile(Path("pipe")).ok());  // and does not wait for a writer
}

TEST_F(Files, ReadAtReadsExactlyOrFails) {
  ASSERT_TRUE(WriteFileDurably(Path("data"), "0123456789").ok());
  const UniqueFd fd(open(Path("data").c_str(), O_RDONLY | O_CLOEXEC));
  Bytes out(4);
  ASSERT_TRUE(ReadAt(fd.get(), 3, out).ok());
  EXPECT_EQ(AsText(out), "3456");
  EXPECT_TRUE(absl::IsOutOfRange(ReadAt(fd.get(), 7, out)));
  EXPECT_FALSE(ReadAt(-1, 0, out).ok());
}

TEST_F(Files, AHandleMovedFromOwnsNothing) {
  UniqueFd one(open(Path(".").c_str(), O_RDONLY | O_CLOEXEC));
  const int number = one.get();
  UniqueFd two(std::move(one));
  UniqueFd three;
  three = std::move(two);
  EXPECT_EQ(three.get(), number);
  EXPECT_EQ(fcntl(number, F_GETFD), FD_CLOEXEC);
  three = UniqueFd();
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST_F(Files, ALogLineIsSpelledAsHpeSpellsIt) {
  const Log log = Log::ToFile("swarm.SL", LogLevel::kDebug, LogFormat::kText, Path("log"));
  log.Debug("d");
  log.Info("round {} of {}", 3, "mnist");
  log.Warning("w");
  log.Error("e");
  const std::string time =
      "[0-9]+-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9],[0-9][0-9][0-9]";
  EXPECT_THAT(ReadFile(Path("log")).value(),
              MatchesRegex(time + " : swarm.SL : DEBUG : d\n" + time +
                           " : swarm.SL : INFO : round 3 of mnist\n" + time +
                           " : swarm.SL : WARNING : w\n" + time + " : swarm.SL : ERROR : e\n"));
}

TEST_F(Files, AMessageIsOneLineWhateverIsInIt) {
  const Log log = Log::ToFile("x", LogLevel::kInfo, LogFormat::kText, Path("log"));
  log.Info("{}", "a\n2026-01-01 00:00:00,000 : x : ERROR : forged %v {}");
  const std::string text = ReadFile(Path("log")).value();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(text, HasSubstr("INFO : a\\x0a2026-01-01 00:00:00,000 : x : ERROR : forged %v {}"));
}

TEST_F(Files, AJsonLineIsEscaped) {
  const Log log = Log::ToFile("q\"\n", LogLevel::kInfo, LogFormat::kJson, Path("log"));
  log.Warning("{}", std::string_view("say \"hi\" \\ \x01\xff é", 16));
  EXPECT_THAT(
      ReadFile(Path("log")).value(),
      MatchesRegex(R"re(\{"time_unix_ms":[0-9]+,"logger":"q\\"\\\\x0a","level":"WARNING",)re"
                   R"re("message":"say \\"hi\\" \\\\ \\\\x01\\\\xff é"\}
)re"));
}

TEST_F(Files, LevelsBelowTheChosenOneAreLeftOut) {
  const Log log = Log::ToFile("x", LogLevel::kWarning, LogFormat::kText, Path("log"));
  log.Info("no");
  log.Named("y").Debug("no");
  log.Named("y").Error("yes");
  const std::string text = ReadFile(Path("log")).value();
  EXPECT_THAT(text, HasSubstr(" : y : ERROR : yes\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST_F(Files, ALogFileThatCannotBeOpenedIsSaidOnStandardError) {
  ::testing::internal::CaptureStderr();
  const Log log = Log::ToFile("x", LogLevel::kInfo, LogFormat::kText, Path("."));
  log.Info("still heard");
  const std::string heard = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(heard, HasSubstr("cannot log to"));
  EXPECT_THAT(heard, HasSubstr("still heard"));
}

TEST(SilentLog, TakesEverythingAndSaysNothing) {
  ::testing::internal::CaptureStderr();
  const Log log;
  log.Error("x");
  log.Named("y").Error("x");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace starling
