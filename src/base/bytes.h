// Bytes: spans for borrowing, Slice for keeping; hex, base64url and big-endian at the edges. Any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace starling {

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;
using MutableByteSpan = std::span<std::byte>;

// Read-only bytes that keep their owner alive; safe to store and to pass between threads.
struct Slice {
  ByteSpan bytes;
  std::shared_ptr<const void> keep;
};

// Bytes [begin, end) of something larger.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

[[nodiscard]] ByteSpan AsBytes(std::string_view text);
[[nodiscard]] std::string_view AsText(ByteSpan bytes);
[[nodiscard]] std::string ToString(ByteSpan bytes);

[[nodiscard]] std::string HexEncode(ByteSpan bytes);           // lower case
[[nodiscard]] Result<Bytes> HexDecode(std::string_view text);  // lower case only

// RFC 4648 section 5 without padding; decoding refuses padding, other characters and non-zero
// trailing bits.
[[nodiscard]] std::string Base64UrlEncode(ByteSpan bytes);
[[nodiscard]] Result<Bytes> Base64UrlDecode(std::string_view text);

void AppendU32(std::uint32_t value, Bytes& out);  // big-endian
void AppendU64(std::uint64_t value, Bytes& out);
[[nodiscard]] std::uint32_t ReadU32(ByteSpan four);  // CHECKs the size
[[nodiscard]] std::uint64_t ReadU64(ByteSpan eight);

[[nodiscard]] bool IsUtf8(std::string_view text);  // Strict: no surrogates, no overlong forms.
// For one-line messages: control characters and broken UTF-8 as \xNN, cut at `max` bytes with "…".
[[nodiscard]] std::string Printable(std::string_view text, std::size_t max = 200);

}  // namespace starling
