// A CA of which tests can make anything, and what it made in the forms of the wire. One thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "identity/certificate.h"
#include "identity/spiffe_state.h"
#include "identity/svid.h"

namespace starling::testing {

inline constexpr UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};
inline constexpr UtcTime kBegin = kNow - std::chrono::hours(1);
inline constexpr UtcTime kEnd = kNow + std::chrono::hours(1);

[[nodiscard]] inline CertificateSpec CaSpec(std::vector<std::string> uris = {"spiffe://a"}) {
  return {.common_name = "CA",
          .uris = std::move(uris),
          .is_ca = true,
          .key_usage = "critical,keyCertSign,cRLSign",
          .not_before = kBegin,
          .not_after = kEnd};
}

struct Ca {
  explicit Ca(const std::string& trust_domain, const Ca* parent = nullptr)
      : Ca(CaSpec({"spiffe://" + trust_domain}), parent) {}
  explicit Ca(const CertificateSpec& spec, const Ca* parent = nullptr,
              KeyPtr own_key = std::move(MakeKey().value()))
      : key(std::move(own_key)) {
    std::optional<Issuer> issuer;
    if (parent != nullptr) issuer.emplace(Issuer{*parent->certificate, *parent->key});
    X509Ptr made = MakeCertificate(spec, *key, issuer ? &*issuer : nullptr).value();
    certificate = {made.release(), &X509_free};
  }
  [[nodiscard]] X509Ptr Leaf(const CertificateSpec& spec, EVP_PKEY& leaf_key) const {
    const Issuer issuer{*certificate, *key};
    return MakeCertificate(spec, leaf_key, &issuer).value();
  }
  [[nodiscard]] X509Ptr Leaf(const CertificateSpec& spec) const {
    const KeyPtr leaf_key = MakeKey().value();
    return Leaf(spec, *leaf_key);
  }
  [[nodiscard]] Bundle bundle() const { return {{certificate}}; }

  KeyPtr key;
  std::shared_ptr<X509> certificate;
};

// The proper leaf of spiffe://a/swarm/sl.
[[nodiscard]] inline CertificateSpec LeafSpec(std::vector<std::string> uris = {
                                                  "spiffe://a/swarm/sl"}) {
  return {.uris = std::move(uris), .not_before = kBegin, .not_after = kEnd};
}

[[nodiscard]] inline std::string Der(const X509& certificate) {
  unsigned char* out = nullptr;
  const int size = i2d_X509(&certificate, &out);
  CHECK(size > 0);
  const Owned<unsigned char, [](unsigned char* p) { OPENSSL_free(p); }> bytes(out);
  return {reinterpret_cast<const char*>(out), static_cast<std::size_t>(size)};
}

[[nodiscard]] inline std::string KeyDer(const EVP_PKEY& key) {
  const Owned<PKCS8_PRIV_KEY_INFO, &PKCS8_PRIV_KEY_INFO_free> pkcs8(EVP_PKEY2PKCS8(&key));
  unsigned char* out = nullptr;
  const int size = i2d_PKCS8_PRIV_KEY_INFO(pkcs8.get(), &out);
  CHECK(size > 0);
  const Owned<unsigned char, [](unsigned char* p) { OPENSSL_free(p); }> bytes(out);
  return {reinterpret_cast<const char*>(out), static_cast<std::size_t>(size)};
}

// A good SVID of `spec`'s first URI, with the CA's certificate as its bundle.
[[nodiscard]] inline SvidFields Fields(const Ca& ca, const CertificateSpec& spec = LeafSpec(),
                                       const std::string& hint = "") {
  const KeyPtr key = MakeKey().value();
  return {.id = spec.uris.empty() ? "" : spec.uris.front(),
          .chain = Der(*ca.Leaf(spec, *key)),
          .key = KeyDer(*key),
          .bundle = Der(*ca.certificate),
          .hint = hint};
}

}  // namespace starling::testing
