#include "ledger/embedded/embedded_ledger.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gtest/gtest.h"
#include "ledger/contract_test.h"
#include "sqlite3.h"

namespace starling {
namespace {

struct EmbeddedHome {
  std::unique_ptr<Ledger> Open(const Clock& clock) const {
    return OpenEmbeddedLedger(folder.File("ledger.db"), clock).value();
  }
  ScratchDirectory folder;
};
INSTANTIATE_TYPED_TEST_SUITE_P(Embedded, LedgerContract, EmbeddedHome);

class EmbeddedLedgerTest : public ::testing::Test {
 protected:
  void Open() {
    auto opened = OpenEmbeddedLedger(path_, clock_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    ledger_ = *std::move(opened);
  }
  // Ten entries, closed again.
  void Fill() {
    Open();
    for (int i = 0; i < 10; ++i) {
      clock_.Advance(1s);
      ASSERT_TRUE(ledger_->Append(std::vector<std::string>{Entry(i)}).ok());
    }
    ledger_.reset();
  }
  static std::string Entry(int i) { return "entry number " + std::to_string(i) + " of the test"; }
  void Sql(const std::string& sql) {
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &raw), SQLITE_OK);
    const Owned<sqlite3, &sqlite3_close> connection(raw);
    ASSERT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(raw);
  }
  // What opening and reading say; both must say the same.
  std::string Problem() {
    const Status opened = OpenEmbeddedLedger(path_, clock_).status();
    const Status read = ReadEmbeddedLedger(path_).status();
    EXPECT_EQ(std::string(opened.message()), std::string(read.message()));
    EXPECT_TRUE(opened.ok() || absl::IsDataLoss(opened)) << opened;
    return std::string(opened.message());
  }

  ScratchDirectory folder_;
  const std::string path_ = folder_.File("ledger.db");
  ManualClock clock_;
  std::unique_ptr<Ledger> ledger_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(EmbeddedLedgerTest, KeepsEverythingWhenItIsOpenedAgain) {
  Fill();
  Open();
  EXPECT_EQ(ledger_->End().position, 9);
  const auto records = ledger_->Read(0, {});
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 10U);
  EXPECT_EQ((*records)[7].entry, Entry(7));
  EXPECT_EQ((*records)[9].head, ledger_->End().head);
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"more"}).ok());
  EXPECT_EQ(ledger_->End().head, NextHead((*records)[9].head, "more"));
}

TEST_F(EmbeddedLedgerTest, TimesDoNotDecreaseOverARestart) {
  Fill();
  clock_.SetUtc(clock_.UtcNow() - std::chrono::hours(1));
  Open();
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"more"}).ok());
  const auto records = ledger_->Read(9, {});
  EXPECT_EQ(records->at(1).time_unix_ms, records->at(0).time_unix_ms);
}

// One row of the example as the document writes it.
std::string RowText(sqlite3_stmt* row) {
  const auto blob = [&](int column) {
    return ByteSpan(static_cast<const std::byte*>(sqlite3_column_blob(row, column)),
                    static_cast<std::size_t>(sqlite3_column_bytes(row, column)));
  };
  return "| " + std::to_string(sqlite3_column_int64(row, 0)) + " | " +
         std::to_string(sqlite3_column_int64(row, 1)) + " | `" + ToString(blob(3)) + "` | `" +
         HexEncode(blob(2)) + "` | `" + HexEncode(blob(4)) + "` |\n";
}

TEST_F(EmbeddedLedgerTest, WritesTheExampleOfTheFormatDocument) {
  Open();
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"first"}).ok());
  clock_.Advance(1ms);
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"second"}).ok());
  ledger_.reset();
  const auto document =
      ReadFile("docs/formats/ledger.md");  // tests run in the root of the checkout
  ASSERT_TRUE(document.ok()) << document.status();
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &raw), SQLITE_OK);
  const Owned<sqlite3, &sqlite3_close> connection(raw);
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(
      sqlite3_prepare_v2(raw, "SELECT * FROM entries ORDER BY position", -1, &statement, nullptr),
      SQLITE_OK);
  const Owned<sqlite3_stmt, &sqlite3_finalize> owned(statement);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
    EXPECT_HAS(*document, RowText(statement));
  }
}

// What a kill leaves behind: the files as they stand while the ledger is open.
TEST_F(EmbeddedLedgerTest, AnAppendIsOnTheDiskWhenItReturns) {
  Fill();
  Open();
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"a", "b"}).ok());
  const ScratchDirectory copy;
  for (const char* name : {"ledger.db", "ledger.db-wal"}) {
    std::filesystem::copy_file(folder_.File(name), copy.File(name));
  }
  const auto after = OpenEmbeddedLedger(copy.File("ledger.db"), clock_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ((*after)->End().head, ledger_->End().head);
}

