// node-enrolled: the longest row has a file of its own.
#include <gtest/gtest.h>

#include "base/text.h"
#include "protocol/story_testing.h"

namespace starling {
namespace {

TEST(NodeEnrolledRow, ANewNodeIsAPresentTrainer) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.weight = 7; }), "");
  EXPECT_EQ(story.node("a").weight, 7U);
  EXPECT_EQ(story.node("a").kid, story.key("a").kid());
  EXPECT_EQ(story.Text(), "round 0 collecting; a:; P=; votes=; grounds=; holders=");
}

TEST(NodeEnrolledRow, TheFirstEnrolmentFillsWhatTheRulesLeftOpen) {
  Story story;
  ASSERT_EQ(story.Create({.min_peers = 2}), "");
  ASSERT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.rules.sync_interval = 77; }), "");
  EXPECT_EQ(story.contract().rules.min_peers, 2U);
  EXPECT_EQ(story.contract().rules.sync_interval, 77U);
  EXPECT_EQ(story.contract().rules.schema, RootNamed("schema"));
  EXPECT_EQ(story.contract().rules.merge, "mean");
}

TEST(NodeEnrolledRow, DifferentRulesAreIgnoredWithTheDifferenceInWords) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Enrol("b",
                        [](SignedNodeClaim& c) {
                          c.claim.rules.sync_interval = 9;
                          c.claim.rules.size = 5;
                        }),
            "the rules differ: sync_interval: 8 in the training, 9 here; model bytes: 1000 in the "
            "training, 5 here");
}

TEST(NodeEnrolledRow, AnotherModelIsIgnored) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Enrol("b", [](SignedNodeClaim& c) { c.claim.rules.schema = RootNamed("other"); }),
            StrCat("the rules differ: model schema: ", ShortText(RootNamed("schema")),
                   " in the training, ", ShortText(RootNamed("other")), " here"));
}

TEST(NodeEnrolledRow, AnotherMinPeersIsIgnoredUnlessAnOperatorAmendedIt) {
  Story story;
  story.Begin({"a"}, {.min_peers = 2});
  const auto three = [](SignedNodeClaim& c) { c.claim.rules.min_peers = 3; };
  EXPECT_EQ(story.Enrol("b", three), "the rules differ: min_peers: 2 in the training, 3 here");
  ASSERT_EQ(story.Say("sn", ContractAmended{1, {"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Enrol("b", three), "");
  EXPECT_EQ(story.contract().rules.min_peers, 1U);
}

TEST(NodeEnrolledRow, AClaimMustStateItsModel) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Enrol("b", [](SignedNodeClaim& c) { c.claim.rules.schema.reset(); }),
            "the claim does not state the schema and the size of its model");
}

TEST(NodeEnrolledRow, TooMuchWeightIsIgnored) {
  Story story;
  ASSERT_EQ(story.Create({.weight_max = 10}), "");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.weight = 11; }),
            "weight 11 is above 10");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.weight = 0; }), "");
}

TEST(NodeEnrolledRow, WhereMembersAreListedOthersStayOut) {
  Story story;
  Rules rules;
  rules.members[NodeName{"a"}] = story.key("a").public_key();
  ASSERT_EQ(story.Create(rules), "");
  EXPECT_EQ(story.Enrol("a"), "");
  EXPECT_EQ(story.Enrol("b"), "b is not a member of this training");
}

TEST(NodeEnrolledRow, AMemberNeedsTheListedKey) {
  Story story;
  Rules rules;
  rules.members[NodeName{"a"}] = story.key("a").public_key();
  ASSERT_EQ(story.Create(rules), "");
  EXPECT_EQ(story.Enrol("thief", [](SignedNodeClaim& c) { c.claim.name = NodeName{"a"}; }),
            "the key of a is not the one that the training lists");
}

TEST(NodeEnrolledRow, AKeyHasOneName) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.name = NodeName{"b"}; }),
            "this key is enrolled as a");
}

TEST(NodeEnrolledRow, AnSnsKeyCannotEnrol) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  EXPECT_EQ(story.Enrol("sn", [](SignedNodeClaim& c) { c.seq += 10; }),
            "this key belongs to an SN");
}

TEST(NodeEnrolledRow, AKnownNodeKeepsKindAndCheckIn) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Away("sn", "a"), "");
  EXPECT_EQ(story.Enrol("a"), "");
  EXPECT_EQ(story.Text(), "round 0 collecting; a:a0 b:; P=; votes=; grounds=; holders=");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  ASSERT_EQ(story.Close(), "");
  ASSERT_EQ(story.Merge("a", "m0"), "");
  ASSERT_EQ(story.Merge("b", "m0"), "");
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  EXPECT_EQ(story.Enrol("a"), "");
  EXPECT_EQ(story.node("a").kind, NodeKind::kActive);
}

TEST(NodeEnrolledRow, AnEnrolmentDuringAMergeChangesNoSchedule) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.CheckIn("b", "b0"), "");
  ASSERT_EQ(story.Close(), "");
  const NodeName leader = LeaderOf(story.contract());
  ASSERT_EQ(story.Enrol(leader.value(),
                        [](SignedNodeClaim& c) {
                          c.claim.may_lead = false;
                          c.claim.weight = 9;
                        }),
            "");
  EXPECT_EQ(LeaderOf(story.contract()), leader);
  EXPECT_EQ(story.contract().FindMember(leader)->weight, 1U);
}

