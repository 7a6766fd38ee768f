// Program: the training program as our child, in its own process group. Its output passes through
// untouched while the last lines are remembered. It never outlives us (the kernel ends it with us).
// Start and destruction on one thread; the rest from any.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace starling {

struct ProgramEnd {
  int exit_code = 0;                    // its own, or 128 + signal
  int signal = 0;                       // 0: it ended by itself
  std::vector<std::string> last_lines;  // of both outputs, at most 20
};

// `pid`, when that process is stopped; nothing for 0, for one that is not there or not of our
// namespace. Any thread.
[[nodiscard]] std::optional<int> StoppedProcess(int pid);

class Program {
 public:
  // `on_end` runs once, on the program's own watcher thread.
  static Result<std::unique_ptr<Program>> Start(
      const std::vector<std::string>& argv,
      const std::vector<std::pair<std::string, std::string>>& environment, Duration grace,
      std::function<void(ProgramEnd)> on_end);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  // Its process, when that is stopped (SIGSTOP, a debugger) and so does nothing. Any thread.
  [[nodiscard]] std::optional<int> StoppedProcess() const;
  ~Program();  // SIGTERM, then SIGKILL to its group after the grace; joins.

 private:
  struct Impl;
  explicit Program(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
