// Text: StrCat and StrAppend over std::string_view. Debian's absl is built with its own
// string_view, which does not convert from the standard one, so absl::StrCat cannot take ours. Any
// thread.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"
#include "fmt/format.h"

namespace starling {
namespace text_internal {

inline void Append(std::string& out, std::string_view piece) { out.append(piece); }
inline void Append(std::string& out, absl::string_view piece) {
  out.append(piece.data(), piece.size());
}
inline void Append(std::string& out, const char* piece) { out.append(piece); }
inline void Append(std::string& out, const std::string& piece) { out.append(piece); }
inline void Append(std::string& out, char piece) { out.push_back(piece); }
template <typename T>
  requires(std::integral<T> || std::floating_point<T>)
void Append(std::string& out, T number) {
  fmt::format_to(std::back_inserter(out), "{}", number);
}

}  // namespace text_internal

template <typename... A>
void StrAppend(std::string* out, const A&... pieces) {
  (text_internal::Append(*out, pieces), ...);
}

template <typename... A>
[[nodiscard]] std::string StrCat(const A&... pieces) {
  std::string out;
  StrAppend(&out, pieces...);
  return out;
}

// For the two places where absl wants its own view.
[[nodiscard]] inline absl::string_view AbslView(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace starling
