#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <utility>

#include "base/errno.h"
#include "base/text.h"
#include "http/socket.h"
#include "http/tls_context.h"
#include "http/wire.h"
#include "identity/certificate.h"
#include "openssl/err.h"

namespace starling {
namespace {

constexpr Duration kRefusalLinger = 500ms;  // for the alert to arrive
constexpr std::size_t kLingerBytesMax = std::size_t{4} << 20;
constexpr int kReservePart = 3;  // of a connection's life, for what is under way at its end
constexpr Duration kReserveMax = 10s;
constexpr Duration kLeftMax = std::chrono::hours(24 * 365);  // so that no sum overflows
constexpr int kAlertReasons =
    SSL_AD_REASON_OFFSET;  // OpenSSL's reasons from here on are alerts of the peer

Status WithStable(std::string_view code, const std::string& text) {
  return WithCode(absl::UnavailableError(text), code);
}

// What OpenSSL's newest error of this thread says; empties its list.
struct TlsTrouble {
  int reason = 0;  // 0: none
  std::string text;
  [[nodiscard]] bool is_alert() const { return reason >= kAlertReasons; }
  [[nodiscard]] bool is_end() const {
    return reason == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  }
};

TlsTrouble TakeTrouble() {
  const unsigned long code = ERR_peek_last_error();
  TlsTrouble trouble;
  if (code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL) trouble.reason = ERR_GET_REASON(code);
  if (trouble.is_alert()) {
    // "tlsv1 alert unknown ca" says the same with the protocol's old name in it.
    trouble.text = SSL_alert_desc_string_long(trouble.reason - kAlertReasons);
    ERR_clear_error();
  } else {
    trouble.text = TakeOpenSslErrors();
  }
  return trouble;
}

bool IsAboutVersion(const TlsTrouble& trouble) {
  return trouble.reason == SSL_R_UNSUPPORTED_PROTOCOL || trouble.reason == SSL_R_VERSION_TOO_LOW ||
         trouble.reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION;
}

bool IsNotTls(const TlsTrouble& trouble) {
  return trouble.reason == SSL_R_WRONG_VERSION_NUMBER || trouble.reason == SSL_R_HTTP_REQUEST ||
         trouble.reason == SSL_R_BAD_RECORD_TYPE || trouble.reason == SSL_R_HTTPS_PROXY_REQUEST;
}

}  // namespace

struct Stream::Impl {
  Impl(UniqueFd socket, Duration idle_span) : wire(std::move(socket)), idle(idle_span) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status SetUpTls(const TlsContext& context, bool is_client, const std::string& host);
  Status HandshakeUntil(Moment until);
  Status HandshakeFailure(int ssl_error);
  // Waits as `ssl_error` asks for, or says what it means.
  Status AfterFailedCall(int ssl_error);
  Status ConnectionFailure(bool is_end, int error);
  [[nodiscard]] Status RefusedByPeer(const std::string& what) const;
  [[nodiscard]] Status Wait(short events);
  void SetEnd();
  // To a server that knows no SPIFFE.
  [[nodiscard]] bool is_web() const { return ssl && handshake.state == nullptr; }
  [[nodiscard]] bool expired() const { return ends && handshake.clock->UtcNow() >= *ends; }
  [[nodiscard]] Duration Left() const;  // until `ends`, never negative
  Status TooOld();
  [[nodiscard]] Status FlushAll();
  Result<std::size_t> ReadPlain(MutableByteSpan out);
  Result<std::size_t> ReadTls(MutableByteSpan out);
  Status WritePlain(ByteSpan bytes);
  Status WriteTls(ByteSpan bytes);
  void Shut(bool by_token);

