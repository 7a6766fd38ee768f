#include "protocol/story_testing.h"

#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace starling {
namespace {

std::string SpiffeIdOf(const std::string& name) { return StrCat("spiffe://test/sl/", name); }

std::string Words(const std::set<NodeName>& names) {
  std::string text;
  for (const NodeName& name : names) StrAppend(&text, text.empty() ? "" : " ", name.value());
  return text;
}

// Which of the words in use has this root, so that golden texts read as they were written.
std::string WordOf(const Digest& root) {
  for (const char prefix : {'u', 'm', 'a', 'b', 'c', 'd', 'x'}) {
    if (root == RootNamed(std::string(1, prefix))) return std::string(1, prefix);
    for (int i = 0; i < 10; ++i) {
      if (const std::string word = StrCat(prefix, i); root == RootNamed(word)) return word;
    }
  }
  return ShortText(root);
}

}  // namespace

Digest RootNamed(std::string_view word) { return HashOf(AsBytes(word)); }

SigningKey KeyNamed(std::string_view name) {
  Result<SigningKey> key = SigningKey::FromSeed(HashOf(AsBytes(StrCat("key of ", name))).span());
  CHECK(key.ok());
  return *std::move(key);
}

std::vector<NodeName> NodeNames(const Names& names) {
  std::vector<NodeName> out;
  for (const std::string& name : names) out.emplace_back(name);
  return out;
}

Rules StatedRules() {
  Rules rules;
  rules.merge = "mean";
  rules.schema = RootNamed("schema");
  rules.size = 1000;
  rules.sync_interval = 8;
  return rules;
}

Story::Story(const Names& operators, std::string seed)
    : operators_listed_(!operators.empty()), seed_(std::move(seed)) {
  const SigningKey& sn = key("sn");
  SnJoined joined;
  joined.claim = SignSnClaim(sn, {NodeName{"sn"}, sn.public_key(), "https://sn:30304"}, 1, Place{});
  joined.protocol = 1;
  joined.finality = "embedded";
  for (const std::string& name : operators) joined.operator_keys.push_back(key(name).public_key());
  const std::string reason = Append(SignAt("sn", joined, 2, Place{}));
  CHECK(reason.empty());
}

const SigningKey& Story::key(const std::string& name) const {
  auto it = keys_.find(name);
  if (it == keys_.end()) it = keys_.emplace(name, KeyNamed(seed_ + name)).first;
  return it->second;
}

std::uint64_t Story::NextSeq(const std::string& name) const {
  const auto last = replay.state().last_seq.find(key(name).kid());
  return last == replay.state().last_seq.end() ? 1 : last->second + 1;
}

std::string Story::SignAt(const std::string& author, Event event, std::uint64_t seq,
                          const Place& seen) const {
  const bool joins = std::holds_alternative<SnJoined>(event);
  return SignStatement(key(author),
                       {joins ? ContractName{} : training, seq, seen, std::move(event)});
}

std::string Story::Sign(const std::string& author, Event event) {
  return SignAt(author, std::move(event), NextSeq(author), replay.place());
}

std::string Story::Append(const std::string& entry) {
  const Verdict tried = replay.Try(entry);
  const Verdict verdict = replay.Apply(entry);
  CHECK(tried.reason == verdict.reason);  // Trying and applying never differ.
  entries.push_back(entry);
  reasons.push_back(verdict.reason);
  return verdict.reason;
}

std::string Story::Say(const std::string& author, Event event) {
  return Append(Sign(author, std::move(event)));
}

OperatorClaim Story::ClaimBy(const std::string& who, const Event& event) const {
  if (!operators_listed_) return {"", StrCat("spiffe://test/operator/", who)};
  return {SignOperatorClaim(key(who), training, event, NextSeq(who), replay.place()), ""};
}

std::string Story::Create(const Rules& rules) {
  ContractCreated event{rules, {}};
  event.claim = ClaimBy("op", event);
  return Say("sn", event);
}