TEST(NodeEnrolledRow, OnceANodeHasFinishedNoNewNodeJoins) {
  Story story;
  story.Begin({"a", "b"});
  story.Round({"a", "b"});
  ASSERT_EQ(story.Finish("a", FinishMode::kInactive), "");
  EXPECT_EQ(story.Enrol("c"), "a node has finished already, so no new node may join");
  EXPECT_EQ(story.Enrol("b"), "");
}

TEST(NodeEnrolledRow, AfterTheEndNobodyJoins) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.Finish("a", FinishMode::kActive), "");
  story.Round({});
  EXPECT_EQ(story.Enrol("a"), "the training is done");
}

TEST(NodeEnrolledRow, AWipedDiskMayBringANewKeyForTheSameIdentity) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.Away("sn", "b"), "");
  EXPECT_EQ(story.Enrol("b2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"b"}; }), "");
  EXPECT_EQ(story.node("b").kid, story.key("b2").kid());
  EXPECT_EQ(story.CheckIn("b", "b0"),
            "its key is neither an SN's nor that of a node enrolled in this training");
}

TEST(NodeEnrolledRow, ANewKeyIsIgnoredWhileTheNodeIsPresent) {
  Story story;
  story.Begin({"b"});
  EXPECT_EQ(story.Enrol("b2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"b"}; }),
            "the name b is taken by a node that is present");
}

TEST(NodeEnrolledRow, ANewKeyOfAnotherIdentityIsIgnored) {
  Story story;
  story.Begin({"b"});
  ASSERT_EQ(story.Away("sn", "b"), "");
  NodeEnrolled event =
      story.EnrolmentOf("b2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"b"}; });
  event.spiffe_id = "spiffe://test/sl/thief";
  EXPECT_EQ(story.Say("sn", event), "the name b belongs to spiffe://test/sl/b");
}

TEST(NodeEnrolledRow, AnIdentityThatSeveralNodesShareVouchesForNoNewKey) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  for (const std::string name : {"a", "b"}) {
    NodeEnrolled event = story.EnrolmentOf(name);
    event.spiffe_id = "spiffe://test/sl";
    ASSERT_EQ(story.Say("sn", event), "");
  }
  ASSERT_EQ(story.Away("sn", "b"), "");
  NodeEnrolled event =
      story.EnrolmentOf("b2", [](SignedNodeClaim& c) { c.claim.name = NodeName{"b"}; });
  event.spiffe_id = "spiffe://test/sl";
  EXPECT_EQ(story.Say("sn", event),
            "several nodes share spiffe://test/sl, so it cannot vouch for a new key; revoke the "
            "node first");
}

TEST(NodeEnrolledRow, OnlyAnSnSaysIt) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("a", story.EnrolmentOf("b")), "only an SN may say this");
}

TEST(NodeEnrolledRow, TheClaimIsSignedByTheKeyThatItNames) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  EXPECT_EQ(story.Enrol("thief",
                        [&](SignedNodeClaim& c) {
                          c.claim.name = NodeName{"a"};
                          c.claim.key = story.key("a").public_key();
                        }),
            "the signature is of another key");
}

TEST(NodeEnrolledRow, AClaimForAnotherTrainingIsIgnored) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.contract = ContractName{"u"}; }),
            "the claim speaks of another training");
}

TEST(NodeEnrolledRow, AClaimForAnEarlierInstanceIsIgnored) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  const NodeEnrolled claim = story.EnrolmentOf("a");
  ASSERT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  EXPECT_EQ(story.Say("sn", claim), "the claim was made for an earlier instance of the training");
}

TEST(NodeEnrolledRow, AClaimForAnotherLedgerIsIgnored) {
  Story story;
  Story other({}, "other ");
  ASSERT_EQ(story.Create(), "");
  ASSERT_EQ(other.Create(), "");
  EXPECT_EQ(story.Say("sn", other.EnrolmentOf("a")),
            "the claim was made for another ledger: the head at its seen place is another");
}

TEST(NodeEnrolledRow, AClaimIsUsedOnce) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  const NodeEnrolled claim = story.EnrolmentOf("a");
  ASSERT_EQ(story.Say("sn", claim), "");
  ASSERT_EQ(story.Away("a", "a"), "");
  EXPECT_EQ(story.Say("sn", claim), "the claim was used before");
  EXPECT_FALSE(story.node("a").present);
}

TEST(NodeEnrolledRow, AnIgnoredClaimIsUsedToo) {
  Story story;
  ASSERT_EQ(story.Create({.weight_max = 1}), "");
  const NodeEnrolled claim = story.EnrolmentOf("a", [](SignedNodeClaim& c) { c.claim.weight = 2; });
  ASSERT_EQ(story.Say("sn", claim), "weight 2 is above 1");
  EXPECT_EQ(story.Say("sn", claim), "the claim was used before");
}

TEST(NodeEnrolledRow, ANodeOfAnotherInstanceIsIgnored) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.instance = Position{0}; }),
            "the node belongs to an earlier instance of this training");
  EXPECT_EQ(story.Enrol("a", [](SignedNodeClaim& c) { c.claim.instance = Position{1}; }), "");
}

TEST(NodeEnrolledRow, BytesThatAreNoClaimAreIgnored) {
  Story story;
  ASSERT_EQ(story.Create(), "");
  EXPECT_EQ(story.Say("sn", NodeEnrolled{"a.b.c", "spiffe://test/sl/a"}),
            "JWS: not header.payload.signature");
}

}  // namespace
}  // namespace starling
