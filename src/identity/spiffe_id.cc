#include "identity/spiffe_id.h"

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::size_t kIdBytesMax = 2048;
constexpr std::size_t kTrustDomainBytesMax = 255;

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsMark(char c) { return c == '.' || c == '-' || c == '_'; }
bool IsSegmentCharacter(char c) { return IsLowerOrDigit(c) || (c >= 'A' && c <= 'Z') || IsMark(c); }

Status CheckTrustDomain(std::string_view name) {
  if (name.empty()) return absl::InvalidArgumentError("the trust domain is missing");
  if (name.size() > kTrustDomainBytesMax) {
    return absl::InvalidArgumentError("the trust domain is too long");
  }
  for (const char c : name) {
    if (!IsLowerOrDigit(c) && !IsMark(c)) {
      return absl::InvalidArgumentError("a trust domain holds only a-z, 0-9, '.', '-' and '_'");
    }
  }
  return absl::OkStatus();
}

// `path` starts with '/'.
Status CheckPath(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment.empty()) return absl::InvalidArgumentError("the path has an empty segment");
    if (segment == "." || segment == "..") {
      return absl::InvalidArgumentError("the path has a segment '.' or '..'");
    }
    for (const char c : segment) {
      if (!IsSegmentCharacter(c)) {
        return absl::InvalidArgumentError("a path holds only A-Z, a-z, 0-9, '.', '-' and '_'");
      }
    }
    path.remove_prefix(segment.size());
  }
  return absl::OkStatus();
}

Status Check(std::string_view text, std::size_t path_begin) {
  if (text.size() > kIdBytesMax) return absl::InvalidArgumentError("longer than 2048 bytes");
  if (!text.starts_with(kScheme)) {
    return absl::InvalidArgumentError("it does not start with spiffe://");
  }
  RETURN_IF_ERROR(CheckTrustDomain(text.substr(kScheme.size(), path_begin - kScheme.size())));
  return CheckPath(text.substr(path_begin));
}

}  // namespace

Result<SpiffeId> SpiffeId::Parse(std::string_view text) {
  const std::size_t slash = text.find('/', kScheme.size());
  const std::size_t path_begin = slash == std::string_view::npos ? text.size() : slash;
  RETURN_IF_ERROR(Annotate(Check(text, path_begin), StrCat("SPIFFE ID \"", Printable(text), "\"")));
  SpiffeId id;
  id.text_ = std::string(text);
  id.path_begin_ = path_begin;
  return id;
}

std::string_view SpiffeId::trust_domain() const {
  // An ID that nothing was parsed into is empty.
  if (text_.empty()) return {};
  return std::string_view(text_).substr(kScheme.size(), path_begin_ - kScheme.size());
}

std::string_view SpiffeId::path() const { return std::string_view(text_).substr(path_begin_); }

}  // namespace starling
