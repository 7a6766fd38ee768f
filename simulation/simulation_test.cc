// Properties of the simulator itself; the seeds run as `sim_200_seeds`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "simulation/clock.h"
#include "simulation/disk.h"
#include "simulation/network.h"
#include "simulation/swarm.h"
#include "simulation/world.h"

namespace starling::simulation {
namespace {

TEST(SimulatedWorld, RunsEventsInTheOrderOfTheirTimes) {
  World world(1);
  std::string order;
  world.After(2s, "b", [&] { order += "b"; });
  world.After(1s, "a", [&] {
    order += "a";
    world.After(1s, "c", [&] { order += "c"; });
  });
  while (world.RunOne()) continue;
  EXPECT_EQ(order, "abc");  // Equal times in the order in which they were asked for.
  EXPECT_EQ(world.Now(), Instant{} + 2s);
}

TEST(SimulatedClock, DriftsAndLeapsAndKnowsWhenItWillShowATime) {
  World world(1);
  HostClock clock(world, 100'000);
  world.After(10s, "", [] {});
  world.RunOne();
  EXPECT_EQ(clock.Now(), Instant{} + 11s);
  EXPECT_EQ(clock.Until(Instant{} + 22s), 10s + 1ns);
  clock.Leap(3600s);
  EXPECT_EQ(clock.Until(Instant{} + 22s), 0s);
}

TEST(SimulatedDisk, ACrashDropsOrTearsWhatWasNotSynced) {
  World world(1);
  Statistics statistics;
  Disk disk(world, statistics, 1s);
  disk.Write("old", "a", [](bool) {});
  while (world.RunOne()) continue;
  for (int i = 0; i < 50; ++i)
    disk.Write("new" + std::to_string(i), "b", [](bool) { FAIL() << "after a crash"; });
  disk.Crash();
  while (world.RunOne()) continue;
  EXPECT_EQ(disk.files().at("old"), "a");
  EXPECT_GT(statistics.strikes["disk: a write is torn"], 0U);
  EXPECT_GT(statistics.strikes["disk: a write is dropped"], 0U);
}

TEST(SimulatedDisk, AFullOneFailsItsWritesAndKeepsTheOldFile) {
  World world(1);
  Statistics statistics;
  Disk disk(world, statistics, 1s);
  disk.FillUntil(Instant{} + 100s);
  std::optional<bool> good;
  disk.Write("file", "a", [&](bool ok) { good = ok; });
  while (world.RunOne()) continue;
  EXPECT_EQ(good, false);
  EXPECT_FALSE(disk.Has("file"));
}

struct Pair {
  World world{1};
  Statistics statistics;
  Network network{world, statistics, 2};
  std::optional<Fate> fate;
  Pair() {
    network.Start(0);
    network.Start(1);
  }
  void Ask() {
    fate.reset();
    network.Ask<int>(
        0, 1, "ask", 10s, [](const std::function<void(int)>& respond) { respond(7); },
        [this](const Answer<int>& answer) { fate = answer.fate; });
  }
  void RunAll() {
    while (world.RunOne()) continue;
  }
};

TEST(SimulatedNetwork, AProcessThatIsDownRefusesAndAMachineThatIsDownIsSilent) {
  Pair pair;
  pair.network.End(1, false);
  pair.Ask();
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kRefused);
  pair.network.End(1, true);
  pair.Ask();
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kSilent);
}

TEST(SimulatedNetwork, ALinkCutOneWaySwallowsTheQuestionOrItsAnswer) {
  Pair pair;
  pair.network.Cut(1, 0, Instant{} + 100s);
  pair.Ask();
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kSilent);
  pair.network.Heal();
  pair.Ask();
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kAnswered);
}

TEST(SimulatedNetwork, AStoppedProcessAnswersWhenItGoesOn) {
  Pair pair;
  pair.network.Stop(1);
  pair.Ask();
  pair.world.After(5s, "", [&] { pair.network.Continue(1); });
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kAnswered);
  pair.network.Stop(1);
  pair.Ask();
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kSilent);
}