  Wire wire;
  Handshake handshake;  // before ssl, which points to it
  SslPtr ssl;
  bool is_client = false;
  bool broken = false;  // OpenSSL forbids any further call
  bool heard = false;   // something of the peer's application came
  Duration idle;
  Moment until = Moment::max();
  std::optional<UtcTime> ends;  // when the first of the certificates that were shown does
  Duration reserve{0};          // before that nothing is begun any more
  std::atomic<bool> shut = false;
  std::atomic<bool> stopped = false;
  std::optional<std::stop_callback<std::function<void()>>>
      on_stop;  // Last: it calls into the others.
};

Stream::Impl::~Impl() {
  on_stop.reset();
  if (ssl && !broken && SSL_is_init_finished(ssl.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(ssl.get());  // close_notify, if the socket takes it at once
    ERR_clear_error();
  }
}

void Stream::Impl::Shut(bool by_token) {
  if (by_token) stopped = true;
  shut = true;
  shutdown(wire.fd(), SHUT_RDWR);
}

Status Stream::Impl::Wait(short events) {
  const Moment patience = std::min(until, MomentIn(idle));
  while (!shut) {
    // The end is one of the clock that was given; poll() knows another one, so it is looked up anew
    // each time.
    const Moment end = MomentIn(Left());
    Status ready = WaitReady(wire.fd(), events, std::min(patience, end));
    if (shut) break;
    if (expired()) return TooOld();
    if (ready.ok()) return ready;
    if (!absl::IsDeadlineExceeded(ready) || patience <= end) return ready;
  }
  return absl::CancelledError(stopped ? "stopped" : "shut down");
}

void Stream::Impl::SetEnd() {
  if (is_web()) return;
  ends = handshake.peer_not_after;
  // What we showed after its end is for the peer to judge, whose reason must not be cut off.
  const UtcTime own = handshake.state->svid->not_after;
  if (own > handshake.clock->UtcNow()) ends = std::min(*ends, own);
  reserve = std::min(Left() / kReservePart, kReserveMax);
}

Duration Stream::Impl::Left() const {
  if (!ends) return kLeftMax;
  const UtcTime::duration left = *ends - handshake.clock->UtcNow();
  return std::clamp<UtcTime::duration>(left, UtcTime::duration::zero(),
                                       std::chrono::duration_cast<UtcTime::duration>(kLeftMax));
}

Status Stream::Impl::TooOld() {
  broken = true;  // Not even a goodbye is said any more.
  return WithNext(
      WithStable("connection-too-old",
                 "the connection was cut when the certificates that it began with ended"),
      "ask again on a new connection; if that fails, are certificates renewed in time?");
}

// With an expired certificate no peer is to blame for refusing it: we have no identity, rather. It
// is shown all the same, so that the other side can name who cannot get in.
Status Stream::Impl::RefusedByPeer(const std::string& what) const {
  const Svid* const own = handshake.state == nullptr ? nullptr : handshake.state->svid.get();
  if (is_client && own != nullptr && own->not_after <= handshake.clock->UtcNow()) {
    return WithNext(
        WithStable("no-identity", StrCat("the certificate of this node has expired, at ",
                                         FormatUtc(own->not_after), ": ", what)),
        "have a new certificate issued; is the clock right?");
  }
  return WithStable("refused-by-peer", StrCat(what, " (see its log)"));
}

Status Stream::Impl::ConnectionFailure(bool is_end, int error) {
  if (stopped) return absl::CancelledError("stopped");
  if (shut) return absl::CancelledError("shut down");
  if (ssl && is_client && !heard && !is_web()) {
    return RefusedByPeer(
        "the peer closed the connection during or right after the handshake: it probably "
        "refused our certificate");
  }
  if (is_end) return absl::UnavailableError("the peer closed the connection");
  return absl::UnavailableError(StrCat("the connection broke: ", ErrnoText(error)));
}

Status Stream::Impl::FlushAll() {
  for (;;) {
    const Wire::Outcome outcome = wire.Flush();
    if (outcome == Wire::Outcome::kDone) return absl::OkStatus();
    if (outcome == Wire::Outcome::kFailed) return ConnectionFailure(false, wire.error());
    RETURN_IF_ERROR(Wait(POLLOUT));
  }
}

Status Stream::Impl::AfterFailedCall(int ssl_error) {
  if (ssl_error == SSL_ERROR_WANT_READ) {
    RETURN_IF_ERROR(FlushAll());  // Never wait for an answer to what was not sent.
    return Wait(POLLIN);
  }
  if (ssl_error == SSL_ERROR_WANT_WRITE) return Wait(POLLOUT);
  broken = true;
  const TlsTrouble trouble = TakeTrouble();
  if (trouble.is_alert() && !stopped && !shut) {
    return RefusedByPeer(StrCat("the peer refused us: ", trouble.text));
  }
  if (!trouble.is_end() && !stopped && !shut)
    return absl::UnavailableError(StrCat("TLS: ", trouble.text));
  return ConnectionFailure(ssl_error != SSL_ERROR_SYSCALL || wire.error() == 0, wire.error());
}

Status Stream::Impl::SetUpTls(const TlsContext& context, bool client, const std::string& host) {
  is_client = client;
  ASSIGN_OR_RETURN(ssl, context.impl_->NewConnection(handshake));
  if (client && !handshake.identity.ok()) return handshake.identity;
  BIO* const bio = wire.NewBio().release();
  SSL_set_bio(ssl.get(), bio, bio);
  if (!client) {
    SSL_set_accept_state(ssl.get());
    return absl::OkStatus();
  }
  SSL_set_connect_state(ssl.get());
  if (is_web()) RETURN_IF_ERROR(context.impl_->ExpectHost(ssl.get(), host));
  // Names only (RFC 6066): it is for proxies that choose by it; nobody is trusted for a host name.
  // SSL_ctrl and not its macro SSL_set_tlsext_host_name, which casts in the style of C.
  if (!IsIpLiteral(host) &&
      SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               const_cast<char*>(host.c_str())) != 1) {
    return absl::InternalError(StrCat("TLS: ", TakeOpenSslErrors()));
  }
  return absl::OkStatus();
}

Status Stream::Impl::HandshakeUntil(Moment handshake_until) {
  until = handshake_until;
  for (;;) {
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl.get());
    if (done == 1) break;
    RETURN_IF_ERROR(HandshakeFailure(SSL_get_error(ssl.get(), done)));
  }
  RETURN_IF_ERROR(FlushAll());
  until = Moment::max();
  SetEnd();
  return absl::OkStatus();
}

