// Whether a list of words holds one.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

namespace starling {

[[nodiscard]] inline bool IsIn(std::span<const std::string_view> list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

}  // namespace starling
