#include "protocol/sl_decider.h"

#include <gtest/gtest.h>

#include "protocol/sl_decider_testing.h"

namespace starling {
namespace {

TEST(SlEnrols, WhenTheProgramHasOpened) {
  Story story;
  Sl sl(story);
  sl.mute = true;
  EXPECT_EQ(sl.Ledger(), "");
  EXPECT_EQ(sl.Open(), "enrol");  // There is no training yet: the SN may create it.
  EXPECT_EQ(sl.Ledger(), "");     // Once.
  EXPECT_EQ(sl.Waiting(), "waiting for the SN to let this node in");
}

TEST(SlEnrols, AgainWhenAResetCameBetween) {
  Story story;
  story.Begin({});
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  ASSERT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  EXPECT_EQ(sl.Ledger(), "");
  EXPECT_EQ(sl.Enrolled(), "enrol");
  EXPECT_EQ(sl.Enrolled(), "");
  EXPECT_EQ(sl.Sync("a0"), "append checked-in r0 a0");
}

TEST(SlEnrols, AnewWhereAnEarlierTrainingOfTheNameIsOver) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  story.Round({});
  Sl sl(story);
  sl.mute = true;
  EXPECT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Sync("a0"), "");  // The old training's model is not what this program asked for.
  ASSERT_EQ(story.Create(), "");
  ASSERT_EQ(story.Enrol("a"), "");
  EXPECT_EQ(sl.Ledger(), "append checked-in r0 a0");
}

// A program that opens while the log comes in: a training that is over was under way in between.
TEST(SlEnrols, OnceTheLogIsReadToItsEnd) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  Sl sl(story, Sl::Log::kUnread);
  sl.mute = true;
  EXPECT_EQ(sl.Open(), "");
  EXPECT_EQ(sl.Ledger(), "");
  EXPECT_FALSE(sl.IsIn());
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  story.Round({});
  EXPECT_EQ(sl.Ledger(), "");
  EXPECT_EQ(sl.Started(), "enrol");
  EXPECT_FALSE(sl.IsIn());
  ASSERT_EQ(story.Create(), "");
  ASSERT_EQ(story.Enrol("a"), "");
  EXPECT_EQ(sl.Ledger(), "");
  EXPECT_TRUE(sl.IsIn());
  EXPECT_EQ(sl.Sync("a0"), "append checked-in r0 a0");
}

TEST(SlRound, ChecksInMergesVotesAndAnswersOnce) {
  Trained t;
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  EXPECT_EQ(t.sl.Ledger(), "");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "merge r1 of 2");
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.job.kind, MergeKind::kMean);
  EXPECT_EQ(t.sl.job.base, RootNamed("m0"));
  EXPECT_EQ(t.sl.job.size, 1000U);
  EXPECT_EQ(t.sl.job.nodes.size(), 2U);
  EXPECT_EQ(t.sl.job.owners, OwnersOf(t.story.contract()));
  EXPECT_EQ(t.sl.Merged("m1"), "append round-merged r1 m1");
  EXPECT_EQ(t.sl.Merged("m1"), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(t.sl.Ledger(), "answer r1 m1 counted\nkeep r1 m1");
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.Time(), "");
  for (const std::string& reason : t.sl.said) EXPECT_EQ(reason, "");
}

TEST(SlRound, ALoneNodesOwnVoteSealsAndAnswers) {
  Story story;
  story.Begin({});
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  ASSERT_EQ(sl.Sync("a0"), "append checked-in r0 a0");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(sl.Ledger(), "merge r0 of 1");
  EXPECT_EQ(sl.Merged("m0"), "append round-merged r0 m0");
  EXPECT_EQ(sl.Ledger(), "answer r0 m0 counted\nkeep r0 m0");
}

TEST(SlRound, ARoundThatChangesNothingIsARoundAllTheSame) {
  Trained t;
  EXPECT_EQ(t.sl.Sync("m0"), "append checked-in r1 m0");
  ASSERT_EQ(t.story.CheckIn("b", "m0"), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 2");
  ASSERT_EQ(t.sl.Merged("m0"), "append round-merged r1 m0");
  ASSERT_EQ(t.story.Merge("b", "m0"), "");
  EXPECT_EQ(t.sl.Ledger(), "answer r1 m0 counted\nkeep r1 m0");
  EXPECT_EQ(t.sl.Sync("a2"), "append checked-in r2 a2");
}

TEST(SlRound, SealedBeforeItsMergeIsCompleteItFetchesAndVotesAsAHolder) {
  Trained t;
  ASSERT_EQ(t.story.Enrol("c"), "");
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.CheckIn("c", "c1"), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 3");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(t.story.Merge("c", "m1"), "");
  EXPECT_EQ(t.sl.Ledger(), "fetch m1 from b+c");
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.Fetched("m1"), "answer r1 m1 counted\nkeep r1 m1\nappend round-merged r1 m1");
  EXPECT_EQ(t.sl.said.back(), "");
  EXPECT_EQ(t.story.contract().holders.size(), 3U);
}