// OK: try again.
Status Stream::Impl::HandshakeFailure(int ssl_error) {
  if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE) {
    Status status = AfterFailedCall(ssl_error);
    if (!absl::IsDeadlineExceeded(status)) return status;
    return WithCode(absl::DeadlineExceededError("the TLS handshake took too long"), "too-slow");
  }
  broken = true;
  const TlsTrouble trouble = TakeTrouble();
  if (!handshake.identity.ok()) return handshake.identity;
  if (is_web()) handshake.refusal = WebRefusal(ssl.get());
  if (!handshake.refusal.ok()) {
    const std::string code = StableCode(handshake.refusal);
    return WithCode(Annotate(handshake.refusal, StrCat("we refused the peer: ", code)), code);
  }
  if (trouble.reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    return WithCode(absl::UnauthenticatedError("the peer showed no certificate"), "no-certificate");
  }
  if (IsAboutVersion(trouble)) {
    return WithStable("tls-version",
                      StrCat("the peer does not speak TLS ", is_web() ? "1.2 or newer" : "1.3"));
  }
  if (IsNotTls(trouble)) return WithStable("not-tls", "the peer does not speak TLS on this port");
  if (is_client && trouble.reason == SSL_R_TLSV1_ALERT_INTERNAL_ERROR) {
    return WithStable("peer-no-identity",
                      "the peer could not do its part of the handshake: it probably has no "
                      "certificate now (see its log)");
  }
  if (trouble.is_alert()) {
    return RefusedByPeer(StrCat("the peer refused our handshake: ", trouble.text));
  }
  if (stopped) return absl::CancelledError("stopped");
  if (!trouble.is_end()) return WithStable("handshake-broken", StrCat("TLS: ", trouble.text));
  if (is_client) return ConnectionFailure(true, 0);
  return WithCode(absl::AbortedError("the peer closed the connection in the handshake"),
                  "handshake-broken");
}

