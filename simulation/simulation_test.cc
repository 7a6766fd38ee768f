#include "gtest/gtest.h"
#include "simulation/swarm.h"

namespace starling::sim {
namespace {

TEST(Simulation, TwoHundredSeedsHoldEveryAssertion) {
  std::uint64_t rounds = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const Outcome outcome = RunSeed(seed);
    ASSERT_EQ(outcome.failure, "") << "SEED=" << seed;
    rounds += outcome.rounds;
  }
  EXPECT_GT(rounds, 400U);
}

TEST(Simulation, ASeedGivesTheSameTraceTwice) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    EXPECT_EQ(RunSeed(seed).trace, RunSeed(seed).trace) << "SEED=" << seed;
}

// The share of seeds in which a planted fault is seen; a simulator that cannot fail is blind.
std::uint64_t Caught(Planted planted) {
  std::uint64_t caught = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed)
    caught += RunSeed(seed, planted).failure.empty() ? 0U : 1U;
  return caught;
}

TEST(Canary, AProgramThatTrainsOnFromAnOldModelIsSeen) {
  EXPECT_GT(Caught(Planted::kStaleTrainer), 25U);
}
TEST(Canary, VotesForAnotherModelThanTheMergeAreSeen) {
  EXPECT_GT(Caught(Planted::kWrongVotes), 25U);
}

}  // namespace
}  // namespace starling::sim
