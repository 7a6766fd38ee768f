// The rows of who belongs: one test for each way to be valid and each way to be ignored.
#include <gtest/gtest.h>

#include "base/text.h"
#include "protocol/story_testing.h"

namespace starling {
namespace {

SnJoined Joining(const Story& story, const std::string& name, const std::string& key,
                 std::uint64_t seq = 1) {
  SnJoined event;
  event.claim =
      SignSnClaim(story.key(key), {NodeName{name}, story.key(key).public_key(), "https://x:30304"},
                  seq, story.replay.place());
  return event;
}

// --- sn-joined ---

TEST(SnJoinedRow, EntryZeroPinsProtocolFinalityAndOperatorKeys) {
  const Story story({"op1", "op2"});
  const LedgerState& state = story.replay.state();
  EXPECT_EQ(state.protocol, 1U);
  EXPECT_EQ(state.finality, "embedded");
  EXPECT_EQ(state.operator_keys.size(), 2U);
  EXPECT_EQ(state.sns.at(NodeName{"sn"}).kid, story.key("sn").kid());
}

TEST(SnJoinedRow, AJoinedSnLetsAnotherIn) {
  Story story;
  EXPECT_EQ(story.Say("sn", Joining(story, "sn2", "sn2")), "");
  EXPECT_EQ(story.replay.state().sns.size(), 2U);
  EXPECT_EQ(story.Say("sn2", ContractCreated{{}, {"", "spiffe://test/op"}}), "");
}

TEST(SnJoinedRow, ANewcomerCannotLetItselfIn) {
  Story story;
  EXPECT_EQ(story.Say("sn2", Joining(story, "sn2", "sn2")),
            "its key is neither an SN's nor that of a node enrolled in this training");
}

TEST(SnJoinedRow, ANodeCannotLetAnSnIn) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("a", Joining(story, "sn2", "sn2")),
            "its key is neither an SN's nor that of a node enrolled in this training");
}

TEST(SnJoinedRow, AKeyJoinsOnce) {
  Story story;
  ASSERT_EQ(story.Say("sn", Joining(story, "sn2", "sn2")), "");
  EXPECT_EQ(story.Say("sn", Joining(story, "sn3", "sn2", 2)), "this key has joined already");
}

TEST(SnJoinedRow, ANameJoinsOnce) {
  Story story;
  EXPECT_EQ(story.Say("sn", Joining(story, "sn", "sn2")), "an SN named sn has joined already");
}

TEST(SnJoinedRow, AnEnrolledKeyCannotBecomeAnSn) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("sn", Joining(story, "sn2", "a", story.NextSeq("a"))),
            "this key is enrolled in training t");
}

TEST(SnJoinedRow, ALaterEntryCannotPinTheProtocolAgain) {
  Story story;
  SnJoined event = Joining(story, "sn2", "sn2");
  event.protocol = 1;
  event.finality = "embedded";
  EXPECT_EQ(story.Say("sn", event), "only the first entry names the protocol");
}

TEST(SnJoinedRow, AClaimIsUsedOnce) {
  Story story;
  const SnJoined event = Joining(story, "sn2", "sn2");
  ASSERT_EQ(story.Say("sn", event), "");
  EXPECT_EQ(story.Say("sn", event), "the claim was used before");
}

TEST(SnJoinedRow, AClaimForAnotherLedgerIsIgnored) {
  Story story;
  Story other({}, "other ");
  EXPECT_EQ(story.Say("sn", Joining(other, "sn2", "sn2")),
            "the claim was made for another ledger: the head at its seen place is another");
}

TEST(SnJoinedRow, EntryZeroMustNameAKnownProtocol) {
  Replay replay;
  const SigningKey key = KeyNamed("sn");
  SnJoined event;
  event.claim = SignSnClaim(key, {NodeName{"sn"}, key.public_key(), "https://x:1"}, 1, Place{});
  event.protocol = 2;
  event.finality = "embedded";
  EXPECT_EQ(replay.Apply(SignStatement(key, {{}, 2, {}, event})).reason,
            "protocol 2 is not known here");
  EXPECT_TRUE(replay.state().sns.empty());
}

