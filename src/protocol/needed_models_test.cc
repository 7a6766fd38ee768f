#include "protocol/needed_models.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Digest Model(std::string_view name) { return HashOf(AsBytes(name)); }

// The log after `rounds` sealed rounds: their roots are "0", "1", …
Contract After(std::uint64_t rounds, std::int64_t instance = 1) {
  Contract contract;
  contract.instance = Position{instance};
  contract.round = RoundId{rounds};
  for (std::uint64_t round = 0; round < rounds; ++round) {
    contract.base = Model(std::to_string(round));
    contract.roots.Append(RoundId{round}, *contract.base);
    contract.sealed_round = RoundId{round};
  }
  return contract;
}

TEST(NeededModelsTest, TheBaseAndItsPredecessor) {
  NeededModels models;
  EXPECT_THAT(models.At(After(0)).needed, IsEmpty());
  EXPECT_THAT(models.At(After(1)).needed, ElementsAre(Model("0")));
  EXPECT_THAT(models.At(After(5)).needed, UnorderedElementsAre(Model("3"), Model("4")));
}

TEST(NeededModelsTest, WhatEachAttemptOfTheOpenRoundHasMade) {
  NeededModels models;
  static_cast<void>(models.At(After(1)));
  models.Made(Model("first attempt"), RoundId{1});
  models.Made(Model("second attempt"), RoundId{1});
  const NeededModels::Models now = models.At(After(1));
  EXPECT_THAT(now.needed,
              UnorderedElementsAre(Model("0"), Model("first attempt"), Model("second attempt")));
  EXPECT_THAT(now.useless, IsEmpty());
}

TEST(NeededModelsTest, WhatWasNotSealedIsUselessOnce) {
  NeededModels models;
  static_cast<void>(models.At(After(1)));
  models.Made(Model("first attempt"), RoundId{1});
  models.Made(Model("1"), RoundId{1});
  const NeededModels::Models sealed = models.At(After(2));
  EXPECT_THAT(sealed.needed, UnorderedElementsAre(Model("0"), Model("1")));
  EXPECT_THAT(sealed.useless, ElementsAre(Model("first attempt")));
  EXPECT_THAT(models.At(After(2)).useless, IsEmpty());
}

TEST(NeededModelsTest, AnAttemptThatMadeAnOlderBaseAgainIsNotUseless) {
  NeededModels models;
  static_cast<void>(models.At(After(1)));
  models.Made(Model("0"), RoundId{1});  // Nobody's weight counted: M is the base.
  EXPECT_THAT(models.At(After(2)).useless, IsEmpty());
}

TEST(NeededModelsTest, WhatAnEarlierProcessMadeIsNeededAndNeverUseless) {
  NeededModels models;
  static_cast<void>(models.At(After(1)));
  models.Found(Model("of before"), RoundId{1});
  EXPECT_THAT(models.At(After(1)).needed, UnorderedElementsAre(Model("0"), Model("of before")));
  EXPECT_THAT(models.At(After(2)).useless, IsEmpty());
}

TEST(NeededModelsTest, AnotherTrainingNeedsNothingOfTheOneBefore) {
  NeededModels models;
  static_cast<void>(models.At(After(1)));
  models.Made(Model("first attempt"), RoundId{1});
  const NeededModels::Models anew = models.At(After(0, 7));
  EXPECT_THAT(anew.needed, IsEmpty());
  EXPECT_THAT(anew.useless, IsEmpty());
}

}  // namespace
}  // namespace starling
