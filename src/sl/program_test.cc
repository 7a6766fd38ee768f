#include "sl/program.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <future>
#include <thread>

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

// Looks until the process is as `stopped` says; a limit for hanging only.
bool Becomes(bool stopped, const std::function<std::optional<int>()>& look) {
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (look().has_value() != stopped) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(Program, AStoppedProcessIsNamedAndOneThatGoesOnIsNot) {
  std::promise<ProgramEnd> promise;
  Result<std::unique_ptr<Program>> program =
      Program::Start({"/bin/sh", "-c", "kill -STOP $$; sleep 600"}, {}, 60s,
                     [&](ProgramEnd ended) { promise.set_value(std::move(ended)); });
  ASSERT_TRUE(program.ok()) << program.status();
  const auto look = [&] { return (*program)->StoppedProcess(); };

  ASSERT_TRUE(Becomes(true, look));
  const int pid = *look();
  EXPECT_EQ(StoppedProcess(pid), pid);
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  EXPECT_TRUE(Becomes(false, look));
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_EQ(promise.get_future().get().signal, SIGKILL);
  EXPECT_EQ(look(), std::nullopt);
}

TEST(Program, AProcessThatIsNotThereIsNotAStoppedOne) {
  EXPECT_EQ(StoppedProcess(0), std::nullopt);
  EXPECT_EQ(StoppedProcess(-1), std::nullopt);
  EXPECT_EQ(StoppedProcess(getpid()), std::nullopt);
  EXPECT_EQ(StoppedProcess(1 << 30), std::nullopt);
}

}  // namespace
}  // namespace starling