TEST(SlRound, AMergeThatEndsBeforeTheFetchIsAsGood) {
  Trained t;
  ASSERT_EQ(t.story.Enrol("c"), "");
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.CheckIn("c", "c1"), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 3");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(t.story.Merge("c", "m1"), "");
  ASSERT_EQ(t.sl.Ledger(), "fetch m1 from b+c");
  EXPECT_EQ(t.sl.Merged("m1"), "append round-merged r1 m1\nanswer r1 m1 counted\nkeep r1 m1");
  EXPECT_EQ(t.sl.Fetched("m1"), "");
}

TEST(SlRound, AWrongOwnMergeIsReplacedByTheSealedModel) {
  Trained t;
  ASSERT_EQ(t.story.Enrol("c"), "");
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.CheckIn("c", "c1"), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 3");
  ASSERT_EQ(t.sl.Merged("x1"), "append round-merged r1 x1");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(t.story.Merge("c", "m1"), "");
  EXPECT_EQ(t.sl.Ledger(), "fetch m1 from b+c");
  EXPECT_EQ(t.sl.Fetched("m1"), "answer r1 m1 counted\nkeep r1 m1\nappend round-merged r1 m1");
  EXPECT_EQ(t.sl.said.back(), "");
}

TEST(SlRound, AReplacedMergeIsIgnored) {
  Trained t;
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 2");
  const MergeJob old = t.sl.job;
  ASSERT_EQ(t.story.Stall("b", {"b"}), "");
  ASSERT_EQ(t.story.Reopen({"b"}), "");
  ASSERT_EQ(t.sl.Ledger(), "abandon");  // Its check-in stands.
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 1");
  EXPECT_EQ(t.sl.Merged(old, "x1"), "");
  EXPECT_EQ(t.sl.Merged("m1"), "append round-merged r1 m1");
}

TEST(SlRound, LeftOutItStaysAtItsSyncPointUntilTheSeal) {
  Trained t;
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close({"a"}), "");
  EXPECT_EQ(t.sl.Ledger(), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(t.sl.Ledger(), "fetch m1 from b");
  EXPECT_EQ(t.sl.Fetched("m1"), "answer r1 m1\nkeep r1 m1\nappend round-merged r1 m1");
}

TEST(SlLate, ALateJoinerGetsTheModelFirst) {
  Story story;
  story.Begin({"b"});
  story.Round({"b"});
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Ledger(), "attention");
  EXPECT_EQ(sl.Sync("a0"), "fetch m0 from b");
  EXPECT_EQ(sl.Fetched("m0"), "answer r0 m0\nkeep r0 m0\nappend round-merged r0 m0");
  EXPECT_EQ(sl.Sync("a1"), "append checked-in r1 a1");
}

TEST(SlLate, DuringAMergeItWaitsForTheSeal) {
  Story story;
  story.Begin({"b"});
  story.Round({"b"});
  ASSERT_EQ(story.CheckIn("b", "b1"), "");
  ASSERT_EQ(story.Close(), "");
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  ASSERT_EQ(sl.Ledger(), "attention");
  EXPECT_EQ(sl.Sync("a0"), "");
  ASSERT_EQ(story.Merge("b", "m1"), "");
  EXPECT_EQ(sl.Ledger(), "fetch m1 from b");
}

TEST(SlLate, TheProgramIsToldOnceThatTheSwarmHasGoneOn) {
  Trained t;
  t.RoundWithout("m1");
  EXPECT_EQ(t.sl.Ledger(), "attention");
  EXPECT_EQ(t.sl.Ledger(), "");
  t.RoundWithout("m2");
  EXPECT_EQ(t.sl.Ledger(), "attention");
  EXPECT_EQ(t.sl.Sync("a1"), "fetch m2 from b");
  EXPECT_EQ(t.sl.Fetched("m2"), "answer r2 m2\nkeep r2 m2\nappend round-merged r2 m2");
}

