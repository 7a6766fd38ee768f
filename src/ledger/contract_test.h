// The contract of Ledger as tests, run over every implementation. A home is a type with
//   std::unique_ptr<Ledger> Open(const Clock& clock);   // empty, new each time; the home outlives
//   it
// and says INSTANTIATE_TYPED_TEST_SUITE_P(Name, LedgerContract, Home).
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "crypto/running_head.h"
#include "gtest/gtest.h"
#include "ledger/ledger.h"
#include "ledger/limits.h"

namespace starling {

template <typename Home>
class LedgerContract : public ::testing::Test {
 protected:
  void SetUp() override { ledger_ = home_.Open(clock_); }
  LedgerEnd Append(const std::vector<std::string>& entries) {
    const Result<LedgerEnd> first = ledger_->Append(entries);
    EXPECT_TRUE(first.ok()) << first.status();
    return first.value_or(LedgerEnd{});
  }
  std::vector<LedgerRecord> Read(std::int64_t from, const LedgerReadOptions& options = {}) {
    const auto records = ledger_->Read(from, options);
    EXPECT_TRUE(records.ok()) << records.status();
    return records.value_or(std::vector<LedgerRecord>{});
  }
  std::string Texts(std::int64_t from, const LedgerReadOptions& options = {}) {
    std::string texts;
    for (const LedgerRecord& record : Read(from, options)) texts += record.entry + " ";
    return texts;
  }

  ManualClock clock_;
  Home home_;
  std::unique_ptr<Ledger> ledger_;
};
TYPED_TEST_SUITE_P(LedgerContract);

TYPED_TEST_P(LedgerContract, BeginsEmpty) {
  EXPECT_EQ(this->ledger_->End().position, -1);
  EXPECT_EQ(this->ledger_->End().head, Digest{});
  EXPECT_EQ(this->ledger_->Final().position, -1);
  EXPECT_TRUE(this->Read(0).empty());
}

TYPED_TEST_P(LedgerContract, GivesBackWhatWasAppendedInOrder) {
  EXPECT_EQ(this->Append({"a"}).position, 0);
  EXPECT_EQ(this->Append({"b", "c"}).position, 1);
  const std::vector<LedgerRecord> records = this->Read(0);
  ASSERT_EQ(records.size(), 3U);
  Digest head{};
  for (std::size_t i = 0; i < 3; ++i) {
    head = NextHead(head, std::string(1, static_cast<char>('a' + i)));
    EXPECT_EQ(records[i].position, static_cast<std::int64_t>(i));
    EXPECT_EQ(records[i].entry, std::string(1, static_cast<char>('a' + i)));
    EXPECT_EQ(records[i].head, head);
  }
  EXPECT_EQ(this->ledger_->End().position, 2);
  EXPECT_EQ(this->ledger_->End().head, head);
  EXPECT_EQ(this->ledger_->Final().head, head);
}

TYPED_TEST_P(LedgerContract, EntriesAreOpaqueBytes) {
  const std::string odd("\0\xff'\"; DROP TABLE entries", 24);
  this->Append({odd});
  EXPECT_EQ(this->Read(0)[0].entry, odd);
}

TYPED_TEST_P(LedgerContract, ReadsFromAnyPosition) {
  this->Append({"a", "b", "c"});
  EXPECT_EQ(this->Texts(1), "b c ");
  EXPECT_EQ(this->Texts(3), "");
  EXPECT_EQ(this->Texts(1000), "");
  EXPECT_FALSE(this->ledger_->Read(-1, {}).ok());
}

TYPED_TEST_P(LedgerContract, ReadsAreBounded) {
  this->Append({"aaaa", "bbbb", "cccc"});
  EXPECT_EQ(this->Texts(0, {.entries_max = 2}), "aaaa bbbb ");
  EXPECT_EQ(this->Texts(0, {.bytes_max = 8}), "aaaa bbbb ");
  EXPECT_EQ(this->Texts(0, {.bytes_max = 7}), "aaaa ");
  // One at least, or a reader would never get past a large one.
  EXPECT_EQ(this->Texts(1, {.bytes_max = 1}), "bbbb ");
}

TYPED_TEST_P(LedgerContract, WhatIsOverTheLimitsIsRefusedWhole) {
  EXPECT_FALSE(this->ledger_->Append({}).ok());
  EXPECT_FALSE(this->ledger_->Append(std::vector<std::string>{"a", ""}).ok());
  const std::string largest(kEntryTextMax, 'x');
  EXPECT_FALSE(this->ledger_->Append(std::vector<std::string>{"a", largest + "x"}).ok());
  const std::string half(kAppendBytesMax / 2, 'x');
  EXPECT_FALSE(this->ledger_->Append(std::vector<std::string>{half, half, "x"}).ok());
  EXPECT_EQ(this->ledger_->End().position, -1);
  EXPECT_EQ(this->Append({largest}).position, 0);
  EXPECT_EQ(this->Append({half, half}).position, 1);
}

TYPED_TEST_P(LedgerContract, StampsTimesThatNeverDecrease) {
  const std::int64_t begin = UnixMs(this->clock_.UtcNow());
  this->Append({"a"});
  this->clock_.Advance(5ms);
  this->Append({"b", "c"});
  this->clock_.SetUtc(this->clock_.UtcNow() - std::chrono::hours(1));
  this->Append({"d"});
  const std::vector<LedgerRecord> records = this->Read(0);
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0].time_unix_ms, begin);
  EXPECT_EQ(records[1].time_unix_ms, begin + 5);
  EXPECT_EQ(records[2].time_unix_ms, begin + 5);
  EXPECT_EQ(records[3].time_unix_ms, begin + 5);
}

