#include "base/starting.h"

namespace starling {

bool IsAway(const Status& failure) {
  return absl::IsUnavailable(failure) || absl::IsDeadlineExceeded(failure);
}

bool IsStillStarting(const Status& failure, Duration age) {
  return age < kStartTogether && IsAway(failure);
}

}  // namespace starling
