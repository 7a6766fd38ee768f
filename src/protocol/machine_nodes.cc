// The rows of who belongs: SNs, trainings, nodes, operators.
#include <algorithm>

#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/fields.h"
#include "protocol/machine.h"

namespace starling::machine {
namespace {

constexpr std::uint64_t kProtocolVersion = 1;

// A claim's own header test: made for this log and instance, and not used before. From its success
// on the seq counts as used.
std::string CheckClaimHeader(LedgerState& state, const Context& context, const std::string& kid,
                             std::uint64_t seq, const Place& seen, Position instance) {
  if (!context.Knows(seen))
    return "the claim was made for another ledger: the head at its seen place is another";
  if (seen.position < instance) return "the claim was made for an earlier instance of the training";
  const auto last = state.last_seq.find(kid);
  if (last != state.last_seq.end() && seq <= last->second) return "the claim was used before";
  state.last_seq[kid] = seq;
  return "";
}

// Is this an operator's word, and may that operator speak here? "" = yes. A signed claim must ask
// for exactly what `event` does.
std::string CheckOperator(LedgerState& state, const Context& context, const OperatorClaim& claim,
                          const ContractName& contract, Position instance,
                          const std::vector<std::string>& admins, const Event& event) {
  const auto listed = [&](const std::string& who) {
    return admins.empty() || std::find(admins.begin(), admins.end(), who) != admins.end();
  };
  if (claim.jws.empty()) {
    if (!state.operator_keys.empty())
      return "this ledger lists operator keys, so the claim must be signed by one of them";
    return listed(claim.spiffe_id)
               ? ""
               : StrCat(Printable(claim.spiffe_id), " is no administrator of this training");
  }
  const Result<Jws> jws = ParseJws(claim.jws, kEntryTyp);
  if (!jws.ok()) return std::string(jws.status().message());
  const auto key =
      std::find_if(state.operator_keys.begin(), state.operator_keys.end(),
                   [&](const PublicKey& each) { return Thumbprint(each) == jws->kid; });
  if (key == state.operator_keys.end()) return "the claim's key is not an operator's";
  if (!VerifyJws(*jws, *key).ok()) return "the claim's signature is not good";
  const Result<std::uint64_t> seq = GetUint(jws->payload, "seq");
  const Result<Place> seen = fields::GetPlace(jws->payload, "seen");
  if (!seq.ok() || !seen.ok()) return "the claim lacks seq or seen";
  if (std::string why = CheckClaimHeader(state, context, jws->kid, *seq, *seen, instance);
      !why.empty())
    return why;
  Json rest = jws->payload;
  rest.erase("seq");
  rest.erase("seen");
  Json wanted = OperatorAsks(event);
  wanted["type"] = "operator-claim";
  wanted["contract"] = contract.value();
  if (rest != wanted) return "the claim asks for something else";
  if (!listed(jws->kid)) return "the claim's key is no administrator of this training";
  return "";
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
std::string CheckNewKey(const Contract& contract, const Node& known, const std::string& spiffe_id) {
  if (spiffe_id.empty()) return "the SN vouches for no identity, so the node cannot have a new key";
  if (known.present)
    return StrCat("the name ", known.name.value(), " is taken by a node that is present");
  if (known.spiffe_id != spiffe_id)
    return StrCat("the name ", known.name.value(), " belongs to ", Printable(known.spiffe_id));
  const auto same =
      std::count_if(contract.nodes.begin(), contract.nodes.end(),
                    [&](const auto& item) { return item.second.spiffe_id == spiffe_id; });
  if (same != 1)
    return StrCat("several nodes share ", Printable(spiffe_id),
                  ", so it cannot vouch for a new key; revoke the node first");
  return "";
}

std::string CheckClaim(const LedgerState& state, const Contract& contract,
                       const NodeEnrolled& event, const SignedNodeClaim& signed_claim) {
  const NodeClaim& claim = signed_claim.claim;
  if (contract.phase == Phase::kDone) return "the training is done";
  if (claim.instance && *claim.instance != contract.instance)
    return "the node belongs to an earlier instance of this training";
  if (std::string difference = RulesDifference(contract.rules, claim.rules, contract.amended);
      !difference.empty())
    return StrCat("the rules differ: ", difference);
  if (!claim.rules.schema || !claim.rules.size)
    return "the claim does not state the schema and the size of its model";
  if (claim.weight > contract.rules.weight_max)
    return StrCat("weight ", claim.weight, " is above ", contract.rules.weight_max);
  const std::string kid = Thumbprint(claim.key);
  const auto member = contract.rules.members.find(claim.name);
  if (!contract.rules.members.empty() && member == contract.rules.members.end())
    return StrCat(claim.name.value(), " is not a member of this training");
  if (member != contract.rules.members.end() && !(member->second == claim.key))
    return StrCat("the key of ", claim.name.value(), " is not the one that the training lists");
  if (contract.revoked_kids.contains(kid)) return "this key was revoked by an operator";
  if (const Node* same_key = contract.FindKid(kid);
      same_key != nullptr && same_key->name != claim.name) {
    return StrCat("this key is enrolled as ", same_key->name.value());
  }
  if (std::any_of(state.sns.begin(), state.sns.end(),
                  [&](const auto& item) { return item.second.kid == kid; }))
    return "this key belongs to an SN";
  const Node* const known = contract.Find(claim.name);
  if (known == nullptr) {
    if (contract.nodes.size() >= kNodesMax) return "the training is full";
    return contract.someone_finished ? "a node has finished already, so no new node may join" : "";
  }
  return known->kid == kid ? "" : CheckNewKey(contract, *known, event.spiffe_id);
}

// One key has one role: SNs and the nodes of every training are told apart by it.
std::string CheckNewSn(const LedgerState& state, const SnClaim& claim, const std::string& kid) {
  for (const auto& [name, sn] : state.sns) {
    if (sn.kid == kid) return "this key has joined already";
  }
  if (state.sns.contains(claim.name))
    return StrCat("an SN named ", claim.name.value(), " has joined already");
  for (const auto& [name, contract] : state.contracts) {
    if (contract.FindKid(kid) != nullptr)
      return StrCat("this key is enrolled in training ", name.value());
  }
  return "";
}

}  // namespace

bool Context::Knows(const Place& place) const {
  const std::int64_t at = place.position.value();
  if (at == -1) return place.head == Digest{};
  return at >= 0 && static_cast<std::size_t>(at) < heads->size() &&
         (*heads)[static_cast<std::size_t>(at)] == place.head;
}

std::string Join(LedgerState& state, const Context& context, const Author& author,
                 const SnJoined& event) {
  const Result<SignedSnClaim> parsed = ParseSnClaim(event.claim);
  if (!parsed.ok()) return std::string(parsed.status().message());
  const SnClaim& claim = parsed->claim;
  const bool first = context.position.value() == 0;
  if (first != (event.protocol != 0))
    return first ? "the first entry names the protocol" : "only the first entry names the protocol";
  if (first && event.protocol != kProtocolVersion)
    return StrCat("protocol ", event.protocol, " is not known here");
  if (!first && !author.is_sn()) return "only an SN lets an SN in";
  const std::string kid = Thumbprint(claim.key);
  if (first) {
    // The key of the claim has just signed the entry, with a seq above the claim's.
    if (!context.Knows(parsed->seen))
      return "the claim was made for another ledger: the head at its seen place is another";
  } else if (std::string why =
                 CheckClaimHeader(state, context, kid, parsed->seq, parsed->seen, Position{-1});
             !why.empty()) {
    return why;
  }
  if (std::string why = CheckNewSn(state, claim, kid); !why.empty()) return why;
  if (first) {
    state.protocol = event.protocol;
    state.finality = event.finality;
    state.operator_keys = event.operator_keys;
  }
  state.sns[claim.name] = {claim.name, claim.key, kid, claim.api_url};
  return "";
}

std::string Create(LedgerState& state, const Context& context, const ContractName& name,
                   const ContractCreated& event) {
  const auto existing = state.contracts.find(name);
  if (existing != state.contracts.end() && existing->second.phase != Phase::kDone)
    return "a training of this name is under way";
  if (std::string why = CheckOperator(state, context, event.claim, name, Position{-1}, {}, event);
      !why.empty()) {
    return why;
  }
  state.contracts[name] = Fresh(name, context.position, event.rules);
  return "";
}

std::string Reset(LedgerState& state, const Context& context, Contract& contract,
                  const ContractReset& event) {
  if (std::string why = CheckOperator(state, context, event.claim, contract.name, contract.instance,
                                      contract.rules.admins, event);
      !why.empty())
    return why;
  Contract fresh = Fresh(contract.name, context.position, contract.rules);
  fresh.amended = contract.amended;
  fresh.revoked_kids = std::move(contract.revoked_kids);
  contract = std::move(fresh);
  return "";
}

std::string Amend(LedgerState& state, const Context& context, Contract& contract,
                  const ContractAmended& event) {
  if (contract.phase != Phase::kCollecting)
    return contract.phase == Phase::kDone ? "the training is done" : "a merge is under way";
  if (event.min_peers < 1) return "min_peers is at least 1";
  if (event.min_peers > kNodesMax) return StrCat("min_peers is at most ", kNodesMax);
  if (std::string why = CheckOperator(state, context, event.claim, contract.name, contract.instance,
                                      contract.rules.admins, event);
      !why.empty()) {
    return why;
  }
  contract.rules.min_peers = event.min_peers;
  contract.amended = true;
  return "";
}

std::string Revoke(LedgerState& state, const Context& context, Contract& contract,
                   const NodeRevoked& event) {
  const auto node = contract.nodes.find(event.name);
  if (node == contract.nodes.end()) return StrCat(event.name.value(), " is not enrolled");
  if (std::string why = CheckOperator(state, context, event.claim, contract.name, contract.instance,
                                      contract.rules.admins, event);
      !why.empty()) {
    return why;
  }
  contract.revoked_kids.insert(node->second.kid);
  contract.nodes.erase(node);
  contract.holders.erase(event.name);
  if (contract.FindMember(event.name) != nullptr) contract.grounds.insert(event.name);
  return "";
}

std::string Enrol(LedgerState& state, const Context& context, Contract& contract,
                  const NodeEnrolled& event) {
  const Result<SignedNodeClaim> parsed = ParseNodeClaim(event.claim);
  if (!parsed.ok()) return std::string(parsed.status().message());
  if (parsed->contract != contract.name) return "the claim speaks of another training";
  const NodeClaim& claim = parsed->claim;
  const std::string kid = Thumbprint(claim.key);
  if (std::string why =
          CheckClaimHeader(state, context, kid, parsed->seq, parsed->seen, contract.instance);
      !why.empty())
    return why;
  if (std::string why = CheckClaim(state, contract, event, *parsed); !why.empty()) return why;
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
  return "";
}

std::string Away(Contract& contract, const Author& author, const NodeAway& event) {
  if (contract.phase == Phase::kDone) return "the training is done";
  const auto node = contract.nodes.find(event.name);
  if (node == contract.nodes.end()) return StrCat(event.name.value(), " is not enrolled");
  if (!author.is_sn() && author.node != event.name) return "an SL can only say this of itself";
  if (!node->second.present) return StrCat(event.name.value(), " is away already");
  node->second.present = false;
  if (contract.FindMember(event.name) != nullptr) contract.grounds.insert(event.name);
  return "";
}

}  // namespace starling::machine
