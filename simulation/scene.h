// Scene: what all parts of one simulated swarm share, and how its nodes find one another. One
// thread; the Swarm owns everything and outlives its users.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "simulation/chronicle.h"
#include "simulation/home.h"
#include "simulation/network.h"
#include "simulation/statistics.h"
#include "simulation/weather.h"
#include "simulation/world.h"

namespace starling::simulation {

class Checker;
class Sl;
class Sn;

inline const ContractName kTraining{"training"};
inline const std::string kOperator = "spiffe://sim/operator";

struct Scene {
  World& world;
  Statistics& statistics;
  Network& network;
  Chronicle& chronicle;
  Home& home;
  Checker& checker;
  const Weather& weather;
  const Fault fault;
  bool foul = false;       // the storm goes on
  bool may_split = false;  // an old copy was restored: two logs are possible, if loud
  std::optional<Digest> initial_root;
  std::vector<SigningKey> operators;     // listed in entry 0, else empty; the first one speaks
  std::vector<std::unique_ptr<Sl>> sls;  // hosts 0, 1, …
  std::vector<std::unique_ptr<Sn>> sns;  // hosts after them; the first is the sentinel

  [[nodiscard]] Sl* Find(const NodeName& name) const;  // null: no such node
  void Tell(const std::string& line) const { world.Tell(line); }
};

// A key of its own for each number.
[[nodiscard]] SigningKey KeyOf(std::uint64_t number);
[[nodiscard]] Rules StatedRules(const Weather& weather);
// The operator's claim for `event`, as entry 0 wants it.
[[nodiscard]] OperatorClaim ClaimFor(const Scene& scene, const Event& event, std::uint64_t seq,
                                     const Place& seen);

}  // namespace starling::simulation
