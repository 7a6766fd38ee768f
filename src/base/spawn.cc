#include "base/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string_view>

#include "base/errno.h"
#include "base/text.h"

namespace starling {
namespace {

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

// Keeps all signals from this thread. A child that forks inside starts without any, so that none
// runs the parent's handlers in it: they would act for the parent, and the signal would be lost.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    static_cast<void>(pthread_sigmask(SIG_SETMASK, &all, &kept_));
  }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;
  ~NoSignals() { static_cast<void>(pthread_sigmask(SIG_SETMASK, &kept_, nullptr)); }

 private:
  sigset_t kept_{};
};

// As exec does it, but before the signals are let in: what was caught ends the process again, what
// was ignored stays ignored.
void ForgetHandlers() {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    static_cast<void>(sigaction(signal, &action, nullptr));
  }
}

// Runs between fork and exec: async-signal-safe calls only.
[[noreturn]] void BecomeChild(char* const* argv, char* const* environment, const SpawnSpec& spec,
                              int no_input, int parent) {
  static_cast<void>(setpgid(0, 0));
  ForgetHandlers();
  static_cast<void>(prctl(PR_SET_PDEATHSIG, spec.signal_with_parent));
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  static_cast<void>(pthread_sigmask(SIG_SETMASK, &none, nullptr));
  // In a process group of its own it would be stopped when it read from a terminal.
  static_cast<void>(dup2(no_input, 0));
  static_cast<void>(dup2(spec.output, 1));
  static_cast<void>(dup2(spec.error, 2));
  execvpe(argv[0], argv, environment);
  const char message[] = "starling: cannot start the program\n";
  static_cast<void>(!write(2, message, sizeof message - 1));
  _exit(127);
}

}  // namespace

Result<ChildProcess> Spawn(const SpawnSpec& spec) {
  if (spec.argv.empty()) return absl::InvalidArgumentError("no program");
  std::vector<std::string> arguments = spec.argv;
  std::vector<std::string> variables = EnvironmentWith(spec.environment);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> environment = Pointers(variables);
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.valid()) return FromErrno("/dev/null");
  const int parent = getpid();
  const NoSignals no_signals;
  const int pid = fork();
  if (pid < 0) return FromErrno("fork");
  if (pid == 0) BecomeChild(argv.data(), environment.data(), spec, null.get(), parent);
  static_cast<void>(setpgid(pid, pid));  // In both, whoever comes first.
  ChildProcess child{pid, UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)))};
  if (!child.pidfd.valid()) {
    Status status = FromErrno("pidfd_open");
    static_cast<void>(kill(-pid, SIGKILL));
    static_cast<void>(waitpid(pid, nullptr, 0));
    return status;
  }
  return child;
}

}  // namespace starling
