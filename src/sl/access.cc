#include "sl/access.h"

#include <algorithm>

#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

constexpr std::int64_t kTokenSeconds = 60;
constexpr std::int64_t kClockSlackSeconds = 30;

Status NotForYou(std::string why) {
  return WithCode(absl::PermissionDeniedError(std::move(why)), "not-for-you");
}

Result<GetToken> ParseToken(const Json& payload) {
  RETURN_IF_ERROR(OnlyMembers(
      payload, {"server", "root", "begin", "end", "exp_unix_s", "instance", "round", "set"}));
  GetToken token;
  ASSIGN_OR_RETURN(token.server, GetString(payload, "server", 64));
  ASSIGN_OR_RETURN(const std::string root, GetString(payload, "root", 128));
  ASSIGN_OR_RETURN(token.root, ParseRoot(root));
  ASSIGN_OR_RETURN(token.begin, GetUint(payload, "begin"));
  ASSIGN_OR_RETURN(token.end, GetUint(payload, "end"));
  ASSIGN_OR_RETURN(const std::uint64_t exp, GetUint(payload, "exp_unix_s"));
  token.exp_unix_s = static_cast<std::int64_t>(exp);
  ASSIGN_OR_RETURN(const std::uint64_t instance, GetUint(payload, "instance"));
  token.instance = Position{static_cast<std::int64_t>(instance)};
  ASSIGN_OR_RETURN(const std::uint64_t round, GetUint(payload, "round"));
  token.round = RoundId{round};
  ASSIGN_OR_RETURN(const std::string set, GetString(payload, "set", 64));
  ASSIGN_OR_RETURN(token.set, ParseHexDigest(set));
  return token;
}

}  // namespace

std::string SignGetToken(const SigningKey& key, const GetToken& token) {
  return SignJws(key, kGetTyp,
                 {{"server", token.server},
                  {"root", RootText(token.root)},
                  {"begin", token.begin},
                  {"end", token.end},
                  {"exp_unix_s", token.exp_unix_s},
                  {"instance", token.instance.value()},
                  {"round", token.round.value()},
                  {"set", HexOf(token.set)}});
}

Result<Asker> CheckToken(std::string_view authorization, const UpdateAccess& access) {
  constexpr std::string_view kScheme = "Bearer ";
  if (!authorization.starts_with(kScheme))
    return NotForYou("an update is given only to who shows a starling-get token");
  const Result<Jws> jws = ParseJws(authorization.substr(kScheme.size()), kGetTyp);
  if (!jws.ok()) return NotForYou(StrCat("the token is malformed: ", jws.status().message()));
  const Node* const node = access.contract.FindKid(jws->kid);
  if (node == nullptr) return NotForYou("the token's key is not enrolled in this training");
  if (!VerifyJws(*jws, node->key).ok()) return NotForYou("the token's signature is not good");
  const Result<GetToken> parsed = ParseToken(jws->payload);
  if (!parsed.ok()) return NotForYou(StrCat("the token is malformed: ", parsed.status().message()));
  const GetToken& token = *parsed;
  const std::int64_t now = UnixMs(access.now) / 1000;
  if (token.server != access.holder_kid) return NotForYou("the token is for another node");
  if (now > token.exp_unix_s + kClockSlackSeconds ||
      token.exp_unix_s > now + kTokenSeconds + kClockSlackSeconds) {
    return WithNext(NotForYou("the token's time is over, or too far ahead"),
                    "compare the clocks of the two nodes");
  }
  const Contract& contract = access.contract;
  // A set tells no order: another one of this round is of an attempt that is over, or of one whose
  // close this node has not read so far.
  const bool other = contract.phase != Phase::kMerging || token.set != contract.set;
  const bool ahead = token.instance == contract.instance && contract.phase != Phase::kDone &&
                     (token.round > contract.round || (token.round == contract.round && other));
  if (ahead) {
    return WithCode(absl::UnavailableError(StrCat("round ", token.round.value(),
                                                  " with that set has not closed here so far")),
                    "not-yet");
  }
  if (contract.phase != Phase::kMerging || token.instance != contract.instance ||
      token.round != contract.round) {
    return NotForYou(StrCat("round ", token.round.value(), " is not being merged"));
  }
  if (contract.FindMember(node->name) == nullptr)
    return NotForYou(StrCat(node->name.value(), " does not take part in this round"));
  return Asker{node->name, token};
}

bool IsOwnRun(const Contract& contract, const NodeName& asker, ByteRange range) {
  const std::vector<NodeName> owners = OwnersOf(contract);
  const auto it = std::find(owners.begin(), owners.end(), asker);
  const std::uint64_t size = contract.rules.size.value_or(0);
  if (it == owners.end() || range.begin >= range.end || range.end > size) return false;
  const ChunkRun run =
      RunOfOwner(ChunkCount(size), owners.size(), static_cast<std::uint64_t>(it - owners.begin()));
  return range.begin >= run.begin * kChunkBytes &&
         range.end <= std::min(size, run.end * kChunkBytes);
}

bool IsAuditedChunk(const Contract& contract, const NodeName& asker, std::uint64_t owner,
                    const Digest& run_leaves_root, ByteRange range) {
  const std::vector<NodeName> owners = OwnersOf(contract);
  const std::uint64_t size = contract.rules.size.value_or(0);
  if (owner >= owners.size() || owners[owner] == asker) return false;
  const ChunkRun run = RunOfOwner(ChunkCount(size), owners.size(), owner);
  if (run.begin == run.end) return false;
  for (std::uint64_t j = 0; j < contract.rules.audit; ++j) {
    if (ChunkRange(size, AuditedChunk(run_leaves_root, contract.set, asker, j, run)) == range)
      return true;
  }
  return false;
}

Status CheckEnrolled(const Contract* contract, const std::optional<SpiffeId>& peer) {
  if (contract == nullptr || !peer)
    return NotForYou("merged models are for the nodes of a training");
  for (const auto& [name, node] : contract->nodes) {
    if (node.spiffe_id == peer->text()) return absl::OkStatus();
  }
  return NotForYou(StrCat(Printable(peer->text()), " is not enrolled in ", contract->name.value()));
}

}  // namespace starling
