// One connection of an HttpServer, from its handshake to its end, on the calling thread; and what
// all connections of a server count together. Internal to http/.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/log.h"
#include "base/owned.h"
#include "http/refusal_book.h"
#include "http/server.h"
#include "http/socket.h"

namespace starling {

// Counters, and the log of what was refused. Any thread.
class ServerBook {
 public:
  explicit ServerBook(Log log) : refusals_(std::move(log)) {}
  void CountConnection() { connections_.fetch_add(1, std::memory_order_relaxed); }
  void CountRequest() { requests_.fetch_add(1, std::memory_order_relaxed); }
  void CountBytes(std::uint64_t in, std::uint64_t out);
  void Refuse(const std::string& peer, const std::string& code, std::string_view why,
              LogLevel level = LogLevel::kWarning) {
    refusals_.Refuse(peer, code, why, level);
  }
  // A handshake failed; `peer` is the address with its port.
  void RefuseHandshake(const std::string& peer, const Status& why);
  [[nodiscard]] HttpServerCounters counters() const;
  [[nodiscard]] HttpServer::Refused refused_peers(Duration span) const;
  [[nodiscard]] const Log& log() const { return refusals_.log(); }

 private:
  RefusalBook refusals_;
  std::atomic<std::uint64_t> requests_{0}, connections_{0}, bytes_in_{0}, bytes_out_{0};
  mutable std::mutex mutex_;
  RefusedPeers refused_peers_;
};

struct ConnectionContext {
  const HttpServerOptions& options;
  TlsContext* tls;  // null: plain
  const HttpHandler& handler;
  ServerBook& book;
  std::stop_token stop;       // take nothing new; handlers come to an end
  std::stop_token hard_stop;  // answers under way are cut off
};
void ServeConnection(UniqueFd socket, const std::string& peer,
                     const ConnectionContext& context) noexcept;

}  // namespace starling
