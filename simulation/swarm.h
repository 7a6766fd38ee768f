// A whole swarm in one thread: the production replay and deciders of one SN and one to seven SLs,
// over a simulated log, network and programs. Models are roots only; M is a hash that an oracle can
// make again. One seed draws the weather, then everything. After every entry the swarm is checked
// against docs/protocol.md, "What the simulator asserts"; faults of processes, disks and links join
// the Weather with the deciders that handle them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/replay.h"
#include "protocol/sl_decider.h"
#include "protocol/sn_decider.h"
#include "simulation/world.h"

namespace starling::sim {

// Faults planted on purpose: the checks must catch them.
enum class Planted : std::uint8_t {
  kNone,
  kStaleTrainer,  // trains on without loading the merged model, and claims the base all the same
  kWrongVotes,    // every SL computes another M than the rule gives
};

struct Weather {
  std::size_t nodes = 1;
  std::uint64_t intervals = 1;  // each program trains so many, more or less
  Duration delay_max{};         // of any message, each drawn anew: so messages overtake one another
  Duration start_max{};         // programs start within
  Duration train_max{};         // of one interval, per node
  std::uint64_t late_per_million = 0;  // a node starts only after the others have begun
};

struct Outcome {
  bool finished = false;
  std::string failure;  // the first assertion that did not hold, "" when all did
  std::uint64_t rounds = 0;
  std::uint64_t entries = 0;
  std::uint64_t ignored = 0;
  Duration virtual_time{};
  Digest trace;
};

// Runs one seed to its end.
[[nodiscard]] Outcome RunSeed(std::uint64_t seed, Planted planted = Planted::kNone);

}  // namespace starling::sim
