#include "http/tls_context.h"

#include <algorithm>
#include <ctime>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "http/socket.h"
#include "identity/certificate.h"
#include "identity/identity_health.h"
#include "openssl/err.h"
#include "openssl/x509v3.h"

namespace starling {
namespace {

// AES-128 first: a third cheaper than AES-256, and no weaker than the P-256 keys around it.
constexpr const char* kCipherSuites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// Of TLS 1.2, which servers of the web may have: with forward secrecy and authenticated only.
constexpr const char* kOlderCipherSuites = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::size_t kReadBufferBytes = std::size_t{128} << 10;  // several records in one recv()
constexpr long kCertificatesBytesMax = 64L << 10;                 // of a peer's chain

// Frees the list, not the borrowed certificates.
void FreeList(STACK_OF(X509) * list) { sk_X509_free(list); }
using ListPtr = Owned<STACK_OF(X509), &FreeList>;

// The slot of an SSL object in which its Handshake is kept; one for the process.
int HandshakeSlot() {
  static const int kSlot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return kSlot;
}

Handshake& HandshakeOf(const SSL* ssl) {
  auto* const handshake = static_cast<Handshake*>(SSL_get_ex_data(ssl, HandshakeSlot()));
  CHECK(handshake != nullptr);
  return *handshake;
}

// Called in every handshake when our certificate is wanted: whatever is newest then is shown.
int ShowCertificate(SSL* ssl, void* /*unused*/) noexcept {
  const Handshake& handshake = HandshakeOf(ssl);
  // OpenSSL then sends the alert internal_error, from which a client of ours knows why.
  if (!handshake.identity.ok()) return 0;
  const Svid& svid = *handshake.state->svid;
  const ListPtr issuers(sk_X509_new_null());
  for (std::size_t i = 1; i < svid.chain.size(); ++i) {
    if (sk_X509_push(issuers.get(), svid.chain[i].get()) <= 0) return 0;
  }
  return SSL_use_cert_and_key(ssl, svid.chain.front().get(), svid.key.get(), issuers.get(), 1);
}

// The nearest X.509 error, from which OpenSSL chooses the alert that the peer sees.
int VerifyError(const std::string& code) {
  if (code == "expired") return X509_V_ERR_CERT_HAS_EXPIRED;
  if (code == "not-yet-valid") return X509_V_ERR_CERT_NOT_YET_VALID;
  if (code == "unknown-authority" || code == "unknown-trust-domain") {
    return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
  }
  return X509_V_ERR_CERT_REJECTED;
}

// Instead of OpenSSL's own verification.
int Verify(X509_STORE_CTX* context, void* /*unused*/) noexcept {
  const auto* const ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  Handshake& handshake = HandshakeOf(ssl);
  const STACK_OF(X509)* const shown = X509_STORE_CTX_get0_untrusted(context);
  std::vector<X509*> chain;
  chain.reserve(static_cast<std::size_t>(std::max(0, sk_X509_num(shown))));
  for (int i = 0; i < sk_X509_num(shown); ++i) chain.push_back(sk_X509_value(shown, i));
  Result<SpiffeId> peer =
      VerifyPeer(chain, *handshake.state, *handshake.policy, handshake.clock->UtcNow());
  if (!peer.ok()) {
    handshake.refusal = peer.status();
    X509_STORE_CTX_set_error(context, VerifyError(StableCode(peer.status())));
    return 0;
  }
  handshake.peer = *std::move(peer);
  handshake.peer_not_after = NotAfter(*chain.front());
  for (const X509* issuer : chain) {
    handshake.peer_not_after = std::min(handshake.peer_not_after, NotAfter(*issuer));
  }
  X509_STORE_CTX_set_error(context, X509_V_OK);
  return 1;
}

// What every context has in common.
Status Configure(SSL_CTX* context, int oldest_version) {
  if (SSL_CTX_set_min_proto_version(context, oldest_version) != 1 ||
      SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context, kOlderCipherSuites) != 1 ||
      SSL_CTX_set_ciphersuites(context, kCipherSuites) != 1) {
    return absl::InternalError(StrCat("TLS: ", TakeOpenSslErrors()));
  }
  // A resumed session would skip the check of the peer.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_max_cert_list(context, kCertificatesBytesMax);
  // A write that stands between two records may be repeated from anywhere: the caller's span does
  // not move, but its parts do.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, kReadBufferBytes);
  return absl::OkStatus();
}

}  // namespace

