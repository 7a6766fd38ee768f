// The standard "X.509-SVID", rule by rule: whom a certificate is believed by. docs/identity.md
// lists the rules.
#include <string>
#include <utility>

#include "identity/svid_testing.h"

namespace starling {
namespace {

// Root of trust domain a, an intermediate as `spec` says, a proper leaf below it.
std::string ThroughIntermediate(CertificateSpec spec, const CertificateSpec& root_spec = CaSpec(),
                                KeyPtr key = std::move(MakeKey().value())) {
  const Ca root(root_spec);
  spec.common_name = "intermediate";  // with the root's name it would not count in a path's length
  const Ca intermediate(spec, &root, std::move(key));
  const X509Ptr leaf = intermediate.Leaf(LeafSpec());
  return CodeOf({leaf.get(), intermediate.certificate.get()}, Trusting({{"a", root.bundle()}}));
}

TEST(SvidChainTest, NoCertificateIsRefused) {
  EXPECT_EQ(CodeOf({}, Trusting({})), "no-certificate");
}

TEST(SvidChainTest, AnotherAuthorityIsRefused) {
  const Ca ours("a");
  const X509Ptr forged = Ca("a").Leaf(LeafSpec());  // same names everywhere, another key
  EXPECT_EQ(CodeOf({forged.get()}, Trusting({{"a", ours.bundle()}})), "unknown-authority");
}

TEST(SvidChainTest, ASelfSignedLeafIsRefused) {
  const KeyPtr key = MakeKey().value();
  const X509Ptr forged = MakeCertificate(LeafSpec(), *key, nullptr).value();
  EXPECT_EQ(CodeOf({forged.get()}, Trusting({{"a", Ca("a").bundle()}})), "unknown-authority");
}

TEST(SvidChainTest, AForgedAuthorityInTheChainIsNotBelieved) {
  const Ca ours("a");
  const Ca forger("a");
  const X509Ptr leaf = forger.Leaf(LeafSpec());
  EXPECT_EQ(CodeOf({leaf.get(), forger.certificate.get()}, Trusting({{"a", ours.bundle()}})),
            "unknown-authority");
}

TEST(SvidChainTest, AForgedSignatureIsRefused) {
  const Ca ours("a");
  const Ca forger(CaSpec(), nullptr);
  const X509Ptr leaf = ours.Leaf(LeafSpec());
  ASSERT_GT(X509_sign(leaf.get(), forger.key.get(), EVP_sha256()), 0);
  EXPECT_EQ(CodeOf({leaf.get()}, Trusting({{"a", ours.bundle()}})), "unknown-authority");
}

// The classic hole of federation: one pool of all roots would let any partner's CA speak for
// everybody.
TEST(SvidChainTest, APartnersAuthorityCannotSpeakForOurTrustDomain) {
  const Ca ours("a");
  const Ca partner("b");
  const IdentityState state = Trusting({{"a", ours.bundle()}, {"b", partner.bundle()}});
  const X509Ptr honest = partner.Leaf(LeafSpec({"spiffe://b/swarm/sl"}));
  EXPECT_EQ(CodeOf({honest.get()}, state), "ok");
  const X509Ptr forged = partner.Leaf(LeafSpec({"spiffe://a/swarm/sl"}));
  EXPECT_EQ(CodeOf({forged.get()}, state), "unknown-authority");
  EXPECT_EQ(CodeOf({forged.get(), partner.certificate.get()}, state), "unknown-authority");
}

TEST(SvidChainTest, ATrustDomainWithoutABundleIsUnknown) {
  const Ca ca("b");
  const X509Ptr leaf = ca.Leaf(LeafSpec({"spiffe://b/swarm/sl"}));
  EXPECT_EQ(CodeOf({leaf.get()}, Trusting({{"a", ca.bundle()}})), "unknown-trust-domain");
}

TEST(SvidChainTest, AnEmptyBundleTrustsNothing) {
  const X509Ptr leaf = Ca("b").Leaf(LeafSpec({"spiffe://b/swarm/sl"}));
  EXPECT_EQ(CodeOf({leaf.get()}, Trusting({{"b", Bundle{}}})), "unknown-trust-domain");
}

TEST(SvidChainTest, SeveralRootsAtOnceAreNormal) {
  const Ca old_ca("a");
  const Ca new_ca("a");
  const IdentityState state = Trusting({{"a", Bundle{{old_ca.certificate, new_ca.certificate}}}});
  EXPECT_EQ(CodeOf({old_ca.Leaf(LeafSpec()).get()}, state), "ok");
  EXPECT_EQ(CodeOf({new_ca.Leaf(LeafSpec()).get()}, state), "ok");
}

TEST(SvidChainTest, ARootThatStandsTwiceIsOne) {
  const Ca ca("a");
  const IdentityState state = Trusting({{"a", Bundle{{ca.certificate, ca.certificate}}}});
  EXPECT_EQ(CodeOf({ca.Leaf(LeafSpec()).get()}, state), "ok");
}

TEST(SvidChainTest, AnIntermediateIsFollowed) { EXPECT_EQ(ThroughIntermediate(CaSpec()), "ok"); }

TEST(SvidChainTest, AnIntermediateThatIsMissingIsNotGuessed) {
  const Ca root("a");
  const Ca intermediate("a", &root);
  EXPECT_EQ(CodeOf({intermediate.Leaf(LeafSpec()).get()}, Trusting({{"a", root.bundle()}})),
            "unknown-authority");
}

TEST(SvidChainTest, AnIntermediateInTheBundleNeedsNoRoot) {
  const Ca root("a");
  const Ca intermediate("a", &root);
  EXPECT_EQ(CodeOf({intermediate.Leaf(LeafSpec()).get()}, Trusting({{"a", intermediate.bundle()}})),
            "ok");
}

TEST(SvidChainTest, AnIssuerWithoutSpiffeIdIsAllowed) {
  EXPECT_EQ(ThroughIntermediate(CaSpec({}), CaSpec({})), "ok");
}

TEST(SvidChainTest, AnIssuersOtherUriNamesDoNotMatter) {
  EXPECT_EQ(ThroughIntermediate(CaSpec({"https://pki.example.org/a"})), "ok");
}

TEST(SvidChainTest, AnIntermediateOfAnotherTrustDomainIsRefused) {
  EXPECT_EQ(ThroughIntermediate(CaSpec({"spiffe://b"})), "bad-svid");
}

TEST(SvidChainTest, ARootOfAnotherTrustDomainIsRefused) {
  EXPECT_EQ(CodeOf(Ca("b"), LeafSpec()), "bad-svid");
}

TEST(SvidChainTest, AnIssuerWithAPathIsRefused) {
  EXPECT_EQ(ThroughIntermediate(CaSpec({"spiffe://a/ca"})), "bad-svid");
  EXPECT_EQ(CodeOf(Ca(CaSpec({"spiffe://a/ca"})), LeafSpec()), "bad-svid");
}

TEST(SvidChainTest, AnIssuerWithSeveralSpiffeIdsIsRefused) {
  EXPECT_EQ(ThroughIntermediate(CaSpec({"spiffe://a", "spiffe://b"})), "bad-svid");
}

TEST(SvidChainTest, AnIssuerWithABrokenSpiffeIdIsRefused) {
  EXPECT_EQ(ThroughIntermediate(CaSpec({"SPIFFE://a"})), "bad-svid");
  EXPECT_EQ(ThroughIntermediate(CaSpec({"spiffe://a:1"})), "bad-svid");
}

TEST(SvidChainTest, AnIssuerIsACa) {
  CertificateSpec spec = CaSpec();
  spec.is_ca = false;
  EXPECT_EQ(ThroughIntermediate(spec), "bad-svid");
}

TEST(SvidChainTest, ALeafCannotIssue) {
  EXPECT_EQ(ThroughIntermediate(LeafSpec({"spiffe://a/swarm/sl"})), "bad-svid");
}

TEST(SvidChainTest, AnIntermediateHasKeyCertSign) {
  CertificateSpec spec = CaSpec();
  spec.key_usage = "critical,cRLSign";
  EXPECT_EQ(ThroughIntermediate(spec), "bad-svid");
  spec.key_usage = "";
  EXPECT_EQ(ThroughIntermediate(spec), "bad-svid");
  spec.key_usage = "keyCertSign";
  EXPECT_EQ(ThroughIntermediate(spec), "ok");
}

TEST(SvidChainTest, APathLengthIsKept) {
  CertificateSpec root = CaSpec();
  root.path_length = 0;
  EXPECT_EQ(CodeOf(Ca(root), LeafSpec()), "ok");
  EXPECT_EQ(ThroughIntermediate(CaSpec(), root), "bad-svid");
  root.path_length = 1;
  EXPECT_EQ(ThroughIntermediate(CaSpec(), root), "ok");
}

TEST(SvidChainTest, AnExpiredAuthorityMakesItsSvidsExpired) {
  CertificateSpec spec = LeafSpec();
  spec.not_after = kEnd + std::chrono::hours(1);
  EXPECT_EQ(CodeOf(Ca("a"), spec, kLearners, kEnd + std::chrono::minutes(1)), "expired");
}

TEST(SvidChainTest, AnAuthorityThatIsNotYetValidIsNotBelieved) {
  CertificateSpec spec = LeafSpec();
  spec.not_before = kBegin - std::chrono::hours(1);
  EXPECT_EQ(CodeOf(Ca("a"), spec, kLearners, kBegin - std::chrono::minutes(1)), "not-yet-valid");
}

TEST(SvidChainTest, AnExpiredIntermediateEndsTheChain) {
  CertificateSpec spec = CaSpec();
  spec.not_after = kNow - std::chrono::seconds(1);
  EXPECT_EQ(ThroughIntermediate(spec), "expired");
}

TEST(SvidChainTest, AWeakIntermediateIsRefused) {
  EXPECT_EQ(ThroughIntermediate(CaSpec(), CaSpec(), KeyPtr(EVP_RSA_gen(1024))), "bad-svid");
}

TEST(SvidChainTest, AWeakRootIsRefused) {
  EXPECT_EQ(CodeOf(Ca(CaSpec(), nullptr, KeyPtr(EVP_RSA_gen(1024))), LeafSpec()), "bad-svid");
}

TEST(SvidChainTest, AnEndlessChainIsRefusedUnread) {
  const Ca ca("a");
  const X509Ptr leaf = ca.Leaf(LeafSpec());
  std::vector<X509*> chain = {leaf.get()};
  while (chain.size() < 10) chain.push_back(ca.certificate.get());
  EXPECT_EQ(CodeOf(chain, Trusting({{"a", ca.bundle()}})), "ok");
  chain.push_back(ca.certificate.get());
  EXPECT_EQ(CodeOf(chain, Trusting({{"a", ca.bundle()}})), "bad-svid");
}

}  // namespace
}  // namespace starling
