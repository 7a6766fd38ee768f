// The fake: a log in memory, with the same rules as the real homes.
#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "crypto/running_head.h"
#include "ledger/ledger.h"
#include "ledger/limits.h"

namespace starling {
namespace {

class MemoryLedger final : public Ledger {
 public:
  explicit MemoryLedger(const Clock& clock) : clock_(clock) {}

  Result<LedgerEnd> Append(std::span<const std::string> entries) override {
    RETURN_IF_ERROR(CheckAppend(entries));
    const std::scoped_lock lock(mutex_);
    const LedgerEnd first{static_cast<std::int64_t>(records_.size()), {}};
    for (const std::string& entry : entries) {
      const Digest previous = records_.empty() ? Digest{} : records_.back().head;
      const std::int64_t before = records_.empty() ? 0 : records_.back().time_unix_ms;
      records_.push_back({static_cast<std::int64_t>(records_.size()),
                          std::max(before, UnixMs(clock_.UtcNow())), NextHead(previous, entry),
                          entry});
    }
    grown_.notify_all();
    return LedgerEnd{first.position, records_[static_cast<std::size_t>(first.position)].head};
  }

  Status Copy(std::span<const LedgerRecord> records) override {
    const std::scoped_lock lock(mutex_);
    const LedgerEnd end =
        records_.empty() ? LedgerEnd{} : LedgerEnd{records_.back().position, records_.back().head};
    RETURN_IF_ERROR(CheckCopy(end, records_.empty() ? 0 : records_.back().time_unix_ms, records));
    records_.insert(records_.end(), records.begin(), records.end());
    grown_.notify_all();
    return absl::OkStatus();
  }

  Result<std::vector<LedgerRecord>> Read(std::int64_t from,
                                         const LedgerReadOptions& options) const override {
    if (from < 0) return absl::InvalidArgumentError("a position is 0 or more");
    const std::scoped_lock lock(mutex_);
    std::vector<LedgerRecord> out;
    std::size_t bytes = 0;
    for (std::size_t i = static_cast<std::size_t>(from);
         i < records_.size() && out.size() < options.entries_max; ++i) {
      bytes += records_[i].entry.size();
      if (!out.empty() && bytes > options.bytes_max) break;
      out.push_back(records_[i]);
    }
    return out;
  }

  LedgerEnd End() const override {
    const std::scoped_lock lock(mutex_);
    return records_.empty() ? LedgerEnd{}
                            : LedgerEnd{records_.back().position, records_.back().head};
  }
  LedgerEnd Final() const override { return End(); }

  bool WaitFor(std::int64_t position, Duration deadline_in,
               const std::stop_token& stop) const override {
    std::unique_lock lock(mutex_);
    return grown_.wait_for(lock, stop, deadline_in,
                           [&] { return static_cast<std::int64_t>(records_.size()) > position; });
  }

 private:
  const Clock& clock_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any grown_;
  std::vector<LedgerRecord> records_;
};

}  // namespace

std::unique_ptr<Ledger> MakeMemoryLedger(const Clock& clock) {
  return std::make_unique<MemoryLedger>(clock);
}

}  // namespace starling