TEST(SimulatedNetwork, AConnectionToAProcessThatEndsIsReset) {
  Pair pair;
  pair.network.Stop(1);
  pair.Ask();
  pair.world.After(1s, "", [&] { pair.network.End(1, false); });
  pair.RunAll();
  EXPECT_EQ(pair.fate, Fate::kRefused);
}

TEST(Simulator, TheSameSeedTwiceIsTheSameRun) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Outcome first = RunSwarm(seed);
    const Outcome second = RunSwarm(seed);
    EXPECT_EQ(first.failure, "") << "SEED=" << seed;
    EXPECT_EQ(first.trace, second.trace) << "SEED=" << seed;
    EXPECT_EQ(first.lasted, second.lasted) << "SEED=" << seed;
  }
}

TEST(Simulator, AnotherSeedIsAnotherRun) {
  std::set<std::uint64_t> traces;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) traces.insert(RunSwarm(seed).trace);
  EXPECT_EQ(traces.size(), 10U);
}

TEST(Simulator, SeedsDrawSwarmsOfEverySizeAndEveryStrike) {
  std::set<std::size_t> sizes, sns;
  std::set<bool> slow, chain;
  std::set<std::size_t> strikes;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    World world(seed);
    const Weather weather = DrawWeather(world);
    sizes.insert(weather.nodes.size());
    sns.insert(weather.sn_drifts.size());
    chain.insert(weather.finality > Duration(0));
    for (const Habits& node : weather.nodes) slow.insert(node.interval > 1000s);
    for (std::size_t i = 0; i < kStrikeCount; ++i) {
      if (weather.every[i] > Duration(0)) strikes.insert(i);
    }
  }
  EXPECT_EQ(sizes, (std::set<std::size_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(sns, (std::set<std::size_t>{1, 2, 3}));
  EXPECT_EQ(slow.size(), 2U);
  EXPECT_EQ(chain.size(), 2U);
  EXPECT_EQ(strikes.size(), kStrikeCount);
}

TEST(Report, NamesEveryRowOfTheEventTableWithZeroToo) {
  Totals totals;
  Statistics run;
  run.Entry({"", {}, "round-closed", "sn0", ContractName{"training"}});
  const Why why{Reason::kUsedSeq, 7};
  run.Entry({why.text(), why.reason(), "checked-in", "n0", ContractName{"training"}});
  totals.Add(run);
  const std::string text = totals.Text();
  const auto has = [&](const std::string& line) {
    return text.find("  " + line + "\n") != std::string::npos;
  };
  EXPECT_TRUE(has("        1  round-closed"));
  EXPECT_TRUE(has("        1  any entry: its seq # was used before"));
  for (const std::string_view type : EventTypes()) {
    const std::string hits = type == "round-closed" ? "1" : "0";
    EXPECT_TRUE(has("        " + hits + "  " + std::string(type))) << type;
  }
  const std::vector<std::string> never = totals.Never();
  EXPECT_EQ(never.size(), kStrikeCount + EventTypes().size() - 1 + IgnoredRows().size() - 1);
  for (const std::string& what : never) EXPECT_NE(text.find("  " + what + "\n"), text.npos) << what;
}

TEST(Report, KnowsARowThatTheListLacks) {
  const Why why{Reason::kStillTrains};
  EXPECT_TRUE(IsListed({why.text(), why.reason(), "round-closed", "", ContractName{"training"}}));
  EXPECT_FALSE(IsListed({why.text(), why.reason(), "checked-in", "", ContractName{"training"}}));
}

TEST(FairBound, OfTheDefaultOptions) {
  // One round, three attempts: 7 × 30 s of grace, 7 × 5 s of stalls, 3 × 2 s for one SN.
  EXPECT_EQ(FairBound({.rounds_left = 1, .attempts_left = 2}), 210s + 35s + 6s);
  // A round that is in its second attempt waits twice as long.
  EXPECT_EQ(FairBound({.rounds_left = 1, .attempt = 1, .attempts_left = 0}), 60s + 10s + 2s);
  EXPECT_EQ(FairBound({.rounds_left = 2, .transfer = 1s, .interval = 10s}),
            2 * (30s + 5s + 2s + 1s + 20s));
}

}  // namespace
}  // namespace starling::simulation
