// Processes: the children of `run` and `demo`. Each has its own process group and dies with us;
// none is ever found by name. Waiting is poll(2) on pidfds, so an exit wakes it. Owned by one
// thread, the one that started them (the kernel ties "dies with us" to it).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/owned.h"
#include "base/result.h"

namespace starling {

struct ProcessSpec {
  std::string label;  // for people: "node a"
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  std::string log_path;  // standard output and error go there
};

struct ProcessExit {
  std::size_t index = 0;
  int code = 0;    // exit code, or 128 + signal
  int signal = 0;  // 0: it ended by itself
};

class Processes {
 public:
  Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;
  ~Processes();  // StopAll(1 s)

  // Answers its index.
  Result<std::size_t> Start(const ProcessSpec& spec);
  // The next exit; nothing when `span` is over, `stop` came or Wake() was called.
  std::optional<ProcessExit> WaitForExit(Duration span, const std::stop_token& stop);
  // Ends the wait that is under way, or the next one. From any thread.
  void Wake() const;
  [[nodiscard]] bool running(std::size_t index) const { return children_[index].pid > 0; }
  [[nodiscard]] int pid(std::size_t index) const { return children_[index].pid; }
  [[nodiscard]] const std::string& label(std::size_t index) const { return children_[index].label; }
  [[nodiscard]] const std::string& log_path(std::size_t index) const {
    return children_[index].log_path;
  }
  void Signal(std::size_t index, int signal);
  // SIGTERM to all, then SIGKILL to their groups after `grace`. Returns when none is left.
  void StopAll(Duration grace);

 private:
  struct Child {
    std::string label;
    std::string log_path;
    int pid = 0;
    UniqueFd pidfd;
  };
  std::optional<ProcessExit> Reap(std::size_t index);
  std::vector<Child> children_;
  const UniqueFd wake_;  // an eventfd
};

// Waits until `path` exists (inotify), the child has ended, `deadline_in` has passed, or stop. The
// file's content (at most 64 KiB).
[[nodiscard]] Result<std::string> WaitForFile(const std::string& path, Processes& processes,
                                              std::size_t child, Duration deadline_in,
                                              const std::stop_token& stop);
// The last `lines` lines of a log, for a one-line reason or a tail.
[[nodiscard]] std::vector<std::string> LastLines(const std::string& path, std::size_t lines);

}  // namespace starling
