// Reasons: why an entry is ignored. This is the one list of them, and a Why the only way to give
// one, so that whoever counts (the simulator's soak) can name those that never came. People read
// the words: `ignored: <reason>`. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace starling {

enum class Reason : std::uint8_t {
  // Of the header test.
  kUnreadable,
  kFirstIsSnJoined,
  kUnknownKey,
  kBadSignature,
  kUsedSeq,
  kOtherLedger,
  kNoTraining,
  kEarlierInstance,
  // Of the event table.
  kOnlySn,
  kOnlySl,
  kBadClaim,
  kClaimOtherLedger,
  kClaimEarlierInstance,
  kClaimUsed,
  kFirstNamesProtocol,
  kOnlyFirstNamesProtocol,
  kUnknownProtocol,
  kSnKeyJoined,
  kSnNameJoined,
  kSnKeyEnrolled,
  kUnsignedClaim,
  kNoOperatorKey,
  kClaimSignature,
  kClaimLacks,
  kClaimAsksElse,
  kNoAdministrator,
  kKeyNoAdministrator,
  kUnderWay,
  kDone,
  kMergeUnderWay,
  kMinPeersLeast,
  kMinPeersMost,
  kNotEnrolled,
  kClaimOtherTraining,
  kNodeEarlierInstance,
  kRulesDiffer,
  kNoSchema,
  kWeightAbove,
  kNotAMember,
  kNotTheListedKey,
  kRevokedKey,
  kKeyEnrolledAs,
  kKeyOfAnSn,
  kFull,
  kSomeoneFinished,
  kNoIdentity,
  kNameTaken,
  kNameBelongs,
  kIdentityShared,
  kOnlyOfItself,
  kAwayAlready,
  kClosedAlready,
  kNotClosed,
  kOtherRound,
  kHasFinished,
  kOtherBase,
  kNothingMerged,
  kFinishedAlready,
  kWrongAttempt,
  kTooFew,
  kStillTrains,
  kAllWeightsZero,
  kOtherSet,
  kNoPart,
  kAccusesOutsider,
  kStalledAlready,
  kRemovesNobody,
  kNoGrounds,
  kSealedWithAnother,
  kHoldsAlready,
  kVotedAlready,
};

struct ReasonRow {
  Reason reason;
  std::string_view types;  // of events that it stands against, with blanks; "": of every entry
  std::string_view text;   // each # stands for what varies
};
// One row a reason, in their order.
[[nodiscard]] std::span<const ReasonRow> ReasonRows();
[[nodiscard]] const ReasonRow& RowOf(Reason reason);

// Why an entry, or a claim in it, is ignored; empty: it counts.
class Why {
 public:
  Why() = default;
  // As many pieces as the row's text has #.
  template <typename... A>
  Why(Reason reason, const A&... pieces) : reason_(reason) {  // NOLINT(google-explicit-constructor)
    Fill({StrCat(pieces)...});
  }
  [[nodiscard]] bool empty() const { return !reason_; }
  [[nodiscard]] const std::optional<Reason>& reason() const { return reason_; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void Fill(const std::vector<std::string>& pieces);

  std::optional<Reason> reason_;
  std::string text_;
};

}  // namespace starling
