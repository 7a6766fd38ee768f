#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "identity/certificate.h"
#include "identity/certificate_testing.h"
#include "identity/dev_authority.h"
#include "identity/svid.h"

namespace starling {
namespace {

using testing::Ca;
using testing::kBegin;
using testing::kEnd;
using testing::kNow;
using testing::LeafSpec;

const PeerPolicy kLearners{{}, {"*/sl"}};

DevAuthority Authority(const std::string& trust_domain) {
  Result<DevAuthority> authority = DevAuthority::InMemory(trust_domain, kNow);
  EXPECT_TRUE(authority.ok()) << authority.status();
  return *std::move(authority);
}

IdentityState Trusting(std::map<std::string, Bundle> bundles) {
  return {.svid = nullptr, .bundles = std::move(bundles)};
}

std::string CodeOf(const Ca& ca, const CertificateSpec& spec, const PeerPolicy& policy = kLearners,
                   UtcTime at = kNow) {
  const X509Ptr leaf = ca.Leaf(spec);
  const Result<SpiffeId> id = VerifyPeer({leaf.get()}, Trusting({{"a", ca.bundle()}}), policy, at);
  return id.ok() ? "ok" : StableCode(id.status());
}

TEST(VerifyPeerTest, AnIssuedSvidIsBelieved) {
  const DevAuthority authority = Authority("a");
  const auto svid = authority.Issue({.path = "/swarm/sl", .not_before = kBegin, .not_after = kEnd});
  ASSERT_TRUE(svid.ok()) << svid.status();
  const Result<SpiffeId> id =
      VerifyPeer({(*svid)->chain[0].get()}, Trusting({{"a", authority.bundle()}}), kLearners, kNow);
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(id->text(), "spiffe://a/swarm/sl");
}

TEST(VerifyPeerTest, NoCertificateIsRefused) {
  EXPECT_EQ(StableCode(VerifyPeer({}, Trusting({}), kLearners, kNow).status()), "no-certificate");
}

TEST(VerifyPeerTest, ALeafNeedsExactlyOneSpiffeId) {
  const Ca ca("a");
  EXPECT_EQ(CodeOf(ca, LeafSpec()), "ok");
  EXPECT_EQ(CodeOf(ca, LeafSpec({})), "bad-svid");
  EXPECT_EQ(CodeOf(ca, LeafSpec({"spiffe://a/swarm/sl", "spiffe://a/swarm/sn"})), "bad-svid");
  EXPECT_EQ(CodeOf(ca, LeafSpec({"spiffe://a/swarm/sl", "https://a/swarm/sl"})), "bad-svid");
  EXPECT_EQ(CodeOf(ca, LeafSpec({"https://a/swarm/sl"})), "bad-svid");
  EXPECT_EQ(CodeOf(ca, LeafSpec({"spiffe://a"}), PeerPolicy{{}, {"*"}}), "bad-svid");
}

TEST(VerifyPeerTest, OtherKindsOfNamesDoNotMatter) {
  CertificateSpec spec = LeafSpec();
  spec.dns = {"spiffe.example.org", "a,URI:spiffe://a/swarm/sn"};
  spec.ips = {"127.0.0.1", "::1"};
  EXPECT_EQ(CodeOf(Ca("a"), spec), "ok");
}

TEST(VerifyPeerTest, ALeafMustSignAndMustNotIssue) {
  const Ca ca("a");
  CertificateSpec spec = LeafSpec();
  spec.key_usage = "";
  EXPECT_EQ(CodeOf(ca, spec), "bad-svid");
  spec.key_usage = "critical,keyAgreement";
  EXPECT_EQ(CodeOf(ca, spec), "bad-svid");
  spec.key_usage = "critical,digitalSignature,keyCertSign";
  EXPECT_EQ(CodeOf(ca, spec), "bad-svid");
  spec.key_usage = "critical,digitalSignature,cRLSign";
  EXPECT_EQ(CodeOf(ca, spec), "bad-svid");
  spec = LeafSpec();
  spec.is_ca = true;
  EXPECT_EQ(CodeOf(ca, spec), "bad-svid");
}

TEST(VerifyPeerTest, ValidityIsMeasuredAtTheGivenTime) {
  const Ca ca("a");
  EXPECT_EQ(CodeOf(ca, LeafSpec(), kLearners, kBegin), "ok");
  EXPECT_EQ(CodeOf(ca, LeafSpec(), kLearners, kEnd - std::chrono::seconds(1)), "ok");
  EXPECT_EQ(CodeOf(ca, LeafSpec(), kLearners, kEnd), "expired");
  EXPECT_EQ(CodeOf(ca, LeafSpec(), kLearners, kBegin - std::chrono::seconds(1)), "not-yet-valid");
}

TEST(VerifyPeerTest, AnExpiredAuthorityMakesItsSvidsExpired) {
  CertificateSpec spec = LeafSpec();
  spec.not_after = kEnd + std::chrono::hours(1);
  EXPECT_EQ(CodeOf(Ca("a"), spec, kLearners, kEnd + std::chrono::minutes(1)), "expired");
}

TEST(VerifyPeerTest, AnotherAuthorityIsRefused) {
  const Ca ours("a");
  const X509Ptr forged = Ca("a").Leaf(LeafSpec());  // same names everywhere, another key
  EXPECT_EQ(
      StableCode(
          VerifyPeer({forged.get()}, Trusting({{"a", ours.bundle()}}), kLearners, kNow).status()),
      "unknown-authority");
}

TEST(VerifyPeerTest, ASelfSignedCertificateIsRefused) {
  const KeyPtr key = MakeKey().value();
  const X509Ptr forged = MakeCertificate(LeafSpec(), *key, nullptr).value();
  EXPECT_EQ(
      StableCode(VerifyPeer({forged.get()}, Trusting({{"a", Ca("a").bundle()}}), kLearners, kNow)
                     .status()),
      "unknown-authority");
}

TEST(VerifyPeerTest, AForgedCaInTheChainIsNotBelieved) {
  const Ca ours("a");
  const Ca forger("a");
  const X509Ptr leaf = forger.Leaf(LeafSpec());
  EXPECT_EQ(StableCode(VerifyPeer({leaf.get(), forger.certificate.get()},
                                  Trusting({{"a", ours.bundle()}}), kLearners, kNow)
                           .status()),
            "unknown-authority");
}

// The classic hole of federation: one pool of all roots would let any partner's CA speak for
// everybody.
TEST(VerifyPeerTest, APartnersAuthorityCannotSpeakForOurTrustDomain) {
  const Ca ours("a");
  const Ca partner("b");
  const IdentityState state = Trusting({{"a", ours.bundle()}, {"b", partner.bundle()}});
  const X509Ptr honest = partner.Leaf(LeafSpec({"spiffe://b/swarm/sl"}));
  EXPECT_TRUE(VerifyPeer({honest.get()}, state, kLearners, kNow).ok());
  const X509Ptr forged = partner.Leaf(LeafSpec({"spiffe://a/swarm/sl"}));
  EXPECT_EQ(StableCode(VerifyPeer({forged.get()}, state, kLearners, kNow).status()),
            "unknown-authority");
}

TEST(VerifyPeerTest, ATrustDomainWithoutABundleIsUnknown) {
  const Ca ca("b");
  const X509Ptr leaf = ca.Leaf(LeafSpec({"spiffe://b/swarm/sl"}));
  EXPECT_EQ(StableCode(
                VerifyPeer({leaf.get()}, Trusting({{"a", ca.bundle()}}), kLearners, kNow).status()),
            "unknown-trust-domain");
  EXPECT_EQ(
      StableCode(VerifyPeer({leaf.get()}, Trusting({{"b", Bundle{}}}), kLearners, kNow).status()),
      "unknown-trust-domain");
}

TEST(VerifyPeerTest, SeveralRootsAtOnceAreNormal) {
  const Ca old_ca("a");
  const Ca new_ca("a");
  const IdentityState state = Trusting({{"a", Bundle{{old_ca.certificate, new_ca.certificate}}}});
  EXPECT_TRUE(VerifyPeer({old_ca.Leaf(LeafSpec()).get()}, state, kLearners, kNow).ok());
  EXPECT_TRUE(VerifyPeer({new_ca.Leaf(LeafSpec()).get()}, state, kLearners, kNow).ok());
}

TEST(VerifyPeerTest, AnIntermediateAuthorityIsFollowed) {
  const Ca root("a");
  const Ca intermediate("a", &root);
  const X509Ptr leaf = intermediate.Leaf(LeafSpec());
  const IdentityState state = Trusting({{"a", root.bundle()}});
  EXPECT_TRUE(
      VerifyPeer({leaf.get(), intermediate.certificate.get()}, state, kLearners, kNow).ok());
  EXPECT_EQ(StableCode(VerifyPeer({leaf.get()}, state, kLearners, kNow).status()),
            "unknown-authority");
  // Trusted by itself, it needs no root.
  EXPECT_TRUE(
      VerifyPeer({leaf.get()}, Trusting({{"a", intermediate.bundle()}}), kLearners, kNow).ok());
}

TEST(VerifyPeerTest, ALeafCannotIssue) {
  const Ca root("a");
  Ca leaf_as_ca("a");
  leaf_as_ca.certificate = {root.Leaf(LeafSpec()).release(), &X509_free};
  const KeyPtr key = MakeKey().value();
  const Issuer issuer{*leaf_as_ca.certificate, *key};
  const KeyPtr victim_key = MakeKey().value();
  const X509Ptr forged =
      MakeCertificate(LeafSpec({"spiffe://a/other/sl"}), *victim_key, &issuer).value();
  EXPECT_FALSE(VerifyPeer({forged.get(), leaf_as_ca.certificate.get()},
                          Trusting({{"a", root.bundle()}}), kLearners, kNow)
                   .ok());
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
