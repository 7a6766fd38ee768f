#include "sl/program.h"

#include <csignal>
#include <future>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Runs a shell script as the training program and waits for its end.
ProgramEnd RunScript(const std::string& script,
                     const std::vector<std::pair<std::string, std::string>>& environment = {}) {
  std::promise<ProgramEnd> promise;
  std::future<ProgramEnd> end = promise.get_future();
  const Result<std::unique_ptr<Program>> program =
      Program::Start({"/bin/sh", "-c", script}, environment, 60s,
                     [&](ProgramEnd ended) { promise.set_value(std::move(ended)); });
  EXPECT_TRUE(program.ok()) << program.status();
  return end.get();
}

TEST(Program, PassesItsExitCodeOn) {
  const ProgramEnd end = RunScript("exit 7");

  EXPECT_EQ(end.exit_code, 7);
  EXPECT_EQ(end.signal, 0);
}

TEST(Program, ASignalIsTold) {
  const ProgramEnd end = RunScript("kill -KILL $$");

  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_EQ(end.exit_code, 128 + SIGKILL);
}

TEST(Program, RemembersTheLastLinesOfBothOutputs) {
  const ProgramEnd end = RunScript(
      "for i in $(seq 1 30); do echo line $i; done; echo trouble >&2; printf 'no newline'");

  ASSERT_EQ(end.last_lines.size(), 20U);
  EXPECT_THAT(end.last_lines, ::testing::Contains("trouble"));
  EXPECT_THAT(end.last_lines, ::testing::Contains("no newline"));
  EXPECT_THAT(end.last_lines, ::testing::Not(::testing::Contains("line 9")));
}

TEST(Program, SeesItsEnvironmentAndReadsNothing) {
  const ProgramEnd end =
      RunScript("echo $STARLING_SOCKET; read word || echo end", {{"STARLING_SOCKET", "/x/y"}});

  EXPECT_THAT(end.last_lines, ElementsAre("/x/y", "end"));
}

TEST(Program, ACommandThatIsNotThereEndsWith127) {
  std::promise<ProgramEnd> promise;
  const Result<std::unique_ptr<Program>> program =
      Program::Start({"/no/such/program"}, {}, 60s,
                     [&](ProgramEnd ended) { promise.set_value(std::move(ended)); });
  ASSERT_TRUE(program.ok()) << program.status();
  const ProgramEnd end = promise.get_future().get();

  EXPECT_EQ(end.exit_code, 127);
  EXPECT_THAT(end.last_lines, ElementsAre(HasSubstr("cannot start the program")));
}

TEST(Program, AnOutputHeldOpenByAGrandchildDoesNotDelayTheEnd) {
  const ProgramEnd end = RunScript("sleep 600 & echo done");

  EXPECT_THAT(end.last_lines, ElementsAre("done"));
}

TEST(Program, DestructionAsksTheWholeGroupToEnd) {
  std::promise<ProgramEnd> promise;
  Result<std::unique_ptr<Program>> program =
      Program::Start({"/bin/sh", "-c", "sleep 600; echo not reached"}, {}, 60s,
                     [&](ProgramEnd ended) { promise.set_value(std::move(ended)); });
  ASSERT_TRUE(program.ok()) << program.status();

  program->reset();

  EXPECT_EQ(promise.get_future().get().signal, SIGTERM);
}

TEST(Program, WhoDoesNotEndWhenAskedIsKilledAfterTheGrace) {
  std::promise<ProgramEnd> promise;
  Result<std::unique_ptr<Program>> program =
      Program::Start({"/bin/sh", "-c", "trap '' TERM; while :; do :; done"}, {}, 100ms,
                     [&](ProgramEnd ended) { promise.set_value(std::move(ended)); });
  ASSERT_TRUE(program.ok()) << program.status();

  program->reset();

  EXPECT_NE(promise.get_future().get().signal, 0);
}

}  // namespace
}  // namespace starling
