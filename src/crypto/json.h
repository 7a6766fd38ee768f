// Strict JSON (I-JSON): UTF-8, no duplicate member, integers within ±(2^53 − 1), bounded size and
// depth; canonical form of RFC 8785 for values without fractions. Fields are taken out by typed
// getters that name the member in the error. Any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "nlohmann/json.hpp"

namespace starling {

using Json = nlohmann::json;  // Members sorted by bytes.

struct JsonLimits {
  std::size_t bytes_max = 64U << 10;
  int depth_max = 16;
};
[[nodiscard]] Result<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});
// RFC 8785 where members' names are ASCII, as ours are; CHECKs that no value is a fraction (ours
// never are where it matters).
[[nodiscard]] std::string CanonicalJson(const Json& value);
// One line, members sorted, fractions allowed. Bytes that are not UTF-8 come out as U+FFFD.
[[nodiscard]] std::string JsonText(const Json& value);

// Getters: `object` must be an object. A missing or mistyped member is InvalidArgument naming it.
[[nodiscard]] Result<std::string> GetString(const Json& object, std::string_view member,
                                            std::size_t bytes_max = 4096);
[[nodiscard]] Result<std::uint64_t> GetUint(const Json& object, std::string_view member);
[[nodiscard]] Result<double> GetNumber(const Json& object, std::string_view member);  // finite
[[nodiscard]] Result<bool> GetBool(const Json& object, std::string_view member);
[[nodiscard]] Result<const Json*> GetArray(const Json& object, std::string_view member,
                                           std::size_t items_max);
[[nodiscard]] Result<const Json*> GetObject(const Json& object, std::string_view member);
[[nodiscard]] bool Has(const Json& object, std::string_view member);  // present (null counts)
// Refuses members outside `known`.
[[nodiscard]] Status OnlyMembers(const Json& object, std::initializer_list<std::string_view> known);

}  // namespace starling
