// SHA-256 and H(...), the hash over length-prefixed parts of docs/protocol.md. Values; any thread.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace starling {

struct Digest {
  std::array<std::byte, 32> bytes{};
  friend auto operator<=>(const Digest&, const Digest&) = default;
  friend bool operator==(const Digest&, const Digest&) = default;
  [[nodiscard]] ByteSpan span() const { return bytes; }
  template <typename H>
  friend H AbslHashValue(H h, const Digest& d) {
    return H::combine(std::move(h), d.bytes);
  }
};

// Incremental. Reusable after Finish().
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(ByteSpan bytes);
  [[nodiscard]] Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] Digest HashOf(ByteSpan bytes);

// H(x…): for each part u64 big-endian length, then the bytes; an integer is one part of 8 bytes,
// big-endian.
class PartsHash {
 public:
  PartsHash& Add(ByteSpan part);
  PartsHash& Add(std::string_view part) { return Add(AsBytes(part)); }
  PartsHash& Add(const Digest& part) { return Add(part.span()); }
  PartsHash& Add(std::uint64_t part);
  [[nodiscard]] Digest Finish();

 private:
  Sha256 hash_;
};

[[nodiscard]] std::string HexOf(const Digest& digest);               // 64 digits
[[nodiscard]] std::string RootText(const Digest& digest);            // "sha256:" + 64 digits
[[nodiscard]] std::string ShortText(const Digest& digest);           // first 8 digits, for people
[[nodiscard]] Result<Digest> ParseHexDigest(std::string_view text);  // 64 lower-case digits
[[nodiscard]] Result<Digest> ParseRoot(std::string_view text);       // "sha256:…"

}  // namespace starling
