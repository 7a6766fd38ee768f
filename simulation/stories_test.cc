// Stories: swarms in which one thing goes wrong at a given time, told for people. What the seeds
// found is kept here.
#include <gtest/gtest.h>

#include "simulation/swarm.h"

namespace starling::simulation {
namespace {

Story Of(std::size_t nodes, std::uint64_t rounds, std::vector<Story::Beat> beats) {
  Story story;
  story.weather = FairWeather(nodes, rounds);
  story.beats = std::move(beats);
  for (const Story::Beat& beat : story.beats)
    story.weather.foul = std::max(story.weather.foul, beat.at + 60s);
  return story;
}

// Runs it with several seeds: who is struck differs.
void ExpectGood(const Story& told, std::uint64_t rounds) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Story story = told;
    story.seed = seed;
    const Outcome outcome = Tell(story);
    EXPECT_EQ(outcome.failure, "") << "seed " << seed;
    EXPECT_GE(outcome.rounds, rounds) << "seed " << seed;
  }
}

TEST(Stories, ThreeNodesTrainFiveRoundsAndAgree) { ExpectGood(Of(3, 5, {}), 6); }

TEST(Stories, ASlDiesInTheMiddleAndComesBack) {
  ExpectGood(Of(4, 5, {{25s, Strike::kSlCrash}}), 6);
}

TEST(Stories, AMachineIsGoneAndTheOthersGoOnWithoutIt) {
  ExpectGood(Of(4, 5, {{22s, Strike::kSlMachine}}), 6);
}

TEST(Stories, EverySlIsStoppedForAWhile) {
  ExpectGood(Of(3, 5, {{15s, Strike::kSlStops}, {20s, Strike::kSlStops}, {31s, Strike::kSlStops}}),
             6);
}

TEST(Stories, TheSnDiesAndNobodyLosesARound) {
  ExpectGood(Of(3, 5, {{18s, Strike::kSnCrash}, {40s, Strike::kSnCrash}}), 6);
}

TEST(Stories, ADiskIsLostAndItsNodeEnrolsUnderANewKey) {
  ExpectGood(Of(4, 5, {{25s, Strike::kSlDisk}}), 6);
}

TEST(Stories, AProgramDiesAndIsStartedAgain) {
  ExpectGood(Of(4, 5, {{25s, Strike::kProgramDies}}), 6);
}

TEST(Stories, APartitionHeals) {
  ExpectGood(Of(5, 5, {{15s, Strike::kPartition}, {45s, Strike::kPartition}}), 6);
}

TEST(Stories, AnUnfinalTailIsTakenBack) {
  Story story = Of(3, 4, {});
  story.weather.finality = 5s;
  story.weather.sn_drifts = {0, 0};
  for (int at = 10; at < 120; at += 7)
    story.beats.push_back({std::chrono::seconds(at), Strike::kReorganise});
  story.weather.foul = 130s;
  ExpectGood(story, 5);
}

TEST(Stories, AFollowingSnIsRestoredEmptyAndFollowsAgain) {
  Story story = Of(3, 5, {{20s, Strike::kFollowerDisk}, {30s, Strike::kFollowerDisk}});
  story.weather.sn_drifts = {0, 0, 0};
  ExpectGood(story, 6);
}

// A quorum that needs the node that lies ties again and again, until one that trains for an hour
// comes: then the tie has a third vote.
TEST(Stories, ALiarThatTheQuorumNeedsHoldsItUpUntilAThirdOneComes) {
  Story story = Of(3, 1, {});
  story.weather.min_peers = 2;
  story.weather.nodes[0].interval = 3000s;
  story.weather.nodes[2].lie = Lie::kVotesOther;
  ExpectGood(story, 2);
}

// One that came too late is refused, and the rest is short of a quorum without the node that
// breaks off: its people set it right.
TEST(Stories, ANodeThatBreaksOffIsSetRightWhereTheQuorumNeedsIt) {
  Story story = Of(4, 2, {});
  story.weather.min_peers = 3;
  story.weather.nodes[0].rounds = 1;
  story.weather.nodes[1].lie = Lie::kBreaksOff;
  story.weather.nodes[3].opens_at = 200s;
  ExpectGood(story, 3);
}

TEST(Stories, AnOperatorResetsTheTraining) { ExpectGood(Of(3, 3, {{25s, Strike::kReset}}), 4); }

}  // namespace
}  // namespace starling::simulation
