// How an SL leaves.
#include <gtest/gtest.h>

#include "protocol/sl_decider_testing.h"

namespace starling {
namespace {

// b has finished, and a ends the training with it; b has not fetched the final model yet.
struct Ended : Trained {
  Ended() {
    EXPECT_EQ(story.Enrol("c"), "");
    EXPECT_EQ(story.Finish("b", FinishMode::kActive), "");
    EXPECT_EQ(story.Finish("c", FinishMode::kActive), "");
    EXPECT_EQ(sl.Finish("a1"), "append node-finished a1");
    EXPECT_EQ(story.Close(), "");
    EXPECT_EQ(sl.Ledger(), "merge r1 of 3");
    EXPECT_EQ(sl.Merged("m1"), "append round-merged r1 m1");
    EXPECT_EQ(story.Merge("b", "m1"), "");
    EXPECT_EQ(sl.Ledger(), "answer r1 m1 counted over\nkeep r1 m1 final");
    short_root = ShortText(RootNamed("m1"));
  }
  std::string short_root;
};

TEST(SlLeaves, WhenEveryPresentNodeHoldsTheFinalModel) {
  Ended e;
  EXPECT_EQ(e.sl.Kept("m1"), "");
  EXPECT_EQ(e.sl.Waiting(), "serving the final model until c has it");
  ASSERT_EQ(e.story.Hold("c", 1, "m1"), "");
  EXPECT_EQ(e.sl.Ledger(),
            StrCat("exit: finished: 2 rounds, final model ", e.short_root, ", same on 3 of 3"));
}

TEST(SlLeaves, OnceItHasLingered) {
  Ended e;
  ASSERT_EQ(e.sl.Kept("m1"), "");
  EXPECT_EQ(e.sl.wake_at(), e.sl.now + 600s);
  e.sl.now += 599s;
  EXPECT_EQ(e.sl.Time(), "");
  e.sl.now += 1s;
  EXPECT_EQ(e.sl.Time(), StrCat("exit: finished: 2 rounds, final model ", e.short_root,
                                ", same on 2 of 3; never fetched by c"));
  EXPECT_EQ(e.sl.wake_at(), std::nullopt);
}

TEST(SlLeaves, NotBeforeTheFinalModelIsOnItsDisk) {
  Ended e;
  ASSERT_EQ(e.story.Hold("c", 1, "m1"), "");
  EXPECT_EQ(e.sl.Ledger(), "");
  e.sl.now += 1000s;
  EXPECT_EQ(e.sl.Time(), "");
  EXPECT_EQ(e.sl.Kept("m0"), "");
  EXPECT_NE(e.sl.Kept("m1"), "");
}

TEST(SlLeaves, AProgramThatEndsWithTheFinalModelIsNoLoss) {
  Ended e;
  EXPECT_EQ(e.sl.Gone(), "");
  ASSERT_EQ(e.sl.Kept("m1"), "");
  ASSERT_EQ(e.story.Hold("c", 1, "m1"), "");
  EXPECT_EQ(e.sl.Ledger().substr(0, 14), "exit: finished");
}

TEST(SlLeaves, AProgramThatEndsAfterFinishLeavesItsSlAtWork) {
  Trained t;
  ASSERT_EQ(t.sl.Finish("a1"), "append node-finished a1");
  EXPECT_EQ(t.sl.Gone(), "");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "merge r1 of 2");
}

TEST(SlLeaves, AProgramThatDiesIsSaidToBeAway) {
  Trained t;
  EXPECT_EQ(t.sl.Gone(), "append node-away");
  EXPECT_EQ(t.sl.Ledger(), "exit bad: the program ended before its training did");
  EXPECT_EQ(t.sl.Ledger(), "");
}

TEST(SlLeaves, AProgramThatDiesIsNotSaidToBeAwayTwice) {
  Trained t;
  t.sl.mute = true;
  EXPECT_EQ(t.sl.Gone(), "append node-away");
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.Time(), "");
}

TEST(SlLeaves, AProgramThatDiesBeforeTheEnrolmentJustEnds) {
  Story story;
  Sl sl(story);
  EXPECT_EQ(sl.Gone(), "exit bad: the program ended before its training began");
}

TEST(SlLeaves, WhenAnOperatorResetsTheTraining) {
  Trained t;
  ASSERT_EQ(t.story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  EXPECT_EQ(t.sl.Ledger(), "exit bad: the training was reset or started anew by an operator");
}

TEST(SlLeaves, WhenAnOperatorRevokesTheNode) {
  Trained t;
  ASSERT_EQ(t.story.Say("sn", NodeRevoked{NodeName{"a"}, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(t.sl.Ledger(), "exit bad: this node was revoked by an operator");
}

TEST(SlLeaves, WhenAnotherKeyHasItsName) {
  Trained t;
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  ASSERT_EQ(t.story.Enrol("a2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"a"}; }), "");
  EXPECT_EQ(t.sl.Ledger(), "exit bad: another key has taken this node's name");
}

TEST(SlLeaves, WellWhenTheNextTrainingBeginsAfterItsOwnIsOver) {
  Ended e;
  ASSERT_EQ(e.story.Create(), "");
  EXPECT_EQ(e.sl.Ledger(), "");  // The final model is not on disk yet.
  EXPECT_EQ(e.sl.Kept("m1"), StrCat("exit: finished: 2 rounds, final model ", e.short_root,
                                    ", same on 2 of 3; never fetched by c"));
}

TEST(SlWaits, TellsForWhom) {
  Story story;
  Rules rules;
  for (const std::string name : {"a", "b", "c"}) {
    rules.members[NodeName{name}] = KeyNamed(name).public_key();
  }
  story.Begin({"b"}, rules);
  Sl sl(story);
  ASSERT_EQ(sl.Open(), "enrol");
  ASSERT_EQ(sl.Sync("a0"), "append checked-in r0 a0");
  EXPECT_EQ(sl.Waiting(), "round 0: waiting for 1 of 2: b");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  EXPECT_EQ(sl.Waiting(), "round 0 waits for c to enrol");
  ASSERT_EQ(story.Enrol("c"), "");
  ASSERT_EQ(story.CheckIn("c", "c0"), "");
  EXPECT_EQ(sl.Waiting(), "round 0 is about to close");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(sl.Waiting(),
            StrCat("round 0 is being merged, leader ", LeaderOf(story.contract()).value(),
                   ", 0 of 3 have voted; waiting for a, b, c"));
}

}  // namespace
}  // namespace starling
