// The votes of a round: one test for each way to be valid and each way to be ignored.
#include <gtest/gtest.h>

#include "protocol/story_testing.h"

namespace starling {
namespace {

// Two nodes, both checked in to round 0, closed.
Story Merging(const Names& names = {"a", "b"}, const Rules& rules = {}) {
  Story story;
  story.Begin(names, rules);
  for (const std::string& name : names) EXPECT_EQ(story.CheckIn(name, name + "0"), "");
  EXPECT_EQ(story.Close(), "");
  return story;
}

// --- round-merged ---

TEST(RoundMergedRow, TwoEqualVotesSeal) {
  Story story = Merging({"a", "b", "c"});
  EXPECT_EQ(story.Merge("a", "m0"), "");
  EXPECT_EQ(story.Text(),
            "round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=a:m0; grounds=; holders=");
  EXPECT_EQ(story.Merge("b", "m0"), "");
  EXPECT_EQ(story.Text(),
            "round 1 collecting; a: b: c:; P=; votes=; grounds=; holders=a b; base=m0");
  EXPECT_EQ(story.contract().roots.at(RoundId{0}), RootNamed("m0"));
  EXPECT_EQ(story.contract().sealed_members.size(), 3U);
}

TEST(RoundMergedRow, ALoneParticipantSealsByItself) {
  Story story = Merging({"a"});
  EXPECT_EQ(story.Merge("a", "m0"), "");
  EXPECT_EQ(story.contract().round, RoundId{1});
}

TEST(RoundMergedRow, AsManyVotesAsTheRulesAskFor) {
  Story story = Merging({"a", "b", "c"}, {.witnesses = 3});
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  EXPECT_EQ(story.contract().phase, Phase::kMerging);
  EXPECT_EQ(story.Merge("c", "m0"), "");
  EXPECT_EQ(story.contract().round, RoundId{1});
}

TEST(RoundMergedRow, DifferentRootsAreGroundsForBothAuthors) {
  Story story = Merging({"a", "b", "c"});
  ASSERT_EQ(story.Merge("a", "m0"), "");
  EXPECT_EQ(story.Merge("b", "x0"), "");
  EXPECT_EQ(story.Text(),
            "round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=a:m0 b:x0; grounds=a b; holders=");
  EXPECT_EQ(story.Merge("c", "m0"), "");
  EXPECT_EQ(story.Text(),
            "round 1 collecting; a: b: c:; P=; votes=; grounds=; holders=a c; base=m0");
}

TEST(RoundMergedRow, ANodeVotesOnceInAnAttempt) {
  Story story = Merging({"a", "b", "c"});
  ASSERT_EQ(story.Merge("a", "m0"), "");
  EXPECT_EQ(story.Merge("a", "m0"), "its author has voted in this attempt already");
}

TEST(RoundMergedRow, OnlyAParticipantVotes) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Merge("b", "m0"), "its author does not take part in this round");
}

TEST(RoundMergedRow, IsIgnoredForAnotherSetRoundOrAttempt) {
  Story story = Merging();
  const Digest set = story.contract().set;
  const Digest root = RootNamed("m0");
  EXPECT_EQ(story.Say("a", RoundMerged{RoundId{0}, AttemptId{0}, RootNamed("x"), root, {}}),
            "it speaks of another set of participants");
  EXPECT_EQ(story.Say("a", RoundMerged{RoundId{1}, AttemptId{0}, set, root, {}}),
            "it speaks of round 1, but round 0 is open");
  EXPECT_EQ(story.Say("a", RoundMerged{RoundId{0}, AttemptId{1}, set, root, {}}),
            "it speaks of round 0 attempt 1, but round 0 is open");
}

TEST(RoundMergedRow, IsIgnoredBeforeTheClose) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Merge("a", "m0"), "round 0 is not closed");
}

TEST(RoundMergedRow, OnlyAnSlSaysIt) {
  Story story = Merging();
  EXPECT_EQ(story.Merge("sn", "m0"), "only an SL may say this");
}

TEST(RoundMergedRow, ARoundWithoutATrainerEndsTheTraining) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  ASSERT_EQ(story.Finish("b", FinishMode::kActive), "");
  story.Round({});
  EXPECT_EQ(story.Text(),
            "round 1 done; a(snapshot): b(active):; P=; votes=; grounds=; holders=a b; base=m1");
}

TEST(RoundMergedRow, ATrainerThatComesBackBeforeTheCloseKeepsTheTrainingOpen) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  ASSERT_EQ(story.Away("sn", "b"), "");
  ASSERT_EQ(story.CheckIn("b", "b1"), "");
  story.Round({});
  EXPECT_EQ(story.contract().phase, Phase::kCollecting);
}

TEST(RoundMergedRow, AfterTheSealItAddsAHolder) {
  Story story;
  story.Begin({"a", "b", "c", "d"});
  for (const std::string name : {"a", "b", "c"}) ASSERT_EQ(story.CheckIn(name, name + "0"), "");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  EXPECT_EQ(story.Hold("c", 0, "m0"), "");
  EXPECT_EQ(story.Hold("d", 0, "m0"), "");  // It took no part in the round.
  EXPECT_EQ(story.Text(),
            "round 1 collecting; a: b: c: d:; P=; votes=; grounds=; holders=a b c d; base=m0");
}

TEST(RoundMergedRow, AfterTheSealAnotherRootIsIgnored) {
  Story story = Merging();
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  EXPECT_EQ(story.Hold("a", 0, "x0"), "round 0 was sealed with another root");
}

TEST(RoundMergedRow, AHolderIsNamedOnce) {
  Story story = Merging();
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  EXPECT_EQ(story.Hold("a", 0, "m0"), "this node is known to hold that model");
}

TEST(RoundMergedRow, OfAnOlderRoundItIsIgnored) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(story.Merge("a", "m0"), "");
  story.Round({"a"});
  EXPECT_EQ(story.Hold("b", 0, "m0"), "round 2 is not closed");
  EXPECT_EQ(story.Hold("b", 1, "m1"), "");
}

TEST(RoundMergedRow, OfAGivenFirstModelItNamesItsHolder) {
  Story story;
  Rules rules;
  rules.initial = RootNamed("m9");
  story.Begin({"a"}, rules);
  EXPECT_EQ(story.Hold("a", 0, "m9"), "");
  EXPECT_EQ(story.Text(), "round 1 collecting; a:; P=; votes=; grounds=; holders=a; base=m9");
}

TEST(RoundMergedRow, TheFinalModelGetsHoldersToo) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  ASSERT_EQ(story.Away("b", "b"), "");
  story.Round({});
  ASSERT_EQ(story.contract().phase, Phase::kDone);
  EXPECT_EQ(story.Hold("b", 1, "m1"), "");
  EXPECT_EQ(story.contract().holders.size(), 2U);
}

}  // namespace
}  // namespace starling
