#include "base/spawn.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

namespace starling {
namespace {

std::atomic<int> handled = 0;
void Count(int) { handled = handled + 1; }

// Counts SIGTERM in this process while it lives.
class Handler {
 public:
  Handler() {
    handled = 0;
    struct sigaction action {};
    action.sa_handler = Count;
    static_cast<void>(sigaction(SIGTERM, &action, &kept_));
  }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  ~Handler() { static_cast<void>(sigaction(SIGTERM, &kept_, nullptr)); }

 private:
  struct sigaction kept_ {};
};

int EndOf(const ChildProcess& child) {
  int status = 0;
  EXPECT_EQ(waitpid(child.pid, &status, 0), child.pid);
  return status;
}

Result<ChildProcess> SpawnHere(std::vector<std::string> argv) {
  return Spawn({.argv = std::move(argv), .environment = {}, .output = 1, .error = 2});
}

TEST(Spawn, AProgramsExitCodeIsItsOwn) {
  const Result<ChildProcess> child = SpawnHere({"/bin/sh", "-c", "exit 7"});
  ASSERT_TRUE(child.ok()) << child.status();
  const int status = EndOf(*child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(Spawn, AProgramThatIsNotThereEndsWith127) {
  const Result<ChildProcess> child = SpawnHere({"/no/such/program"});
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(WEXITSTATUS(EndOf(*child)), 127);
}

// The moment between fork and exec is the one in which the parent's handler would take the signal.
TEST(Spawn, ASignalRightAfterTheStartEndsTheChildWhateverTheParentCatches) {
  const Handler handler;
  for (int i = 0; i < 100; ++i) {
    const Result<ChildProcess> child = SpawnHere({"sleep", "60"});
    ASSERT_TRUE(child.ok()) << child.status();
    ASSERT_EQ(kill(-child->pid, SIGTERM), 0);
    const int status = EndOf(*child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "run " << i << ": status " << status;
    ASSERT_EQ(WTERMSIG(status), SIGTERM);
  }
  EXPECT_EQ(handled, 0);
}

TEST(Spawn, TheCallerGetsItsSignalsAgain) {
  const Handler handler;
  const Result<ChildProcess> child = SpawnHere({"true"});
  ASSERT_TRUE(child.ok()) << child.status();
  static_cast<void>(EndOf(*child));
  ASSERT_EQ(raise(SIGTERM), 0);
  EXPECT_EQ(handled, 1);
}

}  // namespace
}  // namespace starling
