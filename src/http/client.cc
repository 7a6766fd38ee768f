#include "http/client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"
#include "http/message_io.h"
#include "http/request_parser.h"
#include "http/socket.h"

namespace starling {
namespace {

constexpr int kJsonDepthMax = 32;
constexpr std::size_t kErrorBodyBytesMax = std::size_t{64} << 10;

// Of what is wrong with a server, by our judgement.
constexpr std::array<std::string_view, 9> kOurRefusals = {
    "expired",  "not-yet-valid",  "unknown-authority", "unknown-trust-domain",
    "bad-svid", "no-certificate", "wrong-path",        "tls-version",
    "not-tls"};

void NoteRefusal(RefusalBook& book, const Endpoint& to, const Status& status) {
  const std::string code = StableCode(status);
  if (std::ranges::find(kOurRefusals, code) == kOurRefusals.end()) return;
  // The line names the address and the code before it says why.
  const std::string text(status.message());
  const std::size_t at = text.find(StrCat(code, ": "));
  book.Refuse(to.Text(), code, at == std::string::npos ? text : text.substr(at + code.size() + 2));
}

struct Connection {
  std::unique_ptr<Stream> stream;
  InputBuffer input;
  Moment unused_since{};
  std::uint64_t counted_in = 0;
};

// Connections that wait for their next request. Shared with streamed responses, which give theirs
// back.
class Pool {
 public:
  explicit Pool(const HttpClientOptions& options) : options_(options) {}

  std::unique_ptr<Connection> Take(const Endpoint& to) {
    const std::scoped_lock lock(mutex_);
    const auto found = idle_.find(to);
    if (found == idle_.end()) return nullptr;
    std::unique_ptr<Connection> taken;
    while (!taken && !found->second.empty()) {
      taken = std::move(found->second.back());
      found->second.pop_back();
      if (!IsUsable(*taken)) taken.reset();
    }
    if (found->second.empty()) idle_.erase(found);
    return taken;
  }

  void GiveBack(const Endpoint& to, std::unique_ptr<Connection> connection) {
    Count(*connection);
    connection->stream->set_stop({});
    connection->unused_since = MomentNow();
    if (!connection->input.unread().empty())
      return;  // More than one answer: whatever that is, it is none of ours.
    const std::scoped_lock lock(mutex_);
    DropOld();
    std::vector<std::unique_ptr<Connection>>& idle = idle_[to];
    if (idle.size() < options_.pool_per_endpoint_max) idle.push_back(std::move(connection));
  }

