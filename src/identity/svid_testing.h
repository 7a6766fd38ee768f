// Authorities and leaves of which tests can make anything, right and wrong.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "identity/certificate_testing.h"
#include "identity/svid.h"

namespace starling {

using testing::Ca;
using testing::CaSpec;
using testing::kBegin;
using testing::kEnd;
using testing::kNow;
using testing::LeafSpec;

inline const PeerPolicy kLearners{{}, {"*/sl"}};

inline IdentityState Trusting(std::map<std::string, Bundle> bundles) {
  return {.svid = nullptr, .bundles = std::move(bundles)};
}

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
