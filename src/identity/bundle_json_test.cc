// The standard "SPIFFE Trust Domain and Bundle", section 4, rule by rule; docs/identity.md lists
// them.
#include "identity/bundle_json.h"

#include <string>
#include <vector>

#include "crypto/json.h"
#include "identity/svid_testing.h"

namespace starling {
namespace {

// One key for X.509-SVIDs, as our own writer makes it.
Json Key(const Ca& ca) {
  return ParseJson(BundleJson({.bundle = ca.bundle()}).value()).value().at("keys").at(0);
}
std::string Document(Json keys) { return Json{{"keys", std::move(keys)}}.dump(); }

// How many roots are in it, -1 when it is refused.
int Roots(const std::string& json) {
  const Result<BundleDocument> document = ParseBundleJson(json);
  return document.ok() ? static_cast<int>(document->bundle.roots.size()) : -1;
}
// The same of one key.
int RootsOf(const Json& key) { return Roots(Document(Json::array({key}))); }

class BundleJsonTest : public ::testing::Test {
 protected:
  const Ca ca_{"a"};
  Json key_ = Key(ca_);
};

TEST_F(BundleJsonTest, AKeyForX509SvidsIsACertificate) {
  const Result<BundleDocument> document = ParseBundleJson(Document(Json::array({key_})));
  ASSERT_TRUE(document.ok()) << document.status();
  ASSERT_EQ(document->bundle.roots.size(), 1U);
  EXPECT_EQ(X509_cmp(document->bundle.roots[0].get(), ca_.certificate.get()), 0);
}

TEST_F(BundleJsonTest, ADocumentOfAnotherHandIsRead) {
  // As SPIRE writes it, with a JWT key beside and blanks between.
  const std::string x5c = key_.at("x5c").at(0);
  EXPECT_EQ(
      Roots("{\n  \"keys\": [\n {\"use\": \"x509-svid\", \"kty\": \"EC\", \"crv\": \"P-256\","
            " \"x\": \"fK-wKTnKL7KFLM27lqq5DC-bxrVaH6rDV-IcCSEOeL4\","
            " \"y\": \"wq-g3TQWxYlV51TCPH030yXsRxvujD4hUUaIQrXk4KI\", \"x5c\": [\"" +
            x5c +
            "\"]},\n {\"use\": \"jwt-svid\", \"kty\": \"EC\", \"kid\": \"C6vs25welZOx6Wkz\"}],"
            "\n \"spiffe_sequence\": 1, \"spiffe_refresh_hint\": 600}\n"),
      1);
}

TEST_F(BundleJsonTest, SeveralKeysAreNormal) {
  EXPECT_EQ(Roots(Document(Json::array({key_, Key(Ca("a")), Key(Ca("a"))}))), 3);
}

TEST_F(BundleJsonTest, NoKeysTrustNothing) { EXPECT_EQ(Roots(R"({"keys":[]})"), 0); }

TEST_F(BundleJsonTest, KeysMustBeThere) {
  EXPECT_EQ(Roots("{}"), -1);
  EXPECT_EQ(Roots(R"({"keys":null})"), -1);
  EXPECT_EQ(Roots(R"({"keys":{}})"), -1);
}

TEST_F(BundleJsonTest, AKeyIsAnObject) {
  EXPECT_EQ(RootsOf("x509-svid"), -1);
  EXPECT_EQ(RootsOf(nullptr), -1);
}

TEST_F(BundleJsonTest, AKeyOfAnotherUseIsIgnored) {
  key_["use"] = "jwt-svid";
  key_.erase("x5c");
  EXPECT_EQ(RootsOf(key_), 0);
  key_["use"] = "comes-later";
  EXPECT_EQ(RootsOf(key_), 0);
  key_["use"] = "X509-SVID";
  EXPECT_EQ(RootsOf(key_), 0);
}

TEST_F(BundleJsonTest, AKeyWithoutUseIsIgnored) {
  key_.erase("use");
  EXPECT_EQ(RootsOf(key_), 0);
}

TEST_F(BundleJsonTest, AKeyOfAnUnknownTypeIsIgnored) {
  key_["kty"] = "comes-later";
  EXPECT_EQ(RootsOf(key_), 0);
}

TEST_F(BundleJsonTest, AKeyWithoutTypeIsRefused) {
  key_.erase("kty");
  EXPECT_EQ(RootsOf(key_), -1);
}

TEST_F(BundleJsonTest, UnknownMembersAreIgnored) {
  key_["kid"] = "x";
  key_["later"] = Json::array({1, 2});
  Json document = {{"keys", Json::array({key_})}, {"later", {{"a", true}}}};
  EXPECT_EQ(Roots(document.dump()), 1);
}

TEST_F(BundleJsonTest, AKeyHasExactlyOneCertificate) {
  const Json one = key_.at("x5c").at(0);
  key_["x5c"] = Json::array();
  EXPECT_EQ(RootsOf(key_), -1);
  key_["x5c"] = Json::array({one, one});
  EXPECT_EQ(RootsOf(key_), -1);
  key_["x5c"] = one;
  EXPECT_EQ(RootsOf(key_), -1);
  key_.erase("x5c");
  EXPECT_EQ(RootsOf(key_), -1);
}

TEST_F(BundleJsonTest, ACertificateIsInPlainBase64) {
  const std::string good = key_.at("x5c").at(0);
  for (const std::string& bad : std::vector<std::string>{
           "", "=", " " + good, good + "\n", good + "====", good + "A",
           good.substr(0, 8) + "\n" + good.substr(8), "!" + good.substr(1), "-" + good.substr(1)}) {
    key_["x5c"] = Json::array({bad});
    EXPECT_EQ(RootsOf(key_), -1) << bad;
  }
  key_["x5c"] = Json::array({7});
  EXPECT_EQ(RootsOf(key_), -1);
}

TEST_F(BundleJsonTest, ACertificateIsWholeAndNothingElse) {
  const std::string good = key_.at("x5c").at(0);
  key_["x5c"] = Json::array({good.substr(0, 400)});
  EXPECT_EQ(RootsOf(key_), -1);
  key_["x5c"] = Json::array({"AAAA"});
  EXPECT_EQ(RootsOf(key_), -1);
  // Bytes behind it: whole groups of them where it ends without padding, which a signature's
  // length decides.
  Ca ca("a");
  while (Key(ca).at("x5c").at(0).get_ref<const std::string&>().ends_with('=')) ca = Ca("a");
  key_["x5c"] = Json::array({Key(ca).at("x5c").at(0)});
  EXPECT_EQ(RootsOf(key_), 1);
  key_["x5c"] = Json::array({Key(ca).at("x5c").at(0).get<std::string>() + "AAAA"});
  EXPECT_EQ(RootsOf(key_), -1);
}

TEST_F(BundleJsonTest, ACertificateIsOneOfACa) {
  Ca leaf("a");
  leaf.certificate = {ca_.Leaf(LeafSpec()).release(), &X509_free};
  EXPECT_EQ(RootsOf(Key(leaf)), -1);
}

TEST_F(BundleJsonTest, SequenceAndRefreshHintAreRead) {
  const Result<BundleDocument> document =
      ParseBundleJson(R"({"keys":[],"spiffe_sequence":42,"spiffe_refresh_hint":600})");
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(document->sequence, 42U);
  EXPECT_EQ(document->refresh_hint, std::chrono::seconds(600));
  EXPECT_EQ(ParseBundleJson(R"({"keys":[]})")->sequence, std::nullopt);
}

TEST_F(BundleJsonTest, SequenceAndRefreshHintAreWholeNumbers) {
  for (const std::string bad : {"\"1\"", "-1", "1.5", "null", "9007199254740993"}) {
    EXPECT_EQ(Roots(R"({"keys":[],"spiffe_sequence":)" + bad + "}"), -1) << bad;
    EXPECT_EQ(Roots(R"({"keys":[],"spiffe_refresh_hint":)" + bad + "}"), -1) << bad;
  }
}

TEST_F(BundleJsonTest, WhatIsNotStrictJsonIsRefused) {
  for (const std::string bad :
       {"", "[]", "{\"keys\":[]", "{\"keys\":[]}x", "{\"keys\":[],\"keys\":[]}", "{'keys':[]}",
        "\xef\xbb\xbf{\"keys\":[]}"}) {
    EXPECT_EQ(Roots(bad), -1) << bad;
  }
}

TEST_F(BundleJsonTest, SizeAndCountAreBounded) {
  Json many = Json::array();
  while (many.size() < 1000) many.push_back(Json::object());
  EXPECT_EQ(Roots(Document(many)), 0);
  many.push_back(Json::object());
  EXPECT_EQ(Roots(Document(many)), -1);
  EXPECT_EQ(Roots(R"({"keys":[]})" + std::string(1U << 20, ' ')), -1);
}

TEST_F(BundleJsonTest, AnErrorSaysWhichKey) {
  Json bad = key_;
  bad.erase("x5c");
  const Status status = ParseBundleJson(Document(Json::array({key_, bad}))).status();
  EXPECT_NE(std::string(status.message()).find("key 2"), std::string::npos) << status;
}

TEST_F(BundleJsonTest, WhatIsWrittenReadsBackTheSame) {
  const Ca rsa(CaSpec(), nullptr, KeyPtr(EVP_RSA_gen(2048)));
  const Ca p384(CaSpec(), nullptr, KeyPtr(EVP_EC_gen("P-384")));
  const BundleDocument document{.bundle = {{ca_.certificate, rsa.certificate, p384.certificate}},
                                .sequence = 7,
                                .refresh_hint = std::chrono::seconds(300)};
  const Result<std::string> json = BundleJson(document);
  ASSERT_TRUE(json.ok()) << json.status();
  const Result<BundleDocument> again = ParseBundleJson(*json);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->bundle.roots.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(X509_cmp(again->bundle.roots[i].get(), document.bundle.roots[i].get()), 0);
  }
  EXPECT_EQ(again->sequence, document.sequence);
  EXPECT_EQ(again->refresh_hint, document.refresh_hint);
}

// Other readers take the key from these numbers.
TEST_F(BundleJsonTest, AWrittenKeyIsComplete) {
  EXPECT_EQ(key_.at("kty"), "EC");
  EXPECT_EQ(key_.at("crv"), "P-256");
  EXPECT_EQ(key_.at("x").get_ref<const std::string&>().size(), 43U);
  EXPECT_EQ(key_.at("y").get_ref<const std::string&>().size(), 43U);
  const Json rsa = Key(Ca(CaSpec(), nullptr, KeyPtr(EVP_RSA_gen(2048))));
  EXPECT_EQ(rsa.at("kty"), "RSA");
  EXPECT_EQ(rsa.at("e"), "AQAB");
  EXPECT_EQ(rsa.at("n").get_ref<const std::string&>().size(), 342U);
}

}  // namespace
}  // namespace starling
