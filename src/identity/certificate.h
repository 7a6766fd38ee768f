// Certificates as the rest of identity/ handles them: building (for the development authority and
// tests), PEM, and the parts of an X.509-SVID. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/svid.h"

namespace starling {

// What a certificate says. The defaults make a proper leaf.
struct CertificateSpec {
  std::string common_name;
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  std::vector<std::string> ips;
  bool is_ca = false;
  // Names of OpenSSL's keyUsage, "" = no such extension.
  std::string key_usage = "critical,digitalSignature,keyAgreement";
  // The same of extendedKeyUsage; a CA has none.
  std::string extended_key_usage = "serverAuth,clientAuth";
  int path_length = -1;  // of a CA; negative: not limited
  UtcTime not_before;
  UtcTime not_after;
};

struct Issuer {
  const X509& certificate;
  EVP_PKEY& key;
};

[[nodiscard]] Result<KeyPtr> MakeKey();  // P-256
// Signed by `issuer`, by `key` itself when null. The serial number is random.
[[nodiscard]] Result<X509Ptr> MakeCertificate(const CertificateSpec& spec, EVP_PKEY& key,
                                              const Issuer* issuer);

[[nodiscard]] Result<std::string> CertificatePem(const X509& certificate);
[[nodiscard]] Result<std::string> KeyPem(const EVP_PKEY& key);  // PKCS#8, not encrypted
// All certificates of a PEM text in order, at least one; other blocks are skipped.
[[nodiscard]] Result<std::vector<std::shared_ptr<X509>>> ParseCertificates(std::string_view pem);
// DER certificates one after the other and nothing behind them, as SPIFFE has them; none is fine.
[[nodiscard]] Result<std::vector<std::shared_ptr<X509>>> ParseCertificatesDer(
    std::string_view der, std::size_t count_max);
// PKCS#8 in DER, not encrypted, and nothing behind it.
[[nodiscard]] Result<std::shared_ptr<EVP_PKEY>> ParseKeyDer(std::string_view der);
// A private key of any type that OpenSSL reads; an encrypted one is refused.
[[nodiscard]] Result<std::shared_ptr<EVP_PKEY>> ParseKey(std::string_view pem);

// How much is taken from others: certificates of a chain, CA certificates of one bundle.
inline constexpr std::size_t kChainMax = 10;
inline constexpr std::size_t kRootsMax = 1000;

[[nodiscard]] bool KeyBelongs(const X509& certificate, const EVP_PKEY& key);
// Sets when it is valid from its chain: from the leaf's beginning to the earliest end.
void SetLife(Svid& svid);
// What a peer that believes `state` makes of a chain of our own (leaf first), in whatever role: as
// VerifyPeer().
[[nodiscard]] Status VerifyOwnChain(const std::vector<std::shared_ptr<X509>>& chain,
                                    const IdentityState& state, UtcTime at);

// The URI names in the subject's alternative names, in order; unreadable ones as "".
[[nodiscard]] std::vector<std::string> UriNames(const X509& certificate);
// Those of them that are SPIFFE IDs or would be: they begin with spiffe:, in whatever case.
[[nodiscard]] std::vector<std::string> SpiffeNames(const X509& certificate);
// The one URI name as a SPIFFE ID; none or several are an error.
[[nodiscard]] Result<SpiffeId> SpiffeIdOf(const X509& certificate);
[[nodiscard]] bool IsCa(const X509& certificate);
[[nodiscard]] UtcTime NotBefore(const X509& certificate);
// Everything that OpenSSL has to say about the last failure of this thread, in one line; empties
// its list.
[[nodiscard]] std::string TakeOpenSslErrors();

}  // namespace starling
