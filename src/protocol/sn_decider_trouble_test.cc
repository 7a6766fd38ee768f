// What an SN says of single nodes: who does not answer and why, what they tell of themselves.
#include <gtest/gtest.h>

#include "protocol/sn_decider_testing.h"

namespace starling {
namespace {

// What is said of single nodes, one line each.
std::vector<std::string> TroublesOf(Sn& s) {
  std::vector<std::string> lines;
  for (const Waiting& waiting : s.Decide().waiting) {
    if (waiting.trouble) lines.push_back(StrCat(waiting.what, " | ", waiting.next));
  }
  return lines;
}

TEST(SnTroubles, ANodeThatFailsAProbeIsNamedWithTheReasonUntilItAnswers) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  s.dead = {"b"};
  ASSERT_EQ(s.Within(7s), "");
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{"b: silent | look at it"});
  s.dead.clear();
  ASSERT_EQ(s.Within(12s), "");  // One more probe was under way.
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{});
}

TEST(SnTroubles, WhatANodeTellsOfItselfIsPassedOn) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  s.progress["b"].troubles = {{"its disk is full", "make room"}};
  ASSERT_EQ(s.Within(6s), "");
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{"b: its disk is full | make room"});
  s.progress["b"].troubles.clear();
  ASSERT_EQ(s.Within(6s), "");
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{});
}

TEST(SnTroubles, WithoutAnIdentityOfItsOwnAnSnBlamesNobody) {
  Sn s({"a", "b"}, Quorum(2));
  s.no_identity = true;
  s.CheckIn("a");
  EXPECT_EQ(s.Within(150s), "");  // Nobody is away.
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{});
  s.CheckIn("b");
  EXPECT_EQ(s.Within(5s), "close r0 a0");
  s.Seal({"a", "b"}, "m0");
  s.CheckIn("a");
  s.CheckIn("b");
  ASSERT_EQ(s.Within(5s), "close r1 a0");
  ASSERT_EQ(s.story.Stall("b", {"a"}), "");  // The one word, not a probe that failed.
  EXPECT_EQ(s.Within(5s), "reopen r1 a0 without a");
}

TEST(SnTroubles, NobodyNeedsToWaitForANodeToHearOfItsTrouble) {
  Sn s({"a", "b"}, Quorum(2));
  ASSERT_EQ(s.Within(1s), "");
  s.progress["b"].troubles = {{"its program is stopped", "let it go on"}};
  ASSERT_EQ(s.Within(5s), "");
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{"b: its program is stopped | let it go on"});
}

TEST(SnTroubles, WhoIsAwayIsNamedWithItsOwnWordsWhileTheQuorumNeedsIt) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  ASSERT_EQ(s.story.Say("b", NodeAway{NodeName{"b"}, "its program was killed by signal 9"}), "");
  const std::vector<std::string> lines = TroublesOf(s);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0],
            "b is away: its program was killed by signal 9 | start it again, or let it go on "
            "(kill -CONT); it comes back by itself");
  EXPECT_EQ(s.Decide().waiting[0].on, NodeNames({"b"}));
  ASSERT_EQ(s.story.Enrol("b"), "");
  EXPECT_EQ(TroublesOf(s), std::vector<std::string>{});
}

TEST(SnTroubles, WhoWasRemovedIsNamedWithWhatTheProbesHaveShown) {
  Sn s({"a", "b", "c"}, Quorum(3));
  for (const std::string name : {"a", "b", "c"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  s.dead = {"c"};
  s.now += 1s;
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  ASSERT_EQ(s.Within(10s), "reopen r0 a0 without c");
  const std::vector<std::string> lines = TroublesOf(s);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].substr(0, lines[0].find(" | ")),
            "c is away: round 0 was opened again without it; silent");
}

TEST(SnTroubles, WhatThisSnSaysOfANodeThatIsAwayHoldsTheReason) {
  Sn s({"a", "b"});
  s.CheckIn("a");
  s.dead = {"b"};
  ASSERT_EQ(s.Within(60s), "close r0 a0");
  ASSERT_EQ(s.Within(60s), "away b");
  EXPECT_EQ(s.story.contract().nodes.at(NodeName{"b"}).away_why, "silent");
}

// d has made c late for the round, so that the quorum needed d; it must not cost a second attempt.
TEST(SnBlame, WhoIsLateIsWaitedForRatherThanMergedWithoutByWhoWasRemoved) {
  Sn s({"a", "b", "c", "d"}, Quorum(3), {.quorum_grace = 1s});
  for (const std::string name : {"a", "b", "c", "d"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  s.Seal({"a", "b", "c", "d"}, "m0");
  for (const std::string name : {"a", "b", "d"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(1s), "close r1 a0");
  ASSERT_EQ(s.story.Stall("a", {"d"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r1 a0 without d");
  s.CheckIn("d");  // Its grace would end in two seconds.
  EXPECT_EQ(s.Within(9s), "");
  s.CheckIn("c");
  EXPECT_EQ(s.Within(1s), "close r1 a1 without d");
}

TEST(SnBlame, ButNotForEver) {
  Sn s({"a", "b", "c"}, Quorum(2), {.quorum_grace = 1s});
  for (const std::string name : {"a", "b", "c"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  s.Seal({"a", "b", "c"}, "m0");
  for (const std::string name : {"a", "b"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(1s), "close r1 a0");
  ASSERT_EQ(s.story.Stall("a", {"b"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r1 a0 without b");
  s.CheckIn("b");
  EXPECT_EQ(s.Within(9s), "");
  EXPECT_EQ(s.Within(1s), "close r1 a1");
}

}  // namespace
}  // namespace starling
