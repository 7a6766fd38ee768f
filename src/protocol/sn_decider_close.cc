// When a round closes, and without whom.
#include <algorithm>
#include <limits>

#include "base/text.h"
#include "protocol/machine.h"
#include "protocol/sn_decider.h"

namespace starling {
namespace {

constexpr Duration kGraceMin = 1s;
constexpr Duration kGraceMax = 3600s;
constexpr std::size_t kRoundsMeasured = 20;
constexpr std::uint32_t kFailsForMissing = 2;  // then it is no longer expected
constexpr Duration kMissingAgain = 1s;
// While nobody waits for them nodes are asked as well, as one may be gone for good or in need of
// help: each every 5 s to 60 s, so that there are at most ten questions a second.
constexpr Duration kQuietMin = 5s;
constexpr Duration kQuietMax = 60s;
constexpr Duration kQuietEach = 100ms;

bool Trains(const Node* node) {
  return node != nullptr && node->present && node->kind == NodeKind::kTrainer;
}

// Whom this round waits for beside those that are ready. Without a round sealed by nodes of this
// instance: everybody enrolled and everybody listed as a member. Later: who took part in the last
// one. Late joiners are never waited for.
std::set<NodeName> ExpectedOf(const Contract& contract) {
  std::set<NodeName> expected;
  if (!contract.sealed_members.empty()) {
    for (const Member& member : contract.sealed_members) {
      if (Trains(contract.Find(member.name))) expected.insert(member.name);
    }
    return expected;
  }
  for (const auto& [name, node] : contract.nodes) {
    if (Trains(&node)) expected.insert(name);
  }
  for (const auto& [name, key] : contract.rules.members) {
    if (contract.Find(name) == nullptr) expected.insert(name);
  }
  return expected;
}

bool AnyTrainer(const std::vector<Member>& members) {
  return std::any_of(members.begin(), members.end(),
                     [](const Member& member) { return member.kind == NodeKind::kTrainer; });
}

std::string SecondsText(Duration d) {
  return StrCat(std::max<std::int64_t>(0, (Millis(d) + 999) / 1000), " s");
}

std::vector<NodeName> RemovedAtLeast(const Contract& contract, std::uint64_t least) {
  std::vector<NodeName> names;
  for (const auto& [name, times] : contract.removed) {
    if (times >= least) names.push_back(name);
  }
  return names;
}

// Trainers that were removed twice in this round, when nothing but their presence keeps the
// finished nodes from the closing round: it goes on with them away.
std::vector<NodeName> OnlyInTheWay(const Contract& contract) {
  Contract without = contract;
  std::vector<NodeName> names;
  for (const NodeName& name : RemovedAtLeast(contract, machine::kRemovedTwice)) {
    const auto node = without.nodes.find(name);
    if (node == without.nodes.end() || !Trains(&node->second)) continue;
    node->second.present = false;
    names.push_back(name);
  }
  const std::vector<Member> rest = machine::Closing(without, {});
  const bool ends = !AnyTrainer(rest) && machine::CannotClose(without, rest).empty();
  return ends ? names : std::vector<NodeName>{};
}

// Nodes that were removed from this round so many times, when the quorum cannot do without them.
// The next attempt may end as the last ones did, so the others have time to come first.
std::vector<NodeName> Indispensable(const Contract& contract, std::uint64_t times) {
  std::vector<NodeName> names = RemovedAtLeast(contract, times);
  if (names.empty() || machine::CannotClose(contract, machine::Closing(contract, names)).empty() ||
      !OnlyInTheWay(contract).empty())
    return {};
  std::erase_if(names, [&](const NodeName& name) {
    const Node* const node = contract.Find(name);
    return node == nullptr || !node->present ||
           (node->kind == NodeKind::kTrainer && !node->checkin);
  });
  return names;
}

// Who of `ready` had better be left out for what happened in this round, the worst first: those
// that were removed, but never those that were removed least. Where everybody was, as after
// ties between an honest node and one that lies, the turns then try one pair after the other,
// instead of the same one for ever.
std::vector<NodeName> WorstOf(const Contract& contract, const std::set<NodeName>& ready) {
  const auto times = [&](const NodeName& name) {
    const auto removed = contract.removed.find(name);
    return removed == contract.removed.end() ? 0 : removed->second;
  };
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (const NodeName& name : ready) least = std::min<std::uint64_t>(least, times(name));
  std::vector<NodeName> worst;
  for (const NodeName& name : RemovedAtLeast(contract, 1)) {
    if (ready.contains(name) && times(name) > least) worst.push_back(name);
  }
  std::stable_sort(worst.begin(), worst.end(),
                   [&](const NodeName& a, const NodeName& b) { return times(a) > times(b); });
  return worst;
}

std::string SilentText(const std::vector<NodeName>& silent) {
  std::string text;
  for (const NodeName& name : silent)
    StrAppend(&text, text.empty() ? "; no answer from " : ", ", name.value());
  return text;
}

// Of those that had better be left out, as many as the quorum can do without, in order.
std::vector<NodeName> Affordable(const Contract& contract, const std::vector<NodeName>& unwanted) {
  std::vector<NodeName> without;
  for (const NodeName& name : unwanted) {
    const Node* const node = contract.Find(name);
    if (node == nullptr || !node->present) continue;  // It is out as it is.
    without.push_back(name);
    if (!machine::CannotClose(contract, machine::Closing(contract, without)).empty())
      without.pop_back();
  }
  std::sort(without.begin(), without.end());
  return without;
}

}  // namespace

Duration SnDecider::GraceOf(const Turn& turn) const {
  return std::min(Doubled(turn.memory.grace, turn.contract.attempt),
                  std::max(kGraceMax, turn.memory.grace));
}

Duration SnDecider::grace(const ContractName& contract) const {
  const auto memory = memory_.find(contract);
  return memory == memory_.end() ? options_.quorum_grace : memory->second.grace;
}

// A round was sealed: the grace follows how long its participants trained. Who was still training
// at the close counts with the time it had spent by then, or a slow site would never be noticed.
void SnDecider::Measure(const Turn& turn, const SnOptions& options) {
  Memory& memory = turn.memory;
  if (memory.measured == turn.contract.sealed_round) return;
  memory.measured = turn.contract.sealed_round;
  std::vector<Duration> intervals = std::move(memory.laggards);
  memory.laggards.clear();
  for (const Member& member : turn.contract.sealed_members) {
    const Node* const node = turn.contract.Find(member.name);
    if (member.kind != NodeKind::kTrainer || node == nullptr || node->train_ms == 0) continue;
    const auto ms = static_cast<std::int64_t>(
        std::min<std::uint64_t>(node->train_ms, static_cast<std::uint64_t>(Millis(kGraceMax))));
    intervals.push_back(std::chrono::milliseconds(ms));
  }
  if (!options.adapt || intervals.empty()) return;
  memory.intervals.push_back(std::move(intervals));
  if (memory.intervals.size() > kRoundsMeasured) memory.intervals.pop_front();
  std::vector<Duration> all;
  for (const std::vector<Duration>& round : memory.intervals)
    all.insert(all.end(), round.begin(), round.end());
  std::sort(all.begin(), all.end());
  const Duration p95 = all[(all.size() * 95 + 99) / 100 - 1];
  memory.grace = std::clamp(p95, memory.grace / 2, memory.grace * 3 / 2);
  memory.grace = std::clamp(memory.grace, kGraceMin, kGraceMax);
}

void SnDecider::Collecting(const Turn& turn) {
  const Contract& contract = turn.contract;
  Steps& steps = turn.memory.steps;
  const std::vector<Member> ready = machine::Closing(contract, {});
  std::set<NodeName> missing = ExpectedOf(contract);
  for (const NodeName& name : steps.training) {
    if (Trains(contract.Find(name))) missing.insert(name);
  }
  if (!AnyTrainer(ready)) {
    // Nothing but a removal in this round has left the finished nodes alone: the trainer may be on
    // its way back.
    for (const auto& [name, times] : contract.removed) {
      const Node* const node = contract.Find(name);
      if (node != nullptr && node->kind == NodeKind::kTrainer && times < machine::kRemovedTwice)
        missing.insert(name);
    }
  }
  for (const Member& member : ready) missing.erase(member.name);
  if (const Why why = machine::CannotClose(contract, ready); !why.empty()) {
    steps.quorum_since.reset();
    steps.due_since.reset();
    return WaitForQuorum(turn, ready, missing, why.text());
  }
  if (!steps.quorum_since) steps.quorum_since = turn.now;
  const Instant grace_ends = *steps.quorum_since + GraceOf(turn);
  // A node that was removed once may make the others late, so that the quorum needs it again. Who
  // is late for its sake has named it by then, and has what it lacked from somebody else.
  const Instant late_end =
      Indispensable(contract, 1).empty()
          ? grace_ends
          : std::max(grace_ends, *steps.quorum_since + 2 * options_.stall_timeout);
  const bool late = turn.now < late_end && WaitsForMissing(turn, missing);
  const std::vector<NodeName> offenders = Indispensable(contract, machine::kRemovedTwice);
  if (late || (turn.now < grace_ends && !offenders.empty())) {
    steps.due_since.reset();
    const Instant wait_ends = late ? late_end : grace_ends;
    WakeAt(turn, wait_ends);
    const std::vector<NodeName> silent = SilentOf(turn, missing);
    turn.todo.waiting.push_back(
        {contract.name,
         {missing.begin(), missing.end()},
         StrCat("round ", contract.round.value(), " has its quorum: ", ready.size(),
                " here, quorum ", contract.rules.min_peers.value_or(1), SilentText(silent)),
         turn.memory.since,
         StrCat(offenders.empty() ? "closes without the rest in "
                                  : StrCat("needs ", NamesText(offenders),
                                           ", removed from this round more than once, for its "
                                           "quorum; closes all the same in "),
                SecondsText(wait_ends - turn.now)),
         silent,
         wait_ends});
    return;
  }
  if (!steps.due_since) steps.due_since = turn.now;
  const Instant turn_comes = *steps.due_since + Wait(turn);
  if (turn.now < turn_comes) return WakeAt(turn, turn_comes);
  Close(turn);
}

// Nobody closes this round yet. All are asked now and then: people want to know, a trainer that is
// no more must not keep the others from ending, and a name must come free when its disk was wiped.
void SnDecider::WaitForQuorum(const Turn& turn, const std::vector<Member>& ready,
                              const std::set<NodeName>& missing, const std::string& why) {
  const Contract& contract = turn.contract;
  if (contract.nodes.empty() && contract.rules.members.empty()) return;  // Nobody to wait for.
  const Duration quiet = std::clamp<Duration>(
      kQuietEach * static_cast<std::int64_t>(contract.nodes.size()), kQuietMin, kQuietMax);
  std::set<NodeName> on = missing;
  for (const auto& [name, node] : contract.nodes) {
    const bool awaited = !ready.empty() && Trains(&node) && !node.checkin;
    AskEvery(turn, name, awaited ? kAskEvery : quiet);
    if (!node.present && node.kind == NodeKind::kTrainer) on.insert(name);
  }
  const std::vector<NodeName> silent = SilentOf(turn, missing);
  turn.todo.waiting.push_back(
      {contract.name,
       {on.begin(), on.end()},
       StrCat("round ", contract.round.value(), " waits for check-ins: ", ready.size(),
              " here, quorum ", contract.rules.min_peers.value_or(1), SilentText(silent)),
       turn.memory.since,
       StrCat(why,
              "; a node checks in or enrols, or an operator lowers min_peers or resets the "
              "training"),
       silent,
       std::nullopt});
  TellGone(turn);
}

// Takes out of `missing` who does not answer twice, and asks the others now and then. Answers
// whether somebody is left to wait for.
bool SnDecider::WaitsForMissing(const Turn& turn, std::set<NodeName>& missing) {
  for (const NodeName& name : missing) AskEvery(turn, name, kAskEvery, kMissingAgain);
  std::erase_if(missing,
                [&](const NodeName& name) { return Silent(turn, name, kFailsForMissing); });
  return !missing.empty();
}

// Nothing is waited for any more: one look at everybody, and the round closes.
void SnDecider::Close(const Turn& turn) {
  const Contract& contract = turn.contract;
  Steps& steps = turn.memory.steps;
  std::set<NodeName> ready, training;
  for (const Member& member : machine::Closing(contract, {})) ready.insert(member.name);
  for (const auto& [name, node] : contract.nodes) {
    if (Trains(&node) && !ready.contains(name) && !Silent(turn, name, kFailsForMissing))
      training.insert(name);
  }
  const Instant since = *steps.due_since;
  const bool heard_ready = AskedSince(turn, ready, since);
  const bool heard_training = AskedSince(turn, training, since);
  if (!heard_ready || !heard_training) return;
  bool more = false;
  turn.memory.laggards.clear();
  for (const NodeName& name : training) {
    const auto view = turn.memory.nodes.find(name);
    if (view == turn.memory.nodes.end() || !view->second.progress) continue;
    const Progress& progress = *view->second.progress;
    if (progress.training_on != contract.round) continue;
    turn.memory.laggards.push_back(
        std::chrono::milliseconds(static_cast<std::int64_t>(std::min<std::uint64_t>(
            progress.training_ms, static_cast<std::uint64_t>(Millis(kGraceMax))))));
    more = steps.training.insert(name).second || more;
  }
  // Somebody trains for this round of whom the log did not tell: expected from now on.
  if (more && turn.now < *steps.quorum_since + GraceOf(turn)) return Collecting(turn);
  std::vector<NodeName> unwanted = SilentOf(turn, ready);
  for (const NodeName& name : WorstOf(contract, ready)) {
    if (!Silent(turn, name, 1)) unwanted.push_back(name);
  }
  if (!MaySay(turn)) return;
  Contract at_close = contract;
  for (const NodeName& name : OnlyInTheWay(contract)) {
    at_close.nodes.at(name).present = false;
    turn.todo.appends.push_back(
        {contract.name, NodeAway{name, "it was removed from this round more than once"}});
  }
  turn.todo.appends.push_back({contract.name, RoundClosed{contract.round, contract.attempt,
                                                          Affordable(at_close, unwanted)}});
}

}  // namespace starling
