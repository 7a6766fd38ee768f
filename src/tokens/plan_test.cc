#include "tokens/plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::ElementsAre;

constexpr UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};
constexpr const char* kAgent = "spiffe://a/sn-agent";

SpireEntry Want() {
  return {.id = "starling-1",
          .path = "/sn",
          .parent = "/sn-agent",
          .selectors = {"u:1", "g:1"},
          .dns_names = {"x", "y"},
          .federates_with = {"b", "c"},
          .x509_svid_ttl = hours(1)};
}

TEST(PlanEntriesTest, WhatIsMissingIsMade) {
  EXPECT_EQ(PlanEntries({Want()}, {}), (EntryPlan{.create = {Want()}, .update = {}}));
}

TEST(PlanEntriesTest, WhatIsThereStaysInWhateverOrderItsNamesAre) {
  SpireEntry has = Want();
  has.id = "by-hand";
  std::ranges::reverse(has.selectors);
  std::ranges::reverse(has.dns_names);
  std::ranges::reverse(has.federates_with);
  EXPECT_EQ(PlanEntries({Want()}, {has}), EntryPlan{});
}

TEST(PlanEntriesTest, WhatDiffersIsPutRightWhereItIs) {
  const auto changes = [](auto change) {
    SpireEntry has = Want(), right = Want();
    has.id = right.id = "by-hand";
    change(has);
    EXPECT_EQ(PlanEntries({Want()}, {has}), (EntryPlan{.create = {}, .update = {right}}));
  };
  changes([](SpireEntry& has) { has.dns_names.pop_back(); });
  changes([](SpireEntry& has) { has.federates_with = {}; });
  changes([](SpireEntry& has) { has.x509_svid_ttl = {}; });
}

TEST(PlanEntriesTest, OurOwnIsFoundWhenItsSelectorsAreOthersNow) {
  SpireEntry has = Want();
  has.selectors = {"u:2"};
  EXPECT_EQ(PlanEntries({Want()}, {has}), (EntryPlan{.create = {}, .update = {Want()}}));
}

TEST(PlanEntriesTest, SomebodyElsesWithOtherSelectorsIsLeftAlone) {
  SpireEntry has = Want();
  has.id = "by-hand";
  has.selectors = {"u:2"};
  EXPECT_EQ(PlanEntries({Want()}, {has}), (EntryPlan{.create = {Want()}, .update = {}}));
  has = Want();
  has.parent = "/another";
  EXPECT_EQ(PlanEntries({Want()}, {has}).create.size(), 1U);
}

TokenSecret Held() {
  return {.token = "t", .agent = kAgent, .expires = kNow + hours(1), .bundle = "b", .retired = {}};
}
NewToken Why(const TokenSecret& held, TokenFate fate = TokenFate::kUnused) {
  return NeedsToken(held, kAgent, fate, hours(1), kNow);
}

TEST(NeedsTokenTest, AGoodOneStays) { EXPECT_EQ(Why(Held()), NewToken::kNo); }

TEST(NeedsTokenTest, ASpentOneIsReplaced) {
  EXPECT_EQ(Why(Held(), TokenFate::kSpent), NewToken::kSpent);
}

TEST(NeedsTokenTest, OneThatTheServerDoesNotKnowIsReplaced) {
  EXPECT_EQ(Why(Held(), TokenFate::kUnknown), NewToken::kUnknown);
}

TEST(NeedsTokenTest, AnEmptySecretGetsItsFirst) {
  EXPECT_EQ(Why({}), NewToken::kFirst);
  TokenSecret unknown = Held();
  unknown.expires.reset();
  EXPECT_EQ(Why(unknown), NewToken::kFirst);
}

TEST(NeedsTokenTest, OneOfAnotherAgentIsReplaced) {
  TokenSecret held = Held();
  held.agent = "spiffe://a/another";
  EXPECT_EQ(Why(held), NewToken::kOtherAgent);
}

