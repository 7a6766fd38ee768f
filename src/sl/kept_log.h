// KeptLog: the entries that this SL has read, for an SN that was restored from an old copy of the
// ledger and has lost its newest ones (docs/protocol.md, "Following SNs"). In memory; the oldest go
// when it is full. Any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>

#include "base/mailbox.h"
#include "ledger/page.h"

namespace starling {

class KeptLog {
 public:
  explicit KeptLog(std::size_t bytes_max = std::size_t{64} << 20) : bytes_max_(bytes_max) {}

  // What comes next in the log.
  void Add(std::span<const LedgerRecord> records);
  // From position `from` on, as much as a page holds. NotFound when those are kept no more.
  [[nodiscard]] Result<LedgerPage> Page(std::int64_t from) const;
  // The running head there, if it is kept.
  [[nodiscard]] std::optional<Digest> HeadAt(std::int64_t position) const;

 private:
  struct Kept {
    std::deque<LedgerRecord> records;
    std::size_t bytes = 0;
    LedgerEnd end;
  };
  const std::size_t bytes_max_;
  Guarded<Kept> kept_;
};

}  // namespace starling