Status WebRefusal(const SSL* ssl) {
  const long error = SSL_get_verify_result(ssl);
  if (error == X509_V_OK) return absl::OkStatus();
  const auto refused = [&](std::string_view code) {
    return WithCode(absl::UnauthenticatedError(StrCat("the server's certificate is not good: ",
                                                      X509_verify_cert_error_string(error))),
                    code);
  };
  if (error == X509_V_ERR_CERT_HAS_EXPIRED) return refused("expired");
  if (error == X509_V_ERR_CERT_NOT_YET_VALID) return refused("not-yet-valid");
  if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)
    return refused("wrong-host");
  return refused("unknown-authority");
}

Status TlsContext::Impl::ExpectHost(SSL* ssl, const std::string& host) const {
  X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_time(expected, static_cast<std::time_t>(UnixMs(clock.UtcNow()) / 1000));
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool set = IsIpLiteral(host)
                       ? X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) == 1
                       : X509_VERIFY_PARAM_set1_host(expected, host.data(), host.size()) == 1;
  if (!set) return absl::InvalidArgumentError(StrCat("not a host: ", Printable(host)));
  return absl::OkStatus();
}

Status TlsContext::Impl::CheckIdentity() const {
  return source == nullptr ? absl::OkStatus() : CheckIdentity(*source->Current());
}

Status TlsContext::Impl::CheckIdentity(const IdentityState& state) const {
  if (state.svid != nullptr) return absl::OkStatus();
  // The source may have got one since: then its words are general ones, and right all the same.
  const IdentityHealth health = LookAtIdentity(*source, clock.UtcNow());
  const bool told = !health.usable && !health.trouble.empty();
  return WithNext(
      WithCode(absl::UnavailableError(told ? health.trouble : "this node has no certificate"),
               "no-identity"),
      told ? health.next : "try again");
}

Result<SslPtr> TlsContext::Impl::NewConnection(Handshake& handshake) const {
  if (source != nullptr) {
    handshake.state = source->Current();
    CHECK(handshake.state != nullptr);
    handshake.identity = CheckIdentity(*handshake.state);
  }
  handshake.policy = &policy;
  handshake.clock = &clock;
  SslPtr ssl(SSL_new(context.get()));
  if (!ssl || SSL_set_ex_data(ssl.get(), HandshakeSlot(), &handshake) != 1) {
    return absl::InternalError(StrCat("TLS: ", TakeOpenSslErrors()));
  }
  return ssl;
}

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::Create(const SvidSource& source, PeerPolicy policy,
                                                       const Clock& clock) {
  auto impl = std::make_unique<Impl>(&source, std::move(policy), clock);
  impl->context = SslContextPtr(SSL_CTX_new(TLS_method()));
  SSL_CTX* const context = impl->context.get();
  if (context == nullptr) return absl::InternalError(StrCat("TLS: ", TakeOpenSslErrors()));
  RETURN_IF_ERROR(Configure(context, TLS1_3_VERSION));
  SSL_CTX_set_cert_verify_callback(context, &Verify, nullptr);
  SSL_CTX_set_cert_cb(context, &ShowCertificate, nullptr);
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

Result<std::unique_ptr<TlsContext>> TlsContext::CreateForWeb(const std::string& ca_pem,
                                                             const Clock& clock) {
  auto impl = std::make_unique<Impl>(nullptr, PeerPolicy{}, clock);
  impl->context = SslContextPtr(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = impl->context.get();
  if (context == nullptr) return absl::InternalError(StrCat("TLS: ", TakeOpenSslErrors()));
  RETURN_IF_ERROR(Configure(context, TLS1_2_VERSION));
  ASSIGN_OR_RETURN(const std::vector<std::shared_ptr<X509>> cas, ParseCertificates(ca_pem));
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);  // what is given is believed, root or not
  for (const auto& ca : cas) {
    if (X509_STORE_add_cert(store, ca.get()) != 1)
      return absl::InternalError(StrCat("TLS: ", TakeOpenSslErrors()));
  }
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

}  // namespace starling
