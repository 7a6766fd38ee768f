// Whom a policy lets in, what a refusal says, and PEM. The rules of the standards are in
// svid_leaf_test.cc and svid_chain_test.cc.
#include <string>

#include "identity/dev_authority.h"
#include "identity/svid_testing.h"

namespace starling {
namespace {

SpiffeId Id(const std::string& text) { return SpiffeId::Parse(text).value(); }

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

TEST(VerifyPeerTest, AnIssuedSvidIsBelieved) {
  const DevAuthority authority = DevAuthority::InMemory("a", kNow).value();
  const auto svid = authority.Issue({.path = "/swarm/sl", .not_before = kBegin, .not_after = kEnd});
  ASSERT_TRUE(svid.ok()) << svid.status();
  const Result<SpiffeId> id =
      VerifyPeer({(*svid)->chain[0].get()}, Trusting({{"a", authority.bundle()}}), kLearners, kNow);
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(id->text(), "spiffe://a/swarm/sl");
}

TEST(VerifyPeerTest, AWrongPathNamesTheIdAndWhatIsAllowed) {
  const Ca ca("a");
  const X509Ptr leaf = ca.Leaf(LeafSpec({"spiffe://a/swarm/sn"}));
  const Status status =
      VerifyPeer({leaf.get()}, Trusting({{"a", ca.bundle()}}), kLearners, kNow).status();
  EXPECT_EQ(StableCode(status), "wrong-path");
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  const std::string text(status.message());
  EXPECT_NE(text.find("spiffe://a/swarm/sn"), std::string::npos) << text;
  EXPECT_NE(text.find("*/sl"), std::string::npos) << text;
}

TEST(VerifyPeerTest, ATrustDomainOutsideThePolicyIsRefused) {
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec(), PeerPolicy{{"b"}, {"*/sl"}}), "unknown-trust-domain");
}

TEST(CertificateTest, PemGoesThereAndBack) {
  const Ca ca("a");
  const std::string pem = CertificatePem(*ca.certificate).value();
  const auto parsed = ParseCertificates(pem + pem);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->size(), 2U);
  EXPECT_EQ(X509_cmp(parsed->at(1).get(), ca.certificate.get()), 0);
  EXPECT_EQ(NotAfter(*parsed->at(0)), kEnd);
  EXPECT_EQ(NotBefore(*parsed->at(0)), kBegin);
  const auto key = ParseKey(KeyPem(*ca.key).value());
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(X509_check_private_key(ca.certificate.get(), key->get()), 1);
}

TEST(CertificateTest, BrokenPemIsAnErrorThatSaysWhichCertificate) {
  const std::string pem = CertificatePem(*Ca("a").certificate).value();
  std::string broken = pem + pem;
  broken[pem.size() + 60] = '!';
  const auto parsed = ParseCertificates(broken);
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(std::string(parsed.status().message()).find("certificate 2"), std::string::npos)
      << parsed.status();
  EXPECT_FALSE(ParseCertificates("").ok());
  EXPECT_FALSE(ParseKey(pem).ok());
}

}  // namespace
}  // namespace starling
