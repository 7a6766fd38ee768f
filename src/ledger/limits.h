// What every home refuses, in one place. Private to src/ledger.
#pragma once

#include <span>
#include <string>

#include "base/limits.h"
#include "base/result.h"
#include "base/text.h"
#include "crypto/running_head.h"
#include "ledger/ledger.h"

namespace starling {

inline constexpr std::size_t kEntryTextMax = kEntryBytesMax / 3 * 4 + 1024;

inline Status CheckEntryText(const std::string& entry) {
  if (!entry.empty() && entry.size() <= kEntryTextMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("an entry of ", entry.size(), " characters; 1 to ", kEntryTextMax, " are allowed"));
}

inline Status CheckAppend(std::span<const std::string> entries) {
  if (entries.empty()) return absl::InvalidArgumentError("an append holds at least one entry");
  std::size_t bytes = 0;
  for (const std::string& entry : entries) {
    RETURN_IF_ERROR(CheckEntryText(entry));
    bytes += entry.size();
  }
  if (bytes > kAppendBytesMax)
    return absl::InvalidArgumentError(
        StrCat("an append of ", bytes, " characters; at most ", kAppendBytesMax));
  return absl::OkStatus();
}

// Do `records` follow a log that ends at `end`, whose newest time is `time_unix_ms`?
inline Status CheckCopy(LedgerEnd end, std::int64_t time_unix_ms,
                        std::span<const LedgerRecord> records) {
  if (records.empty() || records.size() > kCopyEntriesMax)
    return absl::InvalidArgumentError(
        StrCat(records.size(), " records at once; 1 to ", kCopyEntriesMax, " are allowed"));
  for (const LedgerRecord& record : records) {
    RETURN_IF_ERROR(CheckEntryText(record.entry));
    if (record.position != end.position + 1 || record.head != NextHead(end.head, record.entry))
      return absl::InvalidArgumentError(
          StrCat("record ", record.position, " does not follow position ", end.position));
    if (record.time_unix_ms < time_unix_ms)
      return absl::InvalidArgumentError(
          StrCat("record ", record.position, " is older than the one before it"));
    end = {record.position, record.head};
    time_unix_ms = record.time_unix_ms;
  }
  return absl::OkStatus();
}

}  // namespace starling
