#include "ledger/page.h"

#include <functional>

#include "base/clock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

LedgerPage PageOf(const std::vector<std::string>& entries) {
  const ManualClock clock;
  const auto ledger = MakeMemoryLedger(clock);
  EXPECT_TRUE(ledger->Append(entries).ok());
  return {ledger->End(), ledger->Final(), ledger->Read(0, {}).value()};
}

TEST(LedgerPageTest, WhatIsWrittenIsRead) {
  const LedgerPage page = PageOf({"a", "b", "c"});

  const Result<LedgerPage> read = ParseLedgerPage(LedgerPageJson(page), 0);

  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->end.head, page.end.head);
  EXPECT_EQ(read->final_end.position, 2);
  ASSERT_EQ(read->records.size(), 3U);
  EXPECT_EQ(read->records[2].entry, "c");
  EXPECT_EQ(read->records[2].time_unix_ms, page.records[2].time_unix_ms);
}

TEST(LedgerPageTest, APageMayBeginAnywhereAndBeEmpty) {
  LedgerPage page = PageOf({"a", "b", "c"});
  page.records.erase(page.records.begin());
  EXPECT_TRUE(ParseLedgerPage(LedgerPageJson(page), 1).ok());
  EXPECT_FALSE(ParseLedgerPage(LedgerPageJson(page), 0).ok());
  page.records.clear();
  EXPECT_TRUE(ParseLedgerPage(LedgerPageJson(page), 3).ok());
  EXPECT_TRUE(ParseLedgerPage(LedgerPageJson(LedgerPage{}), 0).ok());
}

TEST(LedgerPageTest, WhatIsMalformedIsRefusedInOneLine) {
  const Json good = LedgerPageJson(PageOf({"a", "b", "c"}));
  const auto refused = [&](const std::function<void(Json&)>& change) {
    Json answer = good;
    change(answer);
    const Status status = ParseLedgerPage(answer, 0).status();
    EXPECT_EQ(StableCode(status), "bad-answer") << answer;
    EXPECT_EQ(std::string(status.message()).find('\n'), std::string::npos);
  };
  refused([](Json& j) { j = Json::array(); });
  refused([](Json& j) { j.erase("end"); });
  refused([](Json& j) { j.erase("final"); });
  refused([](Json& j) { j["end"]["position"] = -2; });
  refused([](Json& j) { j["end"]["position"] = 1e300; });
  refused([](Json& j) { j["end"]["position"] = 1; });
  refused([](Json& j) { j["end"]["head"] = "00"; });
  refused([](Json& j) { j["end"]["head"] = HexOf({}); });
  refused([](Json& j) { j["final"]["position"] = 3; });
  refused([](Json& j) { j["entries"] = 7; });
  refused([](Json& j) { j["entries"][1] = "b"; });
  refused([](Json& j) { j["entries"][1]["position"] = 2; });
  refused([](Json& j) { j["entries"][1]["head"] = HexOf({}); });
  refused([](Json& j) { j["entries"][1]["entry"] = "B\n"; });
  refused([](Json& j) { j["entries"][1]["entry"] = ""; });
  refused([](Json& j) { j["entries"][1]["entry"] = std::string(1U << 20, 'x'); });
  refused([](Json& j) { j["entries"][1]["time_unix_ms"] = 0; });
  refused([](Json& j) { j["entries"][1].erase("entry"); });
  refused([](Json& j) { j["entries"] = Json(Json::array_t(kPageEntriesMax + 1, "x")); });
}

}  // namespace
}  // namespace starling
