// HttpServer: HTTP/1.1, a thread a connection, hard limits on everything. Handlers run on the
// connection's thread, many at once. Destruction refuses new connections, stops, drains (answers
// under way get 2 s; handlers see their stop token) and joins, in that order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "http/message.h"
#include "http/refused_peers.h"
#include "http/tls.h"

namespace starling {

struct HttpServerOptions {
  std::string address = "0.0.0.0";
  std::uint16_t port = 0;                      // 0: a free one
  std::size_t connections_max = 512;           // one more is closed at once (503 on the plain port)
  std::size_t connections_per_peer_max = 256;  // by remote address
  std::size_t header_bytes_max = std::size_t{16} << 10;
  std::size_t body_bytes_max = std::size_t{1} << 20;
  Duration handshake_timeout = 5s;
  Duration header_timeout = 10s;  // from the first byte of a request to the end of its header
  Duration body_timeout = 30s;
  Duration idle_timeout = 120s;  // between requests, and of a silent peer in a response
};

using HttpHandler = std::function<HttpResponse(const HttpRequest&, const std::stop_token&)>;

struct HttpServerCounters {
  std::uint64_t requests = 0, connections = 0, bytes_in = 0, bytes_out = 0;
  std::map<std::string, std::uint64_t>
      refused;  // by stable code: no-certificate, wrong-path, header-too-large, too-slow, …
};

class HttpServer {
 public:
  // `tls` null: plain HTTP. Borrows tls. Refusals are counted, and logged with the reason and the
  // peer's address, each reason once a second at most.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                   TlsContext* tls, HttpHandler handler, Log log);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();
  // What destruction does, earlier: for who must outlive the server's threads, or wants the final
  // counters. Once or often, one thread.
  void Stop();
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] HttpServerCounters counters() const;
  // Peers whose handshake failed because of a certificate within the last `span`, and the time that
  // it counts from.
  struct Refused {
    std::vector<RefusedPeer> peers;
    Instant now;
  };
  [[nodiscard]] Refused refused_peers(Duration span) const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Routes by method and path pattern ("/v1/blobs/{root}/leaves"); 404 and 405 as problems. Built
// once, then const; any thread.
struct RouteMatch {
  const HttpRequest& request;
  std::map<std::string, std::string> parameters;
  const std::stop_token& stop;
};
class Router {
 public:
  using RouteHandler = std::function<HttpResponse(const RouteMatch&)>;
  Router& Add(std::string method, const std::string& pattern, RouteHandler handler);
  [[nodiscard]] HttpResponse Handle(const HttpRequest& request, const std::stop_token& stop) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> segments;
    RouteHandler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace starling
