#include "base/time_text.h"

#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(ParseSpanTest, TakesSecondsAndUnits) {
  EXPECT_EQ(ParseSpan("30"), 30s);
  EXPECT_EQ(ParseSpan("500ms"), 500ms);
  EXPECT_EQ(ParseSpan("10M"), std::chrono::minutes(10));
  EXPECT_EQ(ParseSpan("1h"), std::chrono::hours(1));
  for (const char* bad : {"", "s", "-1s", "1d", "1 s", "1.5s", "8761h", "99999999999999999999s"})
    EXPECT_FALSE(ParseSpan(bad).has_value()) << bad;
}

TEST(ParseUtcTest, ReadsWhatFormatUtcWrites) {
  for (const std::int64_t unix_ms : {0LL, 1'700'000'000'123LL, 4'102'444'799'999LL}) {
    const UtcTime time = FromUnixMs(unix_ms);
    EXPECT_EQ(ParseUtc(FormatUtc(time)), time);
  }
  for (const char* bad :
       {"", "2026-11-24T10:31:07Z", "2026-02-30T10:31:07.123Z", "2026-11-24T24:00:00.000Z",
        "2026-11-24 10:31:07.123Z", "2026-1 -24T10:31:07.123Z", "2026-11-24T10:31:07.123+"})
    EXPECT_FALSE(ParseUtc(bad).has_value()) << bad;
}

}  // namespace
}  // namespace starling
