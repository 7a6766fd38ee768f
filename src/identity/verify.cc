#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "identity/certificate.h"
#include "identity/svid.h"
#include "openssl/err.h"
#include "openssl/x509_vfy.h"
#include "openssl/x509v3.h"

namespace starling {
namespace {

using StorePtr = Owned<X509_STORE, &X509_STORE_free>;
using StoreContextPtr = Owned<X509_STORE_CTX, &X509_STORE_CTX_free>;

// Borrows the certificates: frees the list only.
void FreeList(STACK_OF(X509) * list) { sk_X509_free(list); }
using ListPtr = Owned<STACK_OF(X509), &FreeList>;

constexpr int kAuthLevel = 2;  // 112 bits: no SHA-1, no RSA below 2,048

Status Refused(absl::StatusCode code, std::string_view stable_code, const std::string& why) {
  return WithCode(Status(code, why), stable_code);
}
Status BadSvid(const std::string& why) {
  return Refused(absl::StatusCode::kUnauthenticated, "bad-svid", why);
}

// What the SPIFFE X.509-SVID document asks of a leaf, beside its chain.
Result<SpiffeId> CheckLeaf(X509& leaf) {
  Result<SpiffeId> id = SpiffeIdOf(leaf);
  if (!id.ok()) return BadSvid(std::string(id.status().message()));
  if (id->path().empty()) {
    return BadSvid(StrCat(id->text(), " names a trust domain, not a workload"));
  }
  const std::uint32_t flags = X509_get_extension_flags(&leaf);
  if ((flags & EXFLAG_INVALID) != 0) {
    return BadSvid(StrCat("the certificate of ", id->text(), " has broken extensions"));
  }
  if ((flags & EXFLAG_CA) != 0) {
    return BadSvid(StrCat("the certificate of ", id->text(), " is one of a CA"));
  }
  const std::uint32_t usage = (flags & EXFLAG_KUSAGE) != 0 ? X509_get_key_usage(&leaf) : 0;
  if ((usage & KU_DIGITAL_SIGNATURE) == 0) {
    return BadSvid(StrCat("the certificate of ", id->text(), " lacks the usage digitalSignature"));
  }
  if ((usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) != 0) {
    return BadSvid(StrCat("the certificate of ", id->text(), " may sign certificates or lists"));
  }
  return id;
}

Status ChainFailure(X509_STORE_CTX& context, const SpiffeId& id, UtcTime at) {
  const int error = X509_STORE_CTX_get_error(&context);
  const X509* const culprit = X509_STORE_CTX_get_current_cert(&context);
  const char* const whose = X509_STORE_CTX_get_error_depth(&context) == 0 ? "" : "an issuer of ";
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return Refused(absl::StatusCode::kUnauthenticated, "expired",
                     StrCat("the certificate of ", whose, id.text(), " expired at ",
                            culprit != nullptr ? FormatUtc(NotAfter(*culprit)) : "an unknown time",
                            "; now it is ", FormatUtc(at)));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return Refused(absl::StatusCode::kUnauthenticated, "not-yet-valid",
                     StrCat("the certificate of ", whose, id.text(), " is valid only from ",
                            culprit != nullptr ? FormatUtc(NotBefore(*culprit)) : "an unknown time",
                            "; now it is ", FormatUtc(at), ": is one of the clocks wrong?"));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return Refused(absl::StatusCode::kUnauthenticated, "unknown-authority",
                     StrCat("no CA held for the trust domain ", id.trust_domain(),
                            " signed the certificate of ", id.text()));
    default:
      return BadSvid(StrCat("the certificate chain of ", id.text(), ": ",
                            X509_verify_cert_error_string(error)));
  }
}

// What the SPIFFE X.509-SVID document asks of a certificate that signs: it need not have a SPIFFE
// ID; if it has one, that names the trust domain of what it signs. Other URI names are not looked
// at: house CAs have such.
Status CheckIssuer(X509& issuer, bool trusted_itself, const SpiffeId& leaf) {
  const std::string whose = StrCat("a certificate that issued that of ", leaf.text());
  for (const std::string& uri : SpiffeNames(issuer)) {
    const Result<SpiffeId> id = SpiffeId::Parse(uri);
    if (!id.ok()) return BadSvid(StrCat(whose, ": ", id.status().message()));
    if (!id->path().empty() || id->trust_domain() != leaf.trust_domain()) {
      return BadSvid(StrCat(whose, " is of ", id->text(), ", not of the trust domain itself"));
    }
  }
  // OpenSSL takes one with neither a usage nor constraints for a CA where it must.
  const std::uint32_t flags = X509_get_extension_flags(&issuer);
  const std::uint32_t usage = (flags & EXFLAG_KUSAGE) != 0 ? X509_get_key_usage(&issuer) : 0;
  if (!trusted_itself && ((flags & EXFLAG_CA) == 0 || (usage & KU_KEY_CERT_SIGN) == 0)) {
    return BadSvid(StrCat(whose, " is not one of a CA"));
  }
  return absl::OkStatus();
}

Status CheckIssuers(X509_STORE_CTX& context, const SpiffeId& leaf) {
  const STACK_OF(X509)* const verified = X509_STORE_CTX_get0_chain(&context);
  const int count = sk_X509_num(verified);
  for (int i = 1; i < count; ++i) {
    RETURN_IF_ERROR(CheckIssuer(*sk_X509_value(verified, i), i + 1 == count, leaf));
  }
  return absl::OkStatus();
}

Status VerifyChain(const std::vector<X509*>& chain, const Bundle& bundle, const SpiffeId& id,
                   UtcTime at) {
  const StorePtr store(X509_STORE_new());
  const StoreContextPtr context(X509_STORE_CTX_new());
  const ListPtr untrusted(sk_X509_new_null());
  CHECK(store && context && untrusted);
  for (const std::shared_ptr<X509>& root : bundle.roots) {
    CHECK(X509_STORE_add_cert(store.get(), root.get()) == 1);
  }
  for (std::size_t i = 1; i < chain.size(); ++i) {
    CHECK(sk_X509_push(untrusted.get(), chain[i]) > 0);
  }
  CHECK(X509_STORE_CTX_init(context.get(), store.get(), chain.front(), untrusted.get()) == 1);
  X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(context.get());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count();
  X509_VERIFY_PARAM_set_time(param, seconds);
  X509_VERIFY_PARAM_set_auth_level(param, kAuthLevel);
  // Extended usages say nothing about a workload; and a bundle may hold intermediates, which are
  // trusted as they are.
  CHECK(X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY) == 1);
  CHECK(X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) == 1);
  const bool good = X509_verify_cert(context.get()) == 1;
  Status status = good ? CheckIssuers(*context, id) : ChainFailure(*context, id, at);
  ERR_clear_error();
  return status;
}

