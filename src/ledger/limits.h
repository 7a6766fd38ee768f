// What every home refuses, in one place. Private to src/ledger.
#pragma once

#include <span>
#include <string>

#include "base/limits.h"
#include "base/result.h"
#include "base/text.h"

namespace starling {

inline constexpr std::size_t kEntryTextMax = kEntryBytesMax / 3 * 4 + 1024;

inline Status CheckAppend(std::span<const std::string> entries) {
  if (entries.empty()) return absl::InvalidArgumentError("an append holds at least one entry");
  std::size_t bytes = 0;
  for (const std::string& entry : entries) {
    if (entry.empty() || entry.size() > kEntryTextMax)
      return absl::InvalidArgumentError(StrCat("an entry of ", entry.size(), " characters; 1 to ",
                                               kEntryTextMax, " are allowed"));
    bytes += entry.size();
  }
  if (bytes > kAppendBytesMax)
    return absl::InvalidArgumentError(
        StrCat("an append of ", bytes, " characters; at most ", kAppendBytesMax));
  return absl::OkStatus();
}

}  // namespace starling
