// The standard "SPIFFE ID", rule by rule; docs/identity.md lists them.
#include "identity/spiffe_id.h"

#include <initializer_list>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace starling {
namespace {

SpiffeId Id(const std::string& text) {
  const Result<SpiffeId> id = SpiffeId::Parse(text);
  EXPECT_TRUE(id.ok()) << text << ": " << id.status();
  return id.value_or(SpiffeId());
}

void ExpectRefused(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) {
    const Result<SpiffeId> id = SpiffeId::Parse(text);
    EXPECT_FALSE(id.ok()) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(id.status())) << id.status();
  }
}

void ExpectTaken(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) EXPECT_EQ(Id(std::string(text)).text(), text);
}

TEST(SpiffeIdTest, SplitsTrustDomainAndPath) {
  const SpiffeId id = Id("spiffe://hospital-a.example_1.org/swarm/node-1/sl");
  EXPECT_EQ(id.trust_domain(), "hospital-a.example_1.org");
  EXPECT_EQ(id.path(), "/swarm/node-1/sl");
  EXPECT_EQ(id.text(), "spiffe://hospital-a.example_1.org/swarm/node-1/sl");
}

TEST(SpiffeIdTest, ABareTrustDomainHasAnEmptyPath) {
  EXPECT_EQ(Id("spiffe://swarm.local").trust_domain(), "swarm.local");
  EXPECT_EQ(Id("spiffe://swarm.local").path(), "");
}

TEST(SpiffeIdTest, AnUnparsedIdIsEmpty) {
  EXPECT_EQ(SpiffeId().trust_domain(), "");
  EXPECT_EQ(SpiffeId().path(), "");
}

TEST(SpiffeIdTest, TheSchemeIsSpiffe) {
  ExpectRefused({"", "spiffe", "spiffe:", "spiffe:/", "spiffe:/a/sl", "://a/sl", "//a/sl",
                 "https://a/b", "spiff://a/b", "spiffes://a/b", " spiffe://a/sl"});
}

TEST(SpiffeIdTest, TheSchemeIsInLowerCase) {
  ExpectRefused({"SPIFFE://a/b", "Spiffe://a/b", "spiffE://a/b"});
}

TEST(SpiffeIdTest, TheTrustDomainIsThere) { ExpectRefused({"spiffe://", "spiffe:///swarm/sl"}); }

TEST(SpiffeIdTest, ATrustDomainHoldsLowerCaseDigitsDotsDashesAndUnderscores) {
  ExpectTaken({"spiffe://abcdefghijklmnopqrstuvwxyz0123456789.-_/sl", "spiffe://1.2.3.4/sl"});
}

// Every other byte, one at a time.
TEST(SpiffeIdTest, ATrustDomainHoldsNothingElse) {
  constexpr std::string_view kTaken = "abcdefghijklmnopqrstuvwxyz0123456789.-_/";
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::string text = std::string("spiffe://a") + c + "b/sl";
    EXPECT_EQ(SpiffeId::Parse(text).ok(), kTaken.find(c) != std::string_view::npos) << byte;
  }
}

TEST(SpiffeIdTest, ATrustDomainIsInLowerCase) { ExpectRefused({"spiffe://Swarm.local/sl"}); }

TEST(SpiffeIdTest, ATrustDomainIsOfAtMost255Bytes) {
  EXPECT_TRUE(SpiffeId::Parse("spiffe://" + std::string(255, 'a') + "/sl").ok());
  EXPECT_FALSE(SpiffeId::Parse("spiffe://" + std::string(256, 'a') + "/sl").ok());
}

TEST(SpiffeIdTest, ThereIsNoPort) { ExpectRefused({"spiffe://a:8080/sl", "spiffe://a:/sl"}); }

TEST(SpiffeIdTest, ThereIsNoUserInformation) {
  ExpectRefused({"spiffe://user@a/sl", "spiffe://user:word@a/sl", "spiffe://@a/sl"});
}

TEST(SpiffeIdTest, ThereIsNoQuery) {
  ExpectRefused({"spiffe://a/sl?x=1", "spiffe://a/sl?", "spiffe://a?x"});
}

TEST(SpiffeIdTest, ThereIsNoFragment) {
  ExpectRefused({"spiffe://a/sl#x", "spiffe://a/sl#", "spiffe://a#x"});
}

TEST(SpiffeIdTest, NothingIsPercentEncoded) {
  ExpectRefused({"spiffe://a/s%6c", "spiffe://a/%2e%2e/sl", "spiffe://%61/sl", "spiffe://a/%"});
}

TEST(SpiffeIdTest, APathHoldsLettersDigitsDotsDashesAndUnderscores) {
  ExpectTaken({"spiffe://a/abcdefghijklmnopqrstuvwxyz/ABCDEFGHIJKLMNOPQRSTUVWXYZ/0123456789.-_"});
}

TEST(SpiffeIdTest, APathHoldsNothingElse) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::string text = std::string("spiffe://a/s") + c + "l";
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool other = (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '/';
    EXPECT_EQ(SpiffeId::Parse(text).ok(), letter || other) << byte;
  }
}

TEST(SpiffeIdTest, CaseMattersInAPath) { EXPECT_NE(Id("spiffe://a/SL"), Id("spiffe://a/sl")); }

TEST(SpiffeIdTest, NoSegmentIsEmpty) {
  ExpectRefused({"spiffe://a//sl", "spiffe://a/swarm//sl", "spiffe://a//"});
}

TEST(SpiffeIdTest, ThereIsNoTrailingSlash) { ExpectRefused({"spiffe://a/", "spiffe://a/sl/"}); }

TEST(SpiffeIdTest, NoSegmentIsADot) {
  ExpectRefused({"spiffe://a/.", "spiffe://a/./sl", "spiffe://a/sl/."});
}

TEST(SpiffeIdTest, NoSegmentIsTwoDots) {
  ExpectRefused({"spiffe://a/..", "spiffe://a/../sl", "spiffe://a/swarm/.."});
}

TEST(SpiffeIdTest, DotsWithinASegmentAreOrdinary) {
  ExpectTaken({"spiffe://a/...", "spiffe://a/.sl", "spiffe://a/sl.", "spiffe://a/s..l"});
}

TEST(SpiffeIdTest, NothingIsBeyondAscii) {
  ExpectRefused({"spiffe://a/\xc3\xa9", "spiffe://\xc3\xa9/sl", "spiffe://xn--\xc3\xa9/sl",
                 "spiffe://a/\xff"});
}

TEST(SpiffeIdTest, NothingIsBlankOrControl) {
  using std::string_view_literals::operator""sv;
  ExpectRefused({"spiffe://a/s l", "spiffe://a/s\tl", "spiffe://a b/sl", "spiffe://a/sl\n",
                 "spiffe://a/s\0l"sv, "spiffe://a/sl\0"sv});
}

TEST(SpiffeIdTest, AnIdIsOfAtMost2048Bytes) {
  const std::string prefix = "spiffe://a/";
  EXPECT_TRUE(SpiffeId::Parse(prefix + std::string(2048 - prefix.size(), 'x')).ok());
  EXPECT_FALSE(SpiffeId::Parse(prefix + std::string(2049 - prefix.size(), 'x')).ok());
}

}  // namespace
}  // namespace starling
