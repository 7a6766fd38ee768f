// `starling demo`: real Fashion-MNIST on N sites with skewed labels: each site alone, then all
// together, and the proof.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "base/fs.h"
#include "base/text.h"
#include "crypto/json.h"
#include "tools/swarm.h"
#include "tools/tools.h"

namespace starling {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;
constexpr std::string_view kAccuracyMark = "final test accuracy: ";
constexpr std::string_view kSystemData = "/usr/share/datasets/fashion-mnist";  // Debian's package
constexpr Duration kAloneWithin = 600s;

struct Plan {
  std::string python;
  std::string program;
  Environment environment;  // of every training
};

std::string Percent(double fraction) { return fmt::format("{:.1f} %", fraction * 100.0); }

Result<std::string> Setting(const Json& settings, std::string_view name) {
  ASSIGN_OR_RETURN(const std::uint64_t value, GetUint(settings, name));
  return StrCat(value);
}

Result<Plan> MakePlan(const DemoOptions& options) {
  const std::string example = options.home + "/examples/mnist";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(example + "/demo.json"));
  ASSIGN_OR_RETURN(const Json settings, ParseJson(text));
  Plan plan{options.python, example + "/train_keras.py", {}};
  ASSIGN_OR_RETURN(const std::string samples, Setting(settings, "samples"));
  ASSIGN_OR_RETURN(const std::string epochs, Setting(settings, "epochs"));
  ASSIGN_OR_RETURN(const std::string interval, Setting(settings, "sync_frequency"));
  ASSIGN_OR_RETURN(const std::string seed, Setting(settings, "seed"));
  plan.environment = {
      {"PYTHONPATH", StrCat(options.home, "/python:", options.home, "/python/faces")},
      {"DATA_DIR", options.data_dir.empty() ? std::string(kSystemData) : options.data_dir},
      {"SITES", StrCat(options.nodes)},
      {"SAMPLES", samples},
      {"MAX_EPOCHS", epochs},
      {"SYNC_FREQUENCY", interval},
      {"SEED", seed},
      {"KERAS_BACKEND", "jax"},
      // One thread a program: the sites share this machine's cores.
      {"XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false"},
      {"OMP_NUM_THREADS", "1"},
      {"OPENBLAS_NUM_THREADS", "1"}};
  return plan;
}

// The accuracy that a training printed last, from its log.
Result<double> AccuracyIn(const std::string& log_path) {
  for (const std::string& line : LastLines(log_path, 200)) {
    const std::size_t at = line.find(kAccuracyMark);
    if (at == std::string::npos) continue;
    return std::strtod(line.c_str() + at + kAccuracyMark.size(), nullptr);
  }
  return WithNext(absl::NotFoundError(StrCat(log_path, ": no line \"", kAccuracyMark, "…\"")),
                  StrCat("read ", log_path));
}

// Each site trains on its own data only, all at the same time. Answers the accuracies, in order.
Result<std::vector<double>> TrainAlone(const DemoOptions& options, const Plan& plan,
                                       const std::string& directory, const ToolContext& context) {
  Processes processes;
  for (std::size_t i = 0; i < options.nodes; ++i) {
    const std::string dir = StrCat(directory, "/alone-", DefaultNodeName(i));
    RETURN_IF_ERROR(MakeDirectories(dir));
    ProcessSpec spec{"site " + DefaultNodeName(i),
                     {plan.python, plan.program},
                     plan.environment,
                     dir + "/log.txt"};
    spec.environment.insert(spec.environment.end(), {{"SWARM_LOOPBACK", "true"},
                                                     {"SITE", StrCat(i)},
                                                     {"MODEL_DIR", dir},
                                                     {"MIN_PEERS", "1"},
                                                     {"PYTHONUNBUFFERED", "1"}});
    RETURN_IF_ERROR(processes.Start(spec).status());
  }
  for (std::size_t left = options.nodes; left > 0; --left) {
    const std::optional<ProcessExit> exit = processes.WaitForExit(kAloneWithin, context.stop);
    if (context.stop.stop_requested())
      return absl::CancelledError("interrupted: all parts were stopped");
    if (!exit) return absl::DeadlineExceededError("a training alone takes longer than 600 s");
    if (exit->code == 0) continue;
    const std::vector<std::string> last = LastLines(processes.log_path(exit->index), 1);
    return WithNext(
        absl::AbortedError(StrCat(processes.label(exit->index), " ended with exit code ",
                                  exit->code, last.empty() ? "" : "; it said last: " + last[0])),
        StrCat("read ", processes.log_path(exit->index)));
  }
  std::vector<double> accuracies;
  for (std::size_t i = 0; i < options.nodes; ++i) {
    ASSIGN_OR_RETURN(const double accuracy, AccuracyIn(processes.log_path(i)));
    accuracies.push_back(accuracy);
  }
  return accuracies;
}

