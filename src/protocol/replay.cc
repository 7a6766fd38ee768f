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
Result<Signer> FindSigner(const LedgerState& state, const Context& context, const Jws& jws,
                          const Statement& statement) {
  if (const auto* joined = std::get_if<SnJoined>(&statement.event);
      joined != nullptr && context.position.value() == 0) {
    ASSIGN_OR_RETURN(const SignedSnClaim parsed, ParseSnClaim(joined->claim));
    return Signer{{}, parsed.claim.key};
  }
  for (const auto& [name, sn] : state.sns) {
    if (sn.kid == jws.kid) return Signer{{&sn, {}}, sn.key};
  }
  const auto contract = state.contracts.find(statement.contract);
  if (contract != state.contracts.end()) {
    if (const Node* node = contract->second.FindKid(jws.kid))
      return Signer{{nullptr, node->name}, node->key};
  }
  return absl::UnauthenticatedError(
      "its key is neither an SN's nor that of a node enrolled in this training");
}

// The header test of section 1; from its success on the seq counts as used.
std::string HeaderTest(LedgerState& state, const Context& context, const Jws& jws,
                       const Statement& statement, Author& author) {
  const Result<Signer> signer = FindSigner(state, context, jws, statement);
  if (!signer.ok()) return std::string(signer.status().message());
  if (Status good = VerifyJws(jws, signer->key); !good.ok()) return std::string(good.message());
  author = signer->author;
  const auto last = state.last_seq.find(jws.kid);
  if (last != state.last_seq.end() && statement.seq <= last->second)
    return StrCat("its seq ", statement.seq, " was used before");
  if (!context.Knows(statement.seen))
    return "it was made for another ledger: the head at its seen place is another";
  const bool creates = std::holds_alternative<ContractCreated>(statement.event);
  if (!creates && !std::holds_alternative<SnJoined>(statement.event)) {
    const auto contract = state.contracts.find(statement.contract);
    if (contract == state.contracts.end())
      return StrCat("there is no training ", statement.contract.value());
    if (statement.seen.position < contract->second.instance)
      return "it was made for an earlier instance of the training";
  }
  state.last_seq[jws.kid] = statement.seq;
  return "";
}

struct Body {
  LedgerState& state;
  const Context& context;
  const Author& author;
  const ContractName& name;

  [[nodiscard]] Contract& contract() const { return state.contracts.at(name); }
  // Rows by an SN, and rows by an SL.
  template <typename F>
  [[nodiscard]] std::string BySn(F row) const {
    return author.is_sn() ? row() : "only an SN may say this";
  }
  template <typename F>
  [[nodiscard]] std::string BySl(F row) const {
    return author.is_sn() ? "only an SL may say this" : row();
  }

  std::string operator()(const SnJoined& e) const {
    return machine::Join(state, context, author, e);
  }
  std::string operator()(const ContractCreated& e) const {
    return BySn([&] { return machine::Create(state, context, name, e); });
  }
  std::string operator()(const ContractReset& e) const {
    return BySn([&] { return machine::Reset(state, context, contract(), e); });
  }
  std::string operator()(const ContractAmended& e) const {
    return BySn([&] { return machine::Amend(state, context, contract(), e); });
  }
  std::string operator()(const NodeEnrolled& e) const {
    return BySn([&] { return machine::Enrol(state, context, contract(), e); });
  }
  std::string operator()(const NodeRevoked& e) const {
    return BySn([&] { return machine::Revoke(state, context, contract(), e); });
  }
  std::string operator()(const NodeAway& e) const { return machine::Away(contract(), author, e); }
  std::string operator()(const CheckedIn& e) const {
    return BySl([&] { return machine::CheckIn(contract(), author.node, e); });
  }
  std::string operator()(const NodeFinished& e) const {
    return BySl([&] { return machine::Finish(contract(), author.node, e); });
  }
  std::string operator()(const RoundClosed& e) const {
    return BySn([&] { return machine::Close(contract(), e); });
  }
  std::string operator()(const Stalled& e) const {
    return BySl([&] { return machine::Stall(contract(), author.node, e); });
  }
  std::string operator()(const RoundReopened& e) const {
    return BySn([&] { return machine::Reopen(contract(), e); });
  }
  std::string operator()(const RoundMerged& e) const {
    return BySl([&] { return machine::Merge(contract(), author.node, e); });
  }
};

Verdict Step(LedgerState& state, const Context& context, std::string_view entry) {
  Verdict verdict;
  const Result<Jws> jws = ParseJws(entry, kEntryTyp);
  if (!jws.ok()) {
    verdict.reason = std::string(jws.status().message());
    return verdict;
  }
  const Result<Statement> statement = ParseStatement(jws->payload);
  if (!statement.ok()) {
    verdict.reason = std::string(statement.status().message());
    return verdict;
  }
  verdict.type = std::string(TypeOf(statement->event));
  verdict.contract = statement->contract;
  if (context.position.value() == 0 && !std::holds_alternative<SnJoined>(statement->event)) {
    verdict.reason = "the first entry is sn-joined";
    return verdict;
  }
  Author author;
  verdict.reason = HeaderTest(state, context, *jws, *statement, author);
  if (author.is_sn())
    verdict.author = author.sn->name.value();
  else
    verdict.author = author.node.value();
  if (!verdict.reason.empty()) return verdict;
  verdict.reason = std::visit(Body{state, context, author, statement->contract}, statement->event);
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
