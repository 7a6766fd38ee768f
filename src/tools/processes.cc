#include "tools/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/errno.h"
#include "base/fs.h"
#include "base/spawn.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kReadyFileBytesMax = std::size_t{64} << 10;

// An eventfd that becomes readable on stop, so that poll() is woken.
class StopFd {
 public:
  explicit StopFd(const std::stop_token& stop)
      : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), callback_(stop, [this] {
          const std::uint64_t one = 1;
          static_cast<void>(!write(fd_.get(), &one, sizeof one));
        }) {}
  [[nodiscard]] int get() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::stop_callback<std::function<void()>> callback_;
};

int PollMillis(Duration span) {
  const std::int64_t ms = Millis(span);
  return ms < 0 ? 0 : static_cast<int>(std::min<std::int64_t>(ms + 1, 1'000'000));
}

}  // namespace

Processes::Processes() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Processes::~Processes() { StopAll(1s); }

Result<std::size_t> Processes::Start(const ProcessSpec& spec) {
  UniqueFd log(open(spec.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log.valid()) return FromErrno(spec.log_path);
  ASSIGN_OR_RETURN(ChildProcess started,
                   Spawn({spec.argv, spec.environment, log.get(), log.get(), SIGTERM}));
  Child child{spec.label, spec.log_path, started.pid, std::move(started.pidfd)};
  children_.push_back(std::move(child));
  return children_.size() - 1;
}

std::optional<ProcessExit> Processes::Reap(std::size_t index) {
  Child& child = children_[index];
  int status = 0;
  if (waitpid(child.pid, &status, WNOHANG) != child.pid) return std::nullopt;
  // What it left behind in its group goes with it.
  static_cast<void>(kill(-child.pid, SIGKILL));
  child.pid = 0;
  ProcessExit exit{index, 0, 0};
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  exit.code = exit.signal != 0 ? 128 + exit.signal : WEXITSTATUS(status);
  return exit;
}

std::optional<ProcessExit> Processes::WaitForExit(Duration span, const std::stop_token& stop) {
  const StopFd stop_fd(stop);
  std::vector<pollfd> fds{{stop_fd.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  std::vector<std::size_t> owners{0, 0};  // of no child
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (children_[i].pid <= 0) continue;
    if (auto exit = Reap(i)) return exit;
    fds.push_back({children_[i].pidfd.get(), POLLIN, 0});
    owners.push_back(i);
  }
  if (poll(fds.data(), fds.size(), PollMillis(span)) <= 0) return std::nullopt;
  for (std::size_t i = 2; i < fds.size(); ++i) {
    if (fds[i].revents == 0) continue;
    if (auto exit = Reap(owners[i])) return exit;
  }
  std::uint64_t calls = 0;
  static_cast<void>(!read(wake_.get(), &calls, sizeof calls));
  return std::nullopt;
}

void Processes::Wake() const {
  const std::uint64_t one = 1;
  static_cast<void>(!write(wake_.get(), &one, sizeof one));
}

void Processes::Signal(std::size_t index, int signal) {
  if (children_[index].pid > 0) static_cast<void>(kill(children_[index].pid, signal));
}

void Processes::StopAll(Duration grace) {
  for (std::size_t i = 0; i < children_.size(); ++i) Signal(i, SIGTERM);
  const auto any = [this] {
    return std::any_of(children_.begin(), children_.end(),
                       [](const Child& c) { return c.pid > 0; });
  };
  const auto deadline = std::chrono::steady_clock::now() + grace;
  while (any()) {
    const Duration left = deadline - std::chrono::steady_clock::now();
    if (left <= Duration::zero()) break;
    static_cast<void>(WaitForExit(left, {}));
  }
  for (Child& child : children_) {
    if (child.pid <= 0) continue;
    static_cast<void>(kill(-child.pid, SIGKILL));
    static_cast<void>(waitpid(child.pid, nullptr, 0));
    child.pid = 0;
  }
}

Result<std::string> WaitForFile(const std::string& path, Processes& processes, std::size_t child,
                                Duration deadline_in, const std::stop_token& stop) {
  const UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!watch.valid() ||
      inotify_add_watch(watch.get(), folder.c_str(), IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE) < 0)
    return FromErrno(folder);
  const StopFd stop_fd(stop);
  const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, processes.pid(child), 0)));
  const auto deadline = std::chrono::steady_clock::now() + deadline_in;
  for (;;) {
    if (Result<std::string> content = ReadFile(path, kReadyFileBytesMax); content.ok())
      return content;
    const Duration left = deadline - std::chrono::steady_clock::now();
    if (stop.stop_requested()) return absl::CancelledError("interrupted");
    if (left <= Duration::zero())
      return absl::DeadlineExceededError(
          StrCat(processes.label(child), " is not ready after ", Millis(deadline_in) / 1000, " s"));
    pollfd fds[] = {{watch.get(), POLLIN, 0}, {stop_fd.get(), POLLIN, 0}, {ended.get(), POLLIN, 0}};
    static_cast<void>(poll(fds, 3, PollMillis(left)));
    if (fds[2].revents != 0) {
      const std::vector<std::string> lines = LastLines(processes.log_path(child), 1);
      return absl::UnavailableError(StrCat(processes.label(child), " ended at its start: ",
                                           lines.empty() ? "it said nothing" : lines[0]));
    }
    char drop[4096];
    while (read(watch.get(), drop, sizeof drop) > 0) {
    }
  }
}

std::vector<std::string> LastLines(const std::string& path, std::size_t lines) {
  std::ifstream in(path, std::ios::binary);
  in.seekg(0, std::ios::end);
  const std::int64_t size = in.tellg();
  in.seekg(std::max<std::int64_t>(0, size - 65536));
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    last.push_back(line);
    if (last.size() > lines) last.pop_front();
  }
  return {last.begin(), last.end()};
}

}  // namespace starling
