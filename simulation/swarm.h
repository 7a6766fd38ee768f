// A whole swarm in one thread: the production replay and deciders of one to three SNs and one to
// seven SLs, over simulated links, disks, clocks, transfers and programs. Models are their roots
// only. One seed draws the weather, then everything else. The checker looks after every event; when
// the storm is over every program must return within a bound.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "simulation/faults.h"
#include "simulation/statistics.h"
#include "simulation/weather.h"

namespace starling::simulation {

struct Outcome {
  std::string failure;  // the first assertion that did not hold, "" when all did
  std::uint64_t trace = 0;
  std::uint64_t events = 0;
  std::uint64_t entries = 0;
  std::uint64_t rounds = 0;
  std::uint64_t attempts = 0;  // rounds that were reopened
  std::uint64_t refused = 0;   // late nodes that were not let in
  bool split = false;          // a restored copy forked, and all stopped loudly
  Duration lasted{};           // virtual
  Duration bound{};            // within which every program had to return, after the storm
  Statistics statistics;
};

using Listener = std::function<void(Instant, const std::string&)>;

// Runs one seed to its end. `listener` hears the story.
[[nodiscard]] Outcome RunSwarm(std::uint64_t seed, Fault fault = Fault::kNone,
                               const Listener& listener = nullptr);

// What a story arranges: weather, and strikes at given times.
struct Story {
  Weather weather;
  struct Beat {
    Duration at;
    Strike strike;
  };
  std::vector<Beat> beats;
  std::uint64_t seed = 1;
  Fault fault = Fault::kNone;
};
[[nodiscard]] Outcome Tell(const Story& story, const Listener& listener = nullptr);

// The bound of assertion 9 (docs/protocol.md, "Definitions and rulings").
struct BoundInput {
  std::uint64_t rounds_left = 1;
  std::uint64_t attempt = 0;        // of the round that is open
  std::uint64_t attempts_left = 0;  // that a round may still be reopened
  Duration grace = 30s;
  Duration stall_timeout = 5s;
  std::uint64_t sns = 1;
  Duration transfer{};  // at the slowest link
  Duration interval{};  // of the slowest program
};
[[nodiscard]] Duration FairBound(const BoundInput& input);

}  // namespace starling::simulation
