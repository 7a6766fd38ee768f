#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "base/text.h"
#include "http/client.h"
#include "http/socket.h"

namespace starling {
namespace {

constexpr std::string_view kScheme = "https://";
constexpr std::size_t kHostBytesMax = 253;

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

bool IsHost(const std::string& host, bool bracketed) {
  if (bracketed) return host.find(':') != std::string::npos && IsIpLiteral(host);
  return !host.empty() && host.size() <= kHostBytesMax &&
         std::ranges::all_of(host, IsHostCharacter);
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}
bool IsLinkLocal(const std::string& host) {
  return host.starts_with("169.254.") || host.starts_with("fe80:") || host.starts_with("FE80:");
}

}  // namespace

Result<Endpoint> Endpoint::Parse(std::string_view url) {
  const auto malformed = [&] {
    return WithCode(absl::InvalidArgumentError(
                        StrCat("\"", Printable(url), "\" is not of the form https://host:port")),
                    "bad-url");
  };
  if (!url.starts_with(kScheme)) return malformed();
  const std::string_view rest = url.substr(kScheme.size());
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return malformed();
  std::string_view host = rest.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const std::string_view digits = rest.substr(colon + 1);
  Endpoint endpoint{std::string(host), 0};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  const bool good_port = !digits.empty() && error == std::errc{} &&
                         end == digits.data() + digits.size() && endpoint.port != 0;
  if (!good_port || !IsHost(endpoint.host, bracketed)) return malformed();
  return endpoint;
}

Result<Endpoint> Endpoint::ParsePeer(std::string_view url, bool allow_loopback) {
  ASSIGN_OR_RETURN(Endpoint endpoint, Parse(url));
  if (IsLinkLocal(endpoint.host))
    return absl::PermissionDeniedError(StrCat(url, ": link-local addresses are refused"));
  if (IsLoopback(endpoint.host) && !allow_loopback) {
    return WithNext(
        WithCode(absl::PermissionDeniedError(StrCat(url, ": loopback addresses are refused")),
                 "loopback-address"),
        "give the node a --host-ip that others reach, or all nodes --allow-loopback");
  }
  return endpoint;
}

std::string Endpoint::Text() const {
  const bool bracketed = host.find(':') != std::string::npos;
  return bracketed ? StrCat("[", host, "]:", port) : StrCat(host, ":", port);
}

std::string Endpoint::Url() const { return StrCat(kScheme, Text()); }

}  // namespace starling
