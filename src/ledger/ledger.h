// Ledger: an append-only log of entries (opaque text here), one home per implementation. One
// contract suite (ledger/contract_test.h) runs over every implementation. All methods are safe from
// any thread; appends are atomic and durable before they return.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "crypto/sha256.h"

namespace starling {

struct LedgerRecord {
  std::int64_t position = 0;
  std::int64_t time_unix_ms = 0;  // stamped by the home, never decreasing; replay never reads it
  Digest head;                    // running head after this entry
  std::string entry;
};

struct LedgerEnd {
  std::int64_t position = -1;  // of the newest entry; −1: empty
  Digest head{};
};

inline constexpr std::size_t kCopyEntriesMax = 1000;

struct LedgerReadOptions {
  std::size_t entries_max = kCopyEntriesMax;
  std::size_t bytes_max = std::size_t{4}
                          << 20;  // of entry text; at least one entry is returned when there is one
};

class Ledger {
 public:
  virtual ~Ledger() = default;
  // Atomic, in order, durable on return; answers the position of the first. Empty appends, entries
  // over the limits (kEntryTextMax, kAppendBytesMax) and a full or broken disk are errors, and then
  // nothing was appended.
  virtual Result<LedgerEnd> Append(std::span<const std::string> entries) = 0;
  // Records of another copy of this log, kept with their time stamps; atomic and durable as Append.
  // At most kCopyEntriesMax at once. What does not follow (position, running head, a time before
  // the one in front of it) is InvalidArgument, and then nothing was copied.
  virtual Status Copy(std::span<const LedgerRecord> records) = 0;
  // Whether an append could begin now: another process may hold a lock on the file
  // (FailedPrecondition, code ledger-locked). Waits for it as long as an append does.
  virtual Status CheckWritable() { return absl::OkStatus(); }
  // In order, from position `from` (≥ 0) on; none when the log ends before it.
  [[nodiscard]] virtual Result<std::vector<LedgerRecord>> Read(
      std::int64_t from, const LedgerReadOptions& options) const = 0;
  [[nodiscard]] virtual LedgerEnd End() const = 0;
  // Everything up to here stays (embedded: End()).
  [[nodiscard]] virtual LedgerEnd Final() const = 0;
  // Returns once End().position ≥ `position`, or `deadline_in` has passed, or `stop`: woken, not
  // polled.
  virtual bool WaitFor(std::int64_t position, Duration deadline_in,
                       const std::stop_token& stop) const = 0;
};

// In memory, for tests and the simulator.
std::unique_ptr<Ledger> MakeMemoryLedger(const Clock& clock);

// SQLite, WAL, synchronous=FULL. Opening checks the running head over all entries (a changed byte
// is named: "entry 17: …"). One process at a time: a locked file is FailedPrecondition naming the
// file.
Result<std::unique_ptr<Ledger>> OpenEmbeddedLedger(const std::string& path, const Clock& clock);

// For a copy whose original is elsewhere: the damaged file is put aside as "<path>.damaged" (an
// older one of that name goes), and a new ledger begins with the entries before the damage. Answers
// how many those are.
Result<std::int64_t> SalvageEmbeddedLedger(const std::string& path, const Clock& clock);

// The same file, read-only and without the open-time check: for `starling verify`, which reports on
// every entry itself. Row checksums cover the time stamps: the first record whose checksum, head or
// order is wrong is the error.
Result<std::vector<LedgerRecord>> ReadEmbeddedLedger(const std::string& path);

}  // namespace starling