struct Together {
  SwarmEnd end;
  double accuracy = 0;
  std::string directory;
};

Result<Together> TrainTogether(const DemoOptions& options, const Plan& plan,
                               const std::string& directory, const ToolContext& context) {
  RunOptions run;
  run.nodes = options.nodes;
  run.program = {plan.python, plan.program};
  run.directory = directory + "/swarm";
  run.keep_updates = true;
  run.kill_leader = options.kill_leader;
  run.environment = plan.environment;
  ASSIGN_OR_RETURN(const std::unique_ptr<Swarm> swarm, Swarm::Start(run, context));
  Together together;
  together.directory = swarm->directory();
  std::cout
      << "    time     round  peers   leader  model     accuracy of each node before the merge\n";
  ASSIGN_OR_RETURN(
      together.end,
      swarm->Run(
          [](const RoundStory& round) {
            std::string peers;
            std::string accuracies;
            for (const Member& member : round.members) {
              StrAppend(&peers, member.name.value(), " ");
              const auto report = round.reports.find(member.name);
              const bool known = report != round.reports.end() && report->second.metric.has_value();
              StrAppend(&accuracies, accuracies.empty() ? "" : "  ", member.name.value(), " ",
                        known ? Percent(*report->second.metric) : "–");
            }
            std::string leaders;
            for (const NodeName& leader : round.leaders)
              StrAppend(&leaders, leaders.empty() ? "" : " > ", leader.value());
            std::cout << fmt::format("    {}  {:>4}  {:<8}{:<7} {}  {}\n",
                                     FormatLocalTime(FromUnixMs(round.sealed_unix_ms)),
                                     round.round.value(), peers, leaders, ShortText(*round.root),
                                     accuracies)
                      << std::flush;
          },
          [](const std::string& news) { std::cout << "    " << news << "\n"
                                                  << std::flush; }));
  for (const std::string& node : swarm->NodeDirectories()) {
    ASSIGN_OR_RETURN(const double accuracy, AccuracyIn(node + "/log.txt"));
    together.accuracy = std::max(together.accuracy, accuracy);
  }
  return together;
}

Status Demo(const DemoOptions& options, const ToolContext& context) {
  if (options.nodes < 2 || options.nodes > 8)
    return absl::InvalidArgumentError("--nodes: between 2 and 8");
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(options));
  ASSIGN_OR_RETURN(const std::string directory,
                   FreshDirectory(options.directory, "starling-demo", context));
  const Instant begin = context.clock.Now();
  std::cout << options.nodes
            << " sites, Fashion-MNIST, at each three classes have three times as many images as "
               "the other "
               "seven\n\n"
            << "1. Each site alone (its own data only)\n"
            << std::flush;
  ASSIGN_OR_RETURN(const std::vector<double> alone, TrainAlone(options, plan, directory, context));
  std::cout << "   ";
  for (std::size_t i = 0; i < alone.size(); ++i)
    std::cout << (i == 0 ? " site " : "  site ") << DefaultNodeName(i) << ": " << Percent(alone[i]);
  std::cout << "\n\n2. All together (the same data, which never leaves its site)\n" << std::flush;
  ASSIGN_OR_RETURN(const Together together, TrainTogether(options, plan, directory, context));
  const double best = *std::max_element(alone.begin(), alone.end());
  std::cout << "\n3. The result, on the same 10,000 test images\n"
            << "    best site alone   " << Percent(best) << "\n"
            << "    together          " << Percent(together.accuracy) << "   ("
            << fmt::format("{:+.1f}", (together.accuracy - best) * 100.0) << " points)\n"
            << "    " << together.end.holders_line << "\n";
  if (together.end.final_root) std::cout << "    " << RootText(*together.end.final_root) << "\n";
  std::cout << "    " << together.end.rounds << " rounds, "
            << Millis(context.clock.Now() - begin) / 1000 << " s in all\n\n"
            << "Files:  " << directory << "\n"
            << "Next:   ./dev starling explain " << together.directory
            << "     each round in words\n"
            << "        ./dev starling verify " << together.directory
            << "      check every signature, repeat every merge\n";
  if (!together.end.same_everywhere)
    return absl::DataLossError("the nodes do not all hold the final model");
  return absl::OkStatus();
}

}  // namespace

int RunDemo(const DemoOptions& options, const ToolContext& context) {
  const Status status = Demo(options, context);
  if (status.ok()) return 0;
  std::cerr << ErrorLine(status, "starling demo") << "\n";
  return absl::IsCancelled(status) ? 130 : 1;
}

}  // namespace starling
