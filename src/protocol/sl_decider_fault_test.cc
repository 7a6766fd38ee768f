// What an SL does when others fail it, and when its own words come to nothing.
#include <gtest/gtest.h>

#include "protocol/sl_decider_testing.h"

namespace starling {
namespace {

// a and b, c, d in the merge of round 1; a has a driver that can do everything.
struct InMerge {
  InMerge() {
    story.Begin({"b", "c", "d"});
    EXPECT_EQ(sl.Open(), "enrol");
    EXPECT_EQ(sl.Ledger(), "remember");
    EXPECT_EQ(sl.Sync("a0"), "append checked-in r0 a0\nstore a0");
    for (const std::string name : {"b", "c", "d"})
      EXPECT_EQ(story.CheckIn(name, StrCat(name, "0")), "");
    EXPECT_EQ(story.Close(), "");
    EXPECT_EQ(sl.Ledger(), "merge r0 of 4");
  }
  Story story;
  Sl sl{story, Sl::Durable(story), {}};
};

TEST(SlStalls, AllSourcesThatFailInOneWord) {
  InMerge t;
  EXPECT_EQ(
      t.sl.Stalls({{NodeName{"c"}, StallWhy::kWrongBytes}, {NodeName{"b"}, StallWhy::kSilent}}),
      "append stalled r0 a0 on b+c (silent, wrong bytes)");
  EXPECT_EQ(t.sl.said.back(), "");
  EXPECT_EQ(t.sl.Stalls({{NodeName{"d"}, StallWhy::kSilent}}), "");  // One word an attempt.
}

TEST(SlStalls, ARunThatIsNotTheMergeOfItsUpdates) {
  InMerge t;
  EXPECT_EQ(t.sl.Stalls({{NodeName{"b"}, StallWhy::kRoot}}), "append stalled r0 a0 on b (root)");
}

TEST(SlStalls, NothingOfAnAttemptThatIsOver) {
  InMerge t;
  ASSERT_EQ(t.story.Stall("b", {"b"}), "");
  ASSERT_EQ(t.story.Reopen({"b"}), "");
  EXPECT_EQ(t.sl.Stalls({{NodeName{"b"}, StallWhy::kSilent}}), "abandon");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "merge r0 of 3");
}

TEST(SlStalls, ALateMergeStillVotes) {
  InMerge t;
  ASSERT_NE(t.sl.Stalls({{NodeName{"b"}, StallWhy::kSilent}}), "");
  EXPECT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
}

TEST(SlVotes, WhoHasNotVotedAndDoesNotAnswerIsNamed) {
  Story story;
  Rules rules;
  rules.witnesses = 4;
  story.Begin({"b", "c", "d"}, rules);
  Sl sl{story, Sl::Durable(story), {}};
  ASSERT_EQ(sl.Open(), "enrol");
  ASSERT_NE(sl.Sync("a0"), "");
  for (const std::string name : {"b", "c", "d"})
    ASSERT_EQ(story.CheckIn(name, StrCat(name, "0")), "");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(sl.Ledger(), "merge r0 of 4");
  ASSERT_EQ(sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  ASSERT_EQ(sl.Ledger(), "");
  ASSERT_EQ(sl.wake_at(), sl.now + 5s);
  sl.now += 5s;
  EXPECT_EQ(sl.Time(), "probe c\nprobe d");
  EXPECT_EQ(sl.Probed(sl.probes[0], true), "");
  EXPECT_EQ(sl.Probed(sl.probes[1], false), "append stalled r0 a0 on d (vote)");
}

TEST(SlVotes, WhoAnswersHasMoreTime) {
  InMerge t;
  ASSERT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(t.sl.Ledger(), "");
  t.sl.now += 5s;
  ASSERT_EQ(t.sl.Time(), "probe b\nprobe c\nprobe d");
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(t.sl.Probed(t.sl.probes[static_cast<std::size_t>(i)], true), "");
  EXPECT_EQ(t.sl.wake_at(), t.sl.now + 5s);
}

TEST(SlVotes, WithoutAnIdentityOfItsOwnANodeNamesNobody) {
  InMerge t;
  ASSERT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(t.sl.Ledger(), "");
  for (int look = 0; look < 10; ++look) {
    t.sl.now += 5s;
    t.sl.probes.clear();
    ASSERT_EQ(t.sl.Time(), "probe b\nprobe c\nprobe d") << look;
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(t.sl.CannotProbe(t.sl.probes[static_cast<std::size_t>(i)]), "") << look;
  }
}

TEST(SlVotes, WhoAnswersAndDoesNothingIsNamedInTheEnd) {
  InMerge t;
  ASSERT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(t.sl.Ledger(), "");
  std::string said;
  for (int look = 0; look < 6; ++look) {
    EXPECT_EQ(said, "");
    t.sl.now += 5s;
    t.sl.probes.clear();
    ASSERT_EQ(t.sl.Time(), "probe b\nprobe c\nprobe d");
    for (std::uint64_t i = 0; i < 3; ++i) {
      const std::uint64_t done = i == 2 ? 1'000 : static_cast<std::uint64_t>(look) + 1;
      said += t.sl.Probed(t.sl.probes[i], true, done);
    }
  }
  t.sl.now += 5s;
  t.sl.probes.clear();
  ASSERT_NE(t.sl.Time(), "");
  EXPECT_EQ(t.sl.Probed(t.sl.probes[0], true, 7), "");
  EXPECT_EQ(t.sl.Probed(t.sl.probes[1], true, 7), "");
  EXPECT_EQ(t.sl.Probed(t.sl.probes[2], true, 1'000), "append stalled r0 a0 on d (vote)");
}

TEST(SlStalls, ItsWordIsRepeatedWhenItWasVoid) {
  InMerge t;
  t.sl.mute = true;
  ASSERT_EQ(t.sl.Stalls({{NodeName{"b"}, StallWhy::kSilent}}),
            "append stalled r0 a0 on b (silent)");
  ASSERT_EQ(t.sl.Own("its seq 7 was used before"), "");
  t.sl.now += 1s;
  EXPECT_EQ(t.sl.Time(), "append stalled r0 a0 on b (silent)");
}

TEST(SlDisk, TheSameUpdateInALaterRoundIsStoredAnew) {
  InMerge t;
  ASSERT_EQ(t.sl.Stored("a0"), "");
  ASSERT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(t.story.Merge("b", "m0"), "");
  ASSERT_EQ(t.sl.Ledger(), "answer r0 m0 counted\ndrop a0");
  EXPECT_EQ(t.sl.Sync("a0"), "append checked-in r1 a0\nstore a0");
}

TEST(SlReopened, ItsCheckInStandsAndItMergesAgain) {
  InMerge t;
  ASSERT_EQ(t.story.Stall("b", {"c"}), "");
  ASSERT_EQ(t.story.Reopen({"c"}), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "merge r0 of 3");
}

TEST(SlReopened, RemovedItChecksInAgainAsSoonAsItMay) {
  InMerge t;
  ASSERT_EQ(t.story.Stall("b", {"a"}), "");
  ASSERT_EQ(t.story.Reopen({"a"}), "");
  EXPECT_EQ(t.sl.Ledger(), "abandon\nappend checked-in r0 a0");
  EXPECT_EQ(t.sl.said.back(), "");
}

TEST(SlReopened, RemovedAndClosedWithoutItWaitsForTheSeal) {
  InMerge t;
  ASSERT_EQ(t.story.Stall("b", {"a"}), "");
  ASSERT_EQ(t.story.Reopen({"a"}), "");
  ASSERT_EQ(t.story.Close(), "");
  EXPECT_EQ(t.sl.Ledger(), "abandon");
  ASSERT_EQ(t.story.Merge("b", "m0"), "");
  ASSERT_EQ(t.story.Merge("c", "m0"), "");
  EXPECT_EQ(t.sl.Ledger(), "enrol\nfetch m0 from b+c");
  EXPECT_EQ(t.sl.Fetched("m0"), "answer r0 m0\nkeep r0 m0");
  EXPECT_EQ(t.sl.Kept("m0"), "append round-merged r0 m0");
  EXPECT_TRUE(t.story.node("a").present);
}

TEST(SlAway, ATrainerComesBackAtOnce) {
  Trained t;
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  EXPECT_EQ(t.sl.Ledger(), "enrol");
  EXPECT_TRUE(t.story.node("a").present);
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  EXPECT_EQ(t.sl.Ledger(), "");  // Not as fast as it is sent away.
  EXPECT_EQ(t.sl.wake_at(), t.sl.now + 1s);
  t.sl.now += 1s;
  EXPECT_EQ(t.sl.Time(), "enrol");
}

TEST(SlAway, AtItsSyncPointItChecksInAgain) {
  Trained t;
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.sl.Own(""), "");
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  t.sl.now += 1s;
  EXPECT_EQ(t.sl.Ledger(), "append checked-in r1 a1");
  EXPECT_TRUE(t.story.node("a").present);
}

TEST(SlAway, AFinishedNodeEnrolsAgain) {
  Trained t;
  ASSERT_EQ(t.sl.Finish("a1", FinishMode::kActive), "append node-finished");
  ASSERT_EQ(t.story.Away("sn", "a"), "");
  EXPECT_EQ(t.sl.Ledger(), "enrol");
  EXPECT_EQ(t.story.node("a").kind, NodeKind::kActive);
}

TEST(SlVoid, AnEntryThatWasIgnoredIsDecidedAnew) {
  Trained t;
  t.sl.mute = true;
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  EXPECT_EQ(t.sl.Own("its seq 7 was used before"), "");
  EXPECT_EQ(t.sl.wake_at(), t.sl.now + 1s);
  t.sl.now += 1s;
  EXPECT_EQ(t.sl.Time(), "append checked-in r1 a1");
  EXPECT_EQ(t.sl.Own("its seq 8 was used before"), "");
  EXPECT_EQ(t.sl.wake_at(), t.sl.now + 2s);  // Slower each time.
}

TEST(SlVoid, WhatIsNotNeededAnyMoreIsNotRepeated) {
  Trained t;
  t.sl.mute = true;
  ASSERT_EQ(t.sl.Sync("a1"), "append checked-in r1 a1");
  ASSERT_EQ(t.story.CheckIn("b", "b1"), "");
  ASSERT_EQ(t.story.Close({"a"}), "");
  EXPECT_EQ(t.sl.Own("round 1 is closed already"), "");
  t.sl.now += 100s;
  EXPECT_EQ(t.sl.Time(), "");
}

TEST(SlVoid, AVoteOfAnOldAttemptIsFollowedByTheNewOne) {
  InMerge t;
  ASSERT_EQ(t.story.Stall("b", {"c"}), "");
  ASSERT_EQ(t.story.Reopen({"c"}), "");
  ASSERT_EQ(t.story.Close(), "");
  ASSERT_EQ(t.sl.Ledger(), "merge r0 of 3");
  EXPECT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  EXPECT_EQ(t.sl.said.back(), "");
}

TEST(SlDisk, ASnapshotIsDurableBeforeItsStatement) {
  InMerge t;
  ASSERT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(t.story.Merge("b", "m0"), "");
  ASSERT_EQ(t.sl.Ledger(), "answer r0 m0 counted");
  EXPECT_EQ(t.sl.Finish("a1"), "store a1");
  EXPECT_EQ(t.sl.Ledger(), "");
  EXPECT_EQ(t.sl.Stored("a1"), "append node-finished a1");
}

TEST(SlDisk, AnUpdateIsDroppedWhenItsRoundIsSealed) {
  InMerge t;
  ASSERT_EQ(t.sl.Stored("a0"), "");
  ASSERT_EQ(t.sl.Merged("m0"), "keep r0 m0\nappend round-merged r0 m0");
  ASSERT_EQ(t.story.Merge("b", "m0"), "");
  EXPECT_EQ(t.sl.Ledger(), "answer r0 m0 counted\ndrop a0");
}

TEST(SlProgress, TellsForWhichRoundItsProgramTrains) {
  Trained t;
  t.sl.now += 7s;
  ASSERT_TRUE(t.sl.Tells().has_value());
  EXPECT_EQ(t.sl.Tells()->training_on, RoundId{1});
  EXPECT_EQ(t.sl.Tells()->training_ms, 7000U);
  t.RoundWithout("m1");
  ASSERT_EQ(t.sl.Ledger(), "attention");
  EXPECT_EQ(t.sl.Tells()->round, RoundId{2});
  EXPECT_EQ(t.sl.Tells()->training_on, RoundId{1});  // In vain.
  ASSERT_NE(t.sl.Sync("a1"), "");
  EXPECT_EQ(t.sl.Tells()->training_on, std::nullopt);
}

TEST(SlProgress, NothingToStrangers) {
  Story story;
  story.Begin({});
  Sl sl(story);
  EXPECT_EQ(sl.Tells(), std::nullopt);
}

TEST(SlWaits, TellsMachinesToo) {
  InMerge t;
  t.sl.now += 3s;
  const auto waits = t.sl.Waits();
  ASSERT_TRUE(waits.has_value());
  EXPECT_EQ(waits->on.size(), 4U);
  EXPECT_EQ(waits->since, t.sl.now - 3s);
  EXPECT_NE(waits->next, "");
}

}  // namespace
}  // namespace starling
