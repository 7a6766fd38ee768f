// Spans and points of time as people and files write them. Pure; any thread.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace starling {

// "30" (seconds), "500ms", "30s", "10m", "1h", in whatever case; at most a year.
[[nodiscard]] std::optional<Duration> ParseSpan(std::string_view text);
// As FormatUtc() writes: "2026-11-24T10:31:07.123Z".
[[nodiscard]] std::optional<UtcTime> ParseUtc(std::string_view text);

}  // namespace starling
