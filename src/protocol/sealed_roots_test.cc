#include "protocol/sealed_roots.h"

#include "base/text.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

Digest Root(std::uint64_t round) { return HashOf(AsBytes(StrCat("model ", round))); }

SealedRoots After(std::uint64_t rounds) {
  SealedRoots roots;
  for (std::uint64_t round = 0; round < rounds; ++round) roots.Append(RoundId{round}, Root(round));
  return roots;
}

TEST(SealedRootsTest, EachRoundHasTheRootItWasSealedWith) {
  for (const std::uint64_t rounds : {0U, 1U, 63U, 64U, 65U, 128U, 1000U}) {
    const SealedRoots roots = After(rounds);
    EXPECT_EQ(roots.size(), rounds);
    for (std::uint64_t round = 0; round < rounds; ++round) {
      ASSERT_NE(roots.Find(RoundId{round}), nullptr) << round << " of " << rounds;
      EXPECT_EQ(roots.at(RoundId{round}), Root(round));
    }
    EXPECT_EQ(roots.Find(RoundId{rounds}), nullptr);
  }
}

TEST(SealedRootsTest, ACopyStaysAsItIs) {
  for (const std::uint64_t rounds : {63U, 64U, 65U}) {
    SealedRoots roots = After(rounds);
    const SealedRoots copy = roots;
    roots.Append(RoundId{rounds}, Root(rounds));
    EXPECT_EQ(copy.size(), rounds);
    EXPECT_EQ(copy.Find(RoundId{rounds}), nullptr);
    EXPECT_EQ(roots.at(RoundId{rounds}), Root(rounds));
  }
}

TEST(SealedRootsDeathTest, ARoundIsSealedOnceAndInItsTurn) {
  SealedRoots roots = After(2);
  EXPECT_DEATH(roots.Append(RoundId{1}, Root(1)), "");
  EXPECT_DEATH(roots.Append(RoundId{3}, Root(3)), "");
}

}  // namespace
}  // namespace starling
