#include "identity/workload_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/errno.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kUnixSlashes = "unix://";
constexpr std::string_view kTcp = "tcp://";
constexpr int kConnectSteps = 50;
constexpr int kConnectStepMs = 100;
// Of tcp: how long until a host that has gone without a word is noticed, with or without bytes
// under way. The kernel's own limits are two hours and a quarter of one.
constexpr int kIdleSeconds = 30;
constexpr int kProbeSeconds = 10;
constexpr int kProbes = 3;
constexpr int kTcpGoneMs = 1000 * (kIdleSeconds + kProbeSeconds * kProbes);

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Status Refused(std::string_view text, std::string_view why) {
  return WithNext(WithCode(absl::InvalidArgumentError(
                               StrCat("Workload API address \"", Printable(text), "\": ", why)),
                           "bad-endpoint"),
                  "give unix:///the/agent's/socket (SPIFFE_ENDPOINT_SOCKET) or its path");
}

Result<std::string> ParsePath(std::string_view text, std::string_view path) {
  if (!path.starts_with('/')) return Refused(text, "the path of the socket is not absolute");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Refused(text, StrCat("the path is longer than ", sizeof(sockaddr_un::sun_path) - 1,
                                " bytes, which no socket's can be"));
  }
  // In an URI these three mean something; nobody names a socket so.
  const bool plain = std::ranges::all_of(path, [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != '?' && c != '#' && c != '%' && c != 0x7F;
  });
  if (!plain)
    return Refused(text, "a socket's path has no '?', '#', '%', blank or control character");
  if (path.ends_with('/')) return Refused(text, "this is a folder, not a socket");
  return StrCat(kUnixSlashes, path);
}

std::optional<std::uint16_t> ParsePort(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0 || port > 65535) {
    return std::nullopt;
  }
  return static_cast<std::uint16_t>(port);
}

// "IP:port" or "[IPv6]:port".
std::optional<Address> ParseTcp(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<std::uint16_t> port = ParsePort(text.substr(colon + 1));
  if (!port) return std::nullopt;
  std::string host(text.substr(0, colon));
  Address address;
  if (host.starts_with('[') && host.ends_with(']')) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(*port);
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return std::nullopt;
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
    return address;
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(*port);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) return std::nullopt;
  std::memcpy(&address.storage, &v4, sizeof v4);
  address.size = sizeof v4;
  return address;
}

std::string PathOf(const std::string& endpoint) {
  return endpoint.starts_with(kUnixSlashes) ? endpoint.substr(kUnixSlashes.size()) : "";
}

Result<Address> AddressOf(const std::string& endpoint) {
  const std::string path = PathOf(endpoint);
  if (path.empty()) {
    const std::optional<Address> address =
        ParseTcp(std::string_view(endpoint).substr(std::min(kTcp.size(), endpoint.size())));
    if (!address) return Refused(endpoint, "not an address");
    return *address;
  }
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  if (path.size() >= sizeof local.sun_path) return Refused(endpoint, "the path is too long");
  std::memcpy(local.sun_path, path.data(), path.size());
  Address address;
  std::memcpy(&address.storage, &local, sizeof local);
  address.size = sizeof local;
  return address;
}

bool IsSocket(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

Status Failure(const std::string& endpoint, int error) {
  const std::string path = PathOf(endpoint);
  if (path.empty()) {
    return WithNext(absl::UnavailableError(StrCat(endpoint, ": ", ErrnoText(error))),
                    "does the SPIRE agent listen there?");
  }
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return WithNext(absl::NotFoundError(StrCat(path, ": there is no such socket")),
                      "start the SPIRE agent, or give its socket (SPIFFE_ENDPOINT_SOCKET)");
    case ECONNREFUSED:
      if (!IsSocket(path)) {
        return WithNext(absl::UnavailableError(StrCat(path, ": this is not a socket")),
                        "give the agent's socket (SPIFFE_ENDPOINT_SOCKET)");
      }
      return WithNext(
          absl::UnavailableError(StrCat(path, ": the socket is there, but nobody listens on it")),
          "start the SPIRE agent again");
    case EACCES:
    case EPERM:
      return WithNext(
          absl::PermissionDeniedError(StrCat(path, ": user ", geteuid(), " may not open it")),
          "let this user read and write the socket and enter its folder");
    case EAGAIN:
      return WithNext(absl::UnavailableError(StrCat(path, ": the agent takes no more connections")),
                      "is the SPIRE agent stopped or overloaded?");
    default:
      return WithNext(absl::UnavailableError(StrCat(path, ": ", ErrnoText(error))),
                      "look at the SPIRE agent");
  }
}

void NoticeWhoIsGone(int fd) {  // Nothing happens if it fails.
  const auto set = [fd](int level, int name, int value) {
    static_cast<void>(setsockopt(fd, level, name, &value, sizeof value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kTcpGoneMs);
}

Status AwaitConnected(int fd, const std::string& endpoint, const std::stop_token& stop) {
  for (int step = 0; step < kConnectSteps; ++step) {
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    pollfd wanted{.fd = fd, .events = POLLOUT, .revents = 0};
    if (poll(&wanted, 1, kConnectStepMs) <= 0) continue;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    return error == 0 ? absl::OkStatus() : Failure(endpoint, error);
  }
  return Failure(endpoint, ETIMEDOUT);
}

}  // namespace

Result<std::string> ParseWorkloadEndpoint(std::string_view text) {
  if (text.empty()) return Refused(text, "it is empty");
  if (text.starts_with('/')) return ParsePath(text, text);
  if (text.starts_with(kUnixSlashes)) {
    const std::string_view path = text.substr(kUnixSlashes.size());
    if (!path.starts_with('/')) return Refused(text, "a path after unix:// begins with a third /");
    return ParsePath(text, path);
  }
  if (text.starts_with(kUnix)) return ParsePath(text, text.substr(kUnix.size()));
  if (!text.starts_with(kTcp)) return Refused(text, "neither unix: nor tcp: nor an absolute path");
  if (!ParseTcp(text.substr(kTcp.size()))) {
    return Refused(text, "tcp:// wants an IP address and a port, no name and nothing behind");
  }
  return std::string(text);
}

Result<UniqueFd> ConnectToWorkloadEndpoint(const std::string& endpoint,
                                           const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const Address address, AddressOf(endpoint));
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return FromErrno("socket");
  if (address.storage.ss_family != AF_UNIX) NoticeWhoIsGone(fd.get());
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    if (errno != EINPROGRESS) return Failure(endpoint, errno);
    RETURN_IF_ERROR(AwaitConnected(fd.get(), endpoint, stop));
  }
  return fd;
}

std::string SocketFingerprint(const std::string& endpoint) {
  const std::string path = PathOf(endpoint);
  struct stat info {};
  if (path.empty() || stat(path.c_str(), &info) != 0) return "";
  return StrCat(info.st_dev, ":", info.st_ino, ":", info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec);
}

}  // namespace starling
