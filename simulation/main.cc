// starling_sim: runs seeds of simulated swarms until one fails.
//
//   starling_sim [--from N] [--seeds N] [--soak] [--fault NAME]
//   starling_sim --seed N --trace        the story of one seed, for people
//
// --soak goes on until it is stopped (SIGINT or SIGTERM) and says every thousand seeds what has
// struck and what was hit. --fault plants a fault, so that the run must fail. A failure prints
// SEED=n. Exit code 0: all passed, 1: one failed, 2: usage.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <span>
#include <string_view>

#include "fmt/format.h"
#include "simulation/swarm.h"

namespace {

using starling::simulation::Fault;
using starling::simulation::Outcome;

volatile std::sig_atomic_t stop_requested = 0;
void OnSignal(int /*signal*/) { stop_requested = 1; }

std::optional<std::uint64_t> Number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Options {
  std::uint64_t from = 1;
  std::uint64_t seeds = 200;
  bool soak = false;
  bool trace = false;
  bool all = false;  // goes on after a failure
  Fault fault = Fault::kNone;
};

std::optional<Options> Parse(std::span<char* const> words) {
  Options options;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "--soak") {
      options.soak = true;
    } else if (word == "--trace") {
      options.trace = true;
    } else if (word == "--all") {
      options.all = true;
    } else if (i + 1 == words.size()) {
      return std::nullopt;
    } else {
      const std::string_view value = words[++i];
      const std::optional<std::uint64_t> number = Number(value);
      if (word == "--from" && number) {
        options.from = *number;
      } else if (word == "--seeds" && number) {
        options.seeds = *number;
      } else if (word == "--seed" && number) {
        options.from = *number;
        options.seeds = 1;
      } else if (const auto fault = starling::simulation::FaultNamed(value);
                 word == "--fault" && fault) {
        options.fault = *fault;
      } else {
        return std::nullopt;
      }
    }
  }
  return options;
}

Outcome RunOne(std::uint64_t seed, const Options& options) {
  if (!options.trace) return starling::simulation::RunSwarm(seed, options.fault);
  const auto show = [](starling::Instant at, const std::string& line) {
    const auto ms = starling::Millis(at.time_since_epoch());
    fmt::print("{:>6}.{:03} {}\n", ms / 1000, ms % 1000, line);
  };
  return starling::simulation::RunSwarm(seed, options.fault, show);
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<Options> options =
      Parse(std::span<char* const>(argv, static_cast<std::size_t>(argc)));
  if (!options) {
    fmt::print(stderr,
               "usage: starling_sim [--from N] [--seeds N] [--seed N] [--trace] [--all] [--soak] "
               "[--fault NAME]\n");
    return 2;
  }
  static_cast<void>(std::signal(SIGINT, OnSignal));
  static_cast<void>(std::signal(SIGTERM, OnSignal));
  starling::simulation::Totals totals;
  std::uint64_t failed = 0;
  for (std::uint64_t done = 0; (options->soak || done < options->seeds) && stop_requested == 0;
       ++done) {
    const Outcome outcome = RunOne(options->from + done, *options);
    if (!outcome.failure.empty()) {
      fmt::print(stderr, "SEED={} {}\n", options->from + done, outcome.failure);
      ++failed;
      if (!options->all) break;
    }
    totals.Add(outcome.statistics);
    totals.rounds += outcome.rounds;
    totals.entries += outcome.entries;
    totals.events += outcome.events;
    totals.attempts += outcome.attempts;
    totals.virtual_time += outcome.lasted;
    if (options->soak && done % 1000 == 999) {
      fmt::print("{}\n", totals.Text());
      std::fflush(stdout);
    }
  }
  if (options->soak || options->seeds > 1) fmt::print("{}", totals.Text());
  if (failed > 0) {
    fmt::print("{} seeds failed\n", failed);
    return 1;
  }
  fmt::print("{} seeds passed\n", totals.seeds);
  return 0;
}
