// The one place that constructs the real world: clock, chance, signals, environment.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/owned.h"
#include "base/random.h"
#include "base/secrets.h"
#include "base/text.h"
#include "command_line.h"
#include "commands.h"

namespace starling {
namespace {

constexpr int kInterruptedTwice = 130;
// A merge's buffers are a chunk or two large and live for a round. Given back to the kernel each
// time, they cost more in page faults than in arithmetic: 12 % of a round of 1 MiB.
constexpr int kMapFromBytes = 8 << 20;
constexpr int kKeepFreeBytes = 32 << 20;
// What must not be read by others of the machine, nor by the programs that this process starts.
constexpr std::string_view kSecretFlags[] = {"join-token", "jointoken"};
constexpr std::string_view kSecretVariables[] = {"STARLING_JOIN_TOKEN", "SPIRE_JOIN_TOKEN"};
int signal_pipe = -1;  // The handler can reach nothing but a global.

void OnSignal(int signal) {
  const int kept = errno;
  const char byte = static_cast<char>(signal);
  static_cast<void>(!write(signal_pipe, &byte, 1));
  errno = kept;
}
void OnBrokenPipe(int) {}

// SIGINT and SIGTERM request a stop; a second one ends the process at once. Handlers, not a signal
// mask or SIG_IGN: training programs that this process starts would inherit those.
class StopOnSignal {
 public:
  StopOnSignal() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    read_end_ = UniqueFd(ends[0]);
    write_end_ = UniqueFd(ends[1]);
    signal_pipe = write_end_.get();
    Handle(SIGINT, OnSignal);
    Handle(SIGTERM, OnSignal);
    Handle(SIGPIPE, OnBrokenPipe);
    waiter_ = std::jthread([this] { Wait(); });
  }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  ~StopOnSignal() {
    const char end = 0;
    static_cast<void>(!write(write_end_.get(), &end, 1));
  }
  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }

 private:
  static void Handle(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    static_cast<void>(sigaction(signal, &action, nullptr));
  }
  void Wait() {
    for (char signal = 0;;) {
      const ssize_t got = read(read_end_.get(), &signal, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got != 1 || signal == 0) return;
      if (!source_.request_stop()) _exit(kInterruptedTwice);
    }
  }

  UniqueFd read_end_, write_end_;
  std::stop_source source_;
  std::jthread waiter_;
};

EnvironmentMap ReadEnvironment() {
  EnvironmentMap out;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

Host ReadHost(const EnvironmentMap& environment) {
  Host host;
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) == 0) host.name = name.data();
  if (const auto python = environment.find("STARLING_PYTHON");
      python != environment.end() && !python->second.empty()) {
    host.python = python->second;
  }
  host.is_directory = [](const std::string& path) {
    std::error_code error;
    return std::filesystem::is_directory(path, error);
  };
  return host;
}

int Main(std::span<char* const> argv) {
  const std::vector<std::string> arguments(argv.begin(), argv.end());
  EnvironmentMap environment = ReadEnvironment();
  const std::vector<std::string> secrets = HideSecrets(argv, {kSecretFlags, kSecretVariables});
  const Result<CommandLine> line = ParseCommandLine(arguments);
  if (!line.ok()) {
    std::cerr << Redacted(ErrorLine(line.status(), "starling"), secrets) << "\n";
    return 2;
  }
  const StopOnSignal signals;
  const RealClock clock;
  SystemRandom random;
  Host host = ReadHost(environment);
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
  return RunCommand(*line,
                    Machine{clock, random, std::move(environment), std::move(host),
                            error ? "starling" : self, isatty(STDIN_FILENO) == 1, signals.token()});
}

}  // namespace
}  // namespace starling

int main(int argc, char** argv) {
  // NOLINTBEGIN(concurrency-mt-unsafe): before there is another thread
  static_cast<void>(mallopt(M_MMAP_THRESHOLD, starling::kMapFromBytes));
  static_cast<void>(mallopt(M_TRIM_THRESHOLD, starling::kKeepFreeBytes));
  // NOLINTEND(concurrency-mt-unsafe)
  try {
    // A caller may leave out even the program's name.
    const std::span<char* const> all(argv, static_cast<std::size_t>(argc));
    return starling::Main(all.subspan(std::min<std::size_t>(1, all.size())));
  } catch (const std::exception& error) {
    std::cerr << "starling: internal: " << error.what() << "\n";
    return 1;
  }
}
