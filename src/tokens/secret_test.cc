#include "tokens/secret.h"

#include "crypto/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

const SecretName kName{"swarm", "sn-identity"};

Json Good() {
  return {{"kind", "Secret"},
          {"apiVersion", "v1"},
          {"metadata",
           {{"name", "sn-identity"},
            {"namespace", "swarm"},
            {"uid", "u-1"},
            {"annotations", {{"a", "b"}}},
            {"managedFields", {{{"manager", "kubectl"}}}}}},
          {"type", "Opaque"},
          {"data", {{"token", "c2VjcmV0"}, {"empty", ""}}}};
}

TEST(SecretTest, TheAnswerOfTheApiIsRead) {
  const Result<Secret> secret = ParseSecret(Good().dump(), kName);
  ASSERT_TRUE(secret.ok()) << secret.status();
  EXPECT_EQ(secret->uid, "u-1");
  EXPECT_EQ(secret->annotations.at("a"), "b");
  EXPECT_EQ(secret->data.at("token"), "secret");
  EXPECT_EQ(secret->data.at("empty"), "");
}

TEST(SecretTest, AnEmptySecretHasNeitherDataNorAnnotations) {
  Json json = Good();
  json.erase("data");
  json["metadata"].erase("annotations");
  EXPECT_TRUE(ParseSecret(json.dump(), kName).value().data.empty());
  json["data"] = nullptr;
  EXPECT_TRUE(ParseSecret(json.dump(), kName).value().data.empty());
}

TEST(SecretTest, WhatIsNotTheSecretIsRefused) {
  const auto refused = [](const Json& json) { return !ParseSecret(json.dump(), kName).ok(); };
  for (const char* member : {"kind", "metadata"}) {
    Json json = Good();
    json.erase(member);
    EXPECT_TRUE(refused(json)) << member;
  }
  for (const char* member : {"name", "namespace", "uid"}) {
    Json json = Good();
    json["metadata"].erase(member);
    EXPECT_TRUE(refused(json)) << member;
  }
  Json json = Good();
  json["metadata"]["name"] = "another";
  EXPECT_TRUE(refused(json));
  json = Good();
  json["kind"] = "ConfigMap";
  EXPECT_TRUE(refused(json));
  json = Good();
  json["data"]["token"] = "not base64";
  EXPECT_TRUE(refused(json));
  json = Good();
  json["data"]["token"] = 5;
  EXPECT_TRUE(refused(json));
  json = Good();
  json["metadata"]["annotations"] = "text";
  EXPECT_TRUE(refused(json));
  EXPECT_FALSE(ParseSecret("[]", kName).ok());
  EXPECT_FALSE(ParseSecret("", kName).ok());
}

TEST(SecretTest, APatchSetsWhatItNamesAndNothingElse) {
  EXPECT_EQ(MergePatchText({}), "{}");
  EXPECT_EQ(MergePatchText({.annotations = {{"e", "1"}}, .data = {{"token", "secret"}}}),
            R"({"data":{"token":"c2VjcmV0"},"metadata":{"annotations":{"e":"1"}}})");
}

TEST(Base64Test, IsCanonicalBothWays) {
  const std::string all = "\xff\xfe\xfd?>=";
  for (std::size_t size = 0; size <= all.size(); ++size) {
    const std::string bytes = all.substr(0, size);
    EXPECT_EQ(Base64Decode(Base64Encode(bytes)).value(), bytes);
    EXPECT_EQ(Base64Encode(bytes).size() % 4, 0U);
  }
  EXPECT_EQ(Base64Encode("\xff\xff\xfe"), "///+");
  for (const char* bad :
       {"A", "AA", "AAA", "AB==", "A===", "====", "AA=A", "_-AA", "AA==AA==", "A A="})
    EXPECT_FALSE(Base64Decode(bad).ok()) << bad;
}

TEST(KubeNamesTest, AreThoseOfKubernetes) {
  EXPECT_TRUE(IsNamespaceName("swarm-1"));
  EXPECT_TRUE(IsSecretName("sn.identity-0"));
  for (const char* bad : {"", "-a", "a-", "A", "a_b", "a/b", "a..b", ".a", "a.", "a b", "%2e"}) {
    EXPECT_FALSE(IsNamespaceName(bad)) << bad;
    EXPECT_FALSE(IsSecretName(bad)) << bad;
  }
  EXPECT_FALSE(IsNamespaceName(std::string(64, 'a')));
  EXPECT_FALSE(IsSecretName(std::string(64, 'a')));
}

TEST(SecretPatchErrorTest, NamesWhatIsMissing) {
  const Status forbidden =
      SecretPatchError(403, R"({"message":"cannot patch resource \"secrets\""})", kName);
  EXPECT_EQ(StableCode(forbidden), "kube-forbidden");
  EXPECT_THAT(std::string(forbidden.message()),
              ::testing::AllOf(HasSubstr("swarm/sn-identity"), HasSubstr("cannot patch resource")));
  EXPECT_THAT(NextStep(forbidden), HasSubstr("verb patch on secrets with the resourceNames "
                                             "[sn-identity] in the namespace swarm"));
  const Status missing = SecretPatchError(404, "", kName);
  EXPECT_EQ(StableCode(missing), "kube-secret-missing");
  EXPECT_EQ(missing.message(), "the Secret swarm/sn-identity is missing");
  EXPECT_THAT(NextStep(missing), HasSubstr("create it empty"));
  EXPECT_EQ(StableCode(SecretPatchError(401, "<html>", kName)), "kube-unauthenticated");
  EXPECT_EQ(StableCode(SecretPatchError(409, "", kName)), "kube-unavailable");
  EXPECT_EQ(StableCode(SecretPatchError(503, "", kName)), "kube-unavailable");
  EXPECT_EQ(StableCode(SecretPatchError(422, "", kName)), "kube-refused");
}

}  // namespace
}  // namespace starling
