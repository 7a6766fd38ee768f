// Sockets below Stream and HttpServer: names to addresses, connecting, listening, waiting. Every
// wait ends at a moment. Real time and the real network: this is the edge. Any thread.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/owned.h"
#include "base/result.h"

namespace starling {

// The operating system's monotonic time. poll() and condition variables know no other, so no Clock
// stands between.
using Moment = std::chrono::steady_clock::time_point;
[[nodiscard]] inline Moment MomentNow() { return std::chrono::steady_clock::now(); }
[[nodiscard]] Moment MomentIn(Duration span);  // saturates

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] std::string Text() const;      // "127.0.0.1:30304", "[::1]:30304"
  [[nodiscard]] std::string HostText() const;  // without the port
};

[[nodiscard]] bool IsIpLiteral(const std::string& host);
// Literals at once; names are looked up on a thread of their own, because the resolver knows
// neither deadline nor stop.
[[nodiscard]] Result<std::vector<SocketAddress>> Resolve(const std::string& host,
                                                         std::uint16_t port, Moment until,
                                                         const std::stop_token& stop);
// Tries the addresses in turn; an error names `host` and the last cause. Non-blocking, TCP_NODELAY.
[[nodiscard]] Result<UniqueFd> ConnectSocket(const std::string& host, std::uint16_t port,
                                             Moment until, const std::stop_token& stop);
// Bound and listening on a literal address; port 0: a free one.
[[nodiscard]] Result<UniqueFd> ListenSocket(const std::string& address, std::uint16_t port);
[[nodiscard]] std::uint16_t LocalPort(int fd);
void SetNoDelay(int fd);

// Until `fd` shows one of `events` (or an error, or a hang-up): OK; else DeadlineExceeded.
[[nodiscard]] Status WaitReady(int fd, short events, Moment until);

}  // namespace starling