TEST(SnJoinedRow, EntryZeroIsSignedByTheKeyThatItsClaimNames) {
  Replay replay;
  const SigningKey key = KeyNamed("sn");
  SnJoined event;
  event.claim = SignSnClaim(key, {NodeName{"sn"}, key.public_key(), "https://x:1"}, 1, Place{});
  event.protocol = 1;
  event.finality = "embedded";
  EXPECT_EQ(replay.Apply(SignStatement(KeyNamed("thief"), {{}, 2, {}, event})).reason,
            "the signature is of another key");
}

TEST(SnJoinedRow, TheFirstEntryIsNothingElse) {
  Replay replay;
  const std::string entry =
      SignStatement(KeyNamed("sn"), {ContractName{"t"}, 1, {}, NodeAway{NodeName{"a"}}});
  EXPECT_EQ(replay.Apply(entry).reason, "the first entry is sn-joined");
}

// --- contract-created ---

TEST(ContractCreatedRow, OpensRoundZero) {
  Story story;
  EXPECT_EQ(story.Create(), "");
  EXPECT_EQ(story.contract().instance, Position{1});
  EXPECT_EQ(story.Text(), "round 0 collecting;; P=; votes=; grounds=; holders=");
}

TEST(ContractCreatedRow, WithAnInitialRootItStartsAtRoundOne) {
  Story story;
  Rules rules;
  rules.initial = RootNamed("m9");
  EXPECT_EQ(story.Create(rules), "");
  EXPECT_EQ(story.Text(), "round 1 collecting;; P=; votes=; grounds=; holders=; base=m9");
  EXPECT_EQ(story.contract().roots.at(RoundId{0}), RootNamed("m9"));
  EXPECT_EQ(story.contract().sealed_round, RoundId{0});
}

TEST(ContractCreatedRow, ANameUnderWayIsTaken) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Create(), "a training of this name is under way");
}

TEST(ContractCreatedRow, AfterTheEndANameStartsANewInstance) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  story.Round({});
  ASSERT_EQ(story.contract().phase, Phase::kDone);
  EXPECT_EQ(story.Create(), "");
  EXPECT_EQ(story.contract().instance, story.replay.place().position);
  EXPECT_EQ(story.Text(), "round 0 collecting;; P=; votes=; grounds=; holders=");
}

TEST(ContractCreatedRow, OnlyAnSnSaysIt) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("a", ContractCreated{{}, {"", "spiffe://test/op"}}),
            "only an SN may say this");
}

TEST(ContractCreatedRow, WhereOperatorKeysAreListedAnSnsWordIsNotEnough) {
  Story story({"op"});
  EXPECT_EQ(story.Say("sn", ContractCreated{{}, {"", "spiffe://test/op"}}),
            "this ledger lists operator keys, so the claim must be signed by one of them");
  EXPECT_EQ(story.Create(), "");
}

TEST(ContractCreatedRow, AClaimForOtherRulesIsIgnored) {
  Story story({"op"});
  ContractCreated event;
  event.claim = story.ClaimBy("op", event);
  event.rules.min_peers = 7;
  EXPECT_EQ(story.Say("sn", event), "the claim asks for something else");
}

TEST(ContractCreatedRow, AClaimOfAForeignKeyIsIgnored) {
  Story story({"op"});
  ContractCreated event;
  event.claim = story.ClaimBy("thief", event);
  EXPECT_EQ(story.Say("sn", event), "the claim's key is not an operator's");
}

TEST(ContractCreatedRow, AClaimIsUsedOnce) {
  Story story({"op"});
  ContractCreated event;
  event.claim = story.ClaimBy("op", event);
  ASSERT_EQ(story.Say("sn", event), "");
  ContractReset reset;
  reset.claim = story.ClaimBy("op", reset);
  ASSERT_EQ(story.Say("sn", reset), "");
  EXPECT_EQ(story.Say("sn", reset), "the claim was made for an earlier instance of the training");
  story.training = ContractName{"t2"};
  ContractCreated again;
  again.claim = story.ClaimBy("op", again);
  ASSERT_EQ(story.Say("sn", again), "");
  ContractAmended amended{2, {}};
  amended.claim = story.ClaimBy("op", amended);
  ASSERT_EQ(story.Say("sn", amended), "");
  EXPECT_EQ(story.Say("sn", amended), "the claim was used before");
}