TEST_F(EmbeddedLedgerTest, ATornWriteAheadLogLosesOnlyWhatWasNotDone) {
  Fill();
  Open();
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"a"}).ok());
  const Digest before = ledger_->End().head;
  const auto size = std::filesystem::file_size(folder_.File("ledger.db-wal"));
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"b", "c"}).ok());
  const ScratchDirectory copy;
  std::filesystem::copy_file(path_, copy.File("ledger.db"));
  std::filesystem::copy_file(folder_.File("ledger.db-wal"), copy.File("ledger.db-wal"));
  std::filesystem::resize_file(copy.File("ledger.db-wal"), size + 100);
  const auto after = OpenEmbeddedLedger(copy.File("ledger.db"), clock_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ((*after)->End().position, 10);
  EXPECT_EQ((*after)->End().head, before);
}

TEST_F(EmbeddedLedgerTest, ASecondOpenIsRefusedAndNamesTheFile) {
  Open();
  const auto second = OpenEmbeddedLedger(path_, clock_);
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_EQ(StableCode(second.status()), "ledger-locked");
  EXPECT_HAS(std::string(second.status().message()), path_);
  ledger_.reset();
  EXPECT_TRUE(OpenEmbeddedLedger(path_, clock_).ok());
}

TEST_F(EmbeddedLedgerTest, AFileThatCannotBeMadeIsNamed) {
  const auto opened = OpenEmbeddedLedger(folder_.File("nowhere/ledger.db"), clock_);
  ASSERT_FALSE(opened.ok());
  EXPECT_HAS(std::string(opened.status().message()), "nowhere/ledger.db");
}

TEST_F(EmbeddedLedgerTest, AFileThatIsNoDatabaseIsRefused) {
  ASSERT_TRUE(WriteFileDurably(path_, std::string(10'000, 'x')).ok());
  EXPECT_FALSE(OpenEmbeddedLedger(path_, clock_).ok());
  EXPECT_FALSE(ReadEmbeddedLedger(path_).ok());
}

TEST_F(EmbeddedLedgerTest, AnotherFormatIsRefused) {
  Fill();
  Sql("UPDATE meta SET format = 2");
  EXPECT_EQ(StableCode(OpenEmbeddedLedger(path_, clock_).status()), "ledger-format");
  EXPECT_EQ(StableCode(ReadEmbeddedLedger(path_).status()), "ledger-format");
}

TEST_F(EmbeddedLedgerTest, AFullDiskAppendsNothingAndEndsNothing) {
  auto opened = OpenEmbeddedLedger(path_, clock_, {.pages_max = 20});
  ASSERT_TRUE(opened.ok()) << opened.status();
  ledger_ = *std::move(opened);
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"small"}).ok());
  const LedgerEnd before = ledger_->End();
  const Status full =
      ledger_->Append(std::vector<std::string>{"fits", std::string(80'000, 'x')}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_EQ(StableCode(full), "disk-full");
  EXPECT_EQ(ledger_->End().head, before.head);
  EXPECT_EQ(ledger_->Read(0, {})->size(), 1U);
  // What fits is still taken.
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"fits"}).ok());
  ledger_.reset();
  EXPECT_EQ(Problem(), "");
}

TEST_F(EmbeddedLedgerTest, AnAlteredEntryIsNamed) {
  Fill();
  Sql("UPDATE entries SET entry = CAST('entry number 3 of the tesT' AS BLOB) WHERE position = 3");
  EXPECT_HAS(Problem(), "entry 3:");
}

TEST_F(EmbeddedLedgerTest, AnyChangedByteOfAnEntryInTheFileIsNamed) {
  Fill();
  const std::string whole = ReadFile(path_).value();
  const std::string entry = Entry(6);
  const std::size_t at = whole.find(entry);
  ASSERT_NE(at, std::string::npos);
  for (std::size_t i = 0; i < entry.size(); ++i) {
    std::string changed = whole;
    changed[at + i] = static_cast<char>(changed[at + i] ^ 1);
    ASSERT_TRUE(WriteFileDurably(path_, changed).ok());
    EXPECT_HAS(Problem(), "entry 6:");
  }
}

TEST_F(EmbeddedLedgerTest, AnAlteredHeadTimeOrChecksumIsNamed) {
  for (const char* column : {"head", "checksum"}) {
    Fill();
    Sql(std::string("UPDATE entries SET ") + column + " = zeroblob(32) WHERE position = 4");
    EXPECT_HAS(Problem(), "entry 4:") << column;
    std::filesystem::remove(path_);
  }
  for (const char* change : {"+ 1", "- 1", "+ 100000", "* 2"}) {
    Fill();
    Sql(std::string("UPDATE entries SET time_unix_ms = time_unix_ms ") + change +
        " WHERE position = 4");
    EXPECT_HAS(Problem(), "entry 4:") << change;
    std::filesystem::remove(path_);
  }
}

