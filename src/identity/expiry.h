// When a certificate's end is near enough to be talked about. Decided by times alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "identity/svid.h"

namespace starling {

// Less than 30 days are left; of a certificate that lives less than 60 days altogether (a program
// renews those): less than a tenth of its life.
[[nodiscard]] bool EndsSoon(UtcTime not_before, UtcTime not_after, UtcTime at);
// A line for each certificate of our chain that ends soon or has ended, and for each trust domain
// whose last CA does (older ones are expected to end).
[[nodiscard]] std::vector<std::string> ExpiryWarnings(const IdentityState& state, UtcTime at);

// Says the same warnings once a day, and at once when there are others. One thread.
class ExpiryReminder {
 public:
  [[nodiscard]] std::vector<std::string> Due(const IdentityState& state, UtcTime now);

 private:
  std::optional<UtcTime> said_;
  std::vector<UtcTime> of_;  // the ends that were talked about
};

}  // namespace starling
