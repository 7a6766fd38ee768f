#include "protocol/replay.h"

#include <utility>

#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/fields.h"
#include "protocol/machine.h"

namespace starling {
namespace {

using machine::Author;
using machine::Context;

// The key that must have signed, by the kid. Entry 0 brings its own.
struct Signer {
  Author author;
  PublicKey key;
};
Why FindSigner(const LedgerState& state, const Context& context, const Jws& jws,
               const Statement& statement, Signer& signer) {
  if (const auto* joined = std::get_if<SnJoined>(&statement.event);
      joined != nullptr && context.position.value() == 0) {
    const Result<SignedSnClaim> parsed = ParseSnClaim(joined->claim);
    if (!parsed.ok()) return {Reason::kBadClaim, parsed.status().message()};
    signer = Signer{{}, parsed->claim.key};
    return {};
  }
  for (const auto& [name, sn] : state.sns) {
    if (sn.kid != jws.kid) continue;
    signer = Signer{{&sn, {}}, sn.key};
    return {};
  }
  const auto contract = state.contracts.find(statement.contract);
  if (contract != state.contracts.end()) {
    if (const Node* node = contract->second.FindKid(jws.kid)) {
      signer = Signer{{nullptr, node->name}, node->key};
      return {};
    }
  }
  return Reason::kUnknownKey;
}

// The header test of section 1; from its success on the seq counts as used.
Why HeaderTest(LedgerState& state, const Context& context, const Jws& jws,
               const Statement& statement, Author& author) {
  Signer signer;
  if (Why why = FindSigner(state, context, jws, statement, signer); !why.empty()) return why;
  if (Status good = VerifyJws(jws, signer.key); !good.ok())
    return {Reason::kBadSignature, good.message()};
  author = signer.author;
  const auto last = state.last_seq.find(jws.kid);
  if (last != state.last_seq.end() && statement.seq <= last->second)
    return {Reason::kUsedSeq, statement.seq};
  if (!context.Knows(statement.seen)) return Reason::kOtherLedger;
  const bool creates = std::holds_alternative<ContractCreated>(statement.event);
  if (!creates && !std::holds_alternative<SnJoined>(statement.event)) {
    const auto contract = state.contracts.find(statement.contract);
    if (contract == state.contracts.end()) return {Reason::kNoTraining, statement.contract.value()};
    if (statement.seen.position < contract->second.instance) return Reason::kEarlierInstance;
  }
  state.last_seq[jws.kid] = statement.seq;
  return {};
}

struct Body {
  LedgerState& state;
  const Context& context;
  const Author& author;
  const ContractName& name;

  [[nodiscard]] Contract& contract() const { return state.contracts.at(name); }
  // Rows by an SN, and rows by an SL.
  template <typename F>
  [[nodiscard]] Why BySn(F row) const {
    return author.is_sn() ? row() : Why(Reason::kOnlySn);
  }
  template <typename F>
  [[nodiscard]] Why BySl(F row) const {
    return author.is_sn() ? Why(Reason::kOnlySl) : row();
  }