// --- contract-reset ---

TEST(ContractResetRow, StartsANewInstanceWithTheSameRulesAndNoNodes) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  const Rules before = story.contract().rules;
  EXPECT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Text(), "round 0 collecting;; P=; votes=; grounds=; holders=");
  EXPECT_EQ(story.contract().rules, before);
  EXPECT_EQ(story.contract().instance, story.replay.place().position);
}

TEST(ContractResetRow, KeepsThatMinPeersWasAmended) {
  Story story;
  story.Begin({"a"}, {.min_peers = 2});
  ASSERT_EQ(story.Say("sn", ContractAmended{1, {"", "spiffe://test/op"}}), "");
  ASSERT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.rules.min_peers = 2; }), "");
  EXPECT_EQ(story.contract().rules.min_peers, 1U);
}

TEST(ContractResetRow, NeedsATraining) {
  Story story;
  EXPECT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "there is no training t");
}

TEST(ContractResetRow, OnlyAnSnSaysIt) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("a", ContractReset{{"", "spiffe://test/op"}}), "only an SN may say this");
}

TEST(ContractResetRow, WhereAdministratorsAreNamedOnlyTheyMay) {
  Story story;
  Rules rules;
  rules.admins = {"spiffe://test/boss"};
  ASSERT_EQ(story.Create(rules), "");
  EXPECT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}),
            "spiffe://test/op is no administrator of this training");
  EXPECT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/boss"}}), "");
}

TEST(ContractResetRow, WhereAdministratorsAreKeysOnlyTheyMay) {
  Story story({"op", "boss"});
  Rules rules;
  rules.admins = {story.key("boss").kid()};
  ASSERT_EQ(story.Create(rules), "");
  ContractReset event;
  event.claim = story.ClaimBy("op", event);
  EXPECT_EQ(story.Say("sn", event), "the claim's key is no administrator of this training");
  event.claim = story.ClaimBy("boss", event);
  EXPECT_EQ(story.Say("sn", event), "");
}

// --- contract-amended ---

TEST(ContractAmendedRow, ChangesTheQuorumFromHereOn) {
  Story story;
  story.Begin({"a"}, {.min_peers = 2});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "1 node is ready; the quorum is 2");
  EXPECT_EQ(story.Say("sn", ContractAmended{1, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Close(), "");
}

TEST(ContractAmendedRow, IsIgnoredDuringAMerge) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Say("sn", ContractAmended{1, {"", "spiffe://test/op"}}), "a merge is under way");
}

TEST(ContractAmendedRow, IsIgnoredAfterTheEnd) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  story.Round({});
  EXPECT_EQ(story.Say("sn", ContractAmended{1, {"", "spiffe://test/op"}}), "the training is done");
}

TEST(ContractAmendedRow, NeedsAtLeastOne) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("sn", ContractAmended{0, {"", "spiffe://test/op"}}),
            "min_peers is at least 1");
  EXPECT_EQ(story.Say("sn", ContractAmended{1U << 20, {"", "spiffe://test/op"}}),
            "min_peers is at most 1024");
}

TEST(ContractAmendedRow, OnlyAnSnSaysIt) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("a", ContractAmended{1, {"", "spiffe://test/op"}}),
            "only an SN may say this");
}

TEST(ContractAmendedRow, NeedsAnAdministrator) {
  Story story;
  Rules rules;
  rules.admins = {"spiffe://test/boss"};
  ASSERT_EQ(story.Create(rules), "");
  EXPECT_EQ(story.Say("sn", ContractAmended{1, {"", "spiffe://test/op"}}),
            "spiffe://test/op is no administrator of this training");
}

TEST(ContractAmendedRow, AClaimForAnotherValueIsIgnored) {
  Story story({"op"});
  ASSERT_EQ(story.Create(), "");
  ContractAmended event{2, {}};
  event.claim = story.ClaimBy("op", event);
  event.min_peers = 1;
  EXPECT_EQ(story.Say("sn", event), "the claim asks for something else");
}

// --- node-revoked ---

