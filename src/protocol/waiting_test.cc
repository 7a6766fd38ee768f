#include "protocol/waiting.h"

#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(WaitWords, AFailureIsTheCauseTheDetailAndTheNextStep) {
  const Trouble trouble = TroubleOf(
      WithCode(absl::UnavailableError("c:30305: Connection refused"), "connection-refused"));
  EXPECT_EQ(trouble.what, "its port is closed: c:30305: Connection refused");
  EXPECT_NE(trouble.next.find("open its port"), std::string::npos);
}

TEST(WaitWords, TheNextStepThatAnErrorBringsWins) {
  const Trouble trouble =
      TroubleOf(WithNext(WithCode(absl::UnavailableError("x"), "unknown-host"), "do that"));
  EXPECT_EQ(trouble, (Trouble{"its name does not resolve: x", "do that"}));
}

TEST(WaitWords, EveryFailureHasACauseAndANextStep) {
  for (const char* code :
       {"connection-refused", "unreachable", "unknown-host", "loopback-address", "expired",
        "not-yet-valid", "unknown-authority", "unknown-trust-domain", "no-certificate", "bad-svid",
        "wrong-path", "refused-by-peer", "too-slow", "deadline-exceeded", "not-tls", "not-found",
        "ledger-unavailable", "ledger-locked", "disk-full"}) {
    const Trouble trouble = TroubleOf(WithCode(absl::UnavailableError("why"), code));
    EXPECT_NE(trouble.what.substr(0, 18), "it does not answer") << code;
    EXPECT_FALSE(trouble.next.empty()) << code;
  }
  const Trouble unknown = TroubleOf(absl::InternalError("why"));
  EXPECT_EQ(unknown.what, "it does not answer: why");
  EXPECT_FALSE(unknown.next.empty());
}

TEST(WaitWords, AClockIsOffBeyondThirtySecondsEitherWay) {
  EXPECT_EQ(ClockTrouble("its clock", 30s, "this SN's"), std::nullopt);
  EXPECT_EQ(ClockTrouble("its clock", -30s, "this SN's"), std::nullopt);
  const std::optional<Trouble> ahead = ClockTrouble("its clock", 3600s, "this SN's");
  ASSERT_TRUE(ahead);
  EXPECT_EQ(ahead->what.substr(0, 41), "its clock is 3600 s ahead of this SN's: t");
  const std::optional<Trouble> behind = ClockTrouble("its clock", -3601s, "this SN's");
  ASSERT_TRUE(behind);
  EXPECT_EQ(behind->what.substr(0, 36), "its clock is 3601 s behind this SN's");
}

TEST(WaitWords, ASentenceNamesWhomSinceWhenAndWhatIsNext) {
  Waiting waiting{
      ContractName{"t"}, {NodeName{"b"}, NodeName{"c"}}, "round 3", {}, "it closes", {}, {}};
  EXPECT_EQ(WaitSentence(waiting, "10:31:07"),
            "round 3, waits for b, c, since 10:31:07; next: it closes");
  waiting.what = "b: its port is closed";
  waiting.trouble = true;
  EXPECT_EQ(WaitSentence(waiting, "10:31:07"),
            "b: its port is closed, since 10:31:07; next: it closes");
}

}  // namespace
}  // namespace starling
