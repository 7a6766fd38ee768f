// Each planted fault is caught, and by the check that is there for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "simulation/swarm.h"

namespace starling::simulation {
namespace {

constexpr std::uint64_t kSeedsMax =
    1000;  // a sealed round reopens only where a hasty SN asks for it

// The word before the colon names the check.
struct Planted {
  Fault fault;
  std::vector<std::string> checks;
};
void PrintTo(const Planted& planted, std::ostream* out) { *out << FaultName(planted.fault); }

class PlantedFault : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedFault, IsCaught) {
  std::string found = "nobody";
  for (std::uint64_t seed = 1; seed <= kSeedsMax && found == "nobody"; ++seed) {
    const std::string failure = RunSwarm(seed, GetParam().fault).failure;
    if (!failure.empty()) found = failure.substr(0, failure.find(':'));
  }
  EXPECT_THAT(GetParam().checks, ::testing::Contains(found));
}

INSTANTIATE_TEST_SUITE_P(
    OfTheRows, PlantedFault,
    ::testing::Values(
        Planted{Fault::kNoBaseTest, {"lineage"}}, Planted{Fault::kWeightsAtMerge, {"frozen"}},
        Planted{Fault::kSealedRoundReopens, {"one root", "frozen"}},
        Planted{Fault::kNoSetTest, {"oracle"}}, Planted{Fault::kOneWitness, {"oracle", "holders"}},
        Planted{Fault::kNoSeq, {"again"}}, Planted{Fault::kNoSeen, {"again"}},
        Planted{Fault::kNoGrounds, {"grounds"}}, Planted{Fault::kFinishedCloseAlone, {"slow"}},
        Planted{Fault::kForgetfulReplay, {"replay", "frozen"}}),
    [](const auto& test) {
      std::string name(FaultName(test.param.fault));
      std::erase(name, '-');
      return name;
    });
INSTANTIATE_TEST_SUITE_P(OfNodes, PlantedFault,
                         ::testing::Values(Planted{Fault::kEndsOnTail, {"prefix", "return"}},
                                           Planted{Fault::kMergesWrongSet, {"oracle"}},
                                           Planted{Fault::kVotesTooEarly, {"holders", "keep"}},
                                           Planted{Fault::kReturnsTooEarly, {"return"}},
                                           Planted{Fault::kNeverFinishes, {"progress"}},
                                           Planted{Fault::kForgetsAnAnswer, {"progress", "exit"}},
                                           Planted{Fault::kServesAnybody, {"access"}},
                                           Planted{Fault::kKeepsEverything, {"limits"}}),
                         [](const auto& test) {
                           std::string name(FaultName(test.param.fault));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace starling::simulation
