#include "tokens/config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kGood = R"(
trust_domain: swarm.learning
namespace: swarm
token_ttl: 30m
federation: [b.example]
entries:
- {path: /swarm/sn, parent: /swarm/sn-agent, dns_names: [sn], selectors: ["unix:uid:0"], x509_svid_ttl: 1h, federates_with: [b.example]}
- path: /swarm/sl
  parent: /swarm/sl-agent
  selectors: ["unix:uid:0", "unix:gid:0"]
tokens:
- {agent: /swarm/sn-agent, secret: network-node-identity}
)";

Status Refusal(const std::string& yaml) {
  Status status = ParseTokensConfig(yaml, "tokens.yaml").status();
  EXPECT_EQ(StableCode(status), status.ok() ? "ok" : "bad-tokens-config");
  return status;
}
std::string Said(const std::string& yaml) { return std::string(Refusal(yaml).message()); }

TEST(TokensConfigTest, EverythingIsRead) {
  const Result<TokensConfig> config = ParseTokensConfig(kGood, "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->trust_domain, "swarm.learning");
  EXPECT_EQ(config->space, "swarm");
  EXPECT_EQ(config->token_ttl, std::chrono::minutes(30));
  EXPECT_THAT(config->federation, ElementsAre("b.example"));
  ASSERT_EQ(config->entries.size(), 2U);
  const SpireEntry& sn = config->entries[0];
  EXPECT_EQ(sn.path, "/swarm/sn");
  EXPECT_EQ(sn.parent, "/swarm/sn-agent");
  EXPECT_THAT(sn.dns_names, ElementsAre("sn"));
  EXPECT_THAT(sn.selectors, ElementsAre("unix:uid:0"));
  EXPECT_THAT(sn.federates_with, ElementsAre("b.example"));
  EXPECT_EQ(sn.x509_svid_ttl, std::chrono::hours(1));
  EXPECT_EQ(config->entries[1].x509_svid_ttl.count(), 0);
  EXPECT_THAT(config->tokens, ElementsAre(TokenWish{"/swarm/sn-agent", "network-node-identity"}));
}

TEST(TokensConfigTest, NothingNeedBeSaid) {
  const Result<TokensConfig> config = ParseTokensConfig("{}", "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->trust_domain, "");
  EXPECT_EQ(config->space, "");
  EXPECT_EQ(config->token_ttl, std::chrono::hours(1));
}

TEST(TokensConfigTest, AnEntrysIdStaysWhateverElseOfItChanges) {
  const auto id = [](const std::string& entry) {
    const Result<TokensConfig> config = ParseTokensConfig("entries: [{" + entry + "}]", "f");
    EXPECT_TRUE(config.ok()) << config.status();
    return config->entries.at(0).id;
  };
  const std::string first = id("path: /a, parent: /b, selectors: ['u:1']");
  EXPECT_EQ(first, id("path: /a, parent: /b, selectors: ['u:2'], dns_names: [x]"));
  EXPECT_NE(first, id("path: /a, parent: /c, selectors: ['u:1']"));
  EXPECT_THAT(first, ::testing::MatchesRegex("starling-[0-9a-f]+"));
}

TEST(TokensConfigTest, TwoEntriesMayDifferInTheirSelectorsAlone) {
  const Result<TokensConfig> config = ParseTokensConfig(
      "entries: [{path: /a, parent: /b, selectors: ['u:1']}, "
      "{path: /a, parent: /b, selectors: ['u:2']}]",
      "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_NE(config->entries[0].id, config->entries[1].id);
}

TEST(TokensConfigTest, AnUnknownKeyIsNamedWithItsLine) {
  EXPECT_EQ(Said("trust_domain: a\nttl: 1h\n"),
            "tokens.yaml:2: no key \"ttl\" here, but entries, federation, namespace, token_ttl, "
            "tokens, trust_domain");
  EXPECT_THAT(Said("entries:\n- path: /a\n  parent: /b\n  dns: [c]\n"),
              HasSubstr("tokens.yaml:4: no key \"dns\""));
  EXPECT_THAT(NextStep(Refusal("x: 1")), HasSubstr("docs/identity.md"));
}

TEST(TokensConfigTest, WhatCannotBeIsRefused) {
  EXPECT_THAT(Said("token_ttl: 1h\ntoken_ttl: 2h\n"), HasSubstr(":2: token_ttl stands twice"));
  EXPECT_THAT(Said("token_ttl: 9s"), HasSubstr("\"9s\" is not a time"));
  EXPECT_THAT(Said("token_ttl: 1500ms"), HasSubstr("is not a time"));
  EXPECT_THAT(Said("token_ttl: 721h"), HasSubstr("is not a time"));
  EXPECT_THAT(Said("trust_domain: a/b"), HasSubstr("is not a trust domain"));
  EXPECT_THAT(Said("namespace: A"), HasSubstr("is not the name of a namespace"));
  EXPECT_THAT(Said("[]"), HasSubstr("not a map"));
  EXPECT_THAT(Said(""), HasSubstr("not a map"));
  EXPECT_THAT(Said("tokens: {}"), HasSubstr("not a list"));
  EXPECT_THAT(Said("tokens: [{agent: /a}]"), HasSubstr("secret is missing"));
  EXPECT_THAT(Said("tokens: [{agent: a, secret: s}]"), HasSubstr("is not the path"));
  EXPECT_THAT(Said("tokens: [{agent: /a, secret: S}]"), HasSubstr("is not the name of a Secret"));
  EXPECT_THAT(Said("tokens: [{agent: /a, secret: s}, {agent: /b, secret: s}]"),
              HasSubstr("the Secret s stands twice"));
  EXPECT_THAT(Said("entries: [{path: /a, parent: /b}]"), HasSubstr("selectors is missing"));
  EXPECT_THAT(Said("entries: [{path: /a, parent: /b, selectors: []}]"),
              HasSubstr("selectors are missing"));
  EXPECT_THAT(Said("entries: [{path: /a, parent: /b, selectors: [x]}]"),
              HasSubstr("is not a selector"));
  EXPECT_THAT(Said("entries: [{path: /a, parent: /b, selectors: ['u:1', 'u:1']}]"),
              HasSubstr("stands twice"));
  EXPECT_THAT(Said("entries: [{path: /a, parent: /b, selectors: ['u:1'], dns_names: ['a b']}]"),
              HasSubstr("is not a DNS name"));
  EXPECT_THAT(Said("entries: [{path: /a, parent: /b, selectors: ['u:1']}, "
                   "{path: /a, parent: /b, selectors: ['u:1'], dns_names: [x]}]"),
              HasSubstr("stands twice"));
}

TEST(TokensConfigTest, WhatIsNoYamlOrTooMuchIsRefused) {
  EXPECT_THAT(Said("a: [1"), HasSubstr("tokens.yaml:"));
  EXPECT_THAT(Said(std::string(kTokensConfigBytesMax + 1, ' ')), HasSubstr("more than 256 KiB"));
  std::string many = "federation: [";
  for (int i = 0; i < 1001; ++i) many += "d" + std::to_string(i) + ",";
  EXPECT_THAT(Said(many + "]"), HasSubstr("more than 1000 items"));
  EXPECT_THAT(Said("trust_domain: " + std::string(3000, 'a')), HasSubstr("is not a trust domain"));
}

}  // namespace
}  // namespace starling
