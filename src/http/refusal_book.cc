#include "http/refusal_book.h"

#include <utility>

#include "base/text.h"
#include "http/socket.h"

namespace starling {

void RefusalBook::Refuse(const std::string& address, const std::string& code, std::string_view why,
                         LogLevel level) {
  const Moment now = MomentNow();
  std::uint64_t unlogged = 0;
  {
    const std::scoped_lock lock(mutex_);
    Refusals& refusals = refused_[code];
    const bool first = refusals.count++ == 0;
    if (!first && now - refusals.logged_at < log_every_) {
      ++refusals.unlogged;
      return;
    }
    refusals.logged_at = now;
    unlogged = std::exchange(refusals.unlogged, 0);
  }
  const std::string more =
      unlogged > 0 ? StrCat(" (and ", unlogged, " more since the last such line)") : "";
  log_.Say(level, "refused {}{}: {}: {}{}", whom_, address, code, why, more);
}

RefusalCounts RefusalBook::counts() const {
  const std::scoped_lock lock(mutex_);
  RefusalCounts counts;
  for (const auto& [code, refusals] : refused_) counts[code] = refusals.count;
  return counts;
}

}  // namespace starling