  void Count(Connection& connection) {
    const std::uint64_t now = connection.stream->bytes_in();
    bytes_in_.fetch_add(now - std::exchange(connection.counted_in, now), std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] bool IsUsable(const Connection& connection) const {
    return MomentNow() - connection.unused_since < options_.pool_age_max &&
           connection.stream->quiet() && !connection.stream->ending();
  }
  // So that endpoints asked once do not keep their sockets. Now and then: a look at each connection
  // costs a system call, and with a hundred peers there are hundreds.
  void DropOld() {
    const Moment now = MomentNow();
    if (now < sweep_at_) return;
    sweep_at_ = now + options_.pool_age_max / 8;
    for (auto it = idle_.begin(); it != idle_.end();) {
      std::erase_if(it->second, [&](const auto& connection) { return !IsUsable(*connection); });
      it = it->second.empty() ? idle_.erase(it) : std::next(it);
    }
  }

  const HttpClientOptions options_;
  std::mutex mutex_;
  std::map<Endpoint, std::vector<std::unique_ptr<Connection>>> idle_;
  Moment sweep_at_{};
  std::atomic<std::uint64_t> bytes_in_{0};
};

bool IsClean(std::string_view text, bool spaces) {
  return std::ranges::none_of(text, [&](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || (!spaces && c == ' ');
  });
}

Result<std::string> RequestText(const Endpoint& to, const ClientRequest& request) {
  if (!request.target.starts_with('/') || !IsClean(request.target, false) ||
      !IsClean(request.method, false)) {
    return absl::InvalidArgumentError(StrCat("not a request target: ", Printable(request.target)));
  }
  std::string text =
      StrCat(request.method, " ", request.target, " HTTP/1.1\r\nhost: ", to.Text(), "\r\n");
  for (const auto& [name, value] : request.headers) {
    if (!IsClean(name, false) || !IsClean(value, true)) {
      return absl::InvalidArgumentError(StrCat("not a header: ", Printable(name)));
    }
    StrAppend(&text, name, ": ", value, "\r\n");
  }
  if (!request.body.empty() || request.method != "GET")
    StrAppend(&text, "content-length: ", request.body.size(), "\r\n");
  text += "\r\n";
  text += request.body;
  return text;
}

// An answer whose body is still in the connection.
struct Answer {
  std::unique_ptr<Connection> connection;
  ResponseHead head;
};

Status SendAndReadHead(Connection& connection, const std::string& text, const HeadLimits& limits,
                       ResponseHead& head, bool& answered) {
  RETURN_IF_ERROR(connection.stream->WriteAll(AsBytes(text)));
  Result<std::string> bytes = ReadHead(*connection.stream, connection.input, limits);
  answered = bytes.ok() || !connection.input.unread().empty();
  if (absl::IsOutOfRange(bytes.status())) {
    return absl::UnavailableError("the peer closed the connection without an answer");
  }
  if (absl::IsInvalidArgument(bytes.status())) return absl::UnavailableError("not an HTTP answer");
  RETURN_IF_ERROR(bytes.status());
  Result<ResponseHead> parsed = ParseResponseHead(*bytes);
  if (!parsed.ok())
    return absl::UnavailableError(StrCat("not a good HTTP answer: ", parsed.status().message()));
  head = *std::move(parsed);
  return absl::OkStatus();
}

bool IsTooOld(const Status& status) { return StableCode(status) == "connection-too-old"; }

// The other side's clock may be a little ahead: then it is the one who cuts. Near the end of a
// connection that has said nothing, that is no refusal: those come right after the handshake.
Status WithAge(Status status, const Connection& connection) {
  const std::string code = StableCode(status);
  const bool broke =
      absl::IsUnavailable(status) && (code == "unavailable" || code == "refused-by-peer");
  return broke && connection.stream->ending() ? WithCode(std::move(status), "connection-too-old")
                                              : status;
}

// `ask()`, and once more when its connection was cut for its age and asking twice does no harm.
template <typename Ask>
auto AskAgainWhenCut(const ClientRequest& request, Ask ask) {
  auto answer = ask();
  if (request.method == "GET" && IsTooOld(answer.status())) answer = ask();
  return answer;
}

class Streamed final : public ResponseStream {
 public:
  // `pace`: the time for each kPaceBytes.
  Streamed(std::shared_ptr<Pool> pool, Endpoint to, Answer answer, Duration pace)
      : pool_(std::move(pool)),
        to_(std::move(to)),
        answer_(std::move(answer)),
        pace_(pace),
        remaining_(answer_.head.body_bytes) {
    EndIfDone();
  }
  ~Streamed() override {
    if (answer_.connection) pool_->Count(*answer_.connection);
  }
  Streamed(const Streamed&) = delete;
  Streamed& operator=(const Streamed&) = delete;

  [[nodiscard]] int status() const override { return answer_.head.status; }
  [[nodiscard]] const std::map<std::string, std::string>& headers() const override {
    return answer_.head.headers;
  }
  [[nodiscard]] std::uint64_t remaining() const override { return remaining_; }
  Status Read(MutableByteSpan out) override {
    if (out.size() > remaining_) {
      return absl::OutOfRangeError(
          StrCat("read of ", out.size(), " bytes with ", remaining_, " left"));
    }
    if (out.empty()) return absl::OkStatus();
    if (!answer_.connection) return absl::UnavailableError("an earlier read failed");
    Connection& connection = *answer_.connection;
    const Status status = WithAge(ReadPaced(connection, out), connection);
    pool_->Count(connection);
    if (!status.ok()) {
      answer_.connection.reset();
      return Annotate(status, to_.Text());
    }
    remaining_ -= out.size();
    EndIfDone();
    return absl::OkStatus();
  }

