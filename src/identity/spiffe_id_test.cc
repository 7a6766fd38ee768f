#include "identity/spiffe_id.h"

#include <string>

#include "gtest/gtest.h"
#include "identity/svid.h"

namespace starling {
namespace {

SpiffeId Id(const std::string& text) {
  const Result<SpiffeId> id = SpiffeId::Parse(text);
  EXPECT_TRUE(id.ok()) << text << ": " << id.status();
  return id.value_or(SpiffeId());
}

TEST(SpiffeIdTest, SplitsTrustDomainAndPath) {
  const SpiffeId id = Id("spiffe://hospital-a.example_1.org/swarm/node-1/sl");
  EXPECT_EQ(id.trust_domain(), "hospital-a.example_1.org");
  EXPECT_EQ(id.path(), "/swarm/node-1/sl");
  EXPECT_EQ(id.text(), "spiffe://hospital-a.example_1.org/swarm/node-1/sl");
}

TEST(SpiffeIdTest, ABareTrustDomainHasAnEmptyPath) {
  const SpiffeId id = Id("spiffe://swarm.local");
  EXPECT_EQ(id.trust_domain(), "swarm.local");
  EXPECT_EQ(id.path(), "");
}

TEST(SpiffeIdTest, AnUnparsedIdIsEmpty) {
  EXPECT_EQ(SpiffeId().trust_domain(), "");
  EXPECT_EQ(SpiffeId().path(), "");
}

TEST(SpiffeIdTest, TakesUpTo2048Bytes) {
  const std::string prefix = "spiffe://a/";
  EXPECT_TRUE(SpiffeId::Parse(prefix + std::string(2048 - prefix.size(), 'x')).ok());
  EXPECT_FALSE(SpiffeId::Parse(prefix + std::string(2049 - prefix.size(), 'x')).ok());
}

class RefusedIds : public ::testing::TestWithParam<const char*> {};
TEST_P(RefusedIds, AreRefusedAndNotRepaired) {
  const Result<SpiffeId> id = SpiffeId::Parse(GetParam());
  EXPECT_FALSE(id.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(id.status()));
}
INSTANTIATE_TEST_SUITE_P(
    SpiffeIdTest, RefusedIds,
    ::testing::Values("", "spiffe", "spiffe:/", "spiffe://", "spiffe:///swarm/sl", "https://a/b",
                      "SPIFFE://a/b", "spiffe://Swarm.local/sl", "spiffe://a:8080/sl",
                      "spiffe://user@a/sl", "spiffe://a/sl?x=1", "spiffe://a/sl#x",
                      "spiffe://a/s%6c", "spiffe://a/", "spiffe://a/sl/", "spiffe://a//sl",
                      "spiffe://a/./sl", "spiffe://a/../sl", "spiffe://a/swarm/..",
                      "spiffe://a/s l", "spiffe://a/s\tl", "spiffe://a b/sl", "spiffe://a/\xc3\xa9",
                      "spiffe://\xc3\xa9/sl", " spiffe://a/sl"));

TEST(SpiffeIdTest, RefusesANulByte) {
  EXPECT_FALSE(SpiffeId::Parse(std::string("spiffe://a/s\0l", 14)).ok());
}

TEST(PeerPolicyTest, AnExactPathAllowsOnlyItself) {
  const PeerPolicy policy{{}, {"/swarm/sl"}};
  EXPECT_TRUE(policy.Allows(Id("spiffe://a/swarm/sl")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://a/swarm/x/sl")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://a/swarm/sl/x")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://a/swarm/sn")));
}

TEST(PeerPolicyTest, AStarStandsForAnyBeginning) {
  const PeerPolicy policy{{}, {"*/sl", "*/sn"}};
  EXPECT_TRUE(policy.Allows(Id("spiffe://a/sl")));
  EXPECT_TRUE(policy.Allows(Id("spiffe://a/swarm/node-1/sl")));
  EXPECT_TRUE(policy.Allows(Id("spiffe://a/swarm/sn")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://a/swarm/xsl")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://a/sl/operator")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://a")));
}

TEST(PeerPolicyTest, NoPathsAllowNobody) { EXPECT_FALSE(PeerPolicy{}.Allows(Id("spiffe://a/sl"))); }

TEST(PeerPolicyTest, NamedTrustDomainsExcludeOthers) {
  const PeerPolicy policy{{"a", "b"}, {"*/sl"}};
  EXPECT_TRUE(policy.Allows(Id("spiffe://b/sl")));
  EXPECT_FALSE(policy.Allows(Id("spiffe://c/sl")));
}

}  // namespace
}  // namespace starling