  Why operator()(const SnJoined& e) const { return machine::Join(state, context, author, e); }
  Why operator()(const ContractCreated& e) const {
    return BySn([&] { return machine::Create(state, context, name, e); });
  }
  Why operator()(const ContractReset& e) const {
    return BySn([&] { return machine::Reset(state, context, contract(), e); });
  }
  Why operator()(const ContractAmended& e) const {
    return BySn([&] { return machine::Amend(state, context, contract(), e); });
  }
  Why operator()(const NodeEnrolled& e) const {
    return BySn([&] { return machine::Enrol(state, context, contract(), e); });
  }
  Why operator()(const NodeRevoked& e) const {
    return BySn([&] { return machine::Revoke(state, context, contract(), e); });
  }
  Why operator()(const NodeAway& e) const { return machine::Away(contract(), author, e); }
  Why operator()(const CheckedIn& e) const {
    return BySl([&] { return machine::CheckIn(contract(), author.node, e); });
  }
  Why operator()(const NodeFinished& e) const {
    return BySl([&] { return machine::Finish(contract(), author.node, e); });
  }
  Why operator()(const RoundClosed& e) const {
    return BySn([&] { return machine::Close(contract(), e); });
  }
  Why operator()(const Stalled& e) const {
    return BySl([&] { return machine::Stall(contract(), author.node, e); });
  }
  Why operator()(const RoundReopened& e) const {
    return BySn([&] { return machine::Reopen(contract(), e); });
  }
  Why operator()(const RoundMerged& e) const {
    return BySl([&] { return machine::Merge(contract(), author.node, e); });
  }
};

void Ignore(const Why& why, Verdict& verdict) {
  verdict.reason = why.text();
  verdict.row = why.reason();
}

Verdict Step(LedgerState& state, const Context& context, std::string_view entry) {
  Verdict verdict;
  const Result<Jws> jws = ParseJws(entry, kEntryTyp);
  if (!jws.ok()) {
    Ignore({Reason::kUnreadable, jws.status().message()}, verdict);
    return verdict;
  }
  const Result<Statement> statement = ParseStatement(jws->payload);
  if (!statement.ok()) {
    Ignore({Reason::kUnreadable, statement.status().message()}, verdict);
    return verdict;
  }
  verdict.type = std::string(TypeOf(statement->event));
  verdict.contract = statement->contract;
  if (context.position.value() == 0 && !std::holds_alternative<SnJoined>(statement->event)) {
    Ignore(Reason::kFirstIsSnJoined, verdict);
    return verdict;
  }
  Author author;
  Ignore(HeaderTest(state, context, *jws, *statement, author), verdict);
  if (author.is_sn())
    verdict.author = author.sn->name.value();
  else
    verdict.author = author.node.value();
  if (!verdict.valid()) return verdict;
  Ignore(std::visit(Body{state, context, author, statement->contract}, statement->event), verdict);
  return verdict;
}

Json NodeJson(const Node& node) {
  return {{"key", node.kid},
          {"url", node.blob_url},
          {"id", node.spiffe_id},
          {"weight", node.weight},
          {"may_lead", node.may_lead},
          {"present", node.present},
          {"kind", KindName(node.kind)},
          {"snapshot", fields::RootOrEmpty(node.snapshot)},
          {"checkin", fields::RootOrEmpty(node.checkin)}};
}

Json NamesJson(const std::set<NodeName>& names) {
  return fields::NodesJson({names.begin(), names.end()});
}

Json ContractStateJson(const Contract& contract) {
  Json json = {{"rules", RulesJson(contract.rules)},
               {"amended", contract.amended},
               {"round", contract.round.value()},
               {"attempt", contract.attempt.value()},
               {"phase", PhaseName(contract.phase)},
               {"base", fields::RootOrEmpty(contract.base)},
               {"members", MembersJson(contract.members)},
               {"leaders", NamesJson(contract.leaders)},
               {"revoked", contract.revoked_kids},
               {"set", HexOf(contract.set)},
               {"grounds", NamesJson(contract.grounds)},
               {"lone_accusers", NamesJson(contract.lone_accusers)},
               {"finished", contract.someone_finished},
               {"sealed", contract.sealed_round ? StrCat(contract.sealed_round->value()) : ""},
               {"sealed_members", MembersJson(contract.sealed_members)},
               {"holders", NamesJson(contract.holders)}};
  for (std::uint64_t round = 0; round < contract.roots.size(); ++round)
    json["roots"][StrCat(round)] = RootText(contract.roots.at(RoundId{round}));
  for (const auto& [name, root] : contract.witness) json["witness"][name.value()] = RootText(root);
  for (const auto& [name, on] : contract.stalls)
    json["stalls"][name.value()] = fields::NodesJson(on);
  for (const auto& [name, by] : contract.accusers) json["accusers"][name.value()] = NamesJson(by);
  for (const auto& [name, times] : contract.removed) json["removed"][name.value()] = times;
  for (const auto& [name, node] : contract.nodes) json["nodes"][name.value()] = NodeJson(node);
  return json;
}

}  // namespace

Verdict Replay::Apply(std::string_view entry) {
  const Position position{static_cast<std::int64_t>(heads_.size())};
  Verdict verdict = Step(state_, Context{position, &heads_},
                         entry);  // Rows test before they write: a void entry changes only the seq.
  heads_.push_back(NextHead(heads_.empty() ? Digest{} : heads_.back(), entry));
  return verdict;
}

Verdict Replay::Try(std::string_view entry) const {
  LedgerState copy = state_;
  return Step(copy, Context{Position{static_cast<std::int64_t>(heads_.size())}, &heads_}, entry);
}

Place Replay::place() const {
  return heads_.empty()
             ? Place{}
             : Place{Position{static_cast<std::int64_t>(heads_.size()) - 1}, heads_.back()};
}

Result<Digest> Replay::HeadAt(Position position) const {
  if (position.value() == -1) return Digest{};
  if (position.value() < 0 || static_cast<std::size_t>(position.value()) >= heads_.size())
    return absl::OutOfRangeError(StrCat("no entry ", position.value()));
  return heads_[static_cast<std::size_t>(position.value())];
}

Digest Replay::StateHash() const {
  Json json = {{"protocol", state_.protocol}, {"finality", state_.finality}};
  for (const PublicKey& key : state_.operator_keys) json["operators"].push_back(PublicKeyText(key));
  for (const auto& [name, sn] : state_.sns)
    json["sns"][name.value()] = {{"key", sn.kid}, {"url", sn.api_url}};
  for (const auto& [name, contract] : state_.contracts)
    json["contracts"][name.value()] = ContractStateJson(contract);
  return HashOf(AsBytes(CanonicalJson(json)));
}

}  // namespace starling
