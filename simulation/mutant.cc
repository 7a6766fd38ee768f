#include "simulation/mutant.h"

#include <algorithm>

#include "base/text.h"

namespace starling::simulation {

using machine::Author;
using machine::Context;

bool Mutant::Plays(Fault fault) {
  switch (fault) {
    case Fault::kNoBaseTest:
    case Fault::kWeightsAtMerge:
    case Fault::kSealedRoundReopens:
    case Fault::kNoSetTest:
    case Fault::kNoSeq:
    case Fault::kNoSeen:
    case Fault::kNoGrounds:
    case Fault::kFinishedCloseAlone:
    case Fault::kForgetfulReplay:
      return true;
    default:
      return false;
  }
}

Verdict Mutant::Apply(std::string_view entry, const std::vector<Digest>& heads) {
  Verdict verdict;
  const Result<Jws> jws = ParseJws(entry, kEntryTyp);
  const Result<Statement> statement =
      jws.ok() ? ParseStatement(jws->payload) : Result<Statement>(jws.status());
  if (!statement.ok()) {
    const Why why{Reason::kUnreadable, statement.status().message()};
    verdict.reason = why.text();
    verdict.row = why.reason();
    return verdict;
  }
  verdict.type = std::string(TypeOf(statement->event));
  verdict.contract = statement->contract;
  bool by_sn = false;
  Why why = Header(*jws, *statement, heads, verdict, by_sn);
  if (why.empty()) why = Row(*statement, verdict.author, by_sn, heads);
  verdict.reason = why.text();
  verdict.row = why.reason();
  return verdict;
}

Why Mutant::Header(const Jws& jws, const Statement& statement, const std::vector<Digest>& heads,
                   Verdict& verdict, bool& by_sn) {
  const auto contract = state_.contracts.find(statement.contract);
  if (heads.empty()) {
    if (!std::holds_alternative<SnJoined>(statement.event)) return Reason::kFirstIsSnJoined;
  } else {
    for (const auto& [name, sn] : state_.sns) {
      if (sn.kid == jws.kid) {
        verdict.author = name.value();
        by_sn = true;
      }
    }
    const Node* const node =
        contract == state_.contracts.end() ? nullptr : contract->second.FindKid(jws.kid);
    if (!by_sn && node == nullptr) return Reason::kUnknownKey;
    if (!by_sn) verdict.author = node->name.value();
  }
  const auto last = state_.last_seq.find(jws.kid);
  if (fault_ != Fault::kNoSeq && last != state_.last_seq.end() && statement.seq <= last->second)
    return {Reason::kUsedSeq, statement.seq};
  const Context context{Position{static_cast<std::int64_t>(heads.size())}, &heads};
  if (fault_ != Fault::kNoSeen && !context.Knows(statement.seen)) return Reason::kOtherLedger;
  if (!std::holds_alternative<ContractCreated>(statement.event) &&
      !std::holds_alternative<SnJoined>(statement.event)) {
    if (contract == state_.contracts.end())
      return {Reason::kNoTraining, statement.contract.value()};
    if (fault_ != Fault::kNoSeen && statement.seen.position < contract->second.instance)
      return Reason::kEarlierInstance;
  }
  std::uint64_t& seq = state_.last_seq[jws.kid];
  seq = std::max(seq, statement.seq);
  return {};
}

Why Mutant::Row(const Statement& statement, const std::string& author, bool by_sn,
                const std::vector<Digest>& heads) {
  const Context context{Position{static_cast<std::int64_t>(heads.size())}, &heads};
  Author who;
  if (by_sn)
    who.sn = &state_.sns.at(NodeName{author});
  else
    who.node = NodeName{author};
  if (const auto* e = std::get_if<SnJoined>(&statement.event))
    return machine::Join(state_, context, who, *e);
  const auto found = state_.contracts.find(statement.contract);
  Contract* const contract = found == state_.contracts.end() ? nullptr : &found->second;
  if (const auto* e = std::get_if<NodeAway>(&statement.event))
    return machine::Away(*contract, who, *e);
  return by_sn ? SnRow(statement, who, context, contract) : SlRow(statement, who.node, *contract);
}

Why Mutant::SnRow(const Statement& statement, const Author& /*author*/, const Context& context,
                  Contract* contract) {
  const Event& event = statement.event;
  if (const auto* e = std::get_if<ContractCreated>(&event))
    return machine::Create(state_, context, statement.contract, *e);
  if (const auto* e = std::get_if<ContractReset>(&event))
    return machine::Reset(state_, context, *contract, *e);
  if (const auto* e = std::get_if<ContractAmended>(&event))
    return machine::Amend(state_, context, *contract, *e);
  if (const auto* e = std::get_if<NodeRevoked>(&event))
    return machine::Revoke(state_, context, *contract, *e);
  if (const auto* e = std::get_if<RoundClosed>(&event)) return Close(*contract, *e);
  if (const auto* e = std::get_if<RoundReopened>(&event)) return Reopen(*contract, *e);
  const auto* enrolled = std::get_if<NodeEnrolled>(&event);
  if (enrolled == nullptr) return Reason::kOnlySl;
  Why why = machine::Enrol(state_, context, *contract, *enrolled);
  if (!why.empty()) return why;
  ++*shared_;
  for (auto& [name, node] : contract->nodes) {
    if (fault_ == Fault::kForgetfulReplay) node.weight = 1 + *shared_ % 3;
    if (fault_ != Fault::kWeightsAtMerge) continue;
    for (Member& member : contract->members) {
      if (member.name == name && member.update) member.weight = node.weight;
    }
  }
  return {};
}

Why Mutant::SlRow(const Statement& statement, const NodeName& author, Contract& contract) {
  const Event& event = statement.event;
  if (const auto* e = std::get_if<NodeFinished>(&event))
    return machine::Finish(contract, author, *e);
  if (const auto* e = std::get_if<Stalled>(&event)) return machine::Stall(contract, author, *e);
  if (const auto* e = std::get_if<CheckedIn>(&event)) {
    CheckedIn copy = *e;
    if (fault_ == Fault::kNoBaseTest) {
      copy.base = contract.base;
      copy.round = contract.round;
    }
    return machine::CheckIn(contract, author, copy);
  }
  if (const auto* e = std::get_if<RoundMerged>(&event)) {
    RoundMerged copy = *e;
    if (fault_ == Fault::kNoSetTest && copy.round == contract.round) {
      copy.attempt = contract.attempt;
      copy.set = contract.set;
    }
    const Contract before = contract;
    Why why = machine::Merge(contract, author, copy);
    if (contract.roots.size() != before.roots.size()) before_seal_[contract.name] = before;
    return why;
  }
  return Reason::kOnlySn;
}

Why Mutant::Close(Contract& contract, const RoundClosed& event) const {
  Why why = machine::Close(contract, event);
  if (why.empty() || fault_ != Fault::kFinishedCloseAlone) return why;
  const std::vector<Member> members = machine::Closing(contract, event.without);
  if (machine::CannotClose(contract, members).reason() != Reason::kStillTrains) return why;
  // As if no trainer were present.
  std::map<NodeName, Node> nodes = contract.nodes;
  for (auto& [name, node] : contract.nodes) {
    if (node.kind == NodeKind::kTrainer) node.present = false;
  }
  why = machine::Close(contract, event);
  contract.nodes = std::move(nodes);
  return why;
}

Why Mutant::Reopen(Contract& contract, const RoundReopened& event) {
  if (fault_ == Fault::kNoGrounds) {
    for (const Member& member : contract.members) contract.grounds.insert(member.name);
  }
  Why why = machine::Reopen(contract, event);
  const auto old = before_seal_.find(contract.name);
  if (why.empty() || fault_ != Fault::kSealedRoundReopens || old == before_seal_.end() ||
      old->second.instance != contract.instance || contract.phase != Phase::kCollecting)
    return why;
  Contract sealed = old->second;
  for (const Member& member : sealed.members) sealed.grounds.insert(member.name);
  why = machine::Reopen(sealed, event);
  if (why.empty()) contract = sealed;
  return why;
}

}  // namespace starling::simulation
