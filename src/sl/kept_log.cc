#include "sl/kept_log.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace starling {

void KeptLog::Add(std::span<const LedgerRecord> records) {
  kept_.With([&](Kept& kept) {
    for (const LedgerRecord& record : records) {
      CHECK(record.position == kept.end.position + 1);
      kept.records.push_back(record);
      kept.bytes += record.entry.size();
      kept.end = {record.position, record.head};
    }
    while (kept.bytes > bytes_max_) {
      kept.bytes -= kept.records.front().entry.size();
      kept.records.pop_front();
    }
  });
}

Result<LedgerPage> KeptLog::Page(std::int64_t from) const {
  return kept_.With([&](const Kept& kept) -> Result<LedgerPage> {
    LedgerPage page{kept.end, kept.end, {}};
    const std::int64_t first =
        kept.end.position + 1 - static_cast<std::int64_t>(kept.records.size());
    if (from > kept.end.position) return page;
    if (from < first)
      return absl::NotFoundError(StrCat("entries before position ", first, " are kept no more"));
    std::size_t bytes = 0;
    for (auto i = static_cast<std::size_t>(from - first);
         i < kept.records.size() && page.records.size() < kPageEntriesMax; ++i) {
      bytes += kept.records[i].entry.size();
      if (!page.records.empty() && bytes > kPageBytesMax) break;
      page.records.push_back(kept.records[i]);
    }
    return page;
  });
}

std::optional<Digest> KeptLog::HeadAt(std::int64_t position) const {
  return kept_.With([&](const Kept& kept) -> std::optional<Digest> {
    const std::int64_t back = kept.end.position - position;
    if (back < 0 || back >= static_cast<std::int64_t>(kept.records.size())) return std::nullopt;
    return kept.records[kept.records.size() - 1 - static_cast<std::size_t>(back)].head;
  });
}

}  // namespace starling