 private:
  Status ReadPaced(Connection& connection, MutableByteSpan out) const {
    for (std::size_t at = 0; at < out.size(); at += kPaceBytes) {
      connection.stream->set_deadline_in(pace_);
      RETURN_IF_ERROR(ReadExactly(*connection.stream, connection.input,
                                  out.subspan(at, std::min(kPaceBytes, out.size() - at))));
    }
    connection.stream->set_deadline_in(Duration::zero());
    return absl::OkStatus();
  }
  void EndIfDone() {
    if (remaining_ > 0) return;
    if (answer_.head.keep_alive) {
      pool_->GiveBack(to_, std::move(answer_.connection));
    } else {
      pool_->Count(*answer_.connection);
      answer_.connection.reset();
    }
  }

  const std::shared_ptr<Pool> pool_;
  const Endpoint to_;
  Answer answer_;
  const Duration pace_;
  std::uint64_t remaining_;
};

Result<std::string> ReadWhole(ResponseStream& stream, std::size_t bytes_max) {
  if (stream.remaining() > bytes_max) {
    return absl::ResourceExhaustedError(
        StrCat("an answer of ", stream.remaining(), " bytes; at most ", bytes_max, " are taken"));
  }
  std::string body(stream.remaining(), '\0');
  RETURN_IF_ERROR(stream.Read(std::as_writable_bytes(std::span(body))));
  return body;
}

}  // namespace

struct HttpClient::Impl {
  Impl(TlsContext& t, const HttpClientOptions& o)
      : tls(t), options(o), pool(std::make_shared<Pool>(o)) {}

  Result<std::unique_ptr<Connection>> Connect(const Endpoint& to, const std::stop_token& stop) {
    auto connection = std::make_unique<Connection>();
    Result<std::unique_ptr<Stream>> stream =
        Stream::Connect(to.host, to.port, tls, options.connect_timeout, options.idle_timeout, stop);
    if (!stream.ok() && options.refusals != nullptr)
      NoteRefusal(*options.refusals, to, stream.status());
    RETURN_IF_ERROR(stream.status());
    connection->stream = *std::move(stream);
    return connection;
  }
  [[nodiscard]] Duration IdleOf(const ClientRequest& request) const {
    return request.idle_timeout > Duration::zero() ? request.idle_timeout : options.idle_timeout;
  }
  // The request sent and the answer's head read, over a pooled connection if there is one.
  Result<Answer> Exchange(const Endpoint& to, const ClientRequest& request,
                          const std::stop_token& stop);
  Result<ClientResponse> DoOnce(const Endpoint& to, const ClientRequest& request,
                                const std::stop_token& stop);

