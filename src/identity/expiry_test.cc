#include "identity/expiry.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "identity/certificate.h"

namespace starling {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const UtcTime kBorn = ManualClock().UtcNow();

std::shared_ptr<X509> Certificate(UtcTime from, UtcTime until, bool is_ca = false) {
  const KeyPtr key = MakeKey().value();
  CertificateSpec spec{.uris = {"spiffe://a/swarm/sl"}, .not_before = from, .not_after = until};
  spec.is_ca = is_ca;
  return {MakeCertificate(spec, *key, nullptr).value().release(), &X509_free};
}

IdentityState Holding(std::vector<std::shared_ptr<X509>> chain, std::vector<Bundle> bundles = {}) {
  auto svid = std::make_shared<Svid>();
  svid->id = SpiffeId::Parse("spiffe://a/swarm/sl").value();
  svid->chain = std::move(chain);
  IdentityState state{.svid = std::move(svid), .bundles = {}};
  std::string domain = "a";
  for (Bundle& bundle : bundles) state.bundles[std::exchange(domain, domain + "a")] = bundle;
  return state;
}

TEST(EndsSoonTest, ALongLivedCertificateIsTalkedAboutForItsLastThirtyDays) {
  const UtcTime end = kBorn + days(365);
  EXPECT_FALSE(EndsSoon(kBorn, end, kBorn));
  EXPECT_FALSE(EndsSoon(kBorn, end, end - days(30)));
  EXPECT_TRUE(EndsSoon(kBorn, end, end - days(30) + minutes(1)));
  EXPECT_TRUE(EndsSoon(kBorn, end, end + days(1)));
}

TEST(EndsSoonTest, AShortLivedOneOnlyForItsLastTenth) {
  const UtcTime end = kBorn + hours(10);
  EXPECT_FALSE(EndsSoon(kBorn, end, kBorn));
  EXPECT_FALSE(EndsSoon(kBorn, end, kBorn + hours(9)));
  EXPECT_TRUE(EndsSoon(kBorn, end, kBorn + hours(9) + minutes(1)));
  EXPECT_TRUE(EndsSoon(kBorn, end, end));
}

TEST(EndsSoonTest, SixtyDaysAreALongLife) {
  EXPECT_TRUE(EndsSoon(kBorn, kBorn + days(60), kBorn + days(31)));
  EXPECT_FALSE(EndsSoon(kBorn, kBorn + days(60) - minutes(1), kBorn + days(31)));
}

TEST(ExpiryWarningsTest, ALineNamesTheCertificateAndItsDate) {
  const UtcTime end = kBorn + days(365);
  const IdentityState state = Holding({Certificate(kBorn, end)});
  EXPECT_THAT(ExpiryWarnings(state, kBorn), IsEmpty());
  const std::vector<std::string> lines = ExpiryWarnings(state, end - days(12));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], HasSubstr("spiffe://a/swarm/sl"));
  EXPECT_THAT(lines[0], HasSubstr(FormatUtc(end)));
  EXPECT_THAT(lines[0], HasSubstr("in 12 days"));
  EXPECT_THAT(ExpiryWarnings(state, end - hours(5)), ElementsAre(HasSubstr("in 5 hours")));
  EXPECT_THAT(ExpiryWarnings(state, end + hours(5)), ElementsAre(HasSubstr("ended at")));
}

TEST(ExpiryWarningsTest, AnIntermediateAuthorityEndsTheChainToo) {
  const IdentityState state =
      Holding({Certificate(kBorn, kBorn + days(365)), Certificate(kBorn, kBorn + days(100), true)});
  EXPECT_THAT(ExpiryWarnings(state, kBorn + days(90)), ElementsAre(HasSubstr("intermediate")));
}

TEST(ExpiryWarningsTest, OfSeveralAuthoritiesOnlyTheLastToEndMatters) {
  const auto leaf = Certificate(kBorn, kBorn + days(3650));
  const auto old_ca = Certificate(kBorn, kBorn + days(100), true);
  const auto new_ca = Certificate(kBorn, kBorn + days(1000), true);
  EXPECT_THAT(ExpiryWarnings(Holding({leaf}, {{{old_ca, new_ca}}}), kBorn + days(99)), IsEmpty());
  EXPECT_THAT(ExpiryWarnings(Holding({leaf}, {{{old_ca}}}), kBorn + days(99)),
              ElementsAre(HasSubstr("trust domain a ")));
}

TEST(ExpiryWarningsTest, WithoutAnIdentityThereIsNothingToSay) {
  EXPECT_THAT(ExpiryWarnings({}, kBorn), IsEmpty());
}

TEST(ExpiryReminderTest, SaysItOnceADay) {
  const UtcTime end = kBorn + days(365);
  const IdentityState state = Holding({Certificate(kBorn, end)});
  ManualClock clock(end - days(31));
  ExpiryReminder reminder;
  int said = 0;
  for (int minute = 0; minute < 31 * 24 * 60; minute += 10) {
    said += static_cast<int>(reminder.Due(state, clock.UtcNow()).size());
    clock.Advance(minutes(10));
  }
  EXPECT_EQ(said, 30);
}

TEST(ExpiryReminderTest, AnotherCertificateIsAnotherMatter) {
  ExpiryReminder reminder;
  const UtcTime now = kBorn + days(350);
  EXPECT_EQ(reminder.Due(Holding({Certificate(kBorn, kBorn + days(365))}), now).size(), 1U);
  EXPECT_EQ(reminder.Due(Holding({Certificate(kBorn, kBorn + days(366))}), now).size(), 1U);
  EXPECT_EQ(reminder.Due(Holding({Certificate(kBorn, kBorn + days(730))}), now).size(), 0U);
}

TEST(ExpiryReminderTest, AClockThatWasSetBackSilencesNothing) {
  const IdentityState state = Holding({Certificate(kBorn, kBorn + days(365))});
  ExpiryReminder reminder;
  EXPECT_EQ(reminder.Due(state, kBorn + days(364)).size(), 1U);
  EXPECT_EQ(reminder.Due(state, kBorn + days(350)).size(), 1U);
}

}  // namespace
}  // namespace starling
