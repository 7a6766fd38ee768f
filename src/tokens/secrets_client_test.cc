#include "tokens/secrets_client.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tokens/fake_kube_testing.h"

namespace starling {
namespace {

using testing::FakeKube;
using testing::FakeKubeWorld;
using ::testing::HasSubstr;
using ::testing::Not;

class SecretsClientTest : public ::testing::Test {
 protected:
  SecretsClientTest() {
    kube_.With([](FakeKubeWorld& world) { world.Add("swarm", "sn"); });
  }
  Result<Secret> Patch(const SecretPatch& patch = {}, const std::string& name = "sn") {
    KubeOptions options = kube_.Options();
    options.answer_timeout = answer_timeout_;
    SecretsClient client(options, clock_);
    return client.Patch({"swarm", name}, patch, "a test", {});
  }
  const ManualClock clock_{testing::kNow};
  FakeKube kube_;
  Duration answer_timeout_ = 60s;
};

TEST_F(SecretsClientTest, APatchAnswersTheWholeSecret) {
  ASSERT_TRUE(Patch({.annotations = {{"a", "1"}}, .data = {{"token", "t"}}}).ok());
  const Result<Secret> secret = Patch({.annotations = {}, .data = {{"other", "o"}}});
  ASSERT_TRUE(secret.ok()) << secret.status();
  EXPECT_EQ(secret->annotations.at("a"), "1");
  EXPECT_EQ(secret->data.at("token"), "t");
  EXPECT_EQ(secret->data.at("other"), "o");
  kube_.With([](FakeKubeWorld& world) {
    EXPECT_THAT(
        world.heads.at(0),
        ::testing::StartsWith(
            "PATCH /api/v1/namespaces/swarm/secrets/sn?fieldManager=a%20test HTTP/1.1\r\n"));
  });
}

TEST_F(SecretsClientTest, APatchOfNothingReads) {
  const Result<Secret> secret = Patch();
  ASSERT_TRUE(secret.ok()) << secret.status();
  EXPECT_EQ(secret->uid, "uid-sn");
  kube_.With([](FakeKubeWorld& world) { EXPECT_EQ(world.texts.at(0), "{}"); });
}

TEST_F(SecretsClientTest, TheTokenOfThePodIsReadForEachRequest) {
  ASSERT_TRUE(Patch().ok());
  kube_.With([](FakeKubeWorld& world) { world.token = "renewed-token"; });
  const Status old = Patch().status();
  EXPECT_EQ(StableCode(old), "kube-unauthenticated");
  kube_.WriteAccount("renewed-token");
  EXPECT_TRUE(Patch().ok());
}

TEST_F(SecretsClientTest, AnApiWhoseCaIsAnotherIsNotSentTheToken) {
  const testing::Ca other("a");
  const KubeOptions options = kube_.Options();
  ASSERT_TRUE(WriteFileDurably(options.ca_file, CertificatePem(*other.certificate).value()).ok());
  const Status status = Patch().status();
  EXPECT_EQ(StableCode(status), "kube-unreachable");
  EXPECT_THAT(std::string(status.message()), HasSubstr("certificate is not good"));
  kube_.With([](FakeKubeWorld& world) { EXPECT_TRUE(world.heads.empty()); });
}

TEST_F(SecretsClientTest, AMissingAccountNamesTheFile) {
  const KubeOptions options = kube_.Options();
  std::filesystem::remove(options.token_file);
  const Status status = Patch().status();
  EXPECT_EQ(StableCode(status), "kube-account");
  EXPECT_THAT(std::string(status.message()), HasSubstr(options.token_file));
  kube_.WriteAccount(" \n");
  EXPECT_EQ(StableCode(Patch().status()), "kube-account");
}

TEST_F(SecretsClientTest, ErrorsNameTheSecretAndHoldNoToken) {
  EXPECT_EQ(StableCode(Patch({}, "another").status()), "kube-secret-missing");
  kube_.With([](FakeKubeWorld& world) {
    world.answer = testing::WebServer::Whole(422, R"({"message":"what is token-of-this-pod?"})");
  });
  const Status refused = Patch().status();
  EXPECT_EQ(StableCode(refused), "kube-refused");
  EXPECT_THAT(std::string(refused.message()), Not(HasSubstr("token-of-this-pod")));
}

TEST_F(SecretsClientTest, ErrorsHoldNothingOfThePatchEither) {
  const std::string token = "join-token-of-this-test";
  const SecretPatch patch{.annotations = {}, .data = {{"token", token}}};
  for (const std::string& said : {token, Base64Encode(token), std::string("token-of-this-pod")}) {
    // Where its words are cut, too.
    for (const std::size_t before : {0U, 290U}) {
      const Json body = {{"message", StrCat(std::string(before, 'x'), " ", said, " is bad")}};
      kube_.With([&](FakeKubeWorld& world) {
        world.answer = testing::WebServer::Whole(422, body.dump());
      });
      const Status status = Patch(patch).status();
      EXPECT_EQ(StableCode(status), "kube-refused");
      EXPECT_THAT(std::string(status.message()), Not(HasSubstr(said.substr(0, 5)))) << before;
    }
  }
}

TEST_F(SecretsClientTest, AnAnswerThatIsLateOrTooLongIsNoFailureOfTheConnection) {
  const std::string start = "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: ";
  kube_.With([&](FakeKubeWorld& world) { world.answer = start + "5000000\r\n\r\n"; });
  EXPECT_EQ(StableCode(Patch().status()), "kube-unavailable");
  answer_timeout_ = 50ms;
  kube_.With([&](FakeKubeWorld& world) { world.answer = start + "10\r\n\r\n"; });
  EXPECT_EQ(StableCode(Patch().status()), "kube-unavailable");
}

TEST_F(SecretsClientTest, AnAnswerThatIsNoSecretIsTroubleWithTheApi) {
  for (const std::string body : {"", "<html>", "{}", R"({"kind":"Secret"})"}) {
    kube_.With([&](FakeKubeWorld& world) { world.answer = testing::WebServer::Whole(200, body); });
    EXPECT_EQ(StableCode(Patch().status()), "kube-unavailable") << body;
  }
  kube_.Answers(false);
  EXPECT_EQ(StableCode(Patch().status()), "kube-unreachable");
  kube_.Answers(true);
  EXPECT_TRUE(Patch().ok());
}

}  // namespace
}  // namespace starling
