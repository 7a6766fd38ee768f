// The standard "X.509-SVID", rule by rule: what one certificate must be. docs/identity.md lists
// the rules.
#include <string>

#include "identity/svid_testing.h"
#include "openssl/x509v3.h"

namespace starling {
namespace {

std::string WithUsage(const std::string& usage) {
  CertificateSpec spec = LeafSpec();
  spec.key_usage = usage;
  return CodeOf(Ca("a"), spec);
}

std::string WithExtendedUsage(const std::string& usage) {
  CertificateSpec spec = LeafSpec();
  spec.extended_key_usage = usage;
  return CodeOf(Ca("a"), spec);
}

// Of a leaf with this key.
std::string WithKey(KeyPtr key) {
  const Ca ca("a");
  const X509Ptr leaf = ca.Leaf(LeafSpec(), *key);
  return CodeOf({leaf.get()}, Trusting({{"a", ca.bundle()}}));
}

TEST(SvidLeafTest, HasExactlyOneUriName) { EXPECT_EQ(CodeOf(Ca("a"), LeafSpec()), "ok"); }

TEST(SvidLeafTest, WithoutUriNameIsRefused) {
  CertificateSpec spec = LeafSpec({});
  EXPECT_EQ(CodeOf(Ca("a"), spec), "bad-svid");
  spec.dns = {"spiffe://a/swarm/sl"};
  EXPECT_EQ(CodeOf(Ca("a"), spec), "bad-svid");
}

TEST(SvidLeafTest, WithSeveralSpiffeIdsIsRefused) {
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec({"spiffe://a/swarm/sl", "spiffe://a/x/sl"})), "bad-svid");
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec({"spiffe://a/swarm/sl", "spiffe://a/swarm/sl"})), "bad-svid");
}

TEST(SvidLeafTest, WithAnotherUriNameBesideIsRefused) {
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec({"spiffe://a/swarm/sl", "https://a/swarm/sl"})), "bad-svid");
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec({"https://a/swarm/sl", "spiffe://a/swarm/sl"})), "bad-svid");
}

TEST(SvidLeafTest, WithTwoListsOfNamesIsRefused) {
  const Ca ca("a");
  const X509Ptr leaf = ca.Leaf(LeafSpec());
  const X509Ptr other = ca.Leaf(LeafSpec({"spiffe://a/other/sl"}));
  const int at = X509_get_ext_by_NID(other.get(), NID_subject_alt_name, -1);
  ASSERT_EQ(X509_add_ext(leaf.get(), X509_get_ext(other.get(), at), -1), 1);
  ASSERT_GT(X509_sign(leaf.get(), ca.key.get(), EVP_sha256()), 0);
  EXPECT_EQ(CodeOf({leaf.get()}, Trusting({{"a", ca.bundle()}})), "bad-svid");
}

TEST(SvidLeafTest, WithAUriNameThatIsNoSpiffeIdIsRefused) {
  using std::string_literals::operator""s;
  for (const std::string& uri : {"https://a/swarm/sl"s, "spiffe://A/sl"s, "spiffe://a/sl/"s,
                                 "spiffe://a/swarm/sl\0.org"s, "spiffe://a/swarm/sl\0"s, ""s}) {
    EXPECT_EQ(CodeOf(Ca("a"), LeafSpec({uri})), "bad-svid") << uri;
  }
}

TEST(SvidLeafTest, OfATrustDomainItselfIsRefused) {
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec({"spiffe://a"}), PeerPolicy{{}, {"*"}}), "bad-svid");
}

TEST(SvidLeafTest, MayHaveDnsNamesAndAddressesBeside) {
  CertificateSpec spec = LeafSpec();
  spec.dns = {"spiffe.example.org", "a,URI:spiffe://a/swarm/sn"};
  spec.ips = {"127.0.0.1", "::1"};
  EXPECT_EQ(CodeOf(Ca("a"), spec), "ok");
}

TEST(SvidLeafTest, IsNoCa) {
  CertificateSpec spec = LeafSpec();
  spec.is_ca = true;
  EXPECT_EQ(CodeOf(Ca("a"), spec), "bad-svid");
}

