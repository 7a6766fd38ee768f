// What newcomers sign: claims of nodes and of SNs.
#include "base/check.h"
#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/events.h"
#include "protocol/fields.h"

namespace starling {
namespace {

// The JWS, its type, and the good signature of the key that it names itself.
Result<Jws> ParseSelfSigned(std::string_view text, std::string_view type) {
  ASSIGN_OR_RETURN(Jws jws, ParseJws(text, kEntryTyp));
  ASSIGN_OR_RETURN(const std::string stated, GetString(jws.payload, "type", 32));
  if (stated != type)
    return absl::InvalidArgumentError(StrCat("a claim of type ", type, " is expected"));
  ASSIGN_OR_RETURN(const PublicKey key, fields::GetKey(jws.payload, "key"));
  RETURN_IF_ERROR(VerifyJws(jws, key));
  return jws;
}

}  // namespace

std::string SignNodeClaim(const SigningKey& key, const SignedNodeClaim& signed_claim) {
  const NodeClaim& claim = signed_claim.claim;
  Json payload = {{"type", "node-claim"},       {"contract", signed_claim.contract.value()},
                  {"seq", signed_claim.seq},    {"seen", fields::PlaceJson(signed_claim.seen)},
                  {"name", claim.name.value()}, {"key", PublicKeyText(claim.key)},
                  {"blob_url", claim.blob_url}, {"weight", claim.weight},
                  {"may_lead", claim.may_lead}, {"rules", RulesJson(claim.rules)}};
  if (claim.instance) payload["instance"] = claim.instance->value();
  return SignJws(key, kEntryTyp, payload);
}

Result<SignedNodeClaim> ParseNodeClaim(std::string_view text) {
  ASSIGN_OR_RETURN(const Jws jws, ParseSelfSigned(text, "node-claim"));
  const Json& payload = jws.payload;
  RETURN_IF_ERROR(OnlyMembers(payload, {"type", "contract", "seq", "seen", "name", "key",
                                        "blob_url", "weight", "may_lead", "rules", "instance"}));
  SignedNodeClaim out;
  ASSIGN_OR_RETURN(const std::string contract, GetString(payload, "contract", kNameBytesMax));
  ASSIGN_OR_RETURN(out.contract, ParseContractName(contract));
  ASSIGN_OR_RETURN(out.seq, GetUint(payload, "seq"));
  ASSIGN_OR_RETURN(out.seen, fields::GetPlace(payload, "seen"));
  ASSIGN_OR_RETURN(out.claim.name, fields::GetNode(payload, "name"));
  ASSIGN_OR_RETURN(out.claim.key, fields::GetKey(payload, "key"));
  ASSIGN_OR_RETURN(out.claim.blob_url, fields::GetUrl(payload, "blob_url"));
  ASSIGN_OR_RETURN(out.claim.weight, GetUint(payload, "weight"));
  ASSIGN_OR_RETURN(out.claim.may_lead, GetBool(payload, "may_lead"));
  ASSIGN_OR_RETURN(const Json* const rules, GetObject(payload, "rules"));
  ASSIGN_OR_RETURN(out.claim.rules, ParseRules(*rules));
  if (Has(payload, "instance")) {
    ASSIGN_OR_RETURN(const std::uint64_t instance, GetUint(payload, "instance"));
    out.claim.instance = Position{static_cast<std::int64_t>(instance)};
  }
  return out;
}

std::string SignSnClaim(const SigningKey& key, const SnClaim& claim, std::uint64_t seq,
                        const Place& seen) {
  return SignJws(key, kEntryTyp,
                 {{"type", "sn-claim"},
                  {"seq", seq},
                  {"seen", fields::PlaceJson(seen)},
                  {"name", claim.name.value()},
                  {"key", PublicKeyText(claim.key)},
                  {"api_url", claim.api_url}});
}

Result<SignedSnClaim> ParseSnClaim(std::string_view text) {
  ASSIGN_OR_RETURN(const Jws jws, ParseSelfSigned(text, "sn-claim"));
  RETURN_IF_ERROR(OnlyMembers(jws.payload, {"type", "seq", "seen", "name", "key", "api_url"}));
  SignedSnClaim out;
  ASSIGN_OR_RETURN(out.seq, GetUint(jws.payload, "seq"));
  ASSIGN_OR_RETURN(out.seen, fields::GetPlace(jws.payload, "seen"));
  ASSIGN_OR_RETURN(out.claim.name, fields::GetNode(jws.payload, "name"));
  ASSIGN_OR_RETURN(out.claim.key, fields::GetKey(jws.payload, "key"));
  ASSIGN_OR_RETURN(out.claim.api_url, fields::GetUrl(jws.payload, "api_url"));
  return out;
}

Json OperatorAsks(const Event& event) {
  Json asks = {{"action", TypeOf(event)}};
  if (const auto* created = std::get_if<ContractCreated>(&event)) {
    asks["rules"] = RulesJson(created->rules);
  } else if (const auto* amended = std::get_if<ContractAmended>(&event)) {
    asks["min_peers"] = amended->min_peers;
  } else if (const auto* revoked = std::get_if<NodeRevoked>(&event)) {
    asks["name"] = revoked->name.value();
  } else {
    CHECK(std::holds_alternative<ContractReset>(event));
  }
  return asks;
}

std::string SignOperatorClaim(const SigningKey& key, const ContractName& contract,
                              const Event& event, std::uint64_t seq, const Place& seen) {
  Json payload = OperatorAsks(event);
  payload["type"] = "operator-claim";
  payload["contract"] = contract.value();
  payload["seq"] = seq;
  payload["seen"] = fields::PlaceJson(seen);
  return SignJws(key, kEntryTyp, payload);
}

}  // namespace starling