// Whoever can alter an entry can also compute its new head: then the next entry does not follow.
TEST_F(EmbeddedLedgerTest, AnEntryAlteredTogetherWithItsHeadShowsInTheChecksum) {
  Fill();
  const auto records = ReadEmbeddedLedger(path_);
  ASSERT_TRUE(records.ok());
  const Digest forged = NextHead((*records)[4].head, "forged");
  Sql("UPDATE entries SET entry = CAST('forged' AS BLOB), head = x'" + HexOf(forged) +
      "' WHERE position = 5");
  EXPECT_HAS(Problem(), "entry 5:");
}

TEST_F(EmbeddedLedgerTest, AMissingOrMovedEntryIsNamed) {
  Fill();
  Sql("DELETE FROM entries WHERE position = 5");
  EXPECT_HAS(Problem(), "entry 5:");
  std::filesystem::remove(path_);
  Fill();
  Sql("UPDATE entries SET position = position - 1");
  EXPECT_HAS(Problem(), "entry 0:");
}

TEST_F(EmbeddedLedgerTest, ARowOfAnotherShapeIsNamed) {
  for (const char* change : {"head = 'text'", "head = x'00'", "checksum = 7", "entry = x''"}) {
    Fill();
    Sql(std::string("UPDATE entries SET ") + change + " WHERE position = 8");
    EXPECT_HAS(Problem(), "entry 8:") << change;
    std::filesystem::remove(path_);
  }
}

TEST_F(EmbeddedLedgerTest, ALockOfAnotherProgramIsNamedAndPasses) {
  Fill();
  auto ledger = OpenEmbeddedLedger(path_, clock_);
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  EXPECT_EQ((*ledger)->CheckWritable(), absl::OkStatus());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);
  const Status locked = (*ledger)->CheckWritable();
  EXPECT_EQ(StableCode(locked), "ledger-locked");
  EXPECT_HAS(std::string(locked.message()), "another process holds a lock");
  EXPECT_HAS(NextStep(locked), "fuser");
  EXPECT_EQ(StableCode((*ledger)->Append(std::vector<std::string>{"x"}).status()), "ledger-locked");
  ASSERT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_EQ((*ledger)->CheckWritable(), absl::OkStatus());
}

TEST_F(EmbeddedLedgerTest, WhatIsBeforeTheDamageIsSalvaged) {
  Fill();
  const auto before = ReadEmbeddedLedger(path_);
  ASSERT_TRUE(before.ok());
  Sql("UPDATE entries SET entry = CAST('forged' AS BLOB) WHERE position = 6");

  EXPECT_EQ(SalvageEmbeddedLedger(path_, clock_).value_or(-1), 6);

  Open();
  EXPECT_EQ(ledger_->End().position, 5);
  EXPECT_EQ(ledger_->End().head, (*before)[5].head);
  EXPECT_EQ(ledger_->Read(5, {})->front().time_unix_ms, (*before)[5].time_unix_ms);
  EXPECT_HAS(std::string(ReadEmbeddedLedger(path_ + ".damaged").status().message()), "entry 6:");
}

TEST_F(EmbeddedLedgerTest, WhatIsNoLedgerAtAllIsPutAside) {
  ASSERT_TRUE(WriteFileDurably(path_, "no ledger at all, but long enough to look at").ok());
  EXPECT_TRUE(absl::IsDataLoss(OpenEmbeddedLedger(path_, clock_).status()));

  EXPECT_EQ(SalvageEmbeddedLedger(path_, clock_).value_or(-1), 0);

  Open();
  EXPECT_EQ(ledger_->End().position, -1);
  EXPECT_TRUE(std::filesystem::exists(path_ + ".damaged"));
}

TEST_F(EmbeddedLedgerTest, ALedgerInUseCanBeRead) {
  Fill();
  Open();
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"newest"}).ok());
  const auto records = ReadEmbeddedLedger(path_);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->back().entry, "newest");
  ASSERT_TRUE(ledger_->Append(std::vector<std::string>{"after"}).ok());
}

TEST_F(EmbeddedLedgerTest, ReadingNeitherMakesNorChangesAnything) {
  EXPECT_TRUE(absl::IsNotFound(ReadEmbeddedLedger(path_).status()));
  EXPECT_FALSE(std::filesystem::exists(path_));
  Fill();
  const std::string before = ReadFile(path_).value();
  ASSERT_TRUE(ReadEmbeddedLedger(path_).ok());
  EXPECT_TRUE(ReadFile(path_).value() == before);
}

}  // namespace
}  // namespace starling
