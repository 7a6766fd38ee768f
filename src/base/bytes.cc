#include "base/bytes.h"

#include <array>

#include "base/check.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int16_t, 256> ReverseOf(std::string_view alphabet) {
  std::array<std::int16_t, 256> reverse{};
  reverse.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    reverse[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int16_t>(i);
  return reverse;
}
constexpr auto kHexReverse = ReverseOf(kHexDigits);
constexpr auto kBase64Reverse = ReverseOf(kBase64Url);

std::uint32_t U32(std::byte b) { return std::to_integer<std::uint32_t>(b); }

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if there is none.
std::size_t Utf8Length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : (first >= 0xe0 ? 3 : 2);
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0U) != 0x80U) return 0;
  }
  const unsigned char second = at(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second > 0x9f;
  const bool too_large = first == 0xf4 && second > 0x8f;
  return overlong || surrogate || too_large ? 0 : length;
}

// Whether a well-formed text starts with a control character: C0, DEL or C1 (U+0080 to U+009F,
// which terminals obey too).
bool IsControl(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  return first < 0x20 || first == 0x7f ||
         (first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
}

}  // namespace

ByteSpan AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string ToString(ByteSpan bytes) { return std::string(AsText(bytes)); }

std::string HexEncode(ByteSpan bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    text.push_back(kHexDigits[U32(b) >> 4U]);
    text.push_back(kHexDigits[U32(b) & 15U]);
  }
  return text;
}

Result<Bytes> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return absl::InvalidArgumentError("hex: odd number of digits");
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = kHexReverse[static_cast<unsigned char>(text[i])];
    const int low = kHexReverse[static_cast<unsigned char>(text[i + 1])];
    if (high < 0 || low < 0)
      return absl::InvalidArgumentError(StrCat("hex: not a lower-case digit at ", i));
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

std::string Base64UrlEncode(ByteSpan bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const std::byte b : bytes) {
    bits = (bits << 8U) | U32(b);
    held += 8;
    while (held >= 6) {
      held -= 6;
      text.push_back(kBase64Url[(bits >> held) & 63U]);
    }
  }
  if (held > 0) text.push_back(kBase64Url[(bits << (6 - held)) & 63U]);
  return text;
}

Result<Bytes> Base64UrlDecode(std::string_view text) {
  if (text.size() % 4 == 1) return absl::InvalidArgumentError("base64url: impossible length");
  Bytes bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    const int value = kBase64Reverse[static_cast<unsigned char>(c)];
    if (value < 0) return absl::InvalidArgumentError("base64url: a character outside the alphabet");
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<std::byte>((bits >> held) & 255U));
    }
  }
  if ((bits & ((1U << held) - 1U)) != 0)
    return absl::InvalidArgumentError("base64url: trailing bits are not zero");
  return bytes;
}

void AppendU32(std::uint32_t value, Bytes& out) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::byte>((value >> static_cast<unsigned>(shift)) & 255U));
}

void AppendU64(std::uint64_t value, Bytes& out) {
  AppendU32(static_cast<std::uint32_t>(value >> 32U), out);
  AppendU32(static_cast<std::uint32_t>(value), out);
}

std::uint32_t ReadU32(ByteSpan four) {
  CHECK(four.size() == 4);
  return (U32(four[0]) << 24U) | (U32(four[1]) << 16U) | (U32(four[2]) << 8U) | U32(four[3]);
}

std::uint64_t ReadU64(ByteSpan eight) {
  CHECK(eight.size() == 8);
  return (std::uint64_t{ReadU32(eight.first(4))} << 32U) | ReadU32(eight.last(4));
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Printable(std::string_view text, std::size_t max) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= max) return out + "…";
    const std::size_t length = Utf8Length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (length == 0 || IsControl(text)) {
      StrAppend(&out, "\\x", kHexDigits[first >> 4U], kHexDigits[first & 15U]);
      text.remove_prefix(1);
      continue;
    }
    out.append(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace starling
