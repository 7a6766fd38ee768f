// The rows of a round: one test for each way to be valid and each way to be ignored.
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

// One node that has finished, closing and sealing the last round alone.
Story Done() {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  EXPECT_EQ(story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  story.Round({});
  EXPECT_EQ(story.contract().phase, Phase::kDone);
  return story;
}

// --- checked-in ---

TEST(CheckedInRow, SetsTheCheckIn) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(story.node("a").checkin, RootNamed("a0"));
}

TEST(CheckedInRow, ALaterOneReplacesIt) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(story.CheckIn("a", "a1"), "");
  EXPECT_EQ(story.node("a").checkin, RootNamed("a1"));
}

TEST(CheckedInRow, BringsAnAbsentNodeBack) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.Away("sn", "a"), "");
  EXPECT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_TRUE(story.node("a").present);
}

TEST(CheckedInRow, IsIgnoredDuringAMerge) {
  Story story = Merging();
  EXPECT_EQ(story.CheckIn("a", "a1"), "round 0 is closed already");
}

TEST(CheckedInRow, IsIgnoredAfterTheEnd) {
  Story story = Done();
  EXPECT_EQ(story.CheckIn("a", "a2"), "the training is done");
}

TEST(CheckedInRow, IsIgnoredForAnotherRound) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("a", CheckedIn{RoundId{1}, RootNamed("a0"), std::nullopt, {}}),
            "it checks in to round 1, but round 0 is open");
}

TEST(CheckedInRow, IsIgnoredOnAnotherBase) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  EXPECT_EQ(story.Say("a", CheckedIn{RoundId{1}, RootNamed("a1"), RootNamed("x"), {}}),
            "it was not trained from the model of the round before");
  EXPECT_EQ(story.Say("a", CheckedIn{RoundId{1}, RootNamed("a1"), std::nullopt, {}}),
            "it was not trained from the model of the round before");
}

TEST(CheckedInRow, IsIgnoredFromAFinishedNode) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  EXPECT_EQ(story.CheckIn("a", "a1"), "this node has finished");
}

TEST(CheckedInRow, OnlyAnSlSaysIt) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.CheckIn("sn", "a0"), "only an SL may say this");
}

// --- node-finished ---

TEST(NodeFinishedRow, TakesTheKindOfItsModeAndDropsTheCheckIn) {
  Story story;
  story.Begin({"a", "b", "c"});
  story.Round({"a", "b", "c"});
  ASSERT_EQ(story.CheckIn("a", "a1"), "");
  EXPECT_EQ(story.Finish("a", FinishMode::kSnapshot, "a2"), "");
  EXPECT_EQ(story.Finish("b", FinishMode::kActive), "");
  EXPECT_EQ(story.Finish("c", FinishMode::kInactive), "");
  EXPECT_EQ(story.Text(),
            "round 1 collecting; a(snapshot): b(active): c(inactive):; P=; votes=; grounds=; "
            "holders=a b c; base=m0");
}

TEST(NodeFinishedRow, BringsAnAbsentNodeBack) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Away("sn", "a"), "");
  EXPECT_EQ(story.Finish("a", FinishMode::kActive), "");
  EXPECT_TRUE(story.node("a").present);
}

TEST(NodeFinishedRow, LeavesAFrozenParticipantAsItIs) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.CheckIn("a", "a1"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Finish("a", FinishMode::kInactive), "");
  EXPECT_EQ(story.contract().members.at(0).kind, NodeKind::kTrainer);
  EXPECT_EQ(story.contract().members.at(0).update, RootNamed("a1"));
  ASSERT_EQ(story.Merge("a", "m1"), "");
  EXPECT_EQ(story.contract().phase, Phase::kCollecting);  // P had a trainer.
}

TEST(NodeFinishedRow, IsIgnoredBeforeTheFirstMerge) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Finish("a", FinishMode::kActive), "no round has been merged yet");
}

TEST(NodeFinishedRow, IsSaidOnce) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  EXPECT_EQ(story.Finish("a", FinishMode::kActive), "this node has finished already");
}

TEST(NodeFinishedRow, IsIgnoredAfterTheEnd) {
  Story story = Done();
  EXPECT_EQ(story.Finish("a", FinishMode::kActive), "the training is done");
}

TEST(NodeFinishedRow, ASnapshotNamesAnUpdateAndNoOtherModeDoes) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  EXPECT_EQ(story.Finish("a", FinishMode::kSnapshot),
            "mode snapshot, and no other, names an update");
  EXPECT_EQ(story.Finish("a", FinishMode::kActive, "a1"),
            "mode snapshot, and no other, names an update");
}

