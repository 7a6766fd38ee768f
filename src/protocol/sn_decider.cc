#include "protocol/sn_decider.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/text.h"
#include "protocol/machine.h"

namespace starling {
namespace {

// An append that did not move the state (ignored, or lost) is tried again after this.
constexpr Duration kSayAgain = 1s;

// Whom this round waits for beside those that are ready. Without a round sealed by nodes of this
// instance: everybody enrolled and everybody listed as a member. Later: who took part in the last
// one. Late joiners are never waited for.
std::set<NodeName> ExpectedOf(const Contract& contract) {
  std::set<NodeName> expected;
  const auto trains = [](const Node* node) {
    return node != nullptr && node->present && node->kind == NodeKind::kTrainer;
  };
  if (!contract.sealed_members.empty()) {
    for (const Member& member : contract.sealed_members) {
      if (trains(contract.Find(member.name))) expected.insert(member.name);
    }
    return expected;
  }
  for (const auto& [name, node] : contract.nodes) {
    if (trains(&node)) expected.insert(name);
  }
  for (const auto& [name, key] : contract.rules.members) {
    if (contract.Find(name) == nullptr) expected.insert(name);
  }
  return expected;
}

std::string SecondsText(Duration d) {
  return StrCat(std::max<std::int64_t>(0, (Millis(d) + 999) / 1000), " s");
}

void WakeAt(Instant at, SnTodo& todo) {
  todo.wake_at = todo.wake_at ? std::min(*todo.wake_at, at) : at;
}

Waiting MergeWait(const Contract& contract, Instant since) {
  std::vector<NodeName> silent;
  for (const Member& member : contract.members) {
    if (!contract.witness.contains(member.name)) silent.push_back(member.name);
  }
  return {contract.name,
          silent,
          StrCat("round ", contract.round.value(), " is being merged, leader ",
                 LeaderOf(contract).value()),
          since,
          "sealed when enough nodes agree on the root",
          {},
          std::nullopt};
}

}  // namespace

SnTodo SnDecider::Decide(const LedgerState& state, Instant now) {
  SnTodo todo;
  for (const auto& [name, contract] : state.contracts) {
    Memory& memory = memory_[name];
    if (memory.instance != contract.instance || memory.round != contract.round ||
        memory.attempt != contract.attempt || memory.phase != contract.phase) {
      memory = Memory{contract.instance, contract.round, contract.attempt, contract.phase, now,
                      std::nullopt,      std::nullopt};
    }
    if (contract.phase == Phase::kMerging) {
      todo.waiting.push_back(MergeWait(contract, memory.since));
    } else if (contract.phase == Phase::kCollecting) {
      Collecting(contract, now, memory, todo);
    }
  }
  return todo;
}

void SnDecider::OnProbe(ProbeId /*id*/, const ProbeAnswer& /*answer*/, Instant /*now*/) {}

Duration SnDecider::grace(const ContractName& /*contract*/) const { return options_.quorum_grace; }

void SnDecider::Collecting(const Contract& contract, Instant now, Memory& memory,
                           SnTodo& todo) const {
  const std::vector<Member> ready = machine::Closing(contract, {});
  std::set<NodeName> missing = ExpectedOf(contract);
  for (const Member& member : ready) missing.erase(member.name);
  const auto wait = [&](std::string_view what, std::string next) {
    todo.waiting.push_back({contract.name,
                            {missing.begin(), missing.end()},
                            StrCat("round ", contract.round.value(), what, ready.size(),
                                   " here, quorum ", contract.rules.min_peers.value_or(1)),
                            memory.since,
                            std::move(next),
                            {},
                            std::nullopt});
  };
  if (const std::string why = machine::CannotClose(contract, ready); !why.empty()) {
    memory.quorum_since.reset();
    if (contract.nodes.empty() && contract.rules.members.empty()) return;  // Nobody to wait for.
    wait(" waits for check-ins: ",
         StrCat(why,
                "; a node checks in or enrols, or an operator lowers min_peers or resets the "
                "training"));
    return;
  }
  if (!memory.quorum_since) memory.quorum_since = now;
  const Instant grace_ends = *memory.quorum_since + options_.quorum_grace;
  if (!missing.empty() && now < grace_ends) {
    WakeAt(grace_ends, todo);
    wait(" has its quorum: ", StrCat("closes without the rest in ", SecondsText(grace_ends - now)));
    return;
  }
  if (!memory.said || now >= *memory.said + kSayAgain) {
    memory.said = now;
    todo.appends.push_back({contract.name, RoundClosed{contract.round, contract.attempt, {}}});
  }
  WakeAt(*memory.said + kSayAgain, todo);
}

}  // namespace starling
