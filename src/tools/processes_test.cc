#include "tools/processes.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>

#include "base/fs.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "tools/swarm.h"

namespace starling {
namespace {

std::string LogPath(const std::string& name) {
  return StrCat(testing::TempDir(), "starling_process_", getpid(), "_", name);
}
ProcessSpec Shell(const std::string& name, const std::string& script) {
  return {name, {"/bin/sh", "-c", script}, {}, LogPath(name)};
}

TEST(Processes, AnExitIsReportedWithItsCode) {
  Processes processes;
  ASSERT_TRUE(processes.Start(Shell("three", "echo last words; exit 3")).ok());
  const std::optional<ProcessExit> exit = processes.WaitForExit(60s, {});
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 3);
  EXPECT_EQ(LastLines(LogPath("three"), 1), std::vector<std::string>{"last words"});
}

TEST(Processes, AKilledChildIsReportedWithItsSignal) {
  Processes processes;
  const std::size_t index = *processes.Start(Shell("killed", "exec sleep 1000"));
  processes.Signal(index, SIGKILL);
  const std::optional<ProcessExit> exit = processes.WaitForExit(60s, {});
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->signal, SIGKILL);
}

TEST(Processes, StoppingLeavesNoGrandchildBehind) {
  UniqueFd grandchild;
  {
    Processes processes;
    const std::string ready = LogPath("ready");
    std::filesystem::remove(ready);
    const std::size_t index =
        *processes.Start(Shell("parent", StrCat("sleep 1000 & echo $! > ", ready, ".tmp; mv ",
                                                ready, ".tmp ", ready, "; trap '' TERM; wait")));
    const Result<std::string> child = WaitForFile(ready, processes, index, 60s, {});
    ASSERT_TRUE(child.ok()) << child.status();
    grandchild = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, std::stoi(*child), 0)));
    ASSERT_TRUE(grandchild.valid());
    processes.StopAll(50ms);
    EXPECT_FALSE(processes.running(index));
  }
  // It was killed with its group; its end is told by its pidfd.
  pollfd ended{grandchild.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 60'000), 1);
}

TEST(Processes, WaitingForAFileEndsWhenTheChildDoes) {
  Processes processes;
  const std::size_t index = *processes.Start(Shell("early", "echo no identity; exit 2"));
  const Status status = WaitForFile(LogPath("never"), processes, index, 60s, {}).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_NE(std::string(status.message()).find("no identity"), std::string::npos) << status;
}

TEST(Swarm, NodesAreNamedByLetters) {
  EXPECT_EQ(DefaultNodeName(0), "a");
  EXPECT_EQ(DefaultNodeName(25), "z");
  EXPECT_EQ(DefaultNodeName(26), "n27");
}

}  // namespace
}  // namespace starling
