// TlsStream: TCP with mutual TLS 1.3 over our own OpenSSL, synchronous, with a deadline and a stop
// token on every wait. To servers of others, which know no SPIFFE, a context of another kind.
// One SSL_CTX per TlsContext; the certificate is chosen per handshake (newest
// SVID), the peer verified by trust domain and path at the injected time; tickets and session cache
// off. A context is safe from any thread; a stream belongs to one thread at a time (Shutdown() may
// come from any).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/owned.h"
#include "base/result.h"
#include "identity/svid.h"

namespace starling {

class TlsContext {
 public:
  // Borrow `source` and `clock`: they outlive the context. While the source has no SVID, every
  // handshake fails with the code no-identity; the next one after it has one succeeds. Streams that
  // stand hold their own snapshot and go on.
  static Result<std::unique_ptr<TlsContext>> Create(const SvidSource& source, PeerPolicy policy,
                                                    const Clock& clock);
  // For clients of a server with an ordinary certificate, such as the API of Kubernetes: the one
  // that it shows must lead to a CA of `ca_pem`, be for the host that is asked for, a name or an
  // address, and be valid now; TLS 1.2 or newer. We show none. Refusals have the codes expired,
  // not-yet-valid, wrong-host and unknown-authority. Borrows `clock`. A stream of it has no end of
  // its own. Not for Accept().
  static Result<std::unique_ptr<TlsContext>> CreateForWeb(const std::string& ca_pem,
                                                          const Clock& clock);
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  ~TlsContext();

 private:
  friend class Stream;
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A connected byte stream: TLS, or plain TCP for the kubelet's port.
class Stream {
 public:
  // Host names are resolved here. When we refuse the server, the error is VerifyPeer's, with its
  // code in the text; no-identity: we have no certificate, or
  // one that has expired and was refused; peer-no-identity: it has none. `idle`:
  // the longest silence of any later read or write.
  static Result<std::unique_ptr<Stream>> Connect(const std::string& host, std::uint16_t port,
                                                 TlsContext& tls, Duration connect_timeout,
                                                 Duration idle, const std::stop_token& stop);
  static Result<std::unique_ptr<Stream>> ConnectPlain(const std::string& host, std::uint16_t port,
                                                      Duration connect_timeout, Duration idle,
                                                      const std::stop_token& stop);
  // Server side of an accepted socket: the handshake must end within `handshake_timeout`. The
  // error's StableCode is VerifyPeer's, or no-identity, too-slow, not-tls, tls-version,
  // refused-by-peer, handshake-broken.
  static Result<std::unique_ptr<Stream>> Accept(UniqueFd socket, TlsContext* tls_or_null,
                                                Duration handshake_timeout, Duration idle,
                                                const std::stop_token& stop);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  // At least one byte; 0 = orderly end. DeadlineExceeded after `idle` of silence, Cancelled on
  // stop, else Unavailable. With TLS 1.3 a client learns only from its first read that the server
  // refused it: that error says so (code refused-by-peer).
  [[nodiscard]] Result<std::size_t> ReadSome(MutableByteSpan out);
  [[nodiscard]] Status WriteAll(ByteSpan bytes);
  void set_idle(Duration idle);
  // No read or write lasts beyond this span from now, however busy the peer is; zero: only `idle`
  // counts.
  void set_deadline_in(Duration span);
  // From now on this token ends the stream, instead of the one given before. A stream that was
  // stopped stays dead.
  void set_stop(const std::stop_token& stop);
  void Shutdown();  // Wakes a blocked read or write of another thread.
  // Says goodbye, then reads and drops what the peer still sends, for `span` at most: closing on
  // unread bytes would reset the connection, and the peer would lose our last answer.
  void CloseGently(Duration span);
  // Nothing has come in that nobody asked for, the end included: a pooled connection may be used
  // again.
  [[nodiscard]] bool quiet() const;
  // No stream outlives the two certificates that were shown, each with its chain: from the earliest
  // end on, every read and write fails with Unavailable and the code connection-too-old, one that
  // waits, too. A renewed certificate changes nothing for a stream that stands.
  [[nodiscard]] bool expired() const;  // that end has come
  // What may be begun on this stream is to be done within this span: until a third of the life that
  // it had at its handshake is left, or 10 s where that is less. Zero from then on; Duration::max()
  // on a plain stream.
  [[nodiscard]] Duration time_left() const;
  [[nodiscard]] bool ending() const { return time_left() == Duration::zero(); }
  [[nodiscard]] const std::optional<SpiffeId>& peer() const;  // none on a plain stream
  [[nodiscard]] std::uint64_t bytes_in() const;
  [[nodiscard]] std::uint64_t bytes_out() const;

 private:
  struct Impl;
  explicit Stream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