TEST(NodeRevokedRow, DropsTheNodeAndItsKey) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  EXPECT_EQ(story.Say("sn", NodeRevoked{NodeName{"b"}, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Text(), "round 0 collecting; a:; P=; votes=; grounds=; holders=");
  EXPECT_EQ(story.CheckIn("b", "b0"),
            "its key is neither an SN's nor that of a node enrolled in this training");
  EXPECT_EQ(story.Enrol("b"), "this key was revoked by an operator");
}

TEST(NodeRevokedRow, FreesTheNameForAnotherKey) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.Say("sn", NodeRevoked{NodeName{"b"}, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Enrol("b2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"b"}; }), "");
}

TEST(NodeRevokedRow, AResetDoesNotReviveTheKey) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.Say("sn", NodeRevoked{NodeName{"b"}, {"", "spiffe://test/op"}}), "");
  ASSERT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Enrol("b"), "this key was revoked by an operator");
}

TEST(NodeRevokedRow, AParticipantIsGroundsToReopen) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(story.Say("sn", NodeRevoked{NodeName{"b"}, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Text(), "round 0 merging; a:a0; P=a b; votes=; grounds=b; holders=");
  EXPECT_EQ(story.Reopen({"b"}), "");
  EXPECT_EQ(story.Text(), "round 0 attempt 1 collecting; a:a0; P=; votes=; grounds=; holders=");
}

TEST(NodeRevokedRow, NeedsAnEnrolledNode) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("sn", NodeRevoked{NodeName{"z"}, {"", "spiffe://test/op"}}),
            "z is not enrolled");
}

TEST(NodeRevokedRow, OnlyAnSnSaysIt) {
  Story story;
  story.Begin({"a", "b"});
  EXPECT_EQ(story.Say("a", NodeRevoked{NodeName{"b"}, {"", "spiffe://test/op"}}),
            "only an SN may say this");
}

TEST(NodeRevokedRow, NeedsAnAdministrator) {
  Story story;
  Rules rules;
  rules.admins = {"spiffe://test/boss"};
  story.Begin({"a"}, rules);
  EXPECT_EQ(story.Say("sn", NodeRevoked{NodeName{"a"}, {"", "spiffe://test/op"}}),
            "spiffe://test/op is no administrator of this training");
}

TEST(NodeRevokedRow, AClaimForAnotherNodeIsIgnored) {
  Story story({"op"});
  story.Begin({"a", "b"});
  NodeRevoked event{NodeName{"a"}, {}};
  event.claim = story.ClaimBy("op", event);
  event.name = NodeName{"b"};
  EXPECT_EQ(story.Say("sn", event), "the claim asks for something else");
}

// --- node-away ---

TEST(NodeAwayRow, AnSnSaysIt) {
  Story story;
  story.Begin({"a", "b"});
  EXPECT_EQ(story.Away("sn", "b"), "");
  EXPECT_EQ(story.Text(), "round 0 collecting; a: b(away):; P=; votes=; grounds=; holders=");
}

TEST(NodeAwayRow, ANodeSaysItOfItself) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Away("a", "a"), "");
}

TEST(NodeAwayRow, ANodeDoesNotSayItOfAnother) {
  Story story;
  story.Begin({"a", "b"});
  EXPECT_EQ(story.Away("a", "b"), "an SL can only say this of itself");
}

TEST(NodeAwayRow, NeedsAnEnrolledNode) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Away("sn", "z"), "z is not enrolled");
}

TEST(NodeAwayRow, IsSaidOnce) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.Away("sn", "a"), "");
  EXPECT_EQ(story.Away("sn", "a"), "a is away already");
}

TEST(NodeAwayRow, IsIgnoredAfterTheEnd) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  story.Round({});
  EXPECT_EQ(story.Away("sn", "a"), "the training is done");
}

TEST(NodeAwayRow, AParticipantIsGroundsToReopen) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(story.Away("sn", "b"), "");
  EXPECT_TRUE(story.contract().grounds.empty());
  ASSERT_EQ(story.Away("a", "a"), "");
  EXPECT_EQ(story.contract().grounds.size(), 1U);
}

TEST(NodeAwayRow, AnAbsentNodesCheckInStandsButDoesNotCount) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  ASSERT_EQ(story.Away("sn", "b"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(story.Text(), "round 0 merging; a:a0 b(away):b0; P=a; votes=; grounds=; holders=");
}

}  // namespace
}  // namespace starling
