#include "protocol/reasons.h"

#include <array>

#include "base/check.h"

namespace starling {
namespace {

constexpr std::string_view kBySn =
    "contract-created contract-reset contract-amended node-enrolled node-revoked round-closed "
    "round-reopened";
constexpr std::string_view kBySl = "checked-in node-finished stalled round-merged";
constexpr std::string_view kByOperator =
    "contract-created contract-reset contract-amended node-revoked";
constexpr std::string_view kByAdministrator = "contract-reset contract-amended node-revoked";
constexpr std::string_view kOfMerge = "stalled round-reopened round-merged";

constexpr std::array kRows = {
    ReasonRow{Reason::kUnreadable, "", "#"},
    ReasonRow{Reason::kFirstIsSnJoined, "", "the first entry is sn-joined"},
    ReasonRow{Reason::kUnknownKey, "",
              "its key is neither an SN's nor that of a node enrolled in this training"},
    ReasonRow{Reason::kBadSignature, "", "#"},
    ReasonRow{Reason::kUsedSeq, "", "its seq # was used before"},
    ReasonRow{Reason::kOtherLedger, "",
              "it was made for another ledger: the head at its seen place is another"},
    ReasonRow{Reason::kNoTraining, "", "there is no training #"},
    ReasonRow{Reason::kEarlierInstance, "", "it was made for an earlier instance of the training"},
    ReasonRow{Reason::kOnlySn, kBySn, "only an SN may say this"},
    ReasonRow{Reason::kOnlySl, kBySl, "only an SL may say this"},
    ReasonRow{Reason::kBadClaim,
              "sn-joined contract-created contract-reset contract-amended node-enrolled "
              "node-revoked",
              "#"},
    ReasonRow{Reason::kClaimOtherLedger,
              "sn-joined contract-created contract-reset contract-amended node-enrolled "
              "node-revoked",
              "the claim was made for another ledger: the head at its seen place is another"},
    ReasonRow{Reason::kClaimEarlierInstance,
              "contract-reset contract-amended node-enrolled node-revoked",
              "the claim was made for an earlier instance of the training"},
    ReasonRow{Reason::kClaimUsed,
              "sn-joined contract-created contract-reset contract-amended node-enrolled "
              "node-revoked",
              "the claim was used before"},
    ReasonRow{Reason::kFirstNamesProtocol, "sn-joined", "the first entry names the protocol"},
    ReasonRow{Reason::kOnlyFirstNamesProtocol, "sn-joined",
              "only the first entry names the protocol"},
    ReasonRow{Reason::kUnknownProtocol, "sn-joined", "protocol # is not known here"},
    ReasonRow{Reason::kSnKeyJoined, "sn-joined", "this key has joined already"},
    ReasonRow{Reason::kSnNameJoined, "sn-joined", "an SN named # has joined already"},
    ReasonRow{Reason::kSnKeyEnrolled, "sn-joined", "this key is enrolled in training #"},
    ReasonRow{Reason::kUnsignedClaim, kByOperator,
              "this ledger lists operator keys, so the claim must be signed by one of them"},
    ReasonRow{Reason::kNoOperatorKey, kByOperator, "the claim's key is not an operator's"},
    ReasonRow{Reason::kClaimSignature, kByOperator, "the claim's signature is not good"},
    ReasonRow{Reason::kClaimLacks, kByOperator, "the claim lacks seq or seen"},
    ReasonRow{Reason::kClaimAsksElse, kByOperator, "the claim asks for something else"},
    ReasonRow{Reason::kNoAdministrator, kByAdministrator, "# is no administrator of this training"},
    ReasonRow{Reason::kKeyNoAdministrator, kByAdministrator,
              "the claim's key is no administrator of this training"},
    ReasonRow{Reason::kUnderWay, "contract-created", "a training of this name is under way"},
    ReasonRow{Reason::kDone,
              "contract-amended node-enrolled node-away checked-in node-finished round-closed "
              "stalled round-reopened round-merged",
              "the training is done"},
    ReasonRow{Reason::kMergeUnderWay, "contract-amended", "a merge is under way"},
    ReasonRow{Reason::kMinPeersLeast, "contract-amended", "min_peers is at least 1"},
    ReasonRow{Reason::kMinPeersMost, "contract-amended", "min_peers is at most #"},
    ReasonRow{Reason::kNotEnrolled, "node-revoked node-away", "# is not enrolled"},
    ReasonRow{Reason::kClaimOtherTraining, "node-enrolled", "the claim speaks of another training"},
    ReasonRow{Reason::kNodeEarlierInstance, "node-enrolled",
              "the node belongs to an earlier instance of this training"},
    ReasonRow{Reason::kRulesDiffer, "node-enrolled", "the rules differ: #"},
    ReasonRow{Reason::kNoSchema, "node-enrolled",
              "the claim does not state the schema and the size of its model"},
    ReasonRow{Reason::kWeightAbove, "node-enrolled", "weight # is above #"},
    ReasonRow{Reason::kNotAMember, "node-enrolled", "# is not a member of this training"},
    ReasonRow{Reason::kNotTheListedKey, "node-enrolled",
              "the key of # is not the one that the training lists"},
    ReasonRow{Reason::kRevokedKey, "node-enrolled", "this key was revoked by an operator"},
    ReasonRow{Reason::kKeyEnrolledAs, "node-enrolled", "this key is enrolled as #"},
    ReasonRow{Reason::kKeyOfAnSn, "node-enrolled", "this key belongs to an SN"},
    ReasonRow{Reason::kFull, "node-enrolled", "the training is full"},
    ReasonRow{Reason::kSomeoneFinished, "node-enrolled",
              "a node has finished already, so no new node may join"},
    ReasonRow{Reason::kNoIdentity, "node-enrolled",
              "the SN vouches for no identity, so the node cannot have a new key"},
    ReasonRow{Reason::kNameTaken, "node-enrolled", "the name # is taken by a node that is present"},
    ReasonRow{Reason::kNameBelongs, "node-enrolled", "the name # belongs to #"},
    ReasonRow{Reason::kIdentityShared, "node-enrolled",
              "several nodes share #, so it cannot vouch for a new key; revoke the node first"},
    ReasonRow{Reason::kOnlyOfItself, "node-away", "an SL can only say this of itself"},
    ReasonRow{Reason::kAwayAlready, "node-away", "# is away already"},
    ReasonRow{Reason::kClosedAlready, "checked-in round-closed", "round # is closed already"},
    ReasonRow{Reason::kNotClosed, kOfMerge, "round # is not closed"},
    ReasonRow{Reason::kOtherRound, "checked-in", "it checks in to round #, but round # is open"},
    ReasonRow{Reason::kHasFinished, "checked-in", "this node has finished"},
    ReasonRow{Reason::kOtherBase, "checked-in",
              "it was not trained from the model of the round before"},
    ReasonRow{Reason::kNothingMerged, "node-finished", "no round has been merged yet"},
    ReasonRow{Reason::kFinishedAlready, "node-finished", "this node has finished already"},
    ReasonRow{Reason::kWrongAttempt, "round-closed stalled round-reopened round-merged",
              "it speaks of #, but # is open"},
    ReasonRow{Reason::kTooFew, "round-closed", "# ready; the quorum is #"},
    ReasonRow{Reason::kStillTrains, "round-closed",
              "a node still trains, and finished nodes do not go on without it"},
    ReasonRow{Reason::kAllWeightsZero, "round-closed",
              "all weights are 0, and there is no model yet"},
    ReasonRow{Reason::kOtherSet, "stalled round-merged",
              "it speaks of another set of participants"},
    ReasonRow{Reason::kNoPart, "stalled round-merged",
              "its author does not take part in this round"},
    ReasonRow{Reason::kAccusesOutsider, "stalled",
              "it accuses #, which does not take part in this round"},
    ReasonRow{Reason::kStalledAlready, "stalled",
              "its author has spoken of a stall in this attempt already"},
    ReasonRow{Reason::kRemovesNobody, "round-reopened", "it removes nobody"},
    ReasonRow{Reason::kNoGrounds, "round-reopened", "there are no grounds to remove #"},
    ReasonRow{Reason::kSealedWithAnother, "round-merged", "round # was sealed with another root"},
    ReasonRow{Reason::kHoldsAlready, "round-merged", "this node is known to hold that model"},
    ReasonRow{Reason::kVotedAlready, "round-merged",
              "its author has voted in this attempt already"},
};

constexpr bool InOrder() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].reason) != i) return false;
  }
  return kRows.size() == static_cast<std::size_t>(Reason::kVotedAlready) + 1;
}
static_assert(InOrder(), "one row a reason, in their order");

}  // namespace

std::span<const ReasonRow> ReasonRows() { return kRows; }

const ReasonRow& RowOf(Reason reason) { return kRows[static_cast<std::size_t>(reason)]; }

void Why::Fill(const std::vector<std::string>& pieces) {
  std::size_t used = 0;
  for (const char c : RowOf(*reason_).text) {
    if (c != '#') {
      text_ += c;
      continue;
    }
    CHECK(used < pieces.size());
    text_ += pieces[used++];
  }
  CHECK(used == pieces.size());
}

}  // namespace starling
