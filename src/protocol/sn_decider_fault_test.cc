// What an SN does when nodes are silent, slow, or accuse one another.
#include <gtest/gtest.h>

#include "protocol/sn_decider_testing.h"

namespace starling {
namespace {

Progress TrainingOn(std::uint64_t round, std::uint64_t ms = 0) {
  Progress progress;
  progress.training_on = RoundId{round};
  progress.training_ms = ms;
  return progress;
}

TEST(SnProbes, EverybodyOnceBeforeAClose) {
  Sn s({"a", "b"});
  s.CheckIn("a");
  EXPECT_EQ(s.Within(1s), "");
  const std::size_t before = s.probes;
  s.CheckIn("b");
  EXPECT_EQ(s.Within(0s), "close r0 a0");
  EXPECT_EQ(s.probes, before + 2);
}

TEST(SnProbes, ANodeThatIsUnreachableIsLeftOut) {
  Sn s({"a", "b", "c"});
  for (const std::string name : {"a", "b", "c"}) s.CheckIn(name);
  s.dead = {"b"};
  EXPECT_EQ(s.Within(2s), "close r0 a0 without b");
}

TEST(SnProbes, UnlessTheQuorumNeedsIt) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  s.CheckIn("b");
  s.dead = {"b"};
  EXPECT_EQ(s.Within(2s), "close r0 a0");
}

TEST(SnProbes, AMissingNodeThatFailsTwiceIsNotWaitedForAnyLonger) {
  Sn s({"a", "b"});
  s.CheckIn("a");
  s.dead = {"b"};
  EXPECT_EQ(s.Within(4s), "");
  EXPECT_EQ(s.Waits(),
            "round 0 has its quorum: 1 here, quorum 1; no answer from b | closes "
            "without the rest in 26 s");
  EXPECT_EQ(s.Within(1s), "close r0 a0");
}

TEST(SnProbes, AMissingNodeThatAnswersHasTheGrace) {
  Sn s({"a", "b"});
  s.CheckIn("a");
  EXPECT_EQ(s.Within(29s), "");
  EXPECT_EQ(s.Within(1s), "close r0 a0");
}

TEST(SnProbes, ADriverThatLosesAProbeHoldsNothingUp) {
  Sn s({"a"});
  s.CheckIn("a");
  const SnTodo todo = s.Decide();  // Its probe is thrown away.
  ASSERT_EQ(todo.probes.size(), 1U);
  EXPECT_EQ(todo.wake_at, s.now + 2500ms);
  s.now += 2500ms;
  EXPECT_EQ(s.Within(0s), "close r0 a0");
}

TEST(SnWaitsFor, ATrainerThatSaysItTrainsForThisRound) {
  Sn s({"a", "b", "slow"});
  s.Round({"a", "b"});  // Without slow, after the grace.
  ASSERT_EQ(s.story.contract().sealed_members.size(), 2U);
  s.progress["slow"] = TrainingOn(1, 40'000);
  s.now += 1s;
  s.CheckIn("a");
  s.CheckIn("b");
  EXPECT_EQ(s.Within(10s), "");
  s.CheckIn("slow");
  EXPECT_EQ(s.Within(0s), "close r1 a0");
  EXPECT_EQ(s.story.contract().members.size(), 3U);
}

TEST(SnWaitsFor, NobodyThatTrainsForAnOlderRound) {
  Sn s({"a", "b", "stuck"});
  s.Round({"a", "b"});
  s.progress["stuck"] = TrainingOn(0);
  s.CheckIn("a");
  s.CheckIn("b");
  EXPECT_EQ(s.Within(0s), "close r1 a0");
}

TEST(SnGrace, FollowsTheIntervalsByAtMostAHalfARound) {
  Sn s({"a", "b"});
  s.Round({"a", "b"}, 100'000);
  s.Decide();
  EXPECT_EQ(s.decider.grace(s.story.training), 45s);
  s.Round({"a", "b"}, 100'000);
  s.Decide();
  EXPECT_EQ(s.decider.grace(s.story.training), 67500ms);
  for (int i = 0; i < 40; ++i) s.Round({"a", "b"}, 10);
  s.Decide();
  EXPECT_EQ(s.decider.grace(s.story.training), 1s);
}

TEST(SnGrace, GrowsUntilASlowSiteIsIn) {
  Sn s({"a", "b", "slow"});
  s.Round({"a", "b"}, 100'000);
  for (int round = 1; round < 12; ++round) {
    // slow needs 400 s for what the others do in 100 s, and begins anew with every base.
    const Instant begin = s.now;
    s.now += 100s;
    s.progress["slow"] = TrainingOn(s.story.contract().round.value());
    s.CheckIn("a", 100'000);
    s.CheckIn("b", 100'000);
    std::string said;
    while (said.empty() && s.now < begin + 400s) {
      s.progress["slow"].training_ms = static_cast<std::uint64_t>((s.now - begin) / 1ms);
      said = s.Within(1s);
    }
    if (said.empty()) {
      s.CheckIn("slow", 400'000);
      said = s.Within(0s);
    }
    ASSERT_EQ(said.substr(0, 5), "close");
    s.Seal({"a", "b"}, StrCat("m", round));
  }
  EXPECT_EQ(s.story.contract().sealed_members.size(), 3U);
}

TEST(SnGrace, DoublesWithEachAttempt) {
  Sn s({"a", "b", "c"}, Quorum(2));
  for (const std::string name : {"a", "b", "c"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  ASSERT_EQ(s.story.Stall("a", {"a"}), "");
  ASSERT_EQ(s.story.Stall("b", {"b"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a0 without a+b");
  s.CheckIn("a");
  ASSERT_EQ(s.story.Enrol("b"), "");
  ASSERT_EQ(s.Within(59s), "");
  EXPECT_EQ(s.Within(1s), "close r0 a1");
}

TEST(SnAway, ANodeThatMissedACloseAfterThreeFailuresInTenSeconds) {
  Sn s({"a", "b"});
  s.CheckIn("a");
  s.dead = {"b"};
  const Instant begin = s.now;
  ASSERT_EQ(s.Within(60s), "close r0 a0");
  EXPECT_EQ(s.Within(60s), "away b");
  EXPECT_GE(s.now - begin, 10s);
  EXPECT_LE(s.now - begin, 20s);
  EXPECT_EQ(s.story.CheckIn("b", "b0"), "round 0 is closed already");
}

TEST(SnAway, AFinishedNode) {
  Sn s({"a", "b", "c"});
  s.Round({"a", "b", "c"});
  ASSERT_EQ(s.story.Finish("b", FinishMode::kActive), "");
  s.dead = {"b"};
  s.now += 1s;
  s.CheckIn("a");
  s.CheckIn("c");
  EXPECT_EQ(s.Within(2s), "close r1 a0 without b");
  EXPECT_EQ(s.Within(60s), "away b");
}

TEST(SnAway, ATrainerThatKeepsTheEndOpenHasAMinute) {
  Sn s({"a", "b"});
  s.Round({"a", "b"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kActive), "");
  s.dead = {"b"};
  EXPECT_EQ(s.Within(65s), "");  // It was heard at the beginning, and asked again after 5 s.
  EXPECT_EQ(s.Within(10s), "away b");
  EXPECT_EQ(s.Within(0s), "close r1 a0");  // The closing round.
}

TEST(SnAway, NotATrainerThatAnswersHoweverLongItTrains) {
  Sn s({"a", "b"});
  s.Round({"a", "b"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kActive), "");
  EXPECT_EQ(s.Within(3000s), "");
}

// Where the ledger takes its time to call an entry final, a node that came late learns late that it
// is in.
TEST(SnAway, ANodeThatDoesNotKnowOfItsEnrolmentYetHasAMinute) {
  for (const bool answers : {true, false}) {
    Sn s({"a", "b"});
    s.Round({"a", "b"});
    ASSERT_EQ(s.story.Enrol("c"), "");
    (answers ? s.unenrolled : s.dead) = {"c"};
    ASSERT_EQ(s.story.Finish("a", FinishMode::kActive), "");
    ASSERT_EQ(s.story.Finish("b", FinishMode::kActive), "");
    EXPECT_EQ(s.Within(40s), answers ? "" : "away c");
    if (answers) {
      EXPECT_EQ(s.Within(60s), "away c");
    }
  }
}

TEST(SnAway, AMergeWhoseNodesAreAllGoneIsOpenedAgain) {
  Sn s({"a", "b"});
  s.CheckIn("a");
  s.CheckIn("b");
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  s.dead = {"a", "b"};
  EXPECT_EQ(s.Within(60s), "away a");
  EXPECT_EQ(s.Within(60s), "away b");
  EXPECT_EQ(s.Within(60s), "reopen r0 a0 without a+b");
  EXPECT_EQ(s.Within(100s), "");
  s.dead.clear();
  s.CheckIn("a");
  EXPECT_EQ(s.Within(300s), "close r0 a1");
}

// a, b, c and d in one merge.
struct Merging : Sn {
  Merging() : Merging(1) {}
  explicit Merging(std::uint64_t min_peers) : Sn({"a", "b", "c", "d"}, Quorum(min_peers)) {
    for (const std::string name : {"a", "b", "c", "d"}) CheckIn(name);
    EXPECT_EQ(Within(0s), "close r0 a0");
  }
};

TEST(SnBlame, TwoAccusersAreBelieved) {
  Merging s;
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  ASSERT_EQ(s.story.Stall("b", {"c"}), "");
  EXPECT_EQ(s.Within(999ms), "");
  EXPECT_EQ(s.Within(1ms), "reopen r0 a0 without c; close r0 a1");
  EXPECT_EQ(s.story.contract().members.size(), 3U);
}

TEST(SnBlame, WhoDoesNotAnswerGoes) {
  Merging s;
  s.dead = {"c"};
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  EXPECT_EQ(s.Within(2s), "reopen r0 a0 without c; close r0 a1");
}

TEST(SnBlame, TheFirstTimeALoneAccusersWordCountsThenItGoesItself) {
  Merging s;
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without c; close r0 a1");
  ASSERT_EQ(s.story.Stall("a", {"d"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a1 without a; close r0 a2");
  EXPECT_EQ(s.story.contract().members.size(), 2U);
}

TEST(SnBlame, AnotherLoneAccuserHasItsOwnFirstTime) {
  Merging s;
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a0 without c; close r0 a1");
  ASSERT_EQ(s.story.Stall("b", {"a"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a1 without a; close r0 a2");
}

TEST(SnBlame, ALoneAccuserOfSeveralThatAnswerIsItselfCutOff) {
  Merging s;
  ASSERT_EQ(s.story.Stall("a", {"b", "c"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without a; close r0 a1");
}

TEST(SnBlame, WhoLostItsUpdateGoes) {
  Merging s;
  ASSERT_EQ(s.story.Stall("d", {"d"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without d; close r0 a1");
}

TEST(SnBlame, BelowTheQuorumTheSwarmWaitsLoudly) {
  Merging s(4);
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without c");
  EXPECT_EQ(s.Waits().substr(0, 45), "round 0 waits for check-ins: 3 here, quorum 4");
  s.CheckIn("c");
  EXPECT_EQ(s.Within(0s), "close r0 a1");
}

TEST(SnBlame, TheSideWithFewerWitnessesGoes) {
  Rules rules = Quorum(1);
  rules.witnesses = 3;
  Sn s({"a", "b", "c"}, rules);
  for (const std::string name : {"a", "b", "c"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  ASSERT_EQ(s.story.Merge("a", "m0"), "");
  ASSERT_EQ(s.story.Merge("b", "x0"), "");
  EXPECT_EQ(s.Within(900ms), "");
  ASSERT_EQ(s.story.Merge("c", "m0"), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without b; close r0 a1");
  EXPECT_EQ(s.notices.size(), 1U);
}

TEST(SnBlame, ATieTakesBothAndTheOperatorIsTold) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  s.CheckIn("b");
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  ASSERT_EQ(s.story.Merge("a", "m0"), "");
  ASSERT_EQ(s.story.Merge("b", "x0"), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without a+b");
  ASSERT_EQ(s.notices.size(), 1U);
  EXPECT_NE(s.notices[0].find("different models"), std::string::npos);
}

TEST(SnBlame, ARevokedParticipantIsMergedNoLonger) {
  Merging s;
  ASSERT_EQ(s.story.Say("sn", NodeRevoked{NodeName{"b"}, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a0 without b; close r0 a1");
}

TEST(SnBlame, WhoWasRemovedFromARoundIsLeftOutOfItIfTheQuorumAllows) {
  Merging s(3);
  ASSERT_EQ(s.story.Stall("d", {"d"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a0 without d; close r0 a1");
  ASSERT_EQ(s.story.Stall("c", {"c"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a1 without c");
  s.CheckIn("d");
  ASSERT_EQ(s.Within(0s), "close r0 a2");
  ASSERT_EQ(s.story.Stall("d", {"d"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a2 without d");
  s.CheckIn("d");
  s.CheckIn("c");
  EXPECT_EQ(s.Within(0s), "close r0 a3 without d");
}

// Ties between an honest node and one that lies cost all three their places.
TEST(SnBlame, WhereEverybodyWasRemovedTheWorstIsLeftOut) {
  Sn s({"a", "b", "c"}, Quorum(2));
  for (const std::string name : {"a", "b", "c"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  const auto both_lose = [&](int attempt, const std::string& one, const std::string& two) {
    ASSERT_EQ(s.story.Stall(one, {one}), "");
    ASSERT_EQ(s.story.Stall(two, {two}), "");
    ASSERT_EQ(s.Within(1s), StrCat("reopen r0 a", attempt, " without ", one, "+", two));
    s.CheckIn(one);
    s.CheckIn(two);
  };
  both_lose(0, "b", "c");
  // a was never removed: one of the others goes, and which is a matter of the name.
  ASSERT_EQ(s.Within(60s), "close r0 a1 without b");
  both_lose(1, "a", "c");
  ASSERT_EQ(s.Within(120s), "close r0 a2 without c");
  both_lose(2, "a", "b");
  // Twice each: nobody is worse than the others.
  EXPECT_EQ(s.Within(240s), "close r0 a3");
}

TEST(SnBlame, TwoAccusersInDifferentAttemptsAreBelievedToo) {
  Merging s;
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a0 without c; close r0 a1");
  ASSERT_EQ(s.story.Stall("d", {"d"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a1 without d; close r0 a2");
  ASSERT_EQ(s.story.Stall("b", {"b"}), "");
  ASSERT_EQ(s.story.Stall("a", {"a"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r0 a2 without a+b");
  for (const std::string name : {"a", "b", "c", "d"}) s.CheckIn(name);
  ASSERT_EQ(s.Within(0s), "close r0 a3");
  // a has had its lone word, but b has now seen the same.
  ASSERT_EQ(s.story.Stall("b", {"c"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r0 a3 without c; close r0 a4");
}

TEST(SnBlame, FinishedNodesDoNotEndTheTrainingWhileARemovedTrainerMayComeBack) {
  Sn s({"a", "b"});
  s.Round({"a", "b"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kActive), "");
  s.now += 1s;
  s.CheckIn("b");
  ASSERT_EQ(s.Within(0s), "close r1 a0");
  ASSERT_EQ(s.story.Stall("a", {"b"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r1 a0 without b");
  EXPECT_EQ(s.Within(10s), "");
  s.CheckIn("b");
  EXPECT_EQ(s.Within(0s), "close r1 a1");
}

TEST(SnAway, ANodeIsMissedEvenWhenNobodyWaitsForIt) {
  Sn s({"a"});
  s.dead = {"a"};  // Its disk was wiped, say: it cannot come in again under its name.
  EXPECT_EQ(s.Within(150s), "away a");
}

TEST(SnAway, ACheckInOfADeadNodeDoesNotKeepItsName) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  s.dead = {"a"};
  EXPECT_EQ(s.Within(150s), "away a");
}

TEST(SnBlame, AnOffenderThatTheQuorumNeedsHasTheOthersWaitLongerEachTime) {
  Sn s({"a", "b"}, Quorum(2));
  s.CheckIn("a");
  s.CheckIn("b");
  ASSERT_EQ(s.Within(0s), "close r0 a0");
  for (const int attempt : {0, 1}) {
    ASSERT_EQ(s.story.Stall("b", {"b"}), "");
    ASSERT_EQ(s.Within(1s), StrCat("reopen r0 a", attempt, " without b"));
    s.CheckIn("b");
    if (attempt == 0) {
      ASSERT_EQ(s.Within(0s), "close r0 a1");
    }
  }
  EXPECT_NE(s.Waits().find("needs b, removed from this round more than once"), std::string::npos);
  EXPECT_EQ(s.Within(119s), "");
  EXPECT_EQ(s.Within(1s), "close r0 a2");
}

TEST(SnBlame, TheLastTrainerRemovedTwiceDoesNotKeepTheEndOpen) {
  Sn s({"a", "b", "c"});
  s.Round({"a", "b", "c"});
  for (const std::string name : {"a", "b"})
    ASSERT_EQ(s.story.Finish(name, FinishMode::kActive), "");
  s.now += 1s;
  s.CheckIn("c");
  ASSERT_EQ(s.Within(0s), "close r1 a0");
  ASSERT_EQ(s.story.Stall("a", {"c"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r1 a0 without c");
  s.CheckIn("c");
  ASSERT_EQ(s.Within(0s), "close r1 a1");
  ASSERT_EQ(s.story.Stall("b", {"c"}), "");
  EXPECT_EQ(s.Within(1s), "reopen r1 a1 without c; close r1 a2");
}

TEST(SnBlame, ATrainerRemovedTwiceThatComesBackFirstIsSentAwayWithTheClose) {
  Sn s({"a", "b", "c"}, Quorum(2));
  s.Round({"a", "b", "c"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kActive), "");
  ASSERT_EQ(s.story.Finish("b", FinishMode::kActive), "");
  s.now += 1s;
  s.CheckIn("c");
  ASSERT_EQ(s.Within(0s), "close r1 a0");
  ASSERT_EQ(s.story.Stall("c", {"c"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r1 a0 without c");
  s.CheckIn("c");
  ASSERT_EQ(s.Within(0s), "close r1 a1");
  ASSERT_EQ(s.story.Stall("c", {"c"}), "");
  ASSERT_EQ(s.story.Stall("b", {"b"}), "");
  ASSERT_EQ(s.Within(1s), "reopen r1 a1 without b+c");  // Below the quorum.
  s.CheckIn("c");
  ASSERT_EQ(s.story.Enrol("b"), "");
  EXPECT_EQ(s.Within(0s), "away c; close r1 a2");
}

TEST(SnRanks, ALaterRankWaitsAndSpeaksOnlyIfTheFirstDoesNot) {
  Story story;
  const SigningKey& key = story.key("sn2");
  SnJoined join;
  join.claim = SignSnClaim(key, {NodeName{"sn2"}, key.public_key(), "https://sn2:30304"}, 1,
                           story.replay.place());
  ASSERT_EQ(story.Say("sn", join), "");
  story.Begin({"a"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  SnDecider one{SnOptions{.kid = story.key("sn").kid()}};
  SnDecider two{SnOptions{.kid = key.kid()}};
  Instant now{};
  const bool one_speaks = !one.Decide(story.replay.state(), now).appends.empty();
  const SnTodo other = two.Decide(story.replay.state(), now);
  EXPECT_NE(one_speaks, !other.appends.empty());
  SnDecider& later = one_speaks ? two : one;
  EXPECT_EQ(later.Decide(story.replay.state(), now).wake_at, now + 2s);
  now += 2s;
  EXPECT_EQ(later.Decide(story.replay.state(), now).appends.size(), 1U);
}

}  // namespace
}  // namespace starling