bool PathMatches(std::string_view path, std::string_view pattern) {
  if (!pattern.starts_with('*')) return path == pattern;
  return path.ends_with(pattern.substr(1));
}

bool AllowsDomain(const PeerPolicy& policy, std::string_view trust_domain) {
  return policy.trust_domains.empty() ||
         std::ranges::find(policy.trust_domains, trust_domain) != policy.trust_domains.end();
}

std::string Joined(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) StrAppend(&text, text.empty() ? "" : ", ", item);
  return text.empty() ? "none" : text;
}

std::string HeldDomains(const IdentityState& state) {
  std::vector<std::string> names;
  names.reserve(state.bundles.size());
  for (const auto& [name, bundle] : state.bundles) names.push_back(name);
  return Joined(names);
}

}  // namespace

bool PeerPolicy::Allows(const SpiffeId& id) const {
  return AllowsDomain(*this, id.trust_domain()) &&
         std::ranges::any_of(paths,
                             [&](const std::string& p) { return PathMatches(id.path(), p); });
}

Status VerifyOwnChain(const std::vector<std::shared_ptr<X509>>& chain, const IdentityState& state,
                      UtcTime at) {
  std::vector<X509*> shown;
  shown.reserve(chain.size());
  for (const auto& certificate : chain) shown.push_back(certificate.get());
  return VerifyPeer(shown, state, PeerPolicy{{}, {"*"}}, at).status();
}

Result<SpiffeId> VerifyPeer(const std::vector<X509*>& chain, const IdentityState& state,
                            const PeerPolicy& policy, UtcTime at) {
  if (chain.empty()) {
    return Refused(absl::StatusCode::kUnauthenticated, "no-certificate",
                   "the peer showed no certificate");
  }
  if (chain.size() > kChainMax) return BadSvid("the peer's certificate chain is too long");
  ASSIGN_OR_RETURN(const SpiffeId id, CheckLeaf(*chain.front()));
  const std::string domain(id.trust_domain());
  const auto bundle = state.bundles.find(domain);
  if (bundle == state.bundles.end() || bundle->second.roots.empty()) {
    return Refused(absl::StatusCode::kUnauthenticated, "unknown-trust-domain",
                   StrCat(id.text(), ": no CA is held for this trust domain (held: ",
                          HeldDomains(state), ")"));
  }
  RETURN_IF_ERROR(VerifyChain(chain, bundle->second, id, at));
  if (!AllowsDomain(policy, domain)) {
    return Refused(absl::StatusCode::kPermissionDenied, "unknown-trust-domain",
                   StrCat(id.text(), ": this trust domain is not allowed here (allowed: ",
                          Joined(policy.trust_domains), ")"));
  }
  if (!policy.Allows(id)) {
    return Refused(
        absl::StatusCode::kPermissionDenied, "wrong-path",
        StrCat(id.text(), " is not allowed here (allowed paths: ", Joined(policy.paths), ")"));
  }
  return id;
}

}  // namespace starling
