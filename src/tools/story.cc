#include "tools/story.h"

#include <utility>

#include "base/text.h"
#include "crypto/jws.h"

namespace starling {
namespace {

// The contract's members, leader and set as they stand while it merges.
void TellClose(const Contract& now, const RoundClosed& event, std::int64_t now_unix_ms,
               RoundStory& story) {
  AttemptStory& attempt = story.attempts.emplace_back();
  attempt.attempt = now.attempt;
  attempt.leader = LeaderOf(now);
  for (const Member& member : now.members) attempt.members.push_back(member.name);
  attempt.left_out = event.without;
  attempt.closed_unix_ms = now_unix_ms;
  story.attempt = now.attempt;
  story.closed = true;
  story.base = now.base;
  story.set = now.set;
  story.kind = MergeKindOf(now);
  story.members = now.members;
  story.leaders.push_back(LeaderOf(now));
  story.closed_unix_ms = now_unix_ms;
  story.votes.clear();
}

// Blame, and what the SN makes of it. Valid only while a round merges, so it has an attempt.
void TellBlame(const Event& event, const NodeName& author, std::int64_t now_unix_ms,
               TrainingStory& training) {
  if (const auto* stalled = std::get_if<Stalled>(&event)) {
    training.rounds[stalled->round].attempts.back().blames.push_back(
        {author, stalled->on, stalled->why});
  } else if (const auto* reopened = std::get_if<RoundReopened>(&event)) {
    AttemptStory& attempt = training.rounds[reopened->round].attempts.back();
    attempt.removed = reopened->without;
    attempt.reopened_unix_ms = now_unix_ms;
  }
}

void TellPresence(const Event& event, const std::string& author, const Contract& before,
                  const Contract& now, TrainingStory& training) {
  std::vector<PresenceStory>& presence = training.rounds[now.round].presence;
  if (const auto* away = std::get_if<NodeAway>(&event)) {
    presence.push_back({away->name, true, author, false});
  } else if (const auto* enrolled = std::get_if<NodeEnrolled>(&event)) {
    const Result<SignedNodeClaim> claim = ParseNodeClaim(enrolled->claim);
    const Node* const known =
        claim.ok() && before.instance == now.instance ? before.Find(claim->claim.name) : nullptr;
    if (known != nullptr)
      presence.push_back({known->name, false, "", !(known->key == claim->claim.key)});
  }
}

}  // namespace

const RoundStory* TrainingStory::LastSealed() const {
  for (auto it = rounds.rbegin(); it != rounds.rend(); ++it) {
    if (it->second.root.has_value()) return &it->second;
  }
  return nullptr;
}

TrainingStory& Story::Training(const Contract& contract, std::int64_t now_unix_ms) {
  for (TrainingStory& training : trainings_) {
    if (training.name == contract.name && training.instance == contract.instance) return training;
  }
  TrainingStory& fresh = trainings_.emplace_back();
  fresh.name = contract.name;
  fresh.instance = contract.instance;
  fresh.rounds[contract.round].opened_unix_ms = now_unix_ms;
  return fresh;
}

void Story::Tell(const Statement& statement, const Verdict& verdict, const Contract& before,
                 const Contract& now, std::int64_t now_unix_ms) {
  TrainingStory& training = Training(now, now_unix_ms);
  training.rules = now.rules;
  training.done = now.phase == Phase::kDone;
  for (const auto& [name, node] : now.nodes) training.nodes.insert(name);
  const NodeName author{verdict.author};
  const bool same = before.instance == now.instance;
  if (const auto* in = std::get_if<CheckedIn>(&statement.event)) {
    RoundStory& round = training.rounds[in->round];
    round.reports[author] = in->report;
    round.checked_in_unix_ms[author] = now_unix_ms;
  } else if (const auto* finished = std::get_if<NodeFinished>(&statement.event)) {
    RoundStory& round = training.rounds[now.round];
    round.reports[author] = finished->report;
    round.checked_in_unix_ms[author] = now_unix_ms;
  } else if (std::holds_alternative<RoundClosed>(statement.event)) {
    TellClose(now, std::get<RoundClosed>(statement.event), now_unix_ms, training.rounds[now.round]);
  } else if (const auto* merged = std::get_if<RoundMerged>(&statement.event)) {
    RoundStory& round = training.rounds[merged->round];
    round.votes[author] = merged->report;
    // A training that was created from a model has a sealed round that was never closed.
    if (!round.attempts.empty()) round.attempts.back().votes[author] = merged->root;
    const bool sealed_now =
        same && now.sealed_round == merged->round && before.sealed_round != now.sealed_round;
    if (sealed_now) {
      round.root = merged->root;
      round.sealed_unix_ms = now_unix_ms;
      if (now.phase != Phase::kDone) training.rounds[now.round].opened_unix_ms = now_unix_ms;
    }
    if (now.sealed_round == merged->round) round.holders = now.holders;
  }
  TellBlame(statement.event, author, now_unix_ms, training);
  TellPresence(statement.event, verdict.author, before, now, training);
  for (auto& [number, round] : training.rounds) round.round = number;
}

// A vote for another root than the sealed one is void, and yet its author has signed it: the set in
// it says of which attempt it speaks.
void Story::TellLateVote(const Statement& statement, const Verdict& verdict) {
  const auto* const merged = std::get_if<RoundMerged>(&statement.event);
  if (merged == nullptr || verdict.author.empty()) return;
  for (TrainingStory& training : trainings_) {
    const auto round = training.rounds.find(merged->round);
    if (training.name != statement.contract || round == training.rounds.end()) continue;
    if (!round->second.root || round->second.set != merged->set) continue;
    round->second.attempts.back().votes.emplace(NodeName{verdict.author}, merged->root);
  }
}

Status Story::Add(const LedgerRecord& record) {
  const Digest expected = NextHead(replay_.place().head, record.entry);
  if (expected != record.head) {
    return WithCode(absl::DataLossError(StrCat("entry ", record.position,
                                               ": the running head does not follow (",
                                               ShortText(record.head), " stands there, ",
                                               ShortText(expected), " follows from the entries)")),
                    "ledger-altered");
  }
  std::optional<Statement> statement;
  if (auto jws = ParseJws(record.entry, kEntryTyp); jws.ok()) {
    if (auto parsed = ParseStatement(jws->payload); parsed.ok()) statement = *std::move(parsed);
  }
  const auto find = [this](const ContractName& name) -> std::optional<Contract> {
    const auto it = replay_.state().contracts.find(name);
    if (it == replay_.state().contracts.end()) return std::nullopt;
    return it->second;
  };
  const std::optional<Contract> before = statement ? find(statement->contract) : std::nullopt;
  const Verdict verdict = replay_.Apply(record.entry);
  if (!verdict.valid()) {
    ignored_.push_back({record.position, verdict.type, verdict.author, verdict.reason});
    if (statement) TellLateVote(*statement, verdict);
    return absl::OkStatus();
  }
  if (!statement)
    return absl::InternalError(StrCat("entry ", record.position, ": valid, but it does not parse"));
  if (const std::optional<Contract> now = find(statement->contract)) {
    Tell(*statement, verdict, before ? *before : *now, *now, record.time_unix_ms);
  }
  return absl::OkStatus();
}

Result<const TrainingStory*> Story::Find(const std::string& name) const {
  const TrainingStory* found = nullptr;
  std::set<std::string> names;
  for (const TrainingStory& training : trainings_) {
    names.insert(training.name.value());
    if (name.empty() || training.name.value() == name) found = &training;
  }
  if (trainings_.empty()) return absl::NotFoundError("this ledger holds no training yet");
  if (found == nullptr || (name.empty() && names.size() > 1)) {
    std::string list;
    for (const std::string& each : names) StrAppend(&list, list.empty() ? "" : ", ", each);
    return WithNext(
        absl::NotFoundError(found == nullptr ? StrCat("no training \"", Printable(name), "\"")
                                             : "there are several trainings"),
        StrCat("name one of: ", list));
  }
  return found;
}

}  // namespace starling
