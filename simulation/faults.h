// Planted faults: switched on by a test that expects them to be caught. A simulator that cannot
// fail is blind.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace starling::simulation {

enum class Fault : std::uint8_t {
  kNone,
  // Of the rows, as if replay lacked a test (docs/protocol.md, "What the simulator asserts").
  kNoBaseTest,          // 2: a check-in counts whatever it was trained from
  kWeightsAtMerge,      // 3: the weights of P are those that nodes have when it is merged
  kSealedRoundReopens,  // 3: no grounds are needed, and a sealed round can be reopened
  kNoSetTest,           // 4: a vote counts for whatever set of its round is merged
  kOneWitness,          // 4 and 5: a single vote seals
  kNoSeq,               // 7: an entry counts as often as it is appended
  kNoSeen,              // 7: an entry counts in any ledger and instance
  kNoGrounds,           // 8: anybody may be removed from P
  kFinishedCloseAlone,  // 10: finished nodes do not wait for one that trains
  kForgetfulReplay,     // 6: replay depends on when it was started
  // Of what a node does.
  kEndsOnTail,       // 1: an SL takes the tail of the log for final
  kMergesWrongSet,   // 4: every SL leaves a participant out of the merge
  kVotesTooEarly,    // 5: an SL votes for what it has not got
  kReturnsTooEarly,  // 1: a program is content with a sealed model that is not the final one
  kNeverFinishes,    // 9: one SL keeps its node-finished to itself
  kForgetsAnAnswer,  // 9: an SL loses one answer to its program
  kServesAnybody,    // 12: updates are served to whoever asks
  kKeepsEverything,  // 12: no model is ever deleted
};
inline constexpr Fault kFaults[] = {
    Fault::kNoBaseTest,      Fault::kWeightsAtMerge,  Fault::kSealedRoundReopens,
    Fault::kNoSetTest,       Fault::kOneWitness,      Fault::kNoSeq,
    Fault::kNoSeen,          Fault::kNoGrounds,       Fault::kFinishedCloseAlone,
    Fault::kForgetfulReplay, Fault::kEndsOnTail,      Fault::kMergesWrongSet,
    Fault::kVotesTooEarly,   Fault::kReturnsTooEarly, Fault::kNeverFinishes,
    Fault::kForgetsAnAnswer, Fault::kServesAnybody,   Fault::kKeepsEverything};

[[nodiscard]] std::string_view FaultName(Fault fault);  // "no-base-test"
[[nodiscard]] std::optional<Fault> FaultNamed(std::string_view name);

}  // namespace starling::simulation
