#include "identity/join_state.h"

#include <algorithm>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "crypto/json.h"
#include "crypto/sha256.h"
#include "identity/certificate.h"

namespace starling {
namespace {

constexpr unsigned kFileMode = 0600;
constexpr std::size_t kFileBytesMax = std::size_t{4} << 20;
constexpr std::size_t kPemBytesMax = std::size_t{2} << 20;
constexpr std::uint64_t kFormat = 1;

Result<std::string> ChainPem(const std::vector<std::shared_ptr<X509>>& certificates) {
  std::string pem;
  for (const auto& certificate : certificates) {
    ASSIGN_OR_RETURN(const std::string one, CertificatePem(*certificate));
    pem += one;
  }
  return pem;
}

Result<JoinState> Parse(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, {.bytes_max = kFileBytesMax}));
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
  ASSIGN_OR_RETURN(const std::uint64_t format, GetUint(json, "format"));
  if (format != kFormat) {
    return absl::InvalidArgumentError(
        StrCat("it has the format ", format, "; this program knows ", kFormat));
  }
  JoinState state;
  ASSIGN_OR_RETURN(state.trust_domain, GetString(json, "trust_domain"));
  ASSIGN_OR_RETURN(state.token_hash, GetString(json, "token_sha256"));
  ASSIGN_OR_RETURN(const std::string key_pem, GetString(json, "agent_key", kPemBytesMax));
  ASSIGN_OR_RETURN(std::shared_ptr<EVP_PKEY> key, ParseKey(key_pem));
  ASSIGN_OR_RETURN(const std::string chain_pem, GetString(json, "agent_svid", kPemBytesMax));
  ASSIGN_OR_RETURN(std::vector<std::shared_ptr<X509>> chain, ParseCertificates(chain_pem));
  ASSIGN_OR_RETURN(const std::string bundle_pem, GetString(json, "bundle", kPemBytesMax));
  if (!bundle_pem.empty()) {
    ASSIGN_OR_RETURN(state.bundle.roots, ParseCertificates(bundle_pem));
  }
  ASSIGN_OR_RETURN(state.agent,
                   MakeAgentSvid(std::move(chain), std::move(key), state.trust_domain));
  return state;
}

}  // namespace

std::string TokenHash(const std::string& token) {
  return token.empty() ? "" : HexOf(HashOf(AsBytes(token)));
}

std::string JoinStatePath(const std::string& state_dir) {
  return StrCat(state_dir, "/spire-agent.json");
}

Result<JoinState> ReadJoinState(const std::string& path) {
  const Result<std::string> text = ReadFile(path, kFileBytesMax);
  if (absl::IsNotFound(text.status())) return text.status();
  Result<JoinState> state = text.ok() ? Parse(*text) : text.status();
  if (state.ok()) return state;
  const Status why = text.ok() ? Annotate(state.status(), path) : text.status();
  return WithCode(Status(absl::StatusCode::kFailedPrecondition, why.message()),
                  "join-state-broken");
}

Status WriteJoinState(const JoinState& state, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string key, KeyPem(*state.agent->key));
  ASSIGN_OR_RETURN(const std::string chain, ChainPem(state.agent->chain));
  ASSIGN_OR_RETURN(const std::string bundle, ChainPem(state.bundle.roots));
  const Json json = {{"format", kFormat},   {"trust_domain", state.trust_domain},
                     {"agent_key", key},    {"token_sha256", state.token_hash},
                     {"agent_svid", chain}, {"bundle", bundle}};
  return WriteFileDurably(path, StrCat(JsonText(json), "\n"), kFileMode);
}

Result<std::shared_ptr<const Svid>> MakeAgentSvid(std::vector<std::shared_ptr<X509>> chain,
                                                  std::shared_ptr<EVP_PKEY> key,
                                                  std::string_view trust_domain) {
  if (chain.empty()) return absl::InvalidArgumentError("the agent's certificate is missing");
  auto svid = std::make_shared<Svid>();
  ASSIGN_OR_RETURN(svid->id, SpiffeIdOf(*chain.front()));
  // The ID is not named: its last part is the token.
  if (svid->id.trust_domain() != trust_domain || !svid->id.path().starts_with("/spire/agent/")) {
    return absl::InvalidArgumentError(
        StrCat("the agent's certificate is not one of an agent of ", trust_domain));
  }
  if (!KeyBelongs(*chain.front(), *key)) {
    return absl::InvalidArgumentError("the agent's key does not belong to its certificate");
  }
  svid->chain = std::move(chain);
  svid->key = std::move(key);
  SetLife(*svid);
  return std::shared_ptr<const Svid>(std::move(svid));
}

}  // namespace starling
