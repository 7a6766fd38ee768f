// What an SL does that was started again, with what its disk has kept.
#include <gtest/gtest.h>

#include "protocol/sl_decider_testing.h"

namespace starling {
namespace {

// a and b have sealed round 0; a died later, at the point that the test tells.
struct Died {
  Died() {
    story.Begin({"a", "b"});
    story.Round({"a", "b"});
    memory.instance = story.contract().instance;
    memory.models = {RootNamed("m0")};
  }
  void CloseRound1() {
    EXPECT_EQ(story.CheckIn("a", "a1"), "");
    EXPECT_EQ(story.CheckIn("b", "b1"), "");
    EXPECT_EQ(story.Close(), "");
  }
  Sl Restart() { return Sl(story, Sl::Durable(story), memory); }
  Story story;
  SlMemory memory;
};

TEST(SlRestart, WhileItTrainedItEnrolsAndTrainsFromTheBase) {
  Died t;
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol");
  EXPECT_EQ(sl.Enrolled(), "");
  EXPECT_EQ(sl.Open(), "attention");
  EXPECT_EQ(sl.Sync("x0"), "fetch m0 from a+b");
  EXPECT_EQ(sl.Fetched("m0"), "answer r0 m0\nkeep r0 m0");
  EXPECT_EQ(sl.Sync("a1"), "append checked-in r1 a1\nstore a1");
}

TEST(SlRestart, ACheckInThatStandsCountsAndTheProgramWaitsForItsRound) {
  Died t;
  ASSERT_EQ(t.story.CheckIn("a", "a1"), "");
  t.memory.updates = {RootNamed("a1")};
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol");
  EXPECT_EQ(sl.Open(), "attention");
  EXPECT_EQ(sl.Sync("x0"), "");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(sl.Ledger(), "merge r1 of 2");
  EXPECT_EQ(sl.Merged("m1"), "keep r1 m1\nappend round-merged r1 m1");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(sl.Ledger(), "answer r1 m1\ndrop a1");
}

TEST(SlRestart, ACheckInWhoseUpdateIsLostIsReplaced) {
  Died t;
  ASSERT_EQ(t.story.CheckIn("a", "a1"), "");
  Sl sl = t.Restart();
  ASSERT_EQ(sl.Started(), "enrol");
  ASSERT_EQ(sl.Open(), "attention");
  ASSERT_EQ(sl.Sync("x0"), "fetch m0 from a+b");
  ASSERT_EQ(sl.Fetched("m0"), "answer r0 m0\nkeep r0 m0");
  EXPECT_EQ(sl.Sync("a2"), "append checked-in r1 a2\nstore a2");
  EXPECT_EQ(t.story.node("a").checkin, RootNamed("a2"));
}

TEST(SlRestart, InAMergeItDoesItsPartWithoutAProgram) {
  Died t;
  t.CloseRound1();
  t.memory.updates = {RootNamed("a1")};
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol\nmerge r1 of 2");
  EXPECT_EQ(sl.Merged("m1"), "keep r1 m1\nappend round-merged r1 m1");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(sl.Ledger(), "drop a1");
}

TEST(SlRestart, InAMergeWithoutItsUpdateItSaysSo) {
  Died t;
  t.CloseRound1();
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol\nappend stalled r1 a0 on a (lost)");
  EXPECT_EQ(sl.said.back(), "");
  EXPECT_EQ(sl.Ledger(), "");
  ASSERT_EQ(t.story.Reopen({"a"}), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(sl.Open(), "attention");
  EXPECT_EQ(sl.Sync("x0"), "fetch m1 from b");
}

TEST(SlRestart, AfterTheSealItSaysThatItHoldsWhatItHas) {
  Died t;
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close({"a"}), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  t.memory.models = {RootNamed("m1")};
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol\nappend round-merged r1 m1");
}

TEST(SlRestart, AFinishedNodeServesItsSnapshotAndEndsWell) {
  Died t;
  ASSERT_EQ(t.story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  t.memory.updates = {RootNamed("a1")};
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol");
  ASSERT_EQ(t.story.Finish("b", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(sl.Ledger(), "merge r1 of 2");
  EXPECT_EQ(sl.Merged("m1"), "keep r1 m1\nappend round-merged r1 m1");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(sl.Ledger(), "keep r1 m1 final\ndrop a1");
  EXPECT_EQ(sl.Kept("m1"), "");  // Perhaps a program comes back for it.
  sl.now += 60s;
  EXPECT_EQ(sl.Time().substr(0, 22), "forget\nexit: finished:");
}

// Where the ledger takes its time to call an entry final, a restarted node reads of its own last
// word late.
TEST(SlRestart, AnUpdateThatTheLogDoesNotKnowYetIsKept) {
  Died t;
  t.memory.updates = {RootNamed("a1")};
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "enrol");
  EXPECT_EQ(sl.Ledger(), "");
  ASSERT_EQ(t.story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  EXPECT_EQ(sl.Ledger(), "");
}

TEST(SlRestart, AnUpdateOfBeforeGoesOnceAnotherCounts) {
  Died t;
  t.memory.updates = {RootNamed("a1")};
  Sl sl = t.Restart();
  ASSERT_EQ(sl.Started(), "enrol");
  ASSERT_EQ(sl.Open(), "attention");
  ASSERT_EQ(sl.Sync("x0"), "fetch m0 from a+b");
  ASSERT_EQ(sl.Fetched("m0"), "answer r0 m0\nkeep r0 m0");
  EXPECT_EQ(sl.Sync("a2"), "append checked-in r1 a2\nstore a2");
  EXPECT_EQ(sl.Ledger(), "drop a1");
}

TEST(SlRestart, ASnapshotThatIsLostStaysAwayUntilTheEnd) {
  Died t;
  ASSERT_EQ(t.story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "append node-away");
  EXPECT_EQ(sl.Ledger(), "");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  EXPECT_EQ(sl.Ledger(), "");
}

TEST(SlRestart, WhenAllIsOverItFetchesTheFinalModel) {
  Died t;
  ASSERT_EQ(t.story.Finish("a", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Finish("b", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(t.story.Merge("a", "m1"), "");
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "fetch m1 from a+b");
  EXPECT_EQ(sl.Fetched("m1"), "keep r1 m1 final");
  EXPECT_EQ(sl.Kept("m1"), "");  // Perhaps a program comes back for it.
  sl.now += 60s;
  EXPECT_EQ(sl.Time().substr(0, 22), "forget\nexit: finished:");
}

TEST(SlRestart, WithTheFinalModelOnItsDiskItLeaves) {
  Died t;
  ASSERT_EQ(t.story.Finish("a", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Finish("b", FinishMode::kActive), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.story.Merge("b", "m1"), "");
  ASSERT_EQ(t.story.Merge("a", "m1"), "");
  t.memory.models.insert(RootNamed("m1"));
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "");
  EXPECT_EQ(sl.Gone().substr(0, 22), "forget\nexit: finished:");  // No program comes.
}

TEST(SlRestart, AnInstanceThatIsNoMoreIsForgotten) {
  Died t;
  ASSERT_EQ(t.story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "forget");
  EXPECT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Sync("a0"), "remember\nappend checked-in r0 a0\nstore a0");
}

TEST(SlRestart, DecidesNothingBeforeTheLogIsReplayed) {
  Died t;
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Open(), "");
  EXPECT_EQ(sl.Ledger(), "");
  EXPECT_EQ(sl.Started(), "enrol\nattention");
}

TEST(SlRestart, ARevokedNodeLearnsItAndLeaves) {
  Died t;
  ASSERT_EQ(t.story.Say("sn", NodeRevoked{NodeName{"a"}, {"", "spiffe://test/op"}}), "");
  Sl sl = t.Restart();
  EXPECT_EQ(sl.Started(), "forget\nexit bad: this node was revoked by an operator");
}

TEST(SlRestart, ALogThatEndsBeforeItsEnrolmentIsNoRevocation) {
  Story story;
  story.Begin({"b"});
  SlMemory memory;
  memory.instance = story.contract().instance;
  Sl sl(story, Sl::Durable(story), memory);
  sl.mute = true;
  EXPECT_EQ(sl.Started(), "enrol");
  EXPECT_EQ(sl.Ledger(), "");  // Not at once again.
  EXPECT_EQ(sl.wake_at(), sl.now + 1s);
  ASSERT_EQ(story.Enrol("a"), "");
  EXPECT_EQ(sl.Open(), "");
  EXPECT_EQ(sl.Sync("a0"), "append checked-in r0 a0\nstore a0");
}

TEST(SlWipedDisk, ANewKeyIsLetInOnceTheOldOneIsAway) {
  Died t;
  SlConfig config = Sl::Durable(t.story);
  config.key = t.story.key("a2").public_key();
  Sl sl(t.story, config, {});
  sl.mute = true;
  ASSERT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Refused("the name a is taken by a node that is present", true), "");
  EXPECT_EQ(sl.Waiting(),
            "waiting for the SN to let this node in: the name a is taken by a node "
            "that is present");
  EXPECT_EQ(sl.wake_at(), sl.now + 1s);
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  sl.now += 1s;
  EXPECT_EQ(sl.Time(), "enrol");
  ASSERT_EQ(t.story.Enrol("a2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"a"}; }), "");
  EXPECT_EQ(sl.Ledger(), "remember\nattention");
}

TEST(SlEnrols, NotAgainWhenTheSnSaysNoForGood) {
  Story story;
  story.Begin({});
  Sl sl(story);
  sl.mute = true;
  ASSERT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Refused("the training is full", false),
            "exit bad: the SN does not let this node in: the training is full");
}

TEST(SlInitial, WhoBringsTheFirstModelHoldsItFromItsEnrolmentOn) {
  Story story;
  Rules rules;
  rules.initial = RootNamed("m9");
  story.Begin({}, rules);
  SlConfig config = Sl::Durable(story);
  config.initial = RootNamed("m9");
  Sl sl(story, config, {});
  ASSERT_EQ(sl.Open(), "enrol");
  EXPECT_EQ(sl.Ledger(), "remember\nattention\nappend round-merged r0 m9");
  EXPECT_EQ(sl.Sync("a0"), "fetch m9 from a");  // From its own disk.
  EXPECT_EQ(sl.Fetched("m9"), "answer r0 m9\nkeep r0 m9");
  EXPECT_EQ(sl.Sync("a1"), "append checked-in r1 a1\nstore a1");
}

}  // namespace
}  // namespace starling
