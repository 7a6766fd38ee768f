// The rows of a round: check-ins, the close, the merge, its end.
#include <algorithm>

#include "base/text.h"
#include "protocol/machine.h"

namespace starling::machine {
namespace {

std::string RoundText(RoundId round, AttemptId attempt) {
  return attempt.value() == 0 ? StrCat("round ", round.value())
                              : StrCat("round ", round.value(), " attempt ", attempt.value());
}

// Empty when the event speaks of this round and attempt.
Why WrongRound(const Contract& contract, RoundId round, AttemptId attempt) {
  if (round == contract.round && attempt == contract.attempt) return {};
  return {Reason::kWrongAttempt, RoundText(round, attempt),
          RoundText(contract.round, contract.attempt)};
}

Why NotCollecting(const Contract& contract) {
  return contract.phase == Phase::kDone ? Why(Reason::kDone)
                                        : Why(Reason::kClosedAlready, contract.round.value());
}

Why NotMerging(const Contract& contract) {
  return contract.phase == Phase::kDone ? Why(Reason::kDone)
                                        : Why(Reason::kNotClosed, contract.round.value());
}

bool Contains(const std::vector<NodeName>& names, const NodeName& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool SomeTrainerPresent(const Contract& contract) {
  return std::any_of(contract.nodes.begin(), contract.nodes.end(), [](const auto& item) {
    return item.second.present && item.second.kind == NodeKind::kTrainer;
  });
}

bool HasTrainer(const std::vector<Member>& members) {
  return std::any_of(members.begin(), members.end(),
                     [](const Member& member) { return member.kind == NodeKind::kTrainer; });
}

// What a merge knew is over: P, its schedule and its votes.
void OpenAgain(Contract& contract) {
  contract.members.clear();
  contract.leaders.clear();
  contract.set = Digest{};
  contract.witness.clear();
  contract.grounds.clear();
  contract.stalls.clear();
  contract.phase = Phase::kCollecting;
}

void Seal(Contract& contract, const Digest& root) {
  contract.roots.Append(contract.round, root);
  contract.base = root;
  contract.sealed_round = contract.round;
  contract.holders.clear();
  for (const auto& [name, voted] : contract.witness) {
    if (voted == root && contract.nodes.contains(name)) contract.holders.insert(name);
  }
  const bool last = !HasTrainer(contract.members);
  contract.sealed_members = std::move(contract.members);
  OpenAgain(contract);
  contract.removed.clear();
  contract.lone_accusers.clear();
  contract.accusers.clear();
  contract.attempt = AttemptId{0};
  for (auto& [name, node] : contract.nodes) node.checkin.reset();
  if (last) {
    contract.phase = Phase::kDone;
    return;
  }
  contract.round = RoundId{contract.round.value() + 1};
}

// A vote for the newest sealed round: it says "I hold these bytes" and changes nothing else.
Why Hold(Contract& contract, const NodeName& author, const RoundMerged& event) {
  const Digest* const sealed = contract.roots.Find(event.round);
  if (sealed == nullptr || *sealed != event.root) {
    return {Reason::kSealedWithAnother, event.round.value()};
  }
  if (!contract.holders.insert(author).second) return Reason::kHoldsAlready;
  return {};
}

}  // namespace

std::vector<Member> Closing(const Contract& contract, const std::vector<NodeName>& without) {
  std::vector<Member> members;
  for (const auto& [name, node] : contract.nodes) {
    if (!node.present || Contains(without, name)) continue;
    switch (node.kind) {
      case NodeKind::kTrainer:
        if (node.checkin) members.push_back({name, node.kind, node.checkin, node.weight});
        break;
      case NodeKind::kSnapshot:
        members.push_back({name, node.kind, node.snapshot, node.weight});
        break;
      case NodeKind::kActive:
        members.push_back({name, node.kind, contract.base, node.weight});
        break;
      case NodeKind::kInactive:
        members.push_back({name, node.kind, std::nullopt, 0});
        break;
    }
  }
  return members;  // Sorted, as the map is.
}

Why CannotClose(const Contract& contract, const std::vector<Member>& members) {
  const std::uint64_t quorum = contract.rules.min_peers.value_or(1);
  if (members.empty() || members.size() < quorum) {
    return {Reason::kTooFew,
            StrCat(members.size(), members.size() == 1 ? " node is" : " nodes are"), quorum};
  }
  if (!HasTrainer(members) && SomeTrainerPresent(contract)) {
    return Reason::kStillTrains;
  }
  const bool all_zero = std::all_of(members.begin(), members.end(),
                                    [](const Member& member) { return member.weight == 0; });
  if (all_zero && !contract.base) return Reason::kAllWeightsZero;
  return {};
}

std::vector<NodeName> AccusersOf(const Contract& contract, const NodeName& name) {
  std::set<NodeName> accusers;
  if (const auto earlier = contract.accusers.find(name); earlier != contract.accusers.end())
    accusers = earlier->second;
  for (const auto& [author, on] : contract.stalls) {
    if (author != name && Contains(on, name)) accusers.insert(author);
  }
  return {accusers.begin(), accusers.end()};
}

Why CheckIn(Contract& contract, const NodeName& author, const CheckedIn& event) {
  if (contract.phase != Phase::kCollecting) return NotCollecting(contract);
  if (event.round != contract.round)
    return {Reason::kOtherRound, event.round.value(), contract.round.value()};
  Node& node = contract.nodes.at(author);
  if (node.kind != NodeKind::kTrainer) return Reason::kHasFinished;
  if (event.base != contract.base) return Reason::kOtherBase;
  node.checkin = event.update;
  node.train_ms = event.report.train_ms;
  node.present = true;
  node.away_why.clear();
  return {};
}

Why Finish(Contract& contract, const NodeName& author, const NodeFinished& event) {
  if (contract.phase == Phase::kDone) return Reason::kDone;
  if (contract.round.value() < 1) return Reason::kNothingMerged;
  Node& node = contract.nodes.at(author);
  if (node.kind != NodeKind::kTrainer) return Reason::kFinishedAlready;
  node.kind = event.mode == FinishMode::kSnapshot
                  ? NodeKind::kSnapshot
                  : (event.mode == FinishMode::kActive ? NodeKind::kActive : NodeKind::kInactive);
  node.snapshot = event.update;
  node.checkin.reset();
  node.present = true;
  node.away_why.clear();
  contract.someone_finished = true;
  return {};
}

Why Close(Contract& contract, const RoundClosed& event) {
  if (contract.phase != Phase::kCollecting) return NotCollecting(contract);
  if (Why wrong = WrongRound(contract, event.round, event.attempt); !wrong.empty()) return wrong;
  std::vector<Member> members = Closing(contract, event.without);
  if (Why why = CannotClose(contract, members); !why.empty()) return why;
  for (const Member& member : members) {
    if (contract.nodes.at(member.name).may_lead) contract.leaders.insert(member.name);
  }
  contract.members = std::move(members);
  contract.set = SetHash(contract.base, contract.members);
  contract.phase = Phase::kMerging;
  return {};
}

Why Stall(Contract& contract, const NodeName& author, const Stalled& event) {
  if (contract.phase != Phase::kMerging) return NotMerging(contract);
  if (Why wrong = WrongRound(contract, event.round, event.attempt); !wrong.empty()) return wrong;
  if (event.set != contract.set) return Reason::kOtherSet;
  if (contract.FindMember(author) == nullptr) return Reason::kNoPart;
  for (const NodeName& name : event.on) {
    if (contract.FindMember(name) == nullptr) return {Reason::kAccusesOutsider, name.value()};
  }
  if (!contract.stalls.emplace(author, event.on).second) return Reason::kStalledAlready;
  contract.grounds.insert(author);
  contract.grounds.insert(event.on.begin(), event.on.end());
  return {};
}

Why Reopen(Contract& contract, const RoundReopened& event) {
  if (contract.phase != Phase::kMerging) return NotMerging(contract);
  if (Why wrong = WrongRound(contract, event.round, event.attempt); !wrong.empty()) return wrong;
  if (event.without.empty()) return Reason::kRemovesNobody;
  for (const NodeName& name : event.without) {
    if (contract.FindMember(name) == nullptr || !contract.grounds.contains(name))
      return {Reason::kNoGrounds, name.value()};
  }
  for (const auto& [author, on] : contract.stalls) {
    for (const NodeName& name : on) {
      if (name != author) contract.accusers[name].insert(author);
    }
  }
  for (const NodeName& name : event.without) {
    ++contract.removed[name];
    const std::vector<NodeName> accusers = AccusersOf(contract, name);
    if (accusers.size() == 1 && !Contains(event.without, accusers.front()))
      contract.lone_accusers.insert(accusers.front());
    const auto node = contract.nodes.find(name);
    if (node == contract.nodes.end()) continue;  // Revoked meanwhile.
    node->second.checkin.reset();
    node->second.present = false;
    node->second.away_why =
        StrCat("round ", contract.round.value(), " was opened again without it");
  }
  OpenAgain(contract);
  contract.attempt = AttemptId{contract.attempt.value() + 1};
  return {};
}

Why Merge(Contract& contract, const NodeName& author, const RoundMerged& event) {
  if (contract.sealed_round && event.round == *contract.sealed_round)
    return Hold(contract, author, event);
  if (contract.phase != Phase::kMerging) return NotMerging(contract);
  if (Why wrong = WrongRound(contract, event.round, event.attempt); !wrong.empty()) return wrong;
  if (event.set != contract.set) return Reason::kOtherSet;
  if (contract.FindMember(author) == nullptr) return Reason::kNoPart;
  if (contract.witness.contains(author)) return Reason::kVotedAlready;
  std::uint64_t agree = 1;
  for (const auto& [name, root] : contract.witness) {
    if (root == event.root) {
      ++agree;
    } else {
      contract.grounds.insert(name);
      contract.grounds.insert(author);
    }
  }
  contract.witness[author] = event.root;
  const std::uint64_t needed =
      std::min<std::uint64_t>(contract.rules.witnesses, contract.members.size());
  if (agree >= needed) Seal(contract, event.root);
  return {};
}

}  // namespace starling::machine
