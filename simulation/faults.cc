#include "simulation/faults.h"

namespace starling::simulation {

std::string_view FaultName(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "none";
    case Fault::kNoBaseTest:
      return "no-base-test";
    case Fault::kWeightsAtMerge:
      return "weights-at-merge";
    case Fault::kSealedRoundReopens:
      return "sealed-round-reopens";
    case Fault::kNoSetTest:
      return "no-set-test";
    case Fault::kOneWitness:
      return "one-witness";
    case Fault::kNoSeq:
      return "no-seq";
    case Fault::kNoSeen:
      return "no-seen";
    case Fault::kNoGrounds:
      return "no-grounds";
    case Fault::kFinishedCloseAlone:
      return "finished-close-alone";
    case Fault::kForgetfulReplay:
      return "forgetful-replay";
    case Fault::kEndsOnTail:
      return "ends-on-tail";
    case Fault::kMergesWrongSet:
      return "merges-wrong-set";
    case Fault::kVotesTooEarly:
      return "votes-too-early";
    case Fault::kReturnsTooEarly:
      return "returns-too-early";
    case Fault::kNeverFinishes:
      return "never-finishes";
    case Fault::kForgetsAnAnswer:
      return "forgets-an-answer";
    case Fault::kServesAnybody:
      return "serves-anybody";
    case Fault::kKeepsEverything:
      return "keeps-everything";
  }
  return "";
}

std::optional<Fault> FaultNamed(std::string_view name) {
  for (const Fault fault : kFaults) {
    if (name == FaultName(fault)) return fault;
  }
  return std::nullopt;
}

}  // namespace starling::simulation
