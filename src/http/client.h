// HttpClient: requests to other nodes over pooled mutual-TLS connections. Any thread; a streamed
// response belongs to one thread, and may outlive the client.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/message.h"
#include "http/refusal_book.h"
#include "http/tls.h"

namespace starling {

// https://host:port — nothing else: no path, user, query. IPv6 in brackets (`host` is without
// them).
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
  [[nodiscard]] static Result<Endpoint> Parse(std::string_view url);
  // The same for what another node says of itself: link-local addresses are refused (a hostile
  // enrolment could lead to a cloud's metadata service), loopback ones unless they are allowed.
  [[nodiscard]] static Result<Endpoint> ParsePeer(std::string_view url, bool allow_loopback);
  [[nodiscard]] std::string Url() const;
  [[nodiscard]] std::string Text() const;  // "host:port", "[::1]:30304"
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

struct HttpClientOptions {
  Duration connect_timeout = 5s;
  // Silence before or within a response (a long poll sets its own). Once begun, a header must be
  // whole within it, and less than kPaceBytes of a body within it are silence, too: a byte a second
  // keeps no request alive.
  Duration idle_timeout = 30s;
  std::size_t header_bytes_max = std::size_t{16} << 10;
  std::size_t body_bytes_max = std::size_t{16} << 20;  // of Do()
  std::size_t pool_per_endpoint_max = 4;
  Duration pool_age_max = 60s;  // of an unused connection: less than a server's patience
  // Borrowed: where the servers that this client refuses are counted and logged. Null: they are an
  // error of the request, and nothing else.
  RefusalBook* refusals = nullptr;
};

// What a body must bring within each idle_timeout, or all that is left of it.
inline constexpr std::size_t kPaceBytes = std::size_t{64} << 10;

struct ClientRequest {
  std::string method = "GET";
  std::string target;  // path and query, already encoded
  std::map<std::string, std::string> headers;
  std::string body;
  Duration idle_timeout{0};  // 0: the client's
};
struct ClientResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names lower case
  std::string body;
  std::optional<SpiffeId> peer;
};

// A GET over plain HTTP, for the port that kubelets ask (tests, `starling doctor`); https nowhere
// else. The body is at most 1 MiB.
[[nodiscard]] Result<ClientResponse> PlainGet(const Endpoint& from, const std::string& target,
                                              Duration timeout, const std::stop_token& stop);

// A response whose body is read straight into the caller's memory. Reading to the end returns the
// connection to the pool.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;
  [[nodiscard]] virtual int status() const = 0;
  [[nodiscard]] virtual const std::map<std::string, std::string>& headers() const = 0;
  [[nodiscard]] virtual std::uint64_t remaining() const = 0;
  // Fills `out` whole, or fails. Asking for more than remaining() is OutOfRange. Unavailable with
  // the code connection-too-old: the certificates ended meanwhile; a new request for what is
  // missing does it, which only the caller can make: what allows it may be for these bytes only.
  virtual Status Read(MutableByteSpan out) = 0;
};

class HttpClient {
 public:
  // Borrows tls.
  HttpClient(TlsContext& tls, const HttpClientOptions& options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // One exchange. Any HTTP status is a response; only transport trouble is an error (Unavailable:
  // refused or reset; DeadlineExceeded: silence). A pooled connection that proves dead before the
  // first byte of the answer is replaced once. Nothing is begun on a connection with little left
  // (Stream::time_left); a GET that is cut all the same, because its certificates end, is made once
  // more on a new one. Any other method then fails with the code connection-too-old: it may have
  // been done. A chunked answer must come within one idle_timeout.
  [[nodiscard]] Result<ClientResponse> Do(const Endpoint& to, const ClientRequest& request,
                                          const std::stop_token& stop);
  // The same with statuses ≥ 400 turned into a Status, and the body parsed as a JSON object.
  [[nodiscard]] Result<nlohmann::json> DoJson(const Endpoint& to, const ClientRequest& request,
                                              const std::stop_token& stop);
  // A response ≥ 400 is a Status here too. A chunked one is refused: only nodes are read this way.
  [[nodiscard]] Result<std::unique_ptr<ResponseStream>> Open(const Endpoint& to,
                                                             const ClientRequest& request,
                                                             const std::stop_token& stop);
  [[nodiscard]] std::uint64_t bytes_in() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
