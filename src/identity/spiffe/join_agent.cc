#include "identity/spiffe/join_agent.h"

#include <utility>

#include "base/text.h"
#include "identity/certificate.h"
#include "identity/certificate_request.h"
#include "identity/join_plan.h"

namespace starling {

Result<NewKey> MakeNewKey() {
  ASSIGN_OR_RETURN(KeyPtr key, MakeKey());
  ASSIGN_OR_RETURN(std::string request, MakeCertificateRequest(*key));
  return NewKey{{key.release(), &EVP_PKEY_free}, std::move(request)};
}

Status Vouched(const std::vector<std::shared_ptr<X509>>& certificates,
               const std::string& trust_domain, const Bundle& bundle, UtcTime now) {
  const IdentityState trusting{.svid = nullptr, .bundles = {{trust_domain, bundle}}};
  return VerifyOwnChain(certificates, trusting, now);
}

bool OnlyTaintedVouch(const std::vector<std::shared_ptr<X509>>& chain,
                      const std::string& trust_domain, const SpireBundle& bundle, UtcTime now) {
  if (bundle.untainted == bundle.roots || bundle.untainted.empty()) return false;
  const auto roots = ParseCertificatesDer(bundle.untainted, kRootsMax);
  return roots.ok() && !Vouched(chain, trust_domain, Bundle{*roots}, now).ok();
}

Result<std::shared_ptr<const Svid>> ReadAgent(const std::string& chain_der, const NewKey& key,
                                              const std::string& trust_domain) {
  ASSIGN_OR_RETURN(std::vector<std::shared_ptr<X509>> certificates,
                   ParseCertificatesDer(chain_der, kChainMax));
  return MakeAgentSvid(std::move(certificates), key.key, trust_domain);
}

Status CheckAgent(const JoinState& state, UtcTime now) {
  Status status = Vouched(state.agent->chain, state.trust_domain, state.bundle, now);
  if (status.ok()) return status;
  // Its words name the ID, and that holds the token.
  return WithNext(WithCode(absl::UnauthenticatedError(
                               StrCat("the agent's certificate that the SPIRE server issued is ",
                                      "not good here: ", StableCode(status))),
                           "spire-server-error"),
                  "compare the clocks of this machine and of the SPIRE server");
}

Status CheckKeptAgent(const JoinState& state, const Bundle& servers, UtcTime now) {
  const Status status = Vouched(state.agent->chain, state.trust_domain, servers, now);
  if (StableCode(status) != "unknown-authority") return absl::OkStatus();
  return WithNext(WithCode(absl::PermissionDeniedError(
                               "the SPIRE server cannot know this node's agent: none of the CAs "
                               "that it has now has signed the agent's certificate"),
                           "agent-refused"),
                  NewTokenStep());
}

}  // namespace starling