NodeEnrolled Story::EnrolmentOf(const std::string& name,
                                const std::function<void(SignedNodeClaim&)>& change) const {
  SignedNodeClaim claim;
  claim.contract = training;
  claim.seq = NextSeq(name);
  claim.seen = replay.place();
  claim.claim.name = NodeName{name};
  claim.claim.key = key(name).public_key();
  claim.claim.blob_url = StrCat("https://", name, ":30305");
  claim.claim.rules = StatedRules();
  if (change) change(claim);
  return {SignNodeClaim(key(name), claim), SpiffeIdOf(claim.claim.name.value())};
}

std::string Story::Enrol(const std::string& name,
                         const std::function<void(SignedNodeClaim&)>& change) {
  return Say("sn", EnrolmentOf(name, change));
}

std::string Story::CheckIn(const std::string& name, const std::string& update) {
  return Say(name, CheckedIn{contract().round, RootNamed(update), contract().base, {}});
}

std::string Story::Finish(const std::string& name, FinishMode mode, const std::string& update) {
  NodeFinished event{mode, std::nullopt, {}};
  if (!update.empty()) event.update = RootNamed(update);
  return Say(name, event);
}

std::string Story::Close(const Names& without) {
  return Say("sn", RoundClosed{contract().round, contract().attempt, NodeNames(without)});
}

std::string Story::Merge(const std::string& name, const std::string& root) {
  return Say(
      name, RoundMerged{contract().round, contract().attempt, contract().set, RootNamed(root), {}});
}

std::string Story::Stall(const std::string& name, const Names& on) {
  return Say(name, Stalled{contract().round, contract().attempt, contract().set, NodeNames(on),
                           "silence"});
}

std::string Story::Reopen(const Names& without) {
  return Say("sn", RoundReopened{contract().round, contract().attempt, NodeNames(without)});
}

std::string Story::Away(const std::string& author, const std::string& name) {
  return Say(author, NodeAway{NodeName{name}});
}

std::string Story::Hold(const std::string& name, std::uint64_t round, const std::string& root) {
  return Say(name, RoundMerged{RoundId{round}, AttemptId{0}, Digest{}, RootNamed(root), {}});
}

void Story::Begin(const Names& nodes, const Rules& rules) {
  CHECK(Create(rules).empty());
  for (const std::string& name : nodes) CHECK(Enrol(name).empty());
}

void Story::Round(const Names& trainers) {
  const std::uint64_t round = contract().round.value();
  for (const std::string& name : trainers) CHECK(CheckIn(name, StrCat(name, round)).empty());
  CHECK(Close().empty());
  const std::vector<Member> members = contract().members;  // Copied: the seal clears them.
  for (const Member& member : members) {
    const std::string reason =
        contract().round.value() == round && contract().phase == Phase::kMerging
            ? Merge(member.name.value(), StrCat("m", round))
            : Hold(member.name.value(), round, StrCat("m", round));
    CHECK(reason.empty());
  }
}

std::string Story::Text() const {
  const Contract& c = contract();
  std::string text = StrCat("round ", c.round.value());
  if (c.attempt.value() > 0) StrAppend(&text, " attempt ", c.attempt.value());
  StrAppend(&text, " ", PhaseName(c.phase), ";");
  for (const auto& [name, each] : c.nodes) {
    StrAppend(&text, " ", name.value(), each.present ? "" : "(away)");
    if (each.kind != NodeKind::kTrainer) StrAppend(&text, "(", KindName(each.kind), ")");
    StrAppend(&text, ":", each.checkin ? WordOf(*each.checkin) : "");
  }
  StrAppend(&text, "; P=");
  std::string_view separator;
  for (const Member& member : c.members) {
    StrAppend(&text, separator, member.name.value());
    separator = " ";
  }
  StrAppend(&text, "; votes=");
  separator = "";
  for (const auto& [name, root] : c.witness) {
    StrAppend(&text, separator, name.value(), ":", WordOf(root));
    separator = " ";
  }
  StrAppend(&text, "; grounds=", Words(c.grounds), "; holders=", Words(c.holders));
  if (c.base) StrAppend(&text, "; base=", WordOf(*c.base));
  return text;
}

}  // namespace starling
