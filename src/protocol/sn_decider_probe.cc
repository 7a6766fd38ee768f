// Who answers: probes, and what follows from their silence.
#include <algorithm>

#include "base/text.h"
#include "protocol/sn_decider.h"

namespace starling {
namespace {

// The driver answers a probe after kProbeLimit at the latest; one that it lost counts as failed.
constexpr Duration kProbeLost = kProbeLimit + 500ms;
constexpr std::uint32_t kFailsForAway = 3;
constexpr Duration kAwayAfter = 10s;
constexpr Duration kSayAwayAgain = 5s;
constexpr std::size_t kTroublesTold = 20;  // of one training

}  // namespace

void SnDecider::Heard(NodeView& view, const ProbeAnswer& answer, Instant now) {
  view.asked_id.reset();
  view.heard = now;
  if (answer.own_fault) return;  // Nothing is known that was not known before.
  view.progress = answer.progress;
  if (!answer.answered() || answer.progress->troubles.empty())
    view.troubled_since.reset();
  else if (!view.troubled_since)
    view.troubled_since = now;
  if (answer.answered()) {
    view.fails = 0;
    return;
  }
  view.trouble = {answer.why, answer.next};
  view.unenrolled = answer.unenrolled;
  if (view.fails++ == 0) view.first_fail = now;
}

void SnDecider::OnProbe(ProbeId id, const ProbeAnswer& answer, Instant now) {
  const auto asked = asked_.find(id);
  if (asked == asked_.end()) return;
  const auto [contract, name] = asked->second;
  asked_.erase(asked);
  const auto memory = memory_.find(contract);
  if (memory == memory_.end()) return;
  const auto view = memory->second.nodes.find(name);
  if (view == memory->second.nodes.end() || view->second.asked_id != id) return;
  Heard(view->second, answer, now);
}

void SnDecider::Expire(Memory& memory, Instant now) {
  for (auto& [name, view] : memory.nodes) {
    if (!view.asked_id || now < view.asked + kProbeLost) continue;
    asked_.erase(*view.asked_id);
    const Trouble silent = SilentTrouble();
    Heard(view, ProbeAnswer{std::nullopt, silent.what, silent.next}, now);
  }
}

// Asks a node unless a probe of it is under way. False when there is nobody to ask.
bool SnDecider::Ask(const Turn& turn, const NodeName& name) {
  const Node* const node = turn.contract.Find(name);
  if (!options_.probe || node == nullptr || !node->present) return false;
  NodeView& view = turn.memory.nodes[name];
  if (!view.asked_id) {
    view.url = node->blob_url;
    view.asked = turn.now;
    view.asked_id = ProbeId{++probes_};
    asked_.emplace(*view.asked_id, std::pair(turn.contract.name, name));
    turn.todo.probes.push_back(
        {*view.asked_id, turn.contract.name, turn.contract.instance, name, node->blob_url});
  }
  WakeAt(turn, view.asked + kProbeLost);
  return true;
}

// Asks a node now and then, sooner again when it has just failed.
bool SnDecider::AskEvery(const Turn& turn, const NodeName& name, Duration pause,
                         Duration after_failure) {
  const auto view = turn.memory.nodes.find(name);
  if (view != turn.memory.nodes.end() && !view->second.asked_id && view->second.heard) {
    const Instant next = *view->second.heard + (view->second.fails > 0 ? after_failure : pause);
    if (turn.now < next) {
      WakeAt(turn, next);
      return true;
    }
  }
  return Ask(turn, name);
}

// Whether each of these has been asked since then and has answered or failed; asks who was not.
bool SnDecider::AskedSince(const Turn& turn, const std::set<NodeName>& names, Instant since) {
  bool all = true;
  for (const NodeName& name : names) {
    const auto view = turn.memory.nodes.find(name);
    const bool heard = view != turn.memory.nodes.end() && view->second.heard >= since;
    if (!heard && Ask(turn, name)) all = false;
  }
  return all;
}

bool SnDecider::Silent(const Turn& turn, const NodeName& name, std::uint32_t fails) const {
  const auto view = turn.memory.nodes.find(name);
  return options_.probe && view != turn.memory.nodes.end() && view->second.fails >= fails;
}

std::vector<NodeName> SnDecider::SilentOf(const Turn& turn, const std::set<NodeName>& names) const {
  std::vector<NodeName> silent;
  for (const NodeName& name : names) {
    if (Silent(turn, name, 1)) silent.push_back(name);
  }
  return silent;
}

// After how long a silence this node is away; nothing when nobody suffers from it. A trainer that
// has missed nothing yet keeps the training open, so it has longer; so has one that answers, and
// knows its own enrolment only once the ledger calls it final.
std::optional<Duration> SnDecider::AwayAfter(const Turn& turn, const Node& node) const {
  const Contract& contract = turn.contract;
  if (node.kind != NodeKind::kTrainer) return kAwayAfter;
  if (contract.phase == Phase::kMerging) return kAwayAfter;  // It missed the close, or its vote.
  const bool took_part =
      !contract.sealed_round || contract.sealed_members.empty() ||
      std::any_of(contract.sealed_members.begin(), contract.sealed_members.end(),
                  [&](const Member& member) { return member.name == node.name; });
  const auto view = turn.memory.nodes.find(node.name);
  const bool answers = view != turn.memory.nodes.end() && view->second.unenrolled;
  return took_part || node.checkin || answers ? options_.away_timeout : kAwayAfter;
}

// Goes on asking those that have failed, until they answer or are away.
void SnDecider::Watch(const Turn& turn) {
  const Contract& contract = turn.contract;
  for (const auto& [name, node] : contract.nodes) {
    const auto found = turn.memory.nodes.find(name);
    const bool known = found != turn.memory.nodes.end();
    // Left out of a close: is it still there?
    const bool missed =
        contract.phase == Phase::kMerging && node.present && contract.FindMember(name) == nullptr &&
        (!known || !found->second.heard || *found->second.heard < turn.memory.since);
    if (missed) {
      AskEvery(turn, name, Duration::zero());
      continue;
    }
    if (!known || found->second.fails == 0) continue;
    const NodeView& view = found->second;
    const std::optional<Duration> after = AwayAfter(turn, node);
    if (after && view.fails >= kFailsForAway && turn.now >= view.first_fail + *after) {
      const Instant due = view.first_fail + *after + Wait(turn);
      const auto said = turn.memory.away_said.find(name);
      const bool speaks = std::any_of(
          turn.todo.appends.begin(), turn.todo.appends.end(),
          [&](const SnTodo::Append& append) { return append.contract == contract.name; });
      const bool lately =
          said != turn.memory.away_said.end() && turn.now < said->second + kSayAwayAgain;
      if (turn.now < due) {
        WakeAt(turn, due);
      } else if (lately) {
        WakeAt(turn, said->second + kSayAwayAgain);
      } else if (!speaks) {  // What is said already may remove it, too.
        turn.memory.away_said[name] = turn.now;
        turn.todo.appends.push_back(
            {contract.name, NodeAway{name, view.trouble.what.substr(0, kAwayWhyMax)}});
        continue;
      }
    }
    AskEvery(turn, name);
  }
}

// What probes have shown to be wrong, one line a node.
void SnDecider::TellTroubles(const Turn& turn) const {
  std::size_t told = 0;
  const auto tell = [&](const NodeName& name, const Trouble& trouble, Instant since) {
    if (told++ >= kTroublesTold) return;
    turn.todo.waiting.push_back({turn.contract.name,
                                 {name},
                                 StrCat(name.value(), ": ", trouble.what),
                                 since,
                                 trouble.next,
                                 {},
                                 std::nullopt,
                                 true});
  };
  if (!options_.probe) return;
  for (const auto& [name, view] : turn.memory.nodes) {
    if (view.fails > 0) tell(name, view.trouble, view.first_fail);
    if (view.fails > 0 || !view.progress || !view.troubled_since) continue;
    for (const Trouble& trouble : view.progress->troubles)
      tell(name, trouble, *view.troubled_since);
  }
}

// Who is missing from the quorum because it is away.
void SnDecider::TellGone(const Turn& turn) {
  std::size_t told = 0;
  for (const auto& [name, gone] : turn.memory.gone) {
    if (told++ >= kTroublesTold) return;
    turn.todo.waiting.push_back(
        {turn.contract.name,
         {name},
         StrCat(name.value(), " is away", gone.why.empty() ? "" : StrCat(": ", gone.why)),
         gone.since,
         "start it again, or let it go on (kill -CONT); it comes back by itself",
         {},
         std::nullopt,
         true});
  }
}

}  // namespace starling
