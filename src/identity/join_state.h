// What a node that is its own SPIRE agent keeps in its state directory, since a join token is good
// once: the agent's key and certificate, and the CAs of its trust domain. One JSON file of mode
// 0600. One thread writes; docs/identity.md shows it.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "identity/svid.h"

namespace starling {

struct JoinState {
  std::string trust_domain;
  std::string token_hash;             // TokenHash() of the token that it came from
  std::shared_ptr<const Svid> agent;  // never null in a state that was read
  // Of the trust domain. Empty only after an insecure bootstrap, until the server's is read.
  Bundle bundle;
};

// SHA-256 in hex; "" for no token.
[[nodiscard]] std::string TokenHash(const std::string& token);
[[nodiscard]] std::string JoinStatePath(const std::string& state_dir);
// NotFound when there is none. Code join-state-broken, the file named, when it cannot be used. The
// times are not looked at.
[[nodiscard]] Result<JoinState> ReadJoinState(const std::string& path);
// The old file stays whole until the new one is durable.
[[nodiscard]] Status WriteJoinState(const JoinState& state, const std::string& path);

// An agent's certificate: the chain (leaf first) and its key belong together, and the ID is that of
// an agent of `trust_domain`. Not checked against a bundle.
[[nodiscard]] Result<std::shared_ptr<const Svid>> MakeAgentSvid(
    std::vector<std::shared_ptr<X509>> chain, std::shared_ptr<EVP_PKEY> key,
    std::string_view trust_domain);

}  // namespace starling
