#include "spire_tokens.h"

#include <map>
#include <string>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

class SpireTokensTest : public ::testing::Test {
 protected:
  SpireTokensTest() {
    Write("tokens.yaml", "tokens: [{agent: /sn-agent, secret: sn}]\n");
    Write("namespace", "of-the-pod\n");
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileDurably(scratch_.File(name), text).ok());
  }
  Result<TokenKeeperOptions> Options(std::map<std::string, std::string> flags = {}) {
    flags.emplace("config", scratch_.File("tokens.yaml"));
    flags.emplace("service-account-dir", scratch_.path());
    ASSIGN_OR_RETURN(const Settings settings,
                     Settings::Gather(Role::kSpireTokens, flags, environment_, {}));
    return TokenKeeperFrom(settings);
  }
  const ScratchDirectory scratch_;
  EnvironmentMap environment_ = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                 {"KUBERNETES_SERVICE_PORT", "6443"}};
};

TEST_F(SpireTokensTest, APodNeedsNoFlags) {
  const Result<TokenKeeperOptions> options = Options();
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->kube.server.Text(), "10.96.0.1:6443");
  EXPECT_EQ(options->kube.token_file, scratch_.File("token"));
  EXPECT_EQ(options->kube.ca_file, scratch_.File("ca.crt"));
  EXPECT_EQ(options->config.space, "of-the-pod");
  EXPECT_EQ(options->config.trust_domain, "swarm.learning");
  EXPECT_EQ(options->server_socket, "/tmp/spire-server/private/api.sock");
  EXPECT_EQ(options->health.port, 9464);
}

TEST_F(SpireTokensTest, AnIpv6ApiIsAskedAtItsAddress) {
  environment_["KUBERNETES_SERVICE_HOST"] = "fd00:10:96::1";
  const Result<TokenKeeperOptions> options = Options();
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->kube.server.host, "fd00:10:96::1");
  EXPECT_EQ(options->kube.server.Text(), "[fd00:10:96::1]:6443");
}

TEST_F(SpireTokensTest, FlagsAndVariablesWinOverTheFileAndThatOverThePod) {
  Write("tokens.yaml", "trust_domain: of.the.file\nnamespace: of-the-file\n");
  EXPECT_EQ(Options()->config.space, "of-the-file");
  EXPECT_EQ(Options()->config.trust_domain, "of.the.file");
  environment_["STARLING_SPIRE_TRUST_DOMAIN"] = "of.a.variable";
  const Result<TokenKeeperOptions> options = Options({{"namespace", "of-a-flag"}});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.space, "of-a-flag");
  EXPECT_EQ(options->config.trust_domain, "of.a.variable");
}

TEST_F(SpireTokensTest, WhatIsMissingOrWrongIsNamed) {
  const auto said = [&](const std::string& name, const std::string& value) {
    const Status status = Options({{name, value}}).status();
    EXPECT_NE(NextStep(status), "") << status;
    return std::string(status.message());
  };
  EXPECT_THAT(said("config", scratch_.File("none.yaml")), HasSubstr("none.yaml"));
  EXPECT_THAT(said("namespace", "A B"), HasSubstr("no name of a namespace"));
  EXPECT_THAT(said("spire-trust-domain", "a/b"), HasSubstr("no trust domain"));
  EXPECT_THAT(said("server-socket", "api.sock"), HasSubstr("no absolute path"));
  EXPECT_THAT(said("kube-port", "x"), HasSubstr("not a port"));
  EXPECT_THAT(said("service-account-dir", "/nowhere"), HasSubstr("nothing says the namespace"));
  environment_.clear();
  EXPECT_THAT(said("kube-port", "1"), HasSubstr("nothing says where the API of Kubernetes is"));
}

}  // namespace
}  // namespace starling
