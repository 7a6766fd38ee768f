// What becomes of a merge that cannot end: who has to go, and the close of the next attempt.
#include <algorithm>

#include "base/text.h"
#include "protocol/machine.h"
#include "protocol/sn_decider.h"

namespace starling {
namespace {

// From the first accusation to the reopening: others may name the same node, and probes answer.
constexpr Duration kReopenAfter = 1s;
constexpr std::uint64_t kManyAccused = 2;  // of one accuser, and all of them answer

bool Present(const Contract& contract, const NodeName& name) {
  const Node* const node = contract.Find(name);
  return node != nullptr && node->present;
}

bool Trains(const std::vector<Member>& members) {
  return std::any_of(members.begin(), members.end(),
                     [](const Member& member) { return member.kind == NodeKind::kTrainer; });
}

std::map<Digest, std::set<NodeName>> VotesOf(const Contract& contract) {
  std::map<Digest, std::set<NodeName>> votes;
  for (const auto& [name, root] : contract.witness) votes[root].insert(name);
  return votes;
}

// Can those that are still here give a root the votes it needs?
bool CanSeal(const Contract& contract) {
  std::uint64_t best = 0, open = 0;
  for (const auto& [root, names] : VotesOf(contract)) best = std::max(best, names.size());
  for (const Member& member : contract.members) {
    if (!contract.witness.contains(member.name) && Present(contract, member.name)) ++open;
  }
  return best + open >= std::min<std::uint64_t>(contract.rules.witnesses, contract.members.size());
}

// Does this merge need a new attempt? Somebody has said so, or its work is owned by nobody, or it
// cannot be sealed, or an operator has taken a node out.
bool InTrouble(const Contract& contract) {
  if (!contract.stalls.empty() || !CanSeal(contract)) return true;
  for (const NodeName& owner : OwnersOf(contract)) {
    if (!Present(contract, owner) && contract.witness.empty()) return true;
  }
  return std::any_of(contract.members.begin(), contract.members.end(),
                     [&](const Member& member) { return contract.Find(member.name) == nullptr; });
}

// Roots in conflict: every side but the largest goes. Two largest ones: nobody can tell, so both,
// but only when nothing else makes a new attempt possible.
std::set<NodeName> Outvoted(const Contract& contract, bool ties_too) {
  const std::map<Digest, std::set<NodeName>> votes = VotesOf(contract);
  std::set<NodeName> out;
  std::size_t best = 0, sides = 0;
  for (const auto& [root, names] : votes) {
    if (names.size() > best) sides = 0;
    best = std::max(best, names.size());
    if (names.size() == best) ++sides;
  }
  for (const auto& [root, names] : votes) {
    if (names.size() < best || (sides > 1 && ties_too)) out.insert(names.begin(), names.end());
  }
  return out;
}

std::string SetText(const std::set<NodeName>& names) {
  return NamesText({names.begin(), names.end()});
}

std::string AccusationsText(const Contract& contract) {
  std::string text;
  for (const auto& [author, on] : contract.stalls) {
    StrAppend(&text, "; ", author.value(), " cannot go on with ", NamesText(on));
  }
  return text;
}

}  // namespace

void SnDecider::Merging(const Turn& turn) {
  const Contract& contract = turn.contract;
  Steps& steps = turn.memory.steps;
  std::set<NodeName> silent_votes;
  for (const Member& member : contract.members) {
    if (!contract.witness.contains(member.name)) silent_votes.insert(member.name);
  }
  Waiting waiting{contract.name,
                  {silent_votes.begin(), silent_votes.end()},
                  StrCat("round ", contract.round.value(), " is being merged, leader ",
                         LeaderOf(contract).value(), AccusationsText(contract)),
                  turn.memory.since,
                  "sealed when enough nodes agree on the root",
                  SilentOf(turn, silent_votes),
                  std::nullopt};
  if (InTrouble(contract)) {
    if (!steps.trouble_since) steps.trouble_since = turn.now;
    waiting.until = *steps.trouble_since + Wait(turn) + kReopenAfter;
    waiting.next = "opened again without those to blame, and closed at once";
    turn.todo.waiting.push_back(std::move(waiting));
    return Reopen(turn);
  }
  steps.trouble_since.reset();
  turn.todo.waiting.push_back(std::move(waiting));
  // The SLs of P name who holds them up. When none of them does, perhaps none of them is left.
  const Instant watch = turn.memory.since + Doubled(options_.stall_timeout, contract.attempt);
  if (turn.now < watch) {
    if (options_.probe) WakeAt(turn, watch);
    return;
  }
  for (const NodeName& name : silent_votes) AskEvery(turn, name);
}

// Who has to go (PROTOCOL: a lone accuser's word counts once a round).
std::set<NodeName> SnDecider::Blamed(const Turn& turn) const {
  const Contract& contract = turn.contract;
  std::set<NodeName> out;
  const auto may = [&](const NodeName& name) {
    return contract.FindMember(name) != nullptr && contract.grounds.contains(name);
  };
  for (const NodeName& name : contract.grounds) {
    if (!may(name)) continue;
    const auto own = contract.stalls.find(name);
    const bool lost = own != contract.stalls.end() &&
                      (own->second.empty() || std::find(own->second.begin(), own->second.end(),
                                                        name) != own->second.end());
    const bool named =
        std::any_of(contract.stalls.begin(), contract.stalls.end(), [&](const auto& stall) {
          return std::find(stall.second.begin(), stall.second.end(), name) != stall.second.end();
        });
    if (lost || !Present(contract, name) || Silent(turn, name, 1) ||
        (named && machine::AccusersOf(contract, name).size() > 1))
      out.insert(name);
  }
  for (const auto& [author, on] : contract.stalls) {
    if (out.contains(author)) continue;
    std::set<NodeName> answering;
    for (const NodeName& name : on) {
      if (!out.contains(name)) answering.insert(name);
    }
    if (answering.empty()) continue;
    const bool accuser =
        contract.lone_accusers.contains(author) || answering.size() >= kManyAccused;
    if (accuser)
      out.insert(author);
    else
      out.insert(answering.begin(), answering.end());
  }
  const std::set<NodeName> outvoted = Outvoted(contract, out.empty());
  for (const NodeName& name : outvoted) {
    if (may(name)) out.insert(name);
  }
  return out;
}

void SnDecider::Reopen(const Turn& turn) {
  const Contract& contract = turn.contract;
  const Instant start = *turn.memory.steps.trouble_since + Wait(turn);
  if (turn.now < start) return WakeAt(turn, start);
  const bool heard = AskedSince(turn, contract.grounds, start);
  if (turn.now < start + kReopenAfter) return WakeAt(turn, start + kReopenAfter);
  if (!heard) return;
  const std::set<NodeName> out = Blamed(turn);
  if (out.empty() || !MaySay(turn)) return;
  const std::map<Digest, std::set<NodeName>> votes = VotesOf(contract);
  if (votes.size() > 1) {
    std::string sides;
    for (const auto& [root, names] : votes)
      StrAppend(&sides, sides.empty() ? "" : "; ", ShortText(root), " by ", SetText(names));
    turn.todo.notices.push_back(
        {contract.name, StrCat("round ", contract.round.value(),
                               ": the participants have computed different models (", sides,
                               "); it goes on without ", SetText(out))});
  }
  const RoundReopened reopened{contract.round, contract.attempt, {out.begin(), out.end()}};
  Contract after = contract;
  if (!machine::Reopen(after, reopened).empty()) return;  // It would be ignored.
  turn.todo.appends.push_back({contract.name, reopened});
  // Who was left out of this attempt is left out of the next one, unless the quorum needs it.
  std::vector<NodeName> without;
  for (const Member& member : machine::Closing(after, {})) {
    if (contract.FindMember(member.name) == nullptr) without.push_back(member.name);
  }
  if (!machine::CannotClose(after, machine::Closing(after, without)).empty()) without.clear();
  const std::vector<Member> next = machine::Closing(after, without);
  // A removed trainer is given the time to come back before the finished nodes end the training.
  const bool may_come =
      std::any_of(after.removed.begin(), after.removed.end(),
                  [](const auto& item) { return item.second < machine::kRemovedTwice; });
  const bool ends = Trains(contract.members) && !Trains(next) && may_come;
  if (!ends && machine::CannotClose(after, next).empty())
    turn.todo.appends.push_back({contract.name, RoundClosed{after.round, after.attempt, without}});
}

}  // namespace starling
