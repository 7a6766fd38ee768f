// A trust domain's bundle as the SPIFFE standard writes it: a JSON Web Key Set ("SPIFFE Trust
// Domain and Bundle", section 4). Which trust domain it is of does not stand in it. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "identity/svid.h"

namespace starling {

struct BundleDocument {
  Bundle bundle;                                     // without roots it trusts nothing
  std::optional<std::uint64_t> sequence;             // spiffe_sequence
  std::optional<std::chrono::seconds> refresh_hint;  // spiffe_refresh_hint
};

// At most 1 MiB and 1,000 keys. Ignored are keys without `use`, with another `use` than x509-svid
// (JWT keys, what comes later) or with an unknown `kty`, and unknown members. Refused is the whole
// document when a key for X.509-SVIDs has no `kty` or not exactly one CA certificate in `x5c`, in
// plain base64. The key is taken from the certificate; the JWK's own numbers are not looked at.
[[nodiscard]] Result<BundleDocument> ParseBundleJson(std::string_view json);
// Members sorted, one line. RSA, EC (P-256, P-384, P-521) and Ed25519 keys; others are
// Unimplemented.
[[nodiscard]] Result<std::string> BundleJson(const BundleDocument& document);

}  // namespace starling