TEST(NodeFinishedRow, OnlyAnSlSaysIt) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Finish("sn", FinishMode::kActive), "only an SL may say this");
}

// --- round-closed ---

TEST(RoundClosedRow, FreezesWhoIsReady) {
  Story story;
  story.Begin({"a", "b", "c", "d", "e"});
  story.Round({"a", "b", "c", "d", "e"});
  ASSERT_EQ(story.Finish("b", FinishMode::kSnapshot, "b1"), "");
  ASSERT_EQ(story.Finish("c", FinishMode::kActive), "");
  ASSERT_EQ(story.Finish("d", FinishMode::kInactive), "");
  ASSERT_EQ(story.CheckIn("a", "a1"), "");
  EXPECT_EQ(story.Close(), "");
  const std::vector<Member> expected = {{NodeName{"a"}, NodeKind::kTrainer, RootNamed("a1"), 1},
                                        {NodeName{"b"}, NodeKind::kSnapshot, RootNamed("b1"), 1},
                                        {NodeName{"c"}, NodeKind::kActive, RootNamed("m0"), 1},
                                        {NodeName{"d"}, NodeKind::kInactive, std::nullopt, 0}};
  EXPECT_EQ(story.contract().members, expected);
  EXPECT_EQ(story.contract().set, SetHash(RootNamed("m0"), expected));
}

TEST(RoundClosedRow, LeavesOutWhomItNames) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  EXPECT_EQ(story.Close({"b"}), "");
  EXPECT_EQ(story.Text(), "round 0 merging; a:a0 b:b0; P=a; votes=; grounds=; holders=");
}

TEST(RoundClosedRow, IsIgnoredBelowTheQuorum) {
  Story story;
  story.Begin({"a", "b"}, {.min_peers = 2});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(story.Close(), "1 node is ready; the quorum is 2");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  EXPECT_EQ(story.Close({"b"}), "1 node is ready; the quorum is 2");
  EXPECT_EQ(story.Close(), "");
}

TEST(RoundClosedRow, IsIgnoredWithNobody) {
  Story story;
  story.Begin({});
  EXPECT_EQ(story.Close(), "0 nodes are ready; the quorum is 1");
}

TEST(RoundClosedRow, FinishedNodesDoNotCloseWhileATrainerIsPresent) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  EXPECT_EQ(story.Close(), "a node still trains, and finished nodes do not go on without it");
  ASSERT_EQ(story.Away("b", "b"), "");
  EXPECT_EQ(story.Close(), "");
}

TEST(RoundClosedRow, IsIgnoredWhenItIsClosedAlready) {
  Story story = Merging();
  EXPECT_EQ(story.Close(), "round 0 is closed already");
}

TEST(RoundClosedRow, IsIgnoredForAnotherRoundOrAttempt) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(story.Say("sn", RoundClosed{RoundId{1}, AttemptId{0}, {}}),
            "it speaks of round 1, but round 0 is open");
  EXPECT_EQ(story.Say("sn", RoundClosed{RoundId{0}, AttemptId{1}, {}}),
            "it speaks of round 0 attempt 1, but round 0 is open");
}

TEST(RoundClosedRow, IsIgnoredInRoundZeroWhenAllWeightsAreZero) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  ASSERT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.weight = 0; }), "");
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(story.Close(), "all weights are 0, and there is no model yet");
}

TEST(RoundClosedRow, LaterAllWeightsZeroKeepsTheBase) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Finish("a", FinishMode::kInactive), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(MergeKindOf(story.contract()), MergeKind::kBase);
}

TEST(RoundClosedRow, IsIgnoredAfterTheEnd) {
  Story story = Done();
  EXPECT_EQ(story.Close(), "the training is done");
}

TEST(RoundClosedRow, OnlyAnSnSaysIt) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(story.Say("a", RoundClosed{RoundId{0}, AttemptId{0}, {}}), "only an SN may say this");
}

// --- stalled ---

TEST(StalledRow, PutsAuthorAndAccusedIntoGrounds) {
  Story story = Merging({"a", "b", "c"});
  EXPECT_EQ(story.Stall("a", {"c"}), "");
  EXPECT_EQ(story.Text(),
            "round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=; grounds=a c; holders=");
}

TEST(StalledRow, ANodeMayNameItself) {
  Story story = Merging();
  EXPECT_EQ(story.Stall("a", {"a"}), "");
  EXPECT_EQ(story.contract().grounds.size(), 1U);
}