TYPED_TEST_P(LedgerContract, AWaitEndsWithTheAppendThatItWaitsFor) {
  std::jthread appender([&] {
    this->Append({"a"});
    this->Append({"b"});
  });
  EXPECT_TRUE(this->ledger_->WaitFor(1, std::chrono::minutes(5), {}));
  EXPECT_EQ(this->Texts(0), "a b ");
  EXPECT_TRUE(this->ledger_->WaitFor(-1, 0s, {}));
}

TYPED_TEST_P(LedgerContract, AWaitEndsAtItsDeadline) {
  this->Append({"a"});
  EXPECT_TRUE(this->ledger_->WaitFor(0, 0s, {}));
  EXPECT_FALSE(this->ledger_->WaitFor(1, 0s, {}));
  EXPECT_FALSE(this->ledger_->WaitFor(1, 1ms, {}));
}

TYPED_TEST_P(LedgerContract, AWaitEndsWhenItIsStopped) {
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_FALSE(this->ledger_->WaitFor(0, std::chrono::minutes(5), stop.get_token()));
}

TYPED_TEST_P(LedgerContract, AppendsOfManyThreadsFormOneChain) {
  constexpr int kThreads = 4;
  constexpr int kAppends = 10;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < kAppends; ++i) {
          const std::string name = std::to_string(thread) + "-" + std::to_string(i);
          this->Append({name + "/1", name + "/2"});
          EXPECT_FALSE(this->Read(0).empty());
        }
      });
    }
  }
  Digest head{};
  const std::vector<LedgerRecord> records = this->Read(0);
  ASSERT_EQ(records.size(), static_cast<std::size_t>(2 * kThreads * kAppends));
  for (std::size_t i = 0; i < records.size(); ++i) {
    head = NextHead(head, records[i].entry);
    EXPECT_EQ(records[i].head, head);
    EXPECT_TRUE(records[i].entry.ends_with(i % 2 == 0 ? "/1" : "/2"));
    if (i % 2 == 1) {  // Both entries of an append stand together.
      EXPECT_EQ(records[i].entry.substr(0, 3), records[i - 1].entry.substr(0, 3));
    }
  }
  EXPECT_EQ(this->ledger_->End().head, head);
}

TYPED_TEST_P(LedgerContract, CopiesRecordsWithTheirTimes) {
  const auto other = MakeMemoryLedger(this->clock_);
  this->clock_.Advance(5s);
  ASSERT_TRUE(other->Append(std::vector<std::string>{"a", "b"}).ok());
  this->clock_.Advance(5s);
  ASSERT_TRUE(other->Append(std::vector<std::string>{"c"}).ok());
  const std::vector<LedgerRecord> records = other->Read(0, {}).value();
  this->clock_.Advance(5s);

  ASSERT_TRUE(this->ledger_->Copy(std::span(records).first(1)).ok());
  ASSERT_TRUE(this->ledger_->Copy(std::span(records).subspan(1)).ok());

  EXPECT_EQ(this->ledger_->End().head, other->End().head);
  const std::vector<LedgerRecord> copied = this->Read(0);
  ASSERT_EQ(copied.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(copied[i].time_unix_ms, records[i].time_unix_ms);
    EXPECT_EQ(copied[i].entry, records[i].entry);
  }
  EXPECT_EQ(this->Append({"d"}).position, 3);
}

TYPED_TEST_P(LedgerContract, CopiesNothingThatDoesNotFollow) {
  this->Append({"a"});
  const auto other = MakeMemoryLedger(this->clock_);
  ASSERT_TRUE(other->Append(std::vector<std::string>{"a", "b", "c"}).ok());
  const std::vector<LedgerRecord> good = other->Read(1, {}).value();
  const auto refuses = [this](std::vector<LedgerRecord> records) {
    EXPECT_EQ(this->ledger_->Copy(records).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(this->ledger_->End().position, 0);
  };

  refuses({});
  refuses({good[1]});
  refuses({good[0], good[0]});
  std::vector<LedgerRecord> records = good;
  records[1].head = {};
  refuses(records);
  records = good;
  records[1].time_unix_ms = records[0].time_unix_ms - 1;
  refuses(records);
  records = good;
  records[0].entry = std::string(kEntryTextMax + 1, 'x');
  records[0].head = NextHead(this->ledger_->End().head, records[0].entry);
  refuses(records);
  refuses(std::vector<LedgerRecord>(kCopyEntriesMax + 1, good[0]));
  EXPECT_TRUE(this->ledger_->Copy(good).ok());
}

REGISTER_TYPED_TEST_SUITE_P(LedgerContract, CopiesRecordsWithTheirTimes,
                            CopiesNothingThatDoesNotFollow, BeginsEmpty,
                            GivesBackWhatWasAppendedInOrder, EntriesAreOpaqueBytes,
                            ReadsFromAnyPosition, ReadsAreBounded,
                            WhatIsOverTheLimitsIsRefusedWhole, StampsTimesThatNeverDecrease,
                            AWaitEndsWithTheAppendThatItWaitsFor, AWaitEndsAtItsDeadline,
                            AWaitEndsWhenItIsStopped, AppendsOfManyThreadsFormOneChain);

}  // namespace starling