Result<std::size_t> Stream::Impl::ReadPlain(MutableByteSpan out) {
  for (;;) {
    std::size_t count = 0;
    const Wire::Outcome outcome = wire.Read(out, count);
    if (stopped) return absl::CancelledError("stopped");
    if (outcome == Wire::Outcome::kDone) return count;
    if (outcome == Wire::Outcome::kFailed) return ConnectionFailure(false, wire.error());
    RETURN_IF_ERROR(Wait(POLLIN));
  }
}

Result<std::size_t> Stream::Impl::ReadTls(MutableByteSpan out) {
  if (expired()) return TooOld();
  if (broken) return ConnectionFailure(true, 0);
  for (;;) {
    std::size_t count = 0;
    ERR_clear_error();
    if (SSL_read_ex(ssl.get(), out.data(), out.size(), &count) == 1) {
      heard = true;
      return count;
    }
    const int error = SSL_get_error(ssl.get(), 0);
    if (error == SSL_ERROR_ZERO_RETURN && heard) return std::size_t{0};
    if (error == SSL_ERROR_ZERO_RETURN && !is_client) return std::size_t{0};
    RETURN_IF_ERROR(AfterFailedCall(error));
  }
}

Status Stream::Impl::WritePlain(ByteSpan bytes) {
  while (!bytes.empty()) {
    std::size_t count = 0;
    const Wire::Outcome outcome = wire.Write(bytes, count);
    if (outcome == Wire::Outcome::kFailed) return ConnectionFailure(false, wire.error());
    if (outcome == Wire::Outcome::kBlocked) RETURN_IF_ERROR(Wait(POLLOUT));
    bytes = bytes.subspan(count);
  }
  return absl::OkStatus();
}

Status Stream::Impl::WriteTls(ByteSpan bytes) {
  if (broken && !expired()) return ConnectionFailure(true, 0);
  while (!bytes.empty()) {
    if (expired()) return TooOld();  // Each time: a long write need not wait anywhere.
    std::size_t count = 0;
    ERR_clear_error();
    if (SSL_write_ex(ssl.get(), bytes.data(), bytes.size(), &count) == 1) {
      bytes = bytes.subspan(count);
      continue;
    }
    RETURN_IF_ERROR(AfterFailedCall(SSL_get_error(ssl.get(), 0)));
  }
  return FlushAll();
}

Stream::Stream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Stream::~Stream() = default;

Result<std::unique_ptr<Stream>> Stream::Connect(const std::string& host, std::uint16_t port,
                                                TlsContext& tls, Duration connect_timeout,
                                                Duration idle, const std::stop_token& stop) {
  const std::string where = StrCat(host, ":", port);
  // Before the peer is bothered. What the handshake shows is a snapshot of its own.
  const TlsContext::Impl& context = *tls.impl_;
  RETURN_IF_ERROR(Annotate(context.CheckIdentity(), where));
  const Moment until = MomentIn(connect_timeout);
  Result<UniqueFd> socket = ConnectSocket(host, port, until, stop);
  if (!socket.ok()) return Annotate(socket.status(), where);
  auto impl = std::make_unique<Impl>(*std::move(socket), connect_timeout);
  RETURN_IF_ERROR(Annotate(impl->SetUpTls(tls, true, host), where));
  std::unique_ptr<Stream> stream(new Stream(std::move(impl)));
  stream->set_stop(stop);
  RETURN_IF_ERROR(Annotate(stream->impl_->HandshakeUntil(until), where));
  stream->set_idle(idle);
  return stream;
}

Result<std::unique_ptr<Stream>> Stream::ConnectPlain(const std::string& host, std::uint16_t port,
                                                     Duration connect_timeout, Duration idle,
                                                     const std::stop_token& stop) {
  Result<UniqueFd> socket = ConnectSocket(host, port, MomentIn(connect_timeout), stop);
  if (!socket.ok()) return Annotate(socket.status(), StrCat(host, ":", port));
  std::unique_ptr<Stream> stream(new Stream(std::make_unique<Impl>(*std::move(socket), idle)));
  stream->set_stop(stop);
  return stream;
}

