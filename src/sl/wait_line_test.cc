#include "sl/wait_line.h"

#include "base/text.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

constexpr Instant kNow = Instant{} + 100s;
const UtcTime kUtc = FromUnixMs(1'700'000'000'000);

Waiting Merging() {
  Waiting waiting;
  waiting.what = "round 3 is being merged, leader a, 1 of 3 have voted; waiting for b, c";
  waiting.since = kNow - 12s;
  waiting.next = "who does not answer is named";
  return waiting;
}

TEST(WaitLineTest, SaysForWhomSinceWhenAndWhatHappensNext) {
  EXPECT_EQ(WaitLine(Merging(), kNow, kUtc),
            StrCat("round 3 is being merged, leader a, 1 of 3 have voted; waiting for b, c, since ",
                   FormatLocalTime(kUtc - 12s), "; next: who does not answer is named"));
}

TEST(WaitLineTest, NamesWhoDoesNotAnswerAndWhenItGoesOnByItself) {
  Waiting waiting = Merging();
  waiting.silent = {NodeName{"b"}, NodeName{"c"}};
  waiting.until = kNow + 3200ms;
  EXPECT_EQ(WaitLine(waiting, kNow, kUtc),
            StrCat("round 3 is being merged, leader a, 1 of 3 have voted; waiting for b, c "
                   "(without an answer: b, c), since ",
                   FormatLocalTime(kUtc - 12s), "; next: who does not answer is named, in 4 s"));
}

TEST(WaitLineTest, AMomentThatIsPastIsNotNamed) {
  Waiting waiting = Merging();
  waiting.until = kNow;
  EXPECT_EQ(WaitLine(waiting, kNow, kUtc), WaitLine(Merging(), kNow, kUtc));
}

}  // namespace
}  // namespace starling
