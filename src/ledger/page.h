// LedgerPage: a piece of a log as nodes show it to each other (`GET /v1/entries`,
// docs/formats/http.md). Written and parsed here, strictly: what an answer holds is in order and
// tied head to head; only whether its first record follows the reader's own log is the reader's to
// check. Values; any thread.
#pragma once

#include <span>
#include <vector>

#include "crypto/json.h"
#include "ledger/ledger.h"

namespace starling {

inline constexpr std::size_t kPageEntriesMax = kCopyEntriesMax;
inline constexpr std::size_t kPageBytesMax = std::size_t{1} << 20;  // of entry text
// Of the answer: its entries, one that is larger than a page, and the JSON around them.
inline constexpr std::size_t kPageAnswerBytesMax = std::size_t{2} << 20;

struct LedgerPage {
  LedgerEnd end;        // of the log that was asked
  LedgerEnd final_end;  // at or before `end`
  std::vector<LedgerRecord> records;
};

[[nodiscard]] Json LedgerEndJson(const LedgerEnd& end);  // {"position","head"}
[[nodiscard]] Json LedgerPageJson(const LedgerPage& page);
// The answer to a question for records from position `from` on. The error's code is bad-answer.
[[nodiscard]] Result<LedgerPage> ParseLedgerPage(const Json& answer, std::int64_t from);

}  // namespace starling