TEST(NeedsTokenTest, OneIsReplacedAtThreeQuartersOfItsLife) {
  TokenSecret held = Held();
  held.expires = kNow + minutes(15);
  EXPECT_EQ(Why(held), NewToken::kNo);
  held.expires = kNow + minutes(15) - 1ms;
  EXPECT_EQ(Why(held), NewToken::kEnding);
  held.expires = kNow - hours(5);
  EXPECT_EQ(Why(held), NewToken::kEnding);
}

TEST(PlanSecretTest, NothingIsSetThatIsThere) {
  EXPECT_EQ(PlanSecret(Held(), {.agent = kAgent, .bundle = "b", .retired = {}}), SecretPatch{});
}

TEST(PlanSecretTest, ANewBundleLeavesTheTokenAlone) {
  EXPECT_EQ(PlanSecret(Held(), {.agent = kAgent, .bundle = "new", .retired = {}}),
            (SecretPatch{.annotations = {}, .data = {{"bundle.pem", "new"}}}));
}

TEST(PlanSecretTest, WhatIsSetReadsBackTheSame) {
  const SpireToken fresh{"new-token", kNow + hours(2)};
  const std::vector<RetiredAlias> retired = {{"e-1", kNow, "/sn-agent"}, {"e-2", kNow + 1ms, ""}};
  const SecretPatch patch =
      PlanSecret({}, {.agent = kAgent, .fresh = &fresh, .bundle = "pem", .retired = retired});
  const Secret secret{.uid = "", .annotations = patch.annotations, .data = patch.data};
  EXPECT_TRUE(Holds(secret, patch));
  const TokenSecret held = ReadTokenSecret(secret);
  EXPECT_EQ(held.token, "new-token");
  EXPECT_EQ(held.agent, kAgent);
  EXPECT_EQ(held.expires, fresh.expires);
  EXPECT_EQ(held.bundle, "pem");
  EXPECT_EQ(held.retired, retired);
}

TEST(PlanSecretTest, NoAnnotationHoldsTheToken) {
  const SpireToken fresh{"new-token", kNow};
  const SecretPatch patch = PlanSecret({}, {.agent = kAgent, .fresh = &fresh, .retired = {}});
  for (const auto& [key, value] : patch.annotations)
    EXPECT_EQ(value.find("new-token"), std::string::npos) << key;
}

TEST(ReadTokenSecretTest, WhatNeverWasATokenIsNone) {
  for (const std::string bad : {"", "a/b", "a b", "..", "a\nb"}) {
    Secret secret;
    secret.data["token"] = bad;
    EXPECT_EQ(ReadTokenSecret(secret).token, "") << bad;
  }
}

TEST(ReadTokenSecretTest, BrokenAnnotationsAreNone) {
  Secret secret;
  secret.annotations["starling.dev/token-expires"] = "tomorrow";
  secret.annotations["starling.dev/retired-entries"] =
      "x e-1@2026-11-28T03:00:00.000Z e-2@now @2026-11-28T03:00:00.000Z  "
      "a/b@2026-11-28T03:00:00.000Z e-3@2026-11-28T03:00:00.000Z@ "
      "e-4@2026-11-28T03:00:00.000Z@/a//b e-5@2026-11-28T03:00:00.000Z@b";
  const TokenSecret held = ReadTokenSecret(secret);
  EXPECT_FALSE(held.expires.has_value());
  ASSERT_EQ(held.retired.size(), 1U);
  EXPECT_EQ(held.retired[0].entry, "e-1");
}

TEST(RetryAfterTest, DoublesUpToHalfAMinute) {
  std::vector<int> seconds;
  for (int failures = 1; failures <= 8; ++failures)
    seconds.push_back(static_cast<int>(RetryAfter(failures) / 1s));
  EXPECT_THAT(seconds, ElementsAre(1, 2, 4, 8, 16, 30, 30, 30));
}

}  // namespace
}  // namespace starling
