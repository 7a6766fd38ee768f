#include "identity_show.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "identity/dev_authority.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

struct Shown {
  Shown() {
    auto state = std::make_shared<IdentityState>();
    state->svid = *authority.Issue(
        {.not_before = clock.UtcNow(), .not_after = clock.UtcNow() + std::chrono::seconds(60)});
    state->bundles["one.org"] = authority.bundle();
    state->bundles["two.org"] = {};
    source = MakeFixedSource(state);
  }
  ManualClock clock;
  DevAuthority authority = *DevAuthority::InMemory("one.org", clock.UtcNow());
  std::unique_ptr<SvidSource> source;
  std::vector<PeerRole> roles{{"learning node", {{}, {"*/sl"}}},
                              {"operator", {{"two.org"}, {"*/operator", "*/swci"}}}};
};

TEST(IdentityShow, NamesWhatItHoldsAndUntilWhen) {
  const Shown s;
  const std::string text = IdentityText(*s.source, s.roles, s.clock.UtcNow());
  EXPECT_THAT(text, HasSubstr("identity     spiffe://one.org/swarm/sl\n"));
  EXPECT_THAT(text, HasSubstr("(60 s left)"));
  EXPECT_THAT(text, HasSubstr("  one.org  CA until "));
  EXPECT_THAT(text, HasSubstr("  two.org  no CA: nobody is believed\n"));
  const Json json = IdentityJson(*s.source, s.roles, s.clock.UtcNow());
  EXPECT_EQ(json["id"], "spiffe://one.org/swarm/sl");
  EXPECT_EQ(json["authorities"]["one.org"].size(), 1U);
  EXPECT_TRUE(json["usable"].get<bool>());
}

TEST(IdentityShow, LetsInOnlyFromDomainsWhoseCasAreHeld) {
  const Shown s;
  const std::string text = IdentityText(*s.source, s.roles, s.clock.UtcNow());
  EXPECT_THAT(text, HasSubstr("  learning node */sl  of one.org\n"));
  EXPECT_THAT(text, HasSubstr("  operator      */operator, */swci  of none\n"));
  const Json json = IdentityJson(*s.source, s.roles, s.clock.UtcNow());
  EXPECT_TRUE(json["peers"][1]["trust_domains"].empty());
}

TEST(IdentityShow, ACertificateOfTheFutureIsNotUsable) {
  const Shown s;
  const UtcTime before = s.clock.UtcNow() - std::chrono::seconds(1);
  const std::string text = IdentityText(*s.source, s.roles, before);
  EXPECT_THAT(text, HasSubstr("is not valid before " + FormatUtc(s.clock.UtcNow())));
  EXPECT_THAT(text, HasSubstr("is the clock of this node right?"));
  EXPECT_FALSE(IdentityJson(*s.source, s.roles, before)["usable"].get<bool>());
  EXPECT_TRUE(IdentityJson(*s.source, s.roles, s.clock.UtcNow())["usable"].get<bool>());
}

TEST(IdentityShow, SaysWhatIsWrong) {
  Shown s;
  s.clock.Advance(61s);
  EXPECT_THAT(IdentityText(*s.source, s.roles, s.clock.UtcNow()), HasSubstr("has expired, at "));
  EXPECT_FALSE(IdentityJson(*s.source, s.roles, s.clock.UtcNow())["usable"].get<bool>());
  s.source = MakeFixedSource(std::make_shared<IdentityState>());
  EXPECT_THAT(IdentityText(*s.source, s.roles, s.clock.UtcNow()),
              HasSubstr("this node has no certificate"));
}

}  // namespace
}  // namespace starling
