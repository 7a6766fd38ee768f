#include "sl/kept_log.h"

#include "base/clock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

std::vector<LedgerRecord> Records(int count, std::size_t bytes) {
  const ManualClock clock;
  const auto ledger = MakeMemoryLedger(clock);
  for (int i = 0; i < count; ++i) {
    EXPECT_TRUE(ledger->Append(std::vector<std::string>{std::string(bytes, 'a')}).ok());
  }
  return ledger->Read(0, {}).value();
}

TEST(KeptLogTest, GivesPagesOfWhatItHasSeen) {
  const std::vector<LedgerRecord> records = Records(3, 10);
  KeptLog log;
  EXPECT_EQ(log.Page(0)->end.position, -1);

  log.Add(std::span(records).first(2));
  log.Add(std::span(records).subspan(2));

  ASSERT_EQ(log.Page(1)->records.size(), 2U);
  EXPECT_EQ(log.Page(1)->records[0].head, records[1].head);
  EXPECT_EQ(log.Page(0)->end.head, records[2].head);
  EXPECT_TRUE(log.Page(3)->records.empty());
  EXPECT_TRUE(ParseLedgerPage(LedgerPageJson(*log.Page(1)), 1).ok());
}

TEST(KeptLogTest, TheOldestEntriesGoWhenItIsFull) {
  const std::vector<LedgerRecord> records = Records(5, 100);
  KeptLog log(250);

  log.Add(records);

  EXPECT_TRUE(absl::IsNotFound(log.Page(2).status()));
  EXPECT_EQ(log.Page(3)->records.size(), 2U);
  EXPECT_EQ(log.HeadAt(3), records[3].head);
  EXPECT_EQ(log.HeadAt(2), std::nullopt);
  EXPECT_EQ(log.HeadAt(5), std::nullopt);
}

TEST(KeptLogTest, APageHasItsLimits) {
  const std::vector<LedgerRecord> records = Records(20, std::size_t{80} << 10);
  KeptLog log;
  log.Add(records);
  EXPECT_EQ(log.Page(0)->records.size(), kPageBytesMax / (std::size_t{80} << 10));
}

}  // namespace
}  // namespace starling
