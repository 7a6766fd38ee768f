#include "http/connection.h"

#include <exception>
#include <memory>
#include <utility>

#include "base/text.h"
#include "http/message_io.h"
#include "http/request_parser.h"

namespace starling {
namespace {

constexpr Duration kRefusalLinger =
    500ms;  // for the answer to arrive before the connection is reset

// Time since an origin of its own: only spans of it are looked at.
Instant BookNow() {
  return Instant(std::chrono::duration_cast<Duration>(MomentNow().time_since_epoch()));
}

class Connection {
 public:
  Connection(Stream& stream, const std::string& peer, const ConnectionContext& context)
      : stream_(stream), peer_(peer), context_(context) {}
  ~Connection() { Count(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: the connection is over.
  bool ServeOne();

 private:
  [[nodiscard]] Status ReadBody(std::uint64_t size, std::string& body);
  [[nodiscard]] HttpResponse Handle(const HttpRequest& request) const;
  // Answers with a problem, then ends the connection.
  bool Refuse(int http_status, const Status& status);
  bool HeadFailed(const Status& status);
  void Count();

  Stream& stream_;
  const std::string& peer_;
  const ConnectionContext& context_;
  InputBuffer input_;
  std::uint64_t counted_in_ = 0;
  std::uint64_t counted_out_ = 0;
};

void Connection::Count() {
  const std::uint64_t in = stream_.bytes_in();
  const std::uint64_t out = stream_.bytes_out();
  context_.book.CountBytes(in - std::exchange(counted_in_, in),
                           out - std::exchange(counted_out_, out));
}

bool Connection::Refuse(int http_status, const Status& status) {
  context_.book.Refuse(peer_, StableCode(status), std::string(status.message()));
  stream_.set_deadline_in(Duration::zero());
  stream_.set_idle(kRefusalLinger);
  ResponseWriter writer(stream_, false);
  if (writer.Send(ProblemWithStatus(http_status, status), context_.stop).ok())
    stream_.CloseGently(kRefusalLinger);
  return false;
}

bool Connection::HeadFailed(const Status& status) {
  const std::string code = StableCode(status);
  if (code == "header-too-large") return Refuse(431, status);
  if (code == "too-slow") return Refuse(408, status);
  if (code == "malformed") return Refuse(400, status);
  return false;  // It went away, was idle for long, or we stop.
}

Status Connection::ReadBody(std::uint64_t size, std::string& body) {
  stream_.set_deadline_in(context_.options.body_timeout);
  body.resize(size);
  Status status = ReadExactly(stream_, input_, std::as_writable_bytes(std::span(body)));
  stream_.set_deadline_in(Duration::zero());
  if (absl::IsDeadlineExceeded(status)) {
    return WithCode(absl::DeadlineExceededError("the body came too slowly"), "too-slow");
  }
  return status;
}

HttpResponse Connection::Handle(const HttpRequest& request) const {
  try {
    return context_.handler(request, context_.stop);
  } catch (const std::exception& error) {
    context_.book.log().Error("{} {}: {}", request.method, request.path, error.what());
    return ProblemResponse(absl::InternalError("the request could not be handled (see the log)"));
  }
}

bool Connection::ServeOne() {
  const HttpServerOptions& options = context_.options;
  stream_.set_stop(context_.stop);
  const Result<std::string> bytes = ReadHead(
      stream_, input_, {.bytes_max = options.header_bytes_max, .time = options.header_timeout});
  if (!bytes.ok()) return HeadFailed(bytes.status());
  if (stream_.expired()) {
    // Unanswered: the client comes again with its new certificate.
    context_.book.Refuse(peer_, "connection-too-old",
                         "a request after the certificates that the connection began with ended");
    return false;
  }
  auto parsed = ParseRequestHead(*bytes);
  if (const auto* const refusal = std::get_if<RequestRefusal>(&parsed)) {
    return Refuse(refusal->http_status, refusal->status);
  }
  auto& head = std::get<RequestHead>(parsed);
  if (head.body_bytes > options.body_bytes_max) {
    return Refuse(413, WithCode(absl::ResourceExhaustedError(StrCat(
                                    "the body is longer than ", options.body_bytes_max, " bytes")),
                                "body-too-large"));
  }
  if (const Status status = ReadBody(head.body_bytes, head.request.body); !status.ok()) {
    return StableCode(status) == "too-slow" ? Refuse(408, status) : false;
  }
  head.request.peer = stream_.peer();
  head.request.time_left = stream_.time_left();
  // From here on a stopping server waits for the answer.
  stream_.set_stop(context_.hard_stop);
  HttpResponse response = Handle(head.request);
  context_.book.CountRequest();
  // A connection with little left is given up by both sides here, between two requests.
  const bool keep_alive = head.keep_alive && !context_.stop.stop_requested() && !stream_.ending();
  ResponseWriter writer(stream_, keep_alive);
  const Status sent = writer.Send(std::move(response), context_.stop);
  Count();
  if (!sent.ok()) {
    if (StableCode(sent) == "connection-too-old")
      context_.book.Refuse(peer_, StableCode(sent), std::string(sent.message()));
    context_.book.log().Debug("{} {} from {}: answer broken off: {}", head.request.method,
                              head.request.path, peer_, std::string(sent.message()));
    return false;
  }
  return keep_alive;
}

void Serve(UniqueFd socket, const std::string& peer, const ConnectionContext& context) {
  const HttpServerOptions& options = context.options;
  const auto stream = Stream::Accept(std::move(socket), context.tls, options.handshake_timeout,
                                     options.idle_timeout, context.stop);
  if (!stream.ok()) {
    if (absl::IsCancelled(stream.status())) return;
    context.book.RefuseHandshake(peer, stream.status());
    return;
  }
  Connection connection(**stream, peer, context);
  while (connection.ServeOne()) {
  }
}

}  // namespace

void ServerBook::CountBytes(std::uint64_t in, std::uint64_t out) {
  bytes_in_.fetch_add(in, std::memory_order_relaxed);
  bytes_out_.fetch_add(out, std::memory_order_relaxed);
}

void ServerBook::RefuseHandshake(const std::string& peer, const Status& why) {
  const std::string code = StableCode(why);
  const std::string text(why.message());
  {
    const std::scoped_lock lock(mutex_);
    refused_peers_.Add(peer.substr(0, peer.rfind(':')), code, text, BookNow());
  }
  // Who gave up was not judged: either side may have been held up for too long, and it asks again.
  const bool left = absl::IsAborted(why) || code == "too-slow";
  Refuse(peer, code, text, left ? LogLevel::kInfo : LogLevel::kWarning);
}

HttpServer::Refused ServerBook::refused_peers(Duration span) const {
  const Instant now = BookNow();
  const std::scoped_lock lock(mutex_);
  return {refused_peers_.Since(now - span), now};
}

HttpServerCounters ServerBook::counters() const {
  HttpServerCounters counters;
  counters.requests = requests_.load(std::memory_order_relaxed);
  counters.connections = connections_.load(std::memory_order_relaxed);
  counters.bytes_in = bytes_in_.load(std::memory_order_relaxed);
  counters.bytes_out = bytes_out_.load(std::memory_order_relaxed);
  counters.refused = refusals_.counts();
  return counters;
}

void ServeConnection(UniqueFd socket, const std::string& peer,
                     const ConnectionContext& context) noexcept {
  try {
    Serve(std::move(socket), peer, context);
  } catch (const std::exception& error) {
    context.book.log().Error("connection of {}: {}", peer, error.what());
  }
}

}  // namespace starling
