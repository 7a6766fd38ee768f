// Spawn: a child process in a process group of its own, which dies with us. It reads nothing
// (/dev/null) and starts with no signal blocked.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/owned.h"
#include "base/result.h"

namespace starling {

struct SpawnSpec {
  std::vector<std::string> argv;                                 // argv[0] is looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  int output = -1;                                               // becomes its standard output and
  int error = -1;              // standard error; both stay the caller's
  int signal_with_parent = 9;  // sent to it when the thread that spawned it ends
};

struct ChildProcess {
  int pid = 0;     // also its process group; the caller reaps it
  UniqueFd pidfd;  // readable once it has ended
};

// Unavailable when the system gives no process. A program that cannot be started shows as exit code
// 127 and a line on `error`.
Result<ChildProcess> Spawn(const SpawnSpec& spec);

}  // namespace starling
