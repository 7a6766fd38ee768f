#include "simulation/forger.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "crypto/jws.h"
#include "simulation/sl.h"
#include "simulation/sn.h"

namespace starling::simulation {
namespace {

constexpr std::uint64_t kStrangers = 77'000;  // no node has these numbers
const ContractName kAnother{"another"};

std::string Spoilt(std::string text) {
  char& letter = text[text.size() - 5];
  letter = letter == 'A' ? 'B' : 'A';
  return text;
}
std::string Cut(std::string text) {
  text.resize(text.size() / 2);
  return text;
}

}  // namespace

std::string Forger::Draw() {
  const bool sn = world_.Chance(60);
  const Sl& sl = *scene_.sls[world_.random().Below(scene_.sls.size())];
  const Sn& vouching = *scene_.sns[world_.random().Below(scene_.sns.size())];
  const SigningKey stranger = KeyOf(kStrangers);
  const SigningKey& key = world_.Chance(4) ? stranger : (sn ? vouching.key() : sl.key());
  Statement statement;
  statement.event = sn ? SnEvent(sl) : SlEvent();
  if (world_.Chance(6)) statement.event = sn ? SlEvent() : SnEvent(sl);
  // What is under way cannot be created, whoever asks for it.
  const bool created = std::holds_alternative<ContractCreated>(statement.event);
  statement.contract = world_.Chance(created ? 75 : 4) ? kAnother : kTraining;
  if (created) {
    auto& event = std::get<ContractCreated>(statement.event);
    event.claim = Claim(event);
    // The claim is for the training of the entry.
    if (statement.contract == kAnother && !event.claim.jws.empty()) {
      const Result<Jws> jws = ParseJws(event.claim.jws, kEntryTyp);
      if (jws.ok() && !scene_.operators.empty() && jws->kid == scene_.operators.front().kid() &&
          world_.Chance(80)) {
        Json payload = jws->payload;
        payload["contract"] = kAnother.value();
        const std::string again = SignJws(scene_.operators.front(), kEntryTyp, payload);
        event.claim.jws = world_.Chance(15) ? Spoilt(again) : again;
      }
    }
  }
  statement.seq = Seq(key, 6);
  statement.seen = Seen();
  std::string text = SignStatement(key, statement);
  if (world_.Chance(3)) text = Spoilt(text);
  if (world_.Chance(2)) text = Cut(text);
  return text;
}

std::uint64_t Forger::Seq(const SigningKey& key, std::uint64_t used_percent) {
  const auto& last = scene_.home.end()->state().last_seq;
  const auto used = last.find(key.kid());
  const std::uint64_t before = used == last.end() ? 0 : used->second;
  return before + (world_.Chance(used_percent) ? 0 : 1);
}

Place Forger::Seen(std::uint64_t wrong_percent) {
  const Log& final = scene_.home.final();
  if (world_.Chance(wrong_percent))
    return {final->place().position, PartsHash().Add("no head").Finish()};
  if (world_.Chance(wrong_percent)) return At(final, 0)->place();
  return final->place();
}

RoundId Forger::Round() {
  const std::uint64_t round = contract_ == nullptr ? 0 : contract_->round.value();
  if (world_.Chance(15)) return RoundId{round + 1};
  return RoundId{world_.Chance(15) && round > 0 ? round - 1 : round};
}

AttemptId Forger::Attempt() {
  return AttemptId{(contract_ == nullptr ? 0 : contract_->attempt.value()) +
                   (world_.Chance(15) ? 1U : 0U)};
}

Digest Forger::Set() {
  if (contract_ == nullptr || world_.Chance(20)) return PartsHash().Add("no set").Finish();
  return contract_->set;
}

NodeName Forger::Name() {
  if (world_.Chance(15)) return NodeName{"nobody"};
  return scene_.sls[world_.random().Below(scene_.sls.size())]->name();
}

std::vector<NodeName> Forger::Names() {
  std::vector<NodeName> names;
  const bool of_merge = contract_ != nullptr && world_.Chance(50);
  for (const auto& sl : scene_.sls) {
    if (world_.Chance(40) && (!of_merge || contract_->FindMember(sl->name()) != nullptr))
      names.push_back(sl->name());
  }
  if (world_.Chance(15)) names.emplace_back("nobody");
  std::sort(names.begin(), names.end());
  return names;
}

// Without these only nodes of weight 0 are left.
std::vector<NodeName> Forger::WhoWeighs() const {
  std::vector<NodeName> names;
  if (contract_ == nullptr) return names;
  for (const auto& [name, node] : contract_->nodes) {
    if (node.weight > 0) names.push_back(name);
  }
  return names;
}

// --- operators ---

std::string Forger::Signed(const SigningKey& key, const Event& event) {
  const Event other = ContractAmended{9, {}};
  const std::uint64_t seq = world_.Chance(20) ? 1 : Seq(key, 0);
  return SignOperatorClaim(key, kTraining, world_.Chance(15) ? other : event, seq, Seen(10));
}

OperatorClaim Forger::Claim(const Event& event) {
  if (world_.Chance(15)) return {"", world_.Chance(80) ? "spiffe://sim/stranger" : kOperator};
  const SigningKey stranger = KeyOf(kStrangers + 1);
  const bool listed = !scene_.operators.empty() && world_.Chance(90);
  // The second one is an operator, and no administrator where those are listed.
  const std::uint64_t second = scene_.weather.lists_admins ? 75 : 35;
  const SigningKey& key = !listed                 ? stranger
                          : world_.Chance(second) ? scene_.operators.back()
                                                  : scene_.operators.front();
  std::string jws = Signed(key, event);
  if (world_.Chance(10)) jws = Spoilt(jws);
  if (world_.Chance(10)) jws = Cut(jws);
  if (world_.Chance(15)) {
    Result<Jws> parsed = ParseJws(jws, kEntryTyp);
    if (parsed.ok()) {
      parsed->payload.erase(world_.Chance(50) ? "seq" : "seen");
      jws = SignJws(key, kEntryTyp, parsed->payload);
    }
  }
  return {jws, ""};
}

// --- newcomers ---

// Its own, of before a revocation, an SN's, or nobody's.
const SigningKey& Forger::KeyOfNode(const Sl& sl) {
  if (contract_ != nullptr && !contract_->revoked_kids.empty() && world_.Chance(40)) {
    for (std::uint64_t host = 0; host < scene_.sls.size(); ++host) {
      made_.emplace(KeyOf(host));
      if (contract_->revoked_kids.contains(made_->kid())) return *made_;
    }
  }
  if (world_.Chance(60)) return sl.key();
  if (world_.Chance(30)) return scene_.sns.front()->key();
  return made_.emplace(KeyOf(kStrangers + 2));
}

std::string Forger::NodeClaimOf(const SigningKey& key, const NodeName& name) {
  Rules rules = StatedRules(scene_.weather);
  if (world_.Chance(10)) rules.sync_interval = 9;
  if (world_.Chance(10)) rules.schema.reset();
  SignedNodeClaim claim;
  claim.contract = world_.Chance(8) ? kAnother : kTraining;
  claim.seq = Seq(key, 10);
  claim.seen = Seen();
  claim.claim = {name,
                 key.public_key(),
                 "https://forged:30305",
                 world_.Chance(10) ? 1000U : 1U,
                 true,
                 rules,
                 world_.Chance(10) ? std::optional<Position>(Position{1}) : std::nullopt};
  std::string text = SignNodeClaim(key, claim);
  return world_.Chance(5) ? Cut(text) : text;
}

// The recorded one, none, or another's.
std::string Forger::Identity(const NodeName& name) {
  if (world_.Chance(15)) return "";
  const Node* const node = contract_ == nullptr ? nullptr : contract_->Find(name);
  if (node != nullptr && world_.Chance(60)) return node->spiffe_id;
  return StrCat("spiffe://sim/sl/", Name().value());
}

Event Forger::Joins(const Sl& sl) {
  const SigningKey stranger = KeyOf(kStrangers + 3);
  const SigningKey& other = world_.Chance(50) ? scene_.sns.front()->key() : stranger;
  const SigningKey& key = world_.Chance(40) ? sl.key() : other;
  const NodeName name = world_.Chance(40) ? scene_.sns.front()->name() : NodeName{"sn9"};
  // One more where its author is the same SN, whose entry uses up the next one.
  const std::uint64_t seq = world_.Chance(10) ? 1 : Seq(key, 0) + 1;
  SnJoined joined;
  joined.claim = SignSnClaim(key, {name, key.public_key(), "https://sn9:30304"}, seq, Seen(10));
  if (world_.Chance(5)) joined.claim = Cut(joined.claim);
  if (world_.Chance(15)) {
    joined.protocol = 1;
    joined.finality = "embedded";
  }
  return joined;
}

// --- what SNs and SLs say ---

Event Forger::SnEvent(const Sl& sl) {
  const NodeName name = Name();
  const bool weightless = contract_ != nullptr && !contract_->base;
  switch (world_.random().Below(12)) {
    case 0:
      return Joins(sl);
    case 1:
      return ContractCreated{StatedRules(scene_.weather), {}};  // Draw() adds the claim.
    case 2: {
      ContractReset reset;
      reset.claim = Claim(reset);
      return reset;
    }
    case 3: {
      ContractAmended amended{world_.OneOf<std::uint64_t>({0, 1, 2, 3, 5000}), {}};
      amended.claim = Claim(amended);
      return amended;
    }
    case 4: {
      NodeRevoked revoked{name, {}};
      revoked.claim = Claim(revoked);
      return revoked;
    }
    case 5:
      return NodeAway{name};
    case 6:
      return RoundClosed{Round(), Attempt(),
                         world_.Chance(weightless ? 70 : 5) ? WhoWeighs() : Names()};
    case 7:
      return RoundReopened{Round(), Attempt(), Names()};
    default: {
      const NodeName stated = world_.Chance(60) ? sl.name() : name;
      const Node* const node = contract_ == nullptr ? nullptr : contract_->Find(stated);
      // The name of one that is away may be taken, if somebody vouches for it.
      if (node != nullptr && !node->present && world_.Chance(50)) {
        made_.emplace(KeyOf(kStrangers + 2));
        return NodeEnrolled{NodeClaimOf(*made_, stated), Identity(stated)};
      }
      return NodeEnrolled{NodeClaimOf(KeyOfNode(sl), stated), Identity(stated)};
    }
  }
}

Event Forger::SlEvent() {
  const Digest root = PartsHash().Add("forged").Finish();
  const std::optional<Digest> base =
      contract_ == nullptr || world_.Chance(20) ? std::optional<Digest>(root) : contract_->base;
  switch (world_.random().Below(5)) {
    case 0:
      return CheckedIn{Round(), root, base, {}};
    case 1: {
      const auto mode = static_cast<FinishMode>(world_.random().Below(3));
      NodeFinished finished{mode, std::nullopt, {}};
      if (mode == FinishMode::kSnapshot) finished.update = root;
      return finished;
    }
    case 2:
      return Stalled{Round(), Attempt(), Set(), Names(), "forged"};
    case 3:
      return NodeAway{Name()};
    default:
      return RoundMerged{Round(), Attempt(), Set(), base && world_.Chance(50) ? *base : root, {}};
  }
}

}  // namespace starling::simulation