TEST(StalledRow, IsSaidOnceInAnAttempt) {
  Story story = Merging();
  ASSERT_EQ(story.Stall("a", {"b"}), "");
  EXPECT_EQ(story.Stall("a", {"b"}), "its author has spoken of a stall in this attempt already");
}

TEST(StalledRow, ANewAttemptIsANewWord) {
  Story story = Merging({"a", "b", "c"});
  ASSERT_EQ(story.Stall("a", {"c"}), "");
  ASSERT_EQ(story.Reopen({"c"}), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Stall("a", {"b"}), "");
}

TEST(StalledRow, OnlyAParticipantSpeaks) {
  Story story;
  story.Begin({"a", "b", "c"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Stall("b", {"a"}), "its author does not take part in this round");
}

TEST(StalledRow, OnlyParticipantsAreAccused) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Stall("a", {"b"}), "it accuses b, which does not take part in this round");
}

TEST(StalledRow, IsIgnoredForAnotherSetRoundOrAttempt) {
  Story story = Merging();
  const Digest set = story.contract().set;
  EXPECT_EQ(story.Say("a", Stalled{RoundId{0}, AttemptId{0}, RootNamed("x"), {}, "silence"}),
            "it speaks of another set of participants");
  EXPECT_EQ(story.Say("a", Stalled{RoundId{1}, AttemptId{0}, set, {}, "silence"}),
            "it speaks of round 1, but round 0 is open");
  EXPECT_EQ(story.Say("a", Stalled{RoundId{0}, AttemptId{1}, set, {}, "silence"}),
            "it speaks of round 0 attempt 1, but round 0 is open");
}

TEST(StalledRow, IsIgnoredWhenNothingIsMerged) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Stall("a", {"a"}), "round 0 is not closed");
  Story done = Done();
  EXPECT_EQ(done.Stall("a", {"a"}), "the training is done");
}

TEST(StalledRow, OnlyAnSlSaysIt) {
  Story story = Merging();
  EXPECT_EQ(story.Stall("sn", {"a"}), "only an SL may say this");
}

// --- round-reopened ---

TEST(RoundReopenedRow, RemovesWhomItNamesAndKeepsTheOtherCheckIns) {
  Story story = Merging({"a", "b", "c"});
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Stall("a", {"c"}), "");
  EXPECT_EQ(story.Reopen({"c"}), "");
  EXPECT_EQ(story.Text(),
            "round 0 attempt 1 collecting; a:a0 b:b0 c(away):; P=; votes=; grounds=; holders=");
}

TEST(RoundReopenedRow, IsIgnoredWithoutGrounds) {
  Story story = Merging({"a", "b", "c"});
  ASSERT_EQ(story.Stall("a", {"c"}), "");
  EXPECT_EQ(story.Reopen({"b"}), "there are no grounds to remove b");
  EXPECT_EQ(story.Reopen({"b", "c"}), "there are no grounds to remove b");
}

TEST(RoundReopenedRow, IsIgnoredWhenItRemovesNobody) {
  Story story = Merging();
  ASSERT_EQ(story.Stall("a", {"b"}), "");
  EXPECT_EQ(story.Reopen({}), "it removes nobody");
}

TEST(RoundReopenedRow, ASealedRoundStaysSealed) {
  Story story = Merging();
  ASSERT_EQ(story.Stall("a", {"b"}), "");
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  EXPECT_EQ(story.Say("sn", RoundReopened{RoundId{0}, AttemptId{0}, NodeNames({"b"})}),
            "round 1 is not closed");
}

TEST(RoundReopenedRow, IsIgnoredForAnotherRoundOrAttempt) {
  Story story = Merging();
  ASSERT_EQ(story.Stall("a", {"b"}), "");
  EXPECT_EQ(story.Say("sn", RoundReopened{RoundId{1}, AttemptId{0}, NodeNames({"b"})}),
            "it speaks of round 1, but round 0 is open");
  EXPECT_EQ(story.Say("sn", RoundReopened{RoundId{0}, AttemptId{2}, NodeNames({"b"})}),
            "it speaks of round 0 attempt 2, but round 0 is open");
}

TEST(RoundReopenedRow, OnlyAnSnSaysIt) {
  Story story = Merging();
  ASSERT_EQ(story.Stall("a", {"b"}), "");
  EXPECT_EQ(story.Say("a", RoundReopened{RoundId{0}, AttemptId{0}, NodeNames({"b"})}),
            "only an SN may say this");
}

}  // namespace
}  // namespace starling
