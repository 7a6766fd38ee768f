// The rows of who belongs: SNs, trainings, nodes, operators.
#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/fields.h"
#include "protocol/machine.h"

namespace starling::machine {
namespace {

constexpr std::uint64_t kProtocolVersion = 1;

// A claim's own header test: made for this log and instance, and not used before. From its success
// on the seq counts as used.
Why CheckClaimHeader(LedgerState& state, const Context& context, const std::string& kid,
                     std::uint64_t seq, const Place& seen, Position instance) {
  if (!context.Knows(seen)) return Reason::kClaimOtherLedger;
  if (seen.position < instance) return Reason::kClaimEarlierInstance;
  const auto last = state.last_seq.find(kid);
  if (last != state.last_seq.end() && seq <= last->second) return Reason::kClaimUsed;
  state.last_seq[kid] = seq;
  return {};
}

// Is this an operator's word, and may that operator speak here? Empty: yes. A signed claim must ask
// for exactly what `event` does.
Why CheckOperator(LedgerState& state, const Context& context, const OperatorClaim& claim,
                  const ContractName& contract, Position instance,
                  const std::vector<std::string>& admins, const Event& event) {
  const auto listed = [&](const std::string& who) {
    return admins.empty() || std::find(admins.begin(), admins.end(), who) != admins.end();
  };
  if (claim.jws.empty()) {
    if (!state.operator_keys.empty()) return Reason::kUnsignedClaim;
    return listed(claim.spiffe_id) ? Why()
                                   : Why(Reason::kNoAdministrator, Printable(claim.spiffe_id));
  }
  const Result<Jws> jws = ParseJws(claim.jws, kEntryTyp);
  if (!jws.ok()) return {Reason::kBadClaim, jws.status().message()};
  const auto key =
      std::find_if(state.operator_keys.begin(), state.operator_keys.end(),
                   [&](const PublicKey& each) { return Thumbprint(each) == jws->kid; });
  if (key == state.operator_keys.end()) return Reason::kNoOperatorKey;
  if (!VerifyJws(*jws, *key).ok()) return Reason::kClaimSignature;
  const Result<std::uint64_t> seq = GetUint(jws->payload, "seq");
  const Result<Place> seen = fields::GetPlace(jws->payload, "seen");
  if (!seq.ok() || !seen.ok()) return Reason::kClaimLacks;
  if (Why why = CheckClaimHeader(state, context, jws->kid, *seq, *seen, instance); !why.empty())
    return why;
  Json rest = jws->payload;
  rest.erase("seq");
  rest.erase("seen");
  Json wanted = OperatorAsks(event);
  wanted["type"] = "operator-claim";
  wanted["contract"] = contract.value();
  if (rest != wanted) return Reason::kClaimAsksElse;
  if (!listed(jws->kid)) return Reason::kKeyNoAdministrator;
  return {};
}

Contract Fresh(const ContractName& name, Position position, const Rules& rules) {
  Contract contract;
  contract.name = name;
  contract.instance = position;
  contract.rules = rules;
  if (const auto* root = std::get_if<Digest>(&rules.initial)) {
    contract.base = *root;
    contract.roots.Append(RoundId{0}, *root);
    contract.sealed_round = RoundId{0};
    contract.round = RoundId{1};
  }
  return contract;
}

// What creation left open, the first enrolment fills.
void FillRules(const Rules& stated, Rules& rules) {
  if (!rules.min_peers) rules.min_peers = stated.min_peers;
  if (!rules.merge) rules.merge = stated.merge;
  if (!rules.schema) rules.schema = stated.schema;
  if (!rules.size) rules.size = stated.size;
  if (!rules.sync_interval) rules.sync_interval = stated.sync_interval;
}

// A known name with another key: a wiped disk, if the SN vouches for the same identity and nobody
// else has it.
Why CheckNewKey(const Contract& contract, const Node& known, const std::string& spiffe_id) {
  if (spiffe_id.empty()) return Reason::kNoIdentity;
  if (known.present) return {Reason::kNameTaken, known.name.value()};
  if (known.spiffe_id != spiffe_id)
    return {Reason::kNameBelongs, known.name.value(), Printable(known.spiffe_id)};
  const auto same =
      std::count_if(contract.nodes.begin(), contract.nodes.end(),
                    [&](const auto& item) { return item.second.spiffe_id == spiffe_id; });
  if (same != 1) return {Reason::kIdentityShared, Printable(spiffe_id)};
  return {};
}

Why CheckClaim(const LedgerState& state, const Contract& contract, const NodeEnrolled& event,
               const SignedNodeClaim& signed_claim) {
  const NodeClaim& claim = signed_claim.claim;
  if (contract.phase == Phase::kDone) return Reason::kDone;
  if (claim.instance && *claim.instance != contract.instance) return Reason::kNodeEarlierInstance;
  if (std::string difference = RulesDifference(contract.rules, claim.rules, contract.amended);
      !difference.empty())
    return {Reason::kRulesDiffer, difference};
  if (!claim.rules.schema || !claim.rules.size) return Reason::kNoSchema;
  if (claim.weight > contract.rules.weight_max)
    return {Reason::kWeightAbove, claim.weight, contract.rules.weight_max};
  const std::string kid = Thumbprint(claim.key);
  const auto member = contract.rules.members.find(claim.name);
  if (!contract.rules.members.empty() && member == contract.rules.members.end())
    return {Reason::kNotAMember, claim.name.value()};
  if (member != contract.rules.members.end() && !(member->second == claim.key))
    return {Reason::kNotTheListedKey, claim.name.value()};
  if (contract.revoked_kids.contains(kid)) return Reason::kRevokedKey;
  if (const Node* same_key = contract.FindKid(kid);
      same_key != nullptr && same_key->name != claim.name) {
    return {Reason::kKeyEnrolledAs, same_key->name.value()};
  }
  if (std::any_of(state.sns.begin(), state.sns.end(),
                  [&](const auto& item) { return item.second.kid == kid; }))
    return Reason::kKeyOfAnSn;
  const Node* const known = contract.Find(claim.name);
  if (known == nullptr) {
    if (contract.nodes.size() >= kNodesMax) return Reason::kFull;
    return contract.someone_finished ? Why(Reason::kSomeoneFinished) : Why();
  }
  return known->kid == kid ? Why() : CheckNewKey(contract, *known, event.spiffe_id);
}

// One key has one role: SNs and the nodes of every training are told apart by it.
Why CheckNewSn(const LedgerState& state, const SnClaim& claim, const std::string& kid) {
  for (const auto& [name, sn] : state.sns) {
    if (sn.kid == kid) return Reason::kSnKeyJoined;
  }
  if (state.sns.contains(claim.name)) return {Reason::kSnNameJoined, claim.name.value()};
  for (const auto& [name, contract] : state.contracts) {
    if (contract.FindKid(kid) != nullptr) return {Reason::kSnKeyEnrolled, name.value()};
  }
  return {};
}

}  // namespace

bool Context::Knows(const Place& place) const {
  const std::int64_t at = place.position.value();
  if (at == -1) return place.head == Digest{};
  return at >= 0 && static_cast<std::size_t>(at) < heads->size() &&
         (*heads)[static_cast<std::size_t>(at)] == place.head;
}

Why Join(LedgerState& state, const Context& context, const Author& author, const SnJoined& event) {
  const Result<SignedSnClaim> parsed = ParseSnClaim(event.claim);
  if (!parsed.ok()) return {Reason::kBadClaim, parsed.status().message()};
  const SnClaim& claim = parsed->claim;
  const bool first = context.position.value() == 0;
  if (first != (event.protocol != 0))
    return first ? Reason::kFirstNamesProtocol : Reason::kOnlyFirstNamesProtocol;
  if (first && event.protocol != kProtocolVersion)
    return {Reason::kUnknownProtocol, event.protocol};
  // An SL belongs to a training, and this entry names none: the header test knows no SL's key.
  CHECK(first || author.is_sn());
  const std::string kid = Thumbprint(claim.key);
  if (first) {
    // The key of the claim has just signed the entry, with a seq above the claim's.
    if (!context.Knows(parsed->seen)) return Reason::kClaimOtherLedger;
  } else if (Why why =
                 CheckClaimHeader(state, context, kid, parsed->seq, parsed->seen, Position{-1});
             !why.empty()) {
    return why;
  }
  if (Why why = CheckNewSn(state, claim, kid); !why.empty()) return why;
  if (first) {
    state.protocol = event.protocol;
    state.finality = event.finality;
    state.operator_keys = event.operator_keys;
  }
  state.sns[claim.name] = {claim.name, claim.key, kid, claim.api_url};
  return {};
}

Why Create(LedgerState& state, const Context& context, const ContractName& name,
           const ContractCreated& event) {
  const auto existing = state.contracts.find(name);
  if (existing != state.contracts.end() && existing->second.phase != Phase::kDone)
    return Reason::kUnderWay;
  if (Why why = CheckOperator(state, context, event.claim, name, Position{-1}, {}, event);
      !why.empty()) {
    return why;
  }
  state.contracts[name] = Fresh(name, context.position, event.rules);
  return {};
}

Why Reset(LedgerState& state, const Context& context, Contract& contract,
          const ContractReset& event) {
  if (Why why = CheckOperator(state, context, event.claim, contract.name, contract.instance,
                              contract.rules.admins, event);
      !why.empty())
    return why;
  Contract fresh = Fresh(contract.name, context.position, contract.rules);
  fresh.amended = contract.amended;
  fresh.revoked_kids = std::move(contract.revoked_kids);
  contract = std::move(fresh);
  return {};
}

Why Amend(LedgerState& state, const Context& context, Contract& contract,
          const ContractAmended& event) {
  if (contract.phase != Phase::kCollecting)
    return contract.phase == Phase::kDone ? Reason::kDone : Reason::kMergeUnderWay;
  if (event.min_peers < 1) return Reason::kMinPeersLeast;
  if (event.min_peers > kNodesMax) return {Reason::kMinPeersMost, kNodesMax};
  if (Why why = CheckOperator(state, context, event.claim, contract.name, contract.instance,
                              contract.rules.admins, event);
      !why.empty()) {
    return why;
  }
  contract.rules.min_peers = event.min_peers;
  contract.amended = true;
  return {};
}

Why Revoke(LedgerState& state, const Context& context, Contract& contract,
           const NodeRevoked& event) {
  const auto node = contract.nodes.find(event.name);
  if (node == contract.nodes.end()) return {Reason::kNotEnrolled, event.name.value()};
  if (Why why = CheckOperator(state, context, event.claim, contract.name, contract.instance,
                              contract.rules.admins, event);
      !why.empty()) {
    return why;
  }
  contract.revoked_kids.insert(node->second.kid);
  contract.nodes.erase(node);
  contract.holders.erase(event.name);
  if (contract.FindMember(event.name) != nullptr) contract.grounds.insert(event.name);
  return {};
}

Why Enrol(LedgerState& state, const Context& context, Contract& contract,
          const NodeEnrolled& event) {
  const Result<SignedNodeClaim> parsed = ParseNodeClaim(event.claim);
  if (!parsed.ok()) return {Reason::kBadClaim, parsed.status().message()};
  if (parsed->contract != contract.name) return Reason::kClaimOtherTraining;
  const NodeClaim& claim = parsed->claim;
  const std::string kid = Thumbprint(claim.key);
  if (Why why = CheckClaimHeader(state, context, kid, parsed->seq, parsed->seen, contract.instance);
      !why.empty())
    return why;
  if (Why why = CheckClaim(state, contract, event, *parsed); !why.empty()) return why;
  FillRules(claim.rules, contract.rules);
  Node& node = contract.nodes[claim.name];  // A known node keeps its kind and check-in.
  node.name = claim.name;
  node.key = claim.key;
  node.kid = kid;
  node.blob_url = claim.blob_url;
  node.spiffe_id = event.spiffe_id;
  node.weight = claim.weight;
  node.may_lead = claim.may_lead;
  node.present = true;
  node.away_why.clear();
  return {};
}

Why Away(Contract& contract, const Author& author, const NodeAway& event) {
  if (contract.phase == Phase::kDone) return Reason::kDone;
  const auto node = contract.nodes.find(event.name);
  if (node == contract.nodes.end()) return {Reason::kNotEnrolled, event.name.value()};
  if (!author.is_sn() && author.node != event.name) return Reason::kOnlyOfItself;
  if (!node->second.present) return {Reason::kAwayAlready, event.name.value()};
  node->second.present = false;
  node->second.away_why = event.why;
  if (contract.FindMember(event.name) != nullptr) contract.grounds.insert(event.name);
  return {};
}

}  // namespace starling::machine
