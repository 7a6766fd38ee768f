#include "sl/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/errno.h"
#include "base/fs.h"
#include "base/owned.h"
#include "base/spawn.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kLinesKept = 20;
constexpr std::size_t kLineMax = 1000;
constexpr std::size_t kStatBytesMax = 4096;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
Result<Pipe> MakePipe() {
  int fds[2] = {-1, -1};
  if (pipe2(fds, O_CLOEXEC) != 0) return FromErrno("pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// The last lines of both outputs, in the order in which they were completed.
class Tail {
 public:
  void Add(std::size_t output, std::string_view bytes) {
    for (const char c : bytes) {
      if (c == '\n' || c == '\r') {
        Flush(output);
      } else if (open_[output].size() < kLineMax) {
        open_[output].push_back(c);
      }
    }
  }
  std::vector<std::string> Take() {
    for (std::size_t output = 0; output < open_.size(); ++output) Flush(output);
    return {lines_.begin(), lines_.end()};
  }

 private:
  void Flush(std::size_t output) {
    if (open_[output].empty()) return;
    lines_.push_back(std::exchange(open_[output], {}));
    if (lines_.size() > kLinesKept) lines_.pop_front();
  }
  std::deque<std::string> lines_;
  std::array<std::string, 2> open_;  // the line that each output is in
};

void ForwardAll(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(to, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // Our own output is gone; the program's life does not hang on it.
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

struct Program::Impl {
  int pid = 0;
  Duration grace{};
  UniqueFd pidfd;
  UniqueFd out;
  UniqueFd err;
  std::function<void(ProgramEnd)> on_end;
  std::mutex mutex;
  std::condition_variable ended;
  bool has_ended = false;
  std::jthread watcher;  // last

  void Watch();
};

void Program::Impl::Watch() {
  Tail tail;
  pollfd fds[] = {{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}, {pidfd.get(), POLLIN, 0}};
  bool exited = false;
  // After the exit only what is in the pipes already is read: a grandchild may hold them open for
  // ever.
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const int ready = poll(fds, 3, exited ? 0 : -1);
    if (ready < 0 && errno == EINTR) continue;
    if (exited && ready == 0) break;
    if (fds[2].revents != 0) {
      exited = true;
      fds[2].fd = -1;
      static_cast<void>(kill(-pid, SIGKILL));  // What it left behind in its group.
    }
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char block[16384];
      const ssize_t count = read(fds[i].fd, block, sizeof block);
      if (count <= 0) {
        fds[i].fd = -1;
        continue;
      }
      const std::string_view bytes(block, static_cast<std::size_t>(count));
      ForwardAll(i + 1, bytes);
      tail.Add(static_cast<std::size_t>(i), bytes);
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ProgramEnd end;
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  end.exit_code = end.signal != 0 ? 128 + end.signal : WEXITSTATUS(status);
  end.last_lines = tail.Take();
  {
    const std::scoped_lock lock(mutex);
    has_ended = true;
  }
  ended.notify_all();
  on_end(std::move(end));
}

std::optional<int> StoppedProcess(int pid) {
  if (pid <= 0) return std::nullopt;
  // "123 (name) T …", where the name may hold anything.
  const Result<std::string> stat = ReadFile(StrCat("/proc/", pid, "/stat"), kStatBytesMax);
  if (!stat.ok()) return std::nullopt;
  const std::size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat->size()) return std::nullopt;
  const char state = (*stat)[name_end + 2];
  return state == 'T' || state == 't' ? std::optional(pid) : std::nullopt;
}

std::optional<int> Program::StoppedProcess() const {
  // Between its reaping and has_ended its number may name another process for a moment, which is
  // not stopped as a rule; the next look is a second later.
  const std::scoped_lock lock(impl_->mutex);
  return impl_->has_ended ? std::nullopt : starling::StoppedProcess(impl_->pid);
}

Program::Program(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Program::~Program() {
  std::unique_lock lock(impl_->mutex);
  if (!impl_->has_ended) {
    static_cast<void>(kill(-impl_->pid, SIGTERM));
    if (!impl_->ended.wait_for(lock, impl_->grace, [this] { return impl_->has_ended; }))
      static_cast<void>(kill(-impl_->pid, SIGKILL));
  }
  lock.unlock();
  impl_->watcher.join();
}

Result<std::unique_ptr<Program>> Program::Start(
    const std::vector<std::string>& argv,
    const std::vector<std::pair<std::string, std::string>>& environment, Duration grace,
    std::function<void(ProgramEnd)> on_end) {
  auto impl = std::make_unique<Impl>();
  impl->grace = grace;
  impl->on_end = std::move(on_end);
  ASSIGN_OR_RETURN(Pipe out_pipe, MakePipe());
  ASSIGN_OR_RETURN(Pipe err_pipe, MakePipe());
  ASSIGN_OR_RETURN(ChildProcess child,
                   Spawn({argv, environment, out_pipe.write_end.get(), err_pipe.write_end.get()}));
  impl->pid = child.pid;
  impl->pidfd = std::move(child.pidfd);
  impl->out = std::move(out_pipe.read_end);
  impl->err = std::move(err_pipe.read_end);
  Impl* const raw = impl.get();
  impl->watcher = std::jthread([raw] { raw->Watch(); });
  return std::unique_ptr<Program>(new Program(std::move(impl)));
}

}  // namespace starling
