// Authorities and leaves of which tests can make anything, right and wrong.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "identity/certificate.h"
#include "identity/svid.h"

namespace starling {

constexpr UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};
constexpr UtcTime kBegin = kNow - std::chrono::hours(1);
constexpr UtcTime kEnd = kNow + std::chrono::hours(1);
inline const PeerPolicy kLearners{{}, {"*/sl"}};

inline IdentityState Trusting(std::map<std::string, Bundle> bundles) {
  return {.svid = nullptr, .bundles = std::move(bundles)};
}

// The proper leaf of spiffe://a/swarm/sl.
inline CertificateSpec LeafSpec(std::vector<std::string> uris = {"spiffe://a/swarm/sl"}) {
  return {.uris = std::move(uris), .not_before = kBegin, .not_after = kEnd};
}
inline CertificateSpec CaSpec(std::vector<std::string> uris = {"spiffe://a"}) {
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
  [[nodiscard]] X509Ptr Leaf(const CertificateSpec& spec) const {
    const KeyPtr leaf_key = MakeKey().value();
    return Leaf(spec, *leaf_key);
  }
  [[nodiscard]] X509Ptr Leaf(const CertificateSpec& spec, EVP_PKEY& leaf_key) const {
    const Issuer issuer{*certificate, *key};
    return MakeCertificate(spec, leaf_key, &issuer).value();
  }
  [[nodiscard]] Bundle bundle() const { return {{certificate}}; }

  KeyPtr key;
  std::shared_ptr<X509> certificate;
};

// "ok", or the stable code of what VerifyPeer() says.
inline std::string CodeOf(const std::vector<X509*>& chain, const IdentityState& state,
                          const PeerPolicy& policy = kLearners, UtcTime at = kNow) {
  const Result<SpiffeId> id = VerifyPeer(chain, state, policy, at);
  return id.ok() ? "ok" : StableCode(id.status());
}
// Of a leaf that `ca` signs, where `ca` is the authority of trust domain a.
inline std::string CodeOf(const Ca& ca, const CertificateSpec& spec,
                          const PeerPolicy& policy = kLearners, UtcTime at = kNow) {
  const X509Ptr leaf = ca.Leaf(spec);
  return CodeOf({leaf.get()}, Trusting({{"a", ca.bundle()}}), policy, at);
}

}  // namespace starling
