// What TlsContext and Stream share: the one SSL_CTX and what a handshake collects. Internal to
// http/. Any thread; a Handshake belongs to its stream.
#pragma once

#include <memory>
#include <optional>

#include "base/owned.h"
#include "http/tls.h"
#include "openssl/ssl.h"

namespace starling {

using SslContextPtr = Owned<SSL_CTX, &SSL_CTX_free>;
using SslPtr = Owned<SSL, &SSL_free>;

// Lives at one address from SSL_new on: OpenSSL holds a pointer to it.
struct Handshake {
  // One snapshot: what we show and whom we believe. Null for a server of the web.
  std::shared_ptr<const IdentityState> state;
  const PeerPolicy* policy = nullptr;
  const Clock* clock = nullptr;
  Status identity;  // whether there is something to show
  Status refusal;   // why we refuse the peer
  std::optional<SpiffeId> peer;
  UtcTime peer_not_after;  // the earliest end in its chain
};

struct TlsContext::Impl {
  Impl(const SvidSource* s, PeerPolicy p, const Clock& c)
      : source(s), policy(std::move(p)), clock(c) {}
  const SvidSource* const source;  // null: for servers of the web
  const PeerPolicy policy;
  const Clock& clock;
  SslContextPtr context;

  // Fills `handshake` with a fresh snapshot and makes the SSL object that reports to it.
  [[nodiscard]] Result<SslPtr> NewConnection(Handshake& handshake) const;
  // Unavailable, with the code no-identity and what the source says, while there is no SVID. Of the
  // newest state.
  [[nodiscard]] Status CheckIdentity() const;
  [[nodiscard]] Status CheckIdentity(const IdentityState& state) const;
  // For whom the certificate must be that a server of the web shows.
  [[nodiscard]] Status ExpectHost(SSL* ssl, const std::string& host) const;
};

// Why OpenSSL refused the certificate of a server of the web; OK when it did not.
[[nodiscard]] Status WebRefusal(const SSL* ssl);

}  // namespace starling
