// Whether a failure to reach somebody may be no fault: nodes, and what they need, are started
// together, in any order, and any of them may be held up for a moment.
#pragma once

#include "base/clock.h"
#include "base/result.h"

namespace starling {

// That somebody is not there yet is said as information in the first minute.
inline constexpr Duration kStartTogether = std::chrono::seconds(60);

// Nothing is known but that no answer came.
[[nodiscard]] bool IsAway(const Status& failure);
// `age`: since the start of whoever asks.
[[nodiscard]] bool IsStillStarting(const Status& failure, Duration age);

}  // namespace starling
