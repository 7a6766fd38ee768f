#include "protocol/sn_decider.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/text.h"
#include "protocol/machine.h"

namespace starling {
namespace {

// An append that did not move the state (ignored, or lost) is tried again after this.
constexpr Duration kSayAgain = 1s;
// What a rank waits for the one before it.
constexpr Duration kRankStep = 2s;

}  // namespace

void SnDecider::WakeAt(const Turn& turn, Instant at) {
  std::optional<Instant>& wake = turn.todo.wake_at;
  wake = wake ? std::min(*wake, at) : at;
}

// Has this step been said lately? If not it is said now.
bool SnDecider::MaySay(const Turn& turn) {
  std::optional<Instant>& said = turn.memory.steps.said;
  const bool may = !said || turn.now >= *said + kSayAgain;
  if (may) said = turn.now;
  WakeAt(turn, *said + kSayAgain);
  return may;
}

// How long this SN leaves a step to those of a lower rank, who may be gone.
Duration SnDecider::Wait(const Turn& turn) const {
  const auto rank_of = [&](const NodeName& name) {
    return PartsHash()
        .Add(static_cast<std::uint64_t>(turn.contract.instance.value()))
        .Add(turn.contract.round.value())
        .Add(turn.contract.attempt.value())
        .Add(name.value())
        .Finish();
  };
  const auto self = std::find_if(turn.state.sns.begin(), turn.state.sns.end(),
                                 [&](const auto& item) { return item.second.kid == options_.kid; });
  if (self == turn.state.sns.end()) return Duration::zero();
  const Digest own = rank_of(self->first);
  const auto before = std::count_if(turn.state.sns.begin(), turn.state.sns.end(),
                                    [&](const auto& item) { return rank_of(item.first) > own; });
  return before * kRankStep;
}

// Since when nodes are away and why, as far as this SN knows.
void SnDecider::RememberGone(const Turn& turn) {
  Memory& memory = turn.memory;
  std::erase_if(memory.gone, [&](const auto& item) {
    const Node* const node = turn.contract.Find(item.first);
    return node == nullptr || node->present;
  });
  for (const auto& [name, node] : turn.contract.nodes) {
    if (node.present || memory.gone.contains(name)) continue;
    const auto view = memory.nodes.find(name);
    const bool failed = view != memory.nodes.end() && view->second.fails > 0;
    Gone gone{turn.now, node.away_why};
    if (failed) {
      gone.since = view->second.first_fail;
      const std::string& found = view->second.trouble.what;
      if (gone.why.empty())
        gone.why = found;
      else if (gone.why != found.substr(0, kAwayWhyMax))
        StrAppend(&gone.why, "; ", found);
    }
    memory.gone[name] = std::move(gone);
  }
}

// Brings the memory to what the log shows now.
void SnDecider::Look(const Turn& turn, const SnOptions& options) {
  const Contract& contract = turn.contract;
  Memory& memory = turn.memory;
  if (memory.instance != contract.instance) {
    memory = Memory{};
    memory.grace = options.quorum_grace;
    memory.measured = contract.sealed_round;
  }
  Measure(turn, options);
  if (memory.instance != contract.instance || memory.round != contract.round ||
      memory.attempt != contract.attempt || memory.phase != contract.phase) {
    memory.instance = contract.instance;
    memory.round = contract.round;
    memory.attempt = contract.attempt;
    memory.phase = contract.phase;
    memory.since = turn.now;
    memory.steps = Steps{};
  }
  RememberGone(turn);
  // A node that is away, gone, or has come anew from elsewhere is judged afresh.
  std::erase_if(memory.nodes, [&](const auto& item) {
    const Node* const node = contract.Find(item.first);
    return node == nullptr || !node->present || node->blob_url != item.second.url;
  });
}

SnTodo SnDecider::Decide(const LedgerState& state, Instant now) {
  SnTodo todo;
  for (const auto& [name, contract] : state.contracts) {
    Memory& memory = memory_[name];
    const Turn turn{state, contract, memory, now, todo};
    Look(turn, options_);
    if (contract.phase == Phase::kDone) continue;
    Expire(memory, now);
    if (contract.phase == Phase::kMerging)
      Merging(turn);
    else
      Collecting(turn);
    Watch(turn);
    TellTroubles(turn);
  }
  // Probes of nodes that have gone, or come anew, tell nothing any more.
  std::erase_if(asked_, [&](const auto& item) {
    const auto& [contract, name] = item.second;
    const auto& nodes = memory_[contract].nodes;
    const auto view = nodes.find(name);
    return view == nodes.end() || view->second.asked_id != item.first;
  });
  return todo;
}

}  // namespace starling
