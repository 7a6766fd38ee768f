#include "protocol/sn_decider.h"

#include <gtest/gtest.h>

#include "protocol/story_testing.h"

namespace starling {
namespace {

// A story, a decider and a clock that moves when told.
struct Swarm {
  explicit Swarm(const Names& nodes, const Rules& rules = {}) { story.Begin(nodes, rules); }
  SnTodo Decide() { return decider.Decide(story.replay.state(), now); }
  // Does the decider close now? What it says is appended, as the SN does.
  bool Closes() {
    const SnTodo todo = Decide();
    for (const SnTodo::Append& append : todo.appends) {
      EXPECT_EQ(append.contract, story.training);
      EXPECT_EQ(story.Say("sn", append.event), "");
    }
    return !todo.appends.empty();
  }
  // What the swarm waits for: "<names>: <what>; <next>".
  std::string Waits() {
    const SnTodo todo = Decide();
    if (todo.waiting.size() != 1) return "";
    std::string text;
    for (const NodeName& name : todo.waiting[0].on) text += name.value() + " ";
    return text + "| " + todo.waiting[0].what + " | " + todo.waiting[0].next;
  }
  Story story;
  SnDecider decider{SnOptions{.quorum_grace = 30s}};
  Instant now{};
};

TEST(SnCloses, WhenAllEnrolledNodesHaveCheckedIn) {
  Swarm s({"a", "b"});
  EXPECT_FALSE(s.Closes());
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_FALSE(s.Closes());
  ASSERT_EQ(s.story.CheckIn("b", "b0"), "");
  EXPECT_TRUE(s.Closes());
  EXPECT_EQ(s.story.contract().members.size(), 2U);
}

TEST(SnCloses, WithoutTheRestOnceTheGraceIsOver) {
  Swarm s({"a", "b"});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_FALSE(s.Closes());
  EXPECT_EQ(s.Decide().wake_at, s.now + 30s);
  s.now += 29s;
  EXPECT_FALSE(s.Closes());
  s.now += 1s;
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, TheGraceBeginsWithTheQuorum) {
  Swarm s({"a", "b", "c"}, {.min_peers = 2});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  s.now += 100s;
  EXPECT_FALSE(s.Closes());
  EXPECT_EQ(s.Decide().wake_at, std::nullopt);
  ASSERT_EQ(s.story.CheckIn("b", "b0"), "");
  EXPECT_FALSE(s.Closes());
  s.now += 30s;
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, TheGraceBeginsAnewWhenTheQuorumIsLost) {
  Swarm s({"a", "b"});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_FALSE(s.Closes());
  s.now += 20s;
  ASSERT_EQ(s.story.Away("a", "a"), "");
  EXPECT_FALSE(s.Closes());
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_FALSE(s.Closes());
  s.now += 29s;
  EXPECT_FALSE(s.Closes());
}

TEST(SnCloses, NeverBelowTheQuorum) {
  Swarm s({"a", "b"}, {.min_peers = 3});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  ASSERT_EQ(s.story.CheckIn("b", "b0"), "");
  s.now += 1000s;
  EXPECT_FALSE(s.Closes());
  ASSERT_EQ(s.story.Say("sn", ContractAmended{2, {"", "spiffe://test/op"}}), "");
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, RoundZeroWaitsForListedMembersUpToTheGrace) {
  Rules rules;
  rules.members[NodeName{"a"}] = KeyNamed("a").public_key();
  rules.members[NodeName{"b"}] = KeyNamed("b").public_key();
  Swarm s({"a"}, rules);
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_EQ(s.Waits(),
            "b | round 0 has its quorum: 1 here, quorum 1 | closes without the rest in 30 s");
  s.now += 30s;
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, LaterRoundsDoNotWaitForLateJoiners) {
  Swarm s({"a", "b"});
  s.story.Round({"a", "b"});
  ASSERT_EQ(s.story.Enrol("late"), "");
  ASSERT_EQ(s.story.CheckIn("a", "a1"), "");
  EXPECT_FALSE(s.Closes());
  ASSERT_EQ(s.story.CheckIn("b", "b1"), "");
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, WithALateJoinerThatHasCheckedIn) {
  Swarm s({"a", "b"});
  s.story.Round({"a", "b"});
  ASSERT_EQ(s.story.Enrol("late"), "");
  ASSERT_EQ(s.story.CheckIn("late", "c1"), "");
  ASSERT_EQ(s.story.CheckIn("a", "a1"), "");
  ASSERT_EQ(s.story.CheckIn("b", "b1"), "");
  EXPECT_TRUE(s.Closes());
  EXPECT_EQ(s.story.contract().members.size(), 3U);
}

TEST(SnCloses, WithoutWaitingForNodesThatAreAway) {
  Swarm s({"a", "b"});
  s.story.Round({"a", "b"});
  ASSERT_EQ(s.story.Away("sn", "b"), "");
  ASSERT_EQ(s.story.CheckIn("a", "a1"), "");
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, FinishedNodesWaitForATrainerHoweverLongItTakes) {
  Swarm s({"a", "b"});
  s.story.Round({"a", "b"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  s.now += 100'000s;
  EXPECT_FALSE(s.Closes());
  ASSERT_EQ(s.story.CheckIn("b", "b1"), "");
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, TheClosingRoundAtOnceWhenNoTrainerIsPresent) {
  Swarm s({"a", "b"});
  s.story.Round({"a", "b"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  ASSERT_EQ(s.story.Finish("b", FinishMode::kInactive), "");
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, TheClosingRoundNeedsTheQuorumToo) {
  Swarm s({"a", "b"}, {.min_peers = 2});
  s.story.Round({"a", "b"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  ASSERT_EQ(s.story.Away("b", "b"), "");
  EXPECT_FALSE(s.Closes());
}

TEST(SnCloses, NeverWhenTheCloseWouldBeIgnored) {
  Swarm s({});
  ASSERT_EQ(s.story.Enrol("a", [](SignedNodeClaim& c) { c.claim.weight = 0; }), "");
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  s.now += 1000s;
  EXPECT_FALSE(s.Closes());
}

TEST(SnCloses, SaysItOnceASecondUntilTheStateMoves) {
  Swarm s({"a"});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_EQ(s.Decide().appends.size(), 1U);
  EXPECT_EQ(s.Decide().appends.size(), 0U);
  EXPECT_EQ(s.Decide().wake_at, s.now + 1s);
  s.now += 1s;
  EXPECT_EQ(s.Decide().appends.size(), 1U);
}

TEST(SnCloses, ANewRoundIsClosedWithoutThatWait) {
  Swarm s({"a"});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  ASSERT_TRUE(s.Closes());
  ASSERT_EQ(s.story.Merge("a", "m0"), "");
  ASSERT_EQ(s.story.CheckIn("a", "a1"), "");
  EXPECT_TRUE(s.Closes());
}

TEST(SnCloses, EachTrainingByItself) {
  Swarm s({"a"});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  s.story.training = ContractName{"u"};
  s.story.Begin({"b", "c"});
  ASSERT_EQ(s.story.CheckIn("b", "b0"), "");
  const SnTodo todo = s.Decide();
  ASSERT_EQ(todo.appends.size(), 1U);
  EXPECT_EQ(todo.appends[0].contract, ContractName{"t"});
}

TEST(SnCloses, NothingAfterTheEnd) {
  Swarm s({"a"});
  s.story.Round({"a"});
  ASSERT_EQ(s.story.Finish("a", FinishMode::kActive), "");
  s.story.Round({});
  const SnTodo todo = s.Decide();
  EXPECT_TRUE(todo.appends.empty());
  EXPECT_TRUE(todo.waiting.empty());
  EXPECT_EQ(todo.wake_at, std::nullopt);
}

TEST(SnWaits, TellsForWhomAndWhatHappensNext) {
  Swarm s({"a", "b", "c"}, {.min_peers = 2});
  ASSERT_EQ(s.story.CheckIn("a", "a0"), "");
  EXPECT_EQ(
      s.Waits(),
      "b c | round 0 waits for check-ins: 1 here, quorum 2 | 1 node is ready; the quorum is "
      "2; a node checks in or enrols, or an operator lowers min_peers or resets the training");
  ASSERT_EQ(s.story.CheckIn("b", "b0"), "");
  EXPECT_EQ(s.Waits(),
            "c | round 0 has its quorum: 2 here, quorum 2 | closes without the rest in 30 s");
  ASSERT_EQ(s.story.CheckIn("c", "c0"), "");
  ASSERT_TRUE(s.Closes());
  ASSERT_EQ(s.story.Merge("b", "m0"), "");
  EXPECT_EQ(s.Waits(), "a c | round 0 is being merged, leader " +
                           LeaderOf(s.story.contract()).value() +
                           " | sealed when enough nodes agree on the root");
}

TEST(SnWaits, TellsSinceWhen) {
  Swarm s({"a", "b"});
  s.now += 5s;
  EXPECT_EQ(s.Decide().waiting.at(0).since, s.now);
  s.now += 7s;
  EXPECT_EQ(s.Decide().waiting.at(0).since, s.now - 7s);
}

}  // namespace
}  // namespace starling