TEST(SvidLeafTest, HasKeyUsage) { EXPECT_EQ(WithUsage(""), "bad-svid"); }

TEST(SvidLeafTest, HasDigitalSignature) {
  EXPECT_EQ(WithUsage("critical,digitalSignature"), "ok");
  EXPECT_EQ(WithUsage("digitalSignature"), "ok");
  for (const std::string other :
       {"nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
        "keyAgreement,encipherOnly", "keyAgreement,decipherOnly"}) {
    EXPECT_EQ(WithUsage("critical," + other), "bad-svid") << other;
    EXPECT_EQ(WithUsage("critical,digitalSignature," + other), "ok") << other;
  }
}

TEST(SvidLeafTest, HasNoKeyCertSign) {
  EXPECT_EQ(WithUsage("critical,digitalSignature,keyCertSign"), "bad-svid");
}

TEST(SvidLeafTest, HasNoCrlSign) {
  EXPECT_EQ(WithUsage("critical,digitalSignature,cRLSign"), "bad-svid");
}

TEST(SvidLeafTest, ExtendedKeyUsageMayBeAnythingOrMissing) {
  for (const std::string usage : {"serverAuth,clientAuth", "serverAuth", "clientAuth",
                                  "anyExtendedKeyUsage", "codeSigning", ""}) {
    EXPECT_EQ(WithExtendedUsage(usage), "ok") << usage;
  }
}

TEST(SvidLeafTest, IsValidFromItsFirstSecond) {
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec(), kLearners, kBegin - std::chrono::seconds(1)),
            "not-yet-valid");
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec(), kLearners, kBegin), "ok");
}

TEST(SvidLeafTest, IsValidUntilItsLastSecond) {
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec(), kLearners, kEnd - std::chrono::seconds(1)), "ok");
  EXPECT_EQ(CodeOf(Ca("a"), LeafSpec(), kLearners, kEnd), "expired");
}

TEST(SvidLeafTest, WithAWeakRsaKeyIsRefused) {
  EXPECT_EQ(WithKey(KeyPtr(EVP_RSA_gen(2048))), "ok");
  EXPECT_EQ(WithKey(KeyPtr(EVP_RSA_gen(1024))), "bad-svid");
}

TEST(SvidLeafTest, WithAWeakCurveIsRefused) {
  EXPECT_EQ(WithKey(KeyPtr(EVP_EC_gen("P-384"))), "ok");
  EXPECT_EQ(WithKey(KeyPtr(EVP_EC_gen("P-192"))), "bad-svid");
}

TEST(SvidLeafTest, WithAWeakSignatureIsRefused) {
  const Ca ca("a");
  const X509Ptr leaf = ca.Leaf(LeafSpec());
  ASSERT_GT(X509_sign(leaf.get(), ca.key.get(), EVP_sha1()), 0);
  EXPECT_EQ(CodeOf({leaf.get()}, Trusting({{"a", ca.bundle()}})), "bad-svid");
}

TEST(SvidLeafTest, WithAnUnknownCriticalExtensionIsRefused) {
  const Ca ca("a");
  const X509Ptr leaf = ca.Leaf(LeafSpec());
  const Owned<ASN1_OBJECT, &ASN1_OBJECT_free> unknown(OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1));
  const Owned<ASN1_OCTET_STRING, &ASN1_OCTET_STRING_free> value(ASN1_OCTET_STRING_new());
  const Owned<X509_EXTENSION, &X509_EXTENSION_free> extension(
      X509_EXTENSION_create_by_OBJ(nullptr, unknown.get(), 1, value.get()));
  ASSERT_EQ(X509_add_ext(leaf.get(), extension.get(), -1), 1);
  ASSERT_GT(X509_sign(leaf.get(), ca.key.get(), EVP_sha256()), 0);
  EXPECT_EQ(CodeOf({leaf.get()}, Trusting({{"a", ca.bundle()}})), "bad-svid");
}

}  // namespace
}  // namespace starling