  TlsContext& tls;
  const HttpClientOptions options;
  const std::shared_ptr<Pool> pool;
};

Result<Answer> HttpClient::Impl::Exchange(const Endpoint& to, const ClientRequest& request,
                                          const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const std::string text, RequestText(to, request));
  const Duration idle = IdleOf(request);
  const HeadLimits limits{.bytes_max = options.header_bytes_max, .time = idle};
  for (;;) {
    Answer answer{pool->Take(to), {}};
    const bool pooled = answer.connection != nullptr;
    if (!pooled) {
      ASSIGN_OR_RETURN(answer.connection, Connect(to, stop));
    } else {
      answer.connection->stream->set_stop(stop);
    }
    answer.connection->stream->set_idle(idle);
    bool answered = false;
    const Status status =
        WithAge(SendAndReadHead(*answer.connection, text, limits, answer.head, answered),
                *answer.connection);
    pool->Count(*answer.connection);
    if (status.ok()) return answer;
    // A pooled connection may have died of age while nobody looked; others like it are tried, then
    // a new one.
    const bool died = pooled && !answered && absl::IsUnavailable(status) && !IsTooOld(status);
    if (!died) return Annotate(status, to.Text());
  }
}

HttpClient::HttpClient(TlsContext& tls, const HttpClientOptions& options)
    : impl_(std::make_unique<Impl>(tls, options)) {}
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<ResponseStream>> HttpClient::Open(const Endpoint& to,
                                                         const ClientRequest& request,
                                                         const std::stop_token& stop) {
  ASSIGN_OR_RETURN(Answer answer,
                   AskAgainWhenCut(request, [&] { return impl_->Exchange(to, request, stop); }));
  if (answer.head.is_chunked)
    return absl::UnavailableError(StrCat(to.Text(), ": an answer without a Content-Length"));
  const Duration idle = impl_->IdleOf(request);
  auto stream = std::make_unique<Streamed>(impl_->pool, to, std::move(answer), idle);
  if (stream->status() < 400) return std::unique_ptr<ResponseStream>(std::move(stream));
  ASSIGN_OR_RETURN(const std::string body, ReadWhole(*stream, kErrorBodyBytesMax));
  return StatusOf(stream->status(), body);
}

Result<ClientResponse> HttpClient::Do(const Endpoint& to, const ClientRequest& request,
                                      const std::stop_token& stop) {
  return AskAgainWhenCut(request, [&] { return impl_->DoOnce(to, request, stop); });
}

Result<ClientResponse> HttpClient::Impl::DoOnce(const Endpoint& to, const ClientRequest& request,
                                                const std::stop_token& stop) {
  ASSIGN_OR_RETURN(Answer answer, Exchange(to, request, stop));
  ClientResponse response{.status = answer.head.status,
                          .headers = answer.head.headers,
                          .body = {},
                          .peer = answer.connection->stream->peer()};
  if (answer.head.is_chunked) {
    Connection& connection = *answer.connection;
    Result<std::string> chunks =
        ReadChunked(*connection.stream, connection.input, options.body_bytes_max, IdleOf(request));
    pool->Count(connection);
    if (!chunks.ok()) return Annotate(chunks.status(), to.Text());
    response.body = *std::move(chunks);
    if (answer.head.keep_alive) pool->GiveBack(to, std::move(answer.connection));
    return response;
  }
  Streamed stream(pool, to, std::move(answer), IdleOf(request));
  Result<std::string> body = ReadWhole(stream, options.body_bytes_max);
  if (!body.ok()) return Annotate(body.status(), to.Text());
  response.body = *std::move(body);
  return response;
}

Result<nlohmann::json> HttpClient::DoJson(const Endpoint& to, const ClientRequest& request,
                                          const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const ClientResponse response, Do(to, request, stop));
  RETURN_IF_ERROR(StatusOf(response.status, response.body));
  bool too_deep = false;
  const auto keep = [&](int depth, nlohmann::json::parse_event_t /*event*/,
                        nlohmann::json& /*parsed*/) {
    too_deep = too_deep || depth > kJsonDepthMax;
    return !too_deep;  // what is dropped takes no memory
  };
  nlohmann::json body = nlohmann::json::parse(response.body, keep, false);
  if (too_deep || !body.is_object())
    return absl::UnavailableError(StrCat(to.Text(), ": the answer is not a JSON object"));
  return body;
}

std::uint64_t HttpClient::bytes_in() const { return impl_->pool->bytes_in(); }

Result<ClientResponse> PlainGet(const Endpoint& from, const std::string& target, Duration timeout,
                                const std::stop_token& stop) {
  constexpr std::size_t kBodyBytesMax = std::size_t{1} << 20;
  constexpr HeadLimits kLimits{.bytes_max = std::size_t{16} << 10, .time = 5s};
  ASSIGN_OR_RETURN(
      const std::string text,
      RequestText(from, ClientRequest{.target = target, .headers = {{"connection", "close"}}}));
  Connection connection;
  ASSIGN_OR_RETURN(connection.stream,
                   Stream::ConnectPlain(from.host, from.port, timeout, timeout, stop));
  ResponseHead head;
  bool answered = false;
  RETURN_IF_ERROR(
      Annotate(SendAndReadHead(connection, text, kLimits, head, answered), from.Text()));
  if (head.is_chunked)
    return absl::UnavailableError(StrCat(from.Text(), ": an answer without a Content-Length"));
  if (head.body_bytes > kBodyBytesMax)
    return absl::ResourceExhaustedError(StrCat(from.Text(), ": too long an answer"));
  ClientResponse response{
      .status = head.status, .headers = std::move(head.headers), .body = {}, .peer = {}};
  response.body.resize(head.body_bytes);
  RETURN_IF_ERROR(Annotate(ReadExactly(*connection.stream, connection.input,
                                       std::as_writable_bytes(std::span(response.body))),
                           from.Text()));
  return response;
}

}  // namespace starling
