#include "simulation/weather.h"

#include <algorithm>

#include "base/text.h"

namespace starling::simulation {
namespace {

struct Kind {
  Strike strike;
  std::string_view name;
  std::uint64_t percent;  // of seeds in which it comes at all; 0: not enabled
};
// Only what the deciders can stand is enabled.
constexpr Kind kKinds[] = {
    {Strike::kSlCrash, "sl: crash", 40},
    {Strike::kSlMachine, "sl: machine down", 20},
    {Strike::kSlDisk, "sl: disk lost", 12},
    {Strike::kProgramDies, "sl: program dies", 12},
    {Strike::kSlStops, "sl: stopped", 20},
    {Strike::kSnCrash, "sn: crash", 25},
    {Strike::kSnStops, "sn: stopped", 12},
    {Strike::kFollowerDisk, "sn: a follower's disk lost", 15},
    {Strike::kSentinelOld, "sn: restored from an old copy", 10},
    {Strike::kOneWayCut, "network: cut one way", 20},
    {Strike::kPartition, "network: partition", 20},
    {Strike::kClockLeaps, "clock: leap", 15},
    {Strike::kDiskFull, "sl: disk full", 12},
    {Strike::kSnDiskFull, "sn: disk full", 10},
    {Strike::kSlowTransfers, "transfer: slow, stalled or broken", 20},
    {Strike::kReorganise, "ledger: a reorganisation", 50},
    {Strike::kHomeAway, "ledger: out of reach", 25},
    {Strike::kReplays, "noise: entries again", 25},
    {Strike::kForgeries, "noise: forgeries", 60},
    {Strike::kHastySn, "noise: a hasty SN", 12},
    {Strike::kCurious, "noise: a curious node", 20},
    {Strike::kAmended, "operator: amends", 12},
    {Strike::kRevoked, "operator: revokes", 8},
    {Strike::kReset, "operator: resets", 6},
};

constexpr Duration kVerySlow = 3000s;  // a hundred times the grace of a quorum

struct Common {
  Duration interval;
  bool only_first_weighs = false;  // the others take part and change nothing
};
Habits DrawHabits(World& world, std::uint64_t index, bool early, const Common& common) {
  Habits node;
  node.name = NodeName{StrCat("n", index)};
  node.opens_at = world.Between(Duration(0), early ? Duration(2s) : Duration(120s));
  node.interval =
      world.Chance(8) ? kVerySlow : world.Between(common.interval / 2, 2 * common.interval);
  node.batches = world.Between(std::uint64_t{1}, 16);
  node.rounds = world.Between(std::uint64_t{1}, 5);
  node.mode = static_cast<FinishMode>(world.random().Below(3));
  node.weight = index == 0 ? 1 : world.Between(std::uint64_t{0}, common.only_first_weighs ? 0 : 3);
  node.may_lead = world.Chance(70);
  return node;
}

std::int64_t DrawDrift(World& world) {
  return world.OneOf<std::int64_t>({0, 0, 500, -500, 30'000, -30'000});
}

// At most one less than what would seal by itself, so that the oracle has to be right.
void DrawLiars(World& world, Weather& weather) {
  if (weather.nodes.size() < 3 || !world.Chance(25)) return;
  Habits& liar = weather.nodes[1 + world.random().Below(weather.nodes.size() - 1)];
  liar.lie = static_cast<Lie>(1 + world.random().Below(5));
}

void DrawStorm(World& world, Weather& weather) {
  if (world.Chance(15)) return;  // Fair from the beginning.
  weather.foul = world.OneOf<Duration>({20s, 300s, 3600s});
  for (const Kind& kind : kKinds) {
    if (kind.percent == 0 || !world.Chance(kind.percent)) continue;
    weather.every[static_cast<std::size_t>(kind.strike)] =
        weather.foul / static_cast<Duration::rep>(world.Between(std::uint64_t{1}, 12));
  }
  weather.network.lost_percent = world.OneOf<std::uint64_t>({0, 0, 1, 10});
  weather.network.repeated_percent = world.OneOf<std::uint64_t>({0, 0, 2, 20});
}

}  // namespace

std::uint64_t Weather::liars() const {
  return static_cast<std::uint64_t>(std::count_if(
      nodes.begin(), nodes.end(), [](const Habits& node) { return node.lie != Lie::kNone; }));
}

std::string_view StrikeName(Strike strike) {
  for (const Kind& kind : kKinds) {
    if (kind.strike == strike) return kind.name;
  }
  return "";
}

Weather DrawWeather(World& world) {
  Weather weather;
  weather.network.latency_max = world.OneOf<Duration>({1ms, 20ms, 500ms});
  weather.transfer_max = world.OneOf<Duration>({1ms, 100ms, 3s});
  weather.disk_max = world.OneOf<Duration>({1ms, 2s});
  const std::uint64_t nodes = world.Between(std::uint64_t{1}, 7);
  const bool all_early = world.Chance(50);
  const std::uint64_t early = all_early ? nodes : world.Between(std::uint64_t{1}, nodes);
  weather.min_peers = world.Between(std::uint64_t{1}, early);
  weather.witnesses = world.Between(std::uint64_t{2}, 3);
  weather.merges_round_zero = world.Chance(50);
  weather.lists_members = world.Chance(30);
  weather.lists_operators = world.Chance(30);
  weather.lists_admins = world.Chance(30);
  weather.shares_identity = world.Chance(12);
  weather.starts_from_root = world.Chance(15);
  weather.auto_create = world.Chance(50) && !weather.lists_members && !weather.starts_from_root &&
                        !weather.lists_operators && !weather.lists_admins;
  weather.finality = world.Chance(30) ? world.OneOf<Duration>({2s, 15s}) : Duration(0);
  const Common common{world.OneOf<Duration>({5ms, 1s, 20s}), world.Chance(8)};
  for (std::uint64_t i = 0; i < nodes; ++i) {
    weather.nodes.push_back(DrawHabits(world, i, i < early, common));
    weather.nodes.back().drift = DrawDrift(world);
  }
  const std::uint64_t sns = world.Between(std::uint64_t{1}, 3);
  for (std::uint64_t i = 0; i < sns; ++i) weather.sn_drifts.push_back(DrawDrift(world));
  DrawLiars(world, weather);
  DrawStorm(world, weather);
  return weather;
}

Weather FairWeather(std::size_t nodes, std::uint64_t rounds) {
  Weather weather;
  weather.network.latency_max = 20ms;
  weather.transfer_max = 100ms;
  weather.disk_max = 10ms;
  weather.min_peers = std::max<std::uint64_t>(1, nodes - 1);
  weather.sn_drifts = {0};
  for (std::size_t i = 0; i < nodes; ++i) {
    Habits node;
    node.name = NodeName{StrCat("n", i)};
    node.interval = 10s;
    node.batches = 10;
    node.rounds = rounds;
    weather.nodes.push_back(node);
  }
  return weather;
}

}  // namespace starling::simulation