TEST(SlLate, TheArenasAreTheProgramsWhileItTrains) {
  Trained t;
  t.RoundWithout("m1");
  ASSERT_EQ(t.sl.Ledger(), "attention");
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  ASSERT_EQ(t.story.Finish("b", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.story.Merge("b", "m2"), "");
  ASSERT_EQ(t.story.contract().phase, Phase::kDone);
  EXPECT_EQ(t.sl.Ledger(), "attention");  // No fetch: the program may be reading.
  EXPECT_EQ(t.sl.Sync("a1"), "fetch m2 from b");
  EXPECT_EQ(t.sl.Fetched("m2"), "answer r2 m2 over\nkeep r2 m2 final\nappend round-merged r2 m2");
}

TEST(SlLate, AFetchThatWasReplacedIsIgnored) {
  Trained t;
  t.RoundWithout("m1");
  ASSERT_EQ(t.sl.Ledger(), "attention");
  ASSERT_EQ(t.sl.Sync("a1"), "fetch m1 from b");
  t.RoundWithout("m2");
  EXPECT_EQ(t.sl.Ledger(), "fetch m2 from b");
  EXPECT_EQ(t.sl.Fetched("m1"), "");
  EXPECT_EQ(t.sl.Fetched("m2"), "answer r2 m2\nkeep r2 m2\nappend round-merged r2 m2");
}

TEST(SlLate, WithoutAnyHolderThereIsNothingToFetchYet) {
  Story story;
  Rules rules;
  rules.initial = RootNamed("m9");
  story.Begin({"b"}, rules);
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  ASSERT_EQ(sl.Sync("a0"), "");
  ASSERT_EQ(story.Hold("b", 0, "m9"), "");
  EXPECT_EQ(sl.Ledger(), "fetch m9 from b");
  EXPECT_EQ(sl.Fetched("m9"), "answer r0 m9\nkeep r0 m9\nappend round-merged r0 m9");
  EXPECT_EQ(sl.Sync("a1"), "append checked-in r1 a1");
}

TEST(SlFinish, ASnapshotIsMergedUntilTheEnd) {
  Trained t;
  EXPECT_EQ(t.sl.Finish("a1"), "append node-finished a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "merge r1 of 2");
  EXPECT_EQ(t.sl.Merged("m1"), "append round-merged r1 m1");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(t.sl.Ledger(), "keep r1 m1");  // The answer to finish is the final model only.
  ASSERT_EQ(t.story.Finish("b", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "merge r2 of 2");
  EXPECT_EQ(t.sl.Merged("m2"), "append round-merged r2 m2");
  ASSERT_EQ(t.story.Merge("b", "m2"), "");
  EXPECT_EQ(t.sl.Ledger(), "answer r2 m2 counted over\nkeep r2 m2 final");
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.Kept("m2"), StrCat("exit: finished: 3 rounds, final model ",
                                    ShortText(RootNamed("m2")), ", same on 2 of 2"));
  EXPECT_EQ(t.sl.Ledger(), "");
}

TEST(SlFinish, ActiveAndInactiveNodesNameNoUpdate) {
  for (const FinishMode mode : {FinishMode::kActive, FinishMode::kInactive}) {
    Trained t;
    EXPECT_EQ(t.sl.Finish("a1", mode), "append node-finished");
    EXPECT_EQ(t.sl.said.back(), "");
    ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
    ASSERT_EQ(t.story.Close(), "");
    EXPECT_EQ(t.sl.Ledger(), "merge r1 of 2");
  }
}

TEST(SlFinish, AClosingRoundThatChangesNothingEndsTheTraining) {
  Trained t;
  ASSERT_EQ(t.sl.Finish("a1", FinishMode::kInactive), "append node-finished");
  ASSERT_EQ(t.story.Finish("b", FinishMode::kInactive), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r1 of 2");
  EXPECT_EQ(t.sl.job.kind, MergeKind::kBase);
  ASSERT_EQ(t.sl.Merged("m0"), "append round-merged r1 m0");
  ASSERT_EQ(t.story.Merge("b", "m0"), "");
  EXPECT_EQ(t.sl.Ledger(), "answer r1 m0 over\nkeep r1 m0 final");
  EXPECT_NE(t.sl.Kept("m0"), "");
}

TEST(SlFinish, BeforeTheFirstMergeTheUpdateIsCheckedInFirst) {
  Story story;
  story.Begin({});
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Finish("a0"), "append checked-in r0 a0");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(sl.Ledger(), "merge r0 of 1");
  ASSERT_EQ(sl.Merged("m0"), "append round-merged r0 m0");
  EXPECT_EQ(sl.Ledger(), "keep r0 m0\nappend node-finished a0");
}

TEST(SlFinish, TheSwarmEndedFirst) {
  Trained t;
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  ASSERT_EQ(t.story.Finish("b", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(t.sl.Ledger(), "attention");
  EXPECT_EQ(t.sl.Finish("a1"), "fetch m1 from b");
  EXPECT_EQ(t.sl.Fetched("m1"), "answer r1 m1 over\nkeep r1 m1 final\nappend round-merged r1 m1");
}

}  // namespace
}  // namespace starling
