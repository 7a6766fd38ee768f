// The key and the certificate of a node that is its own SPIRE agent: made, read and judged. Any
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/join_state.h"
#include "identity/spiffe/spire_client.h"
#include "identity/svid.h"
#include "openssl/evp.h"

namespace starling {

struct NewKey {
  std::shared_ptr<EVP_PKEY> key;
  std::string request;  // a certificate request in DER
};
[[nodiscard]] Result<NewKey> MakeNewKey();

// Whether a peer with this bundle would believe the chain. Errors: those of VerifyOwnChain().
[[nodiscard]] Status Vouched(const std::vector<std::shared_ptr<X509>>& certificates,
                             const std::string& trust_domain, const Bundle& bundle, UtcTime now);

// Whether the bundle has CAs that are not tainted, and none of them has to do with the chain.
[[nodiscard]] bool OnlyTaintedVouch(const std::vector<std::shared_ptr<X509>>& chain,
                                    const std::string& trust_domain, const SpireBundle& bundle,
                                    UtcTime now);

// The agent of a chain in DER, as the server issued it for the key.
[[nodiscard]] Result<std::shared_ptr<const Svid>> ReadAgent(const std::string& chain_der,
                                                            const NewKey& key,
                                                            const std::string& trust_domain);
// An agent as the server issued it, checked as a peer would: it must be good for its connections.
// Code spire-server-error.
[[nodiscard]] Status CheckAgent(const JoinState& state, UtcTime now);
// An agent that was kept, against the CAs that its server has now: code agent-refused when none of
// them has signed it. Such a server ends the connection, and cannot say why.
[[nodiscard]] Status CheckKeptAgent(const JoinState& state, const Bundle& servers, UtcTime now);

}  // namespace starling
