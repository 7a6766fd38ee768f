// SpiffeId: parsed once, refused or right. Values; any thread.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace starling {

class SpiffeId {
 public:
  // spiffe://<trust domain>/<path>; lower-case trust domain [a-z0-9._-], path segments
  // [A-Za-z0-9._-] not empty, "." or ".."; at most 2,048 bytes; no port, user info, query,
  // fragment, percent-encoding, trailing slash.
  static Result<SpiffeId> Parse(std::string_view text);
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string_view trust_domain() const;
  [[nodiscard]] std::string_view path() const;  // "/swarm/sl", "" for a bare trust domain
  friend auto operator<=>(const SpiffeId&, const SpiffeId&) = default;
  friend bool operator==(const SpiffeId&, const SpiffeId&) = default;

 private:
  std::string text_;
  std::size_t path_begin_ = 0;
};

}  // namespace starling
