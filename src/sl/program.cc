#include "sl/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/owned.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kLinesKept = 20;
constexpr std::size_t kLineMax = 1000;

Status FromErrno(std::string_view what) {
  return absl::UnavailableError(StrCat(what, ": ", std::generic_category().message(errno)));
}

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

// Our environment with additions, as execvpe wants it.
std::vector<std::string> EnvironmentWith(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::map<std::string, std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text(*variable);
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) all[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const auto& [name, value] : added) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all) lines.push_back(StrCat(name, "=", value));
  return lines;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

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
  int SpawnChild(std::vector<std::string> argv, std::vector<std::string> environment,
                 const Pipe& out_pipe, const Pipe& err_pipe);
};

int Program::Impl::SpawnChild(std::vector<std::string> argv, std::vector<std::string> environment,
                              const Pipe& out_pipe, const Pipe& err_pipe) {
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int no_input = null.get();
  const int parent = getpid();
  const int child = fork();
  if (child != 0) return child;
  // Async-signal-safe calls only from here to exec.
  static_cast<void>(setpgid(0, 0));
  static_cast<void>(prctl(PR_SET_PDEATHSIG, SIGKILL));
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // In a process group of its own it would be stopped when it read from a terminal.
  static_cast<void>(dup2(no_input, 0));
  static_cast<void>(dup2(out_pipe.write_end.get(), 1));
  static_cast<void>(dup2(err_pipe.write_end.get(), 2));
  execvpe(arguments[0], arguments.data(), variables.data());
  const char message[] = "starling sl: cannot start the program\n";
  static_cast<void>(!write(2, message, sizeof message - 1));
  _exit(127);
}

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
  if (argv.empty()) return absl::InvalidArgumentError("no program");
  auto impl = std::make_unique<Impl>();
  impl->grace = grace;
  impl->on_end = std::move(on_end);
  ASSIGN_OR_RETURN(Pipe out_pipe, MakePipe());
  ASSIGN_OR_RETURN(Pipe err_pipe, MakePipe());
  impl->pid = impl->SpawnChild(argv, EnvironmentWith(environment), out_pipe, err_pipe);
  if (impl->pid < 0) return FromErrno("fork");
  static_cast<void>(setpgid(impl->pid, impl->pid));
  impl->pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, impl->pid, 0)));
  impl->out = std::move(out_pipe.read_end);
  impl->err = std::move(err_pipe.read_end);
  Impl* const raw = impl.get();
  impl->watcher = std::jthread([raw] { raw->Watch(); });
  return std::unique_ptr<Program>(new Program(std::move(impl)));
}

}  // namespace starling