Result<std::unique_ptr<Stream>> Stream::Accept(UniqueFd socket, TlsContext* tls_or_null,
                                               Duration handshake_timeout, Duration idle,
                                               const std::stop_token& stop) {
  SetNoDelay(socket.get());
  std::unique_ptr<Stream> stream(new Stream(std::make_unique<Impl>(std::move(socket), idle)));
  stream->set_stop(stop);
  if (tls_or_null == nullptr) return stream;
  RETURN_IF_ERROR(stream->impl_->SetUpTls(*tls_or_null, false, ""));
  stream->impl_->idle = handshake_timeout;
  Status status = stream->impl_->HandshakeUntil(MomentIn(handshake_timeout));
  if (!status.ok()) {
    stream->CloseGently(kRefusalLinger);
    return status;
  }
  stream->set_idle(idle);
  return stream;
}

Result<std::size_t> Stream::ReadSome(MutableByteSpan out) {
  if (out.empty()) return absl::InvalidArgumentError("a read of no bytes");
  return impl_->ssl ? impl_->ReadTls(out) : impl_->ReadPlain(out);
}

Status Stream::WriteAll(ByteSpan bytes) {
  if (!impl_->ssl) return impl_->WritePlain(bytes);
  Status status = impl_->WriteTls(bytes);
  if (!absl::IsUnavailable(status) || impl_->broken || !impl_->is_client || impl_->heard)
    return status;
  // A refused client's write may fail before it has read why.
  std::array<std::byte, 1> unused{};
  const Result<std::size_t> why = impl_->ReadTls(unused);
  return why.ok() ? status : why.status();
}

void Stream::set_idle(Duration idle) { impl_->idle = idle; }

void Stream::set_deadline_in(Duration span) {
  impl_->until = span == Duration::zero() ? Moment::max() : MomentIn(span);
}

void Stream::set_stop(const std::stop_token& stop) {
  impl_->on_stop.reset();
  impl_->on_stop.emplace(stop, [impl = impl_.get()] { impl->Shut(true); });
}

void Stream::Shutdown() { impl_->Shut(false); }

void Stream::CloseGently(Duration span) {
  if (impl_->ssl && !impl_->broken) {
    ERR_clear_error();
    SSL_shutdown(impl_->ssl.get());
    ERR_clear_error();
    impl_->broken = true;
  }
  static_cast<void>(impl_->wire.Flush());
  shutdown(impl_->wire.fd(), SHUT_WR);
  const Moment until = MomentIn(span);
  std::array<std::byte, 16384> dropped{};
  for (std::size_t total = 0; total < kLingerBytesMax && !impl_->shut;) {
    std::size_t count = 0;
    const Wire::Outcome outcome = impl_->wire.Read(dropped, count);
    if (outcome == Wire::Outcome::kFailed || (outcome == Wire::Outcome::kDone && count == 0))
      return;
    if (outcome == Wire::Outcome::kBlocked && !WaitReady(impl_->wire.fd(), POLLIN, until).ok())
      return;
    total += count;
  }
}

bool Stream::quiet() const {
  if (impl_->shut || impl_->broken || (impl_->ssl && SSL_has_pending(impl_->ssl.get()) == 1))
    return false;
  std::byte peeked{};
  const ssize_t count = recv(impl_->wire.fd(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && errno == EAGAIN;
}

bool Stream::expired() const { return impl_->expired(); }

Duration Stream::time_left() const {
  if (!impl_->ends) return Duration::max();
  return std::max(Duration::zero(), impl_->Left() - impl_->reserve);
}

const std::optional<SpiffeId>& Stream::peer() const { return impl_->handshake.peer; }
std::uint64_t Stream::bytes_in() const { return impl_->wire.bytes_in(); }
std::uint64_t Stream::bytes_out() const { return impl_->wire.bytes_out(); }

}  // namespace starling
