// starling_sim: seeds from A on, for a number of them or until told to stop. A failure prints
// SEED=n and ends with 1.
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>

#include "simulation/swarm.h"

namespace {
volatile std::sig_atomic_t stop_requested = 0;
void OnSignal(int /*signal*/) { stop_requested = 1; }
}  // namespace

int main(int argc, char** argv) {
  std::uint64_t from = 1;
  std::uint64_t seeds = 200;
  bool soak = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--soak") {
      soak = true;
    } else if ((word == "--seeds" || word == "--from") && i + 1 < argc) {
      (word == "--seeds" ? seeds : from) = std::strtoull(argv[++i], nullptr, 10);
    } else {
      std::cerr << "usage: starling_sim [--seeds N] [--from N] [--soak]\n";
      return 2;
    }
  }
  static_cast<void>(std::signal(SIGINT, OnSignal));
  static_cast<void>(std::signal(SIGTERM, OnSignal));
  std::uint64_t rounds = 0;
  std::uint64_t done = 0;
  double hours = 0;
  for (std::uint64_t seed = from; (soak || seed < from + seeds) && stop_requested == 0; ++seed) {
    const starling::sim::Outcome outcome = starling::sim::RunSeed(seed);
    if (!outcome.failure.empty()) {
      std::cerr << "SEED=" << seed << ": " << outcome.failure << "\n";
      return 1;
    }
    rounds += outcome.rounds;
    hours += std::chrono::duration<double>(outcome.virtual_time).count() / 3600.0;
    if (++done % 1000 == 0)
      std::cout << done << " seeds, " << rounds << " rounds, " << hours << " virtual hours\n"
                << std::flush;
  }
  std::cout << done << " seeds passed, " << rounds << " rounds, " << hours << " virtual hours\n";
  return 0;
}
