#include "http/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "base/errno.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr int kBacklog = 512;
constexpr std::size_t kAddressesMax = 16;
constexpr int kLookupsMax = 64;  // Lookups that hang keep a thread each.

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

Result<std::vector<SocketAddress>> LookUp(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int error = getaddrinfo(host.c_str(), StrCat(port).c_str(), &hints, &raw);
  const std::unique_ptr<addrinfo, FreeAddresses> list(raw);
  if (error != 0) {
    return WithCode(absl::UnavailableError(StrCat(host, ": ", gai_strerror(error))),
                    "unknown-host");
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* a = list.get(); a != nullptr && addresses.size() < kAddressesMax;
       a = a->ai_next) {
    SocketAddress address;
    address.size = a->ai_addrlen;
    std::copy_n(reinterpret_cast<const std::byte*>(a->ai_addr), a->ai_addrlen,
                reinterpret_cast<std::byte*>(&address.storage));
    addresses.push_back(address);
  }
  return addresses;
}

// What a lookup leaves behind for who asked, who may have gone away meanwhile.
struct Lookup {
  std::mutex mutex;
  std::condition_variable_any done;
  std::optional<Result<std::vector<SocketAddress>>> answer;
};

std::atomic<int> g_lookups{0};

void RunLookup(const std::shared_ptr<Lookup>& lookup, const std::string& host, std::uint16_t port) {
  auto answer = LookUp(host, port, 0);
  const std::scoped_lock lock(lookup->mutex);
  lookup->answer = std::move(answer);
  lookup->done.notify_all();
  g_lookups.fetch_sub(1);
}

const sockaddr* Generic(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr*>(&address.storage);
}

// Why a connection did not come about. Codes: connection-refused, unreachable.
Status ConnectFailure(int error) {
  return WithCode(absl::UnavailableError(ErrnoText(error)),
                  error == ECONNREFUSED ? "connection-refused" : "unreachable");
}

Status ConnectOne(int fd, const SocketAddress& address, Moment until) {
  if (connect(fd, Generic(address), address.size) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS) return ConnectFailure(errno);
  RETURN_IF_ERROR(WithCode(WaitReady(fd, POLLOUT, until), "unreachable"));
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? absl::OkStatus() : ConnectFailure(error);
}

}  // namespace

Moment MomentIn(Duration span) {
  const Moment now = MomentNow();
  return span > Moment::max() - now ? Moment::max() : now + span;
}

std::string SocketAddress::HostText() const {
  char host[NI_MAXHOST];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&storage), size, host, sizeof host, nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    return "unknown";
  }
  return host;
}

std::string SocketAddress::Text() const {
  // Both families keep the port in the same place.
  const std::uint16_t port = ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  const std::string host = HostText();
  return storage.ss_family == AF_INET6 ? StrCat("[", host, "]:", port) : StrCat(host, ":", port);
}

bool IsIpLiteral(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

Result<std::vector<SocketAddress>> Resolve(const std::string& host, std::uint16_t port,
                                           Moment until, const std::stop_token& stop) {
  if (IsIpLiteral(host)) return LookUp(host, port, AI_NUMERICHOST);
  if (g_lookups.fetch_add(1) >= kLookupsMax) {
    g_lookups.fetch_sub(1);
    return absl::ResourceExhaustedError(StrCat(host, ": too many name lookups hang"));
  }
  const auto lookup = std::make_shared<Lookup>();
  try {
    std::thread(RunLookup, lookup, host, port).detach();
  } catch (const std::system_error& error) {
    g_lookups.fetch_sub(1);
    return absl::ResourceExhaustedError(StrCat(host, ": no thread to look it up: ", error.what()));
  }
  std::unique_lock lock(lookup->mutex);
  if (!lookup->done.wait_until(lock, stop, until, [&] { return lookup->answer.has_value(); })) {
    if (stop.stop_requested()) return absl::CancelledError(StrCat(host, ": stopped"));
    return WithCode(absl::DeadlineExceededError(StrCat(host, ": the name lookup takes too long")),
                    "unknown-host");
  }
  return *lookup->answer;
}

Result<UniqueFd> ConnectSocket(const std::string& host, std::uint16_t port, Moment until,
                               const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, Resolve(host, port, until, stop));
  Status last = absl::UnavailableError("no address");
  for (std::size_t i = 0; i < addresses.size() && !stop.stop_requested(); ++i) {
    UniqueFd fd(
        socket(addresses[i].storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
      last = absl::UnavailableError(ErrnoText(errno));
      continue;
    }
    // A share of the time each, so that one dead address of a host does not use up the others'
    // time.
    const Moment now = MomentNow();
    const Moment share =
        now + std::max(until - now, Moment::duration{}) / static_cast<int>(addresses.size() - i);
    {
      const std::stop_callback wake(stop, [&] { shutdown(fd.get(), SHUT_RDWR); });
      last = ConnectOne(fd.get(), addresses[i], share);
    }
    if (last.ok()) {
      SetNoDelay(fd.get());
      return fd;
    }
  }
  if (stop.stop_requested()) return absl::CancelledError("stopped");
  return last;
}

Result<UniqueFd> ListenSocket(const std::string& address, std::uint16_t port) {
  if (!IsIpLiteral(address)) {
    return WithNext(
        absl::InvalidArgumentError(StrCat("listen address ", address, ": not an IP address")),
        "give 0.0.0.0, :: or an address of this machine");
  }
  ASSIGN_OR_RETURN(const std::vector<SocketAddress> found,
                   LookUp(address, port, AI_NUMERICHOST | AI_PASSIVE));
  UniqueFd fd(
      socket(found.front().storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (fd.valid()) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd.valid() && bind(fd.get(), Generic(found.front()), found.front().size) == 0 &&
      listen(fd.get(), kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  const Status status =
      absl::UnavailableError(StrCat("listen on ", found.front().Text(), ": ", ErrnoText(error)));
  return error == EADDRINUSE ? WithCode(status, "port-in-use") : status;
}

std::uint16_t LocalPort(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) return 0;
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

void SetNoDelay(int fd) {
  const int on = 1;
  // Fails only on what is no TCP socket, where nothing is delayed.
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

Status WaitReady(int fd, short events, Moment until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - MomentNow()).count();
    constexpr std::int64_t kSliceMs = 3'600'000;  // poll() counts in int
    pollfd entry{fd, events, 0};
    const int count =
        poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, kSliceMs)));
    if (count > 0) return absl::OkStatus();
    if (count < 0 && errno != EINTR) return absl::UnavailableError(ErrnoText(errno));
    if (count == 0 && left <= kSliceMs) return absl::DeadlineExceededError("no answer in time");
  }
}

}  // namespace starling
