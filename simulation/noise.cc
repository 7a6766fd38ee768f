// Entries that nobody should heed, from somebody who may append: what was said before, and what is
// not so. Signed with the keys of others, they would be lies of those; so they go in only if void.
#include <algorithm>

#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/sl.h"
#include "simulation/sn.h"
#include "simulation/storm.h"

namespace starling::simulation {
namespace {

// Draws one event that is nearly right.
class Forger {
 public:
  explicit Forger(Scene& scene)
      : scene_(scene), world_(scene.world), contract_(scene.home.end()->Find(kTraining)) {}

  // "" when there is nothing to forge.
  std::string Draw() {
    const SigningKey stranger = KeyOf(77'000);
    const bool sn = world_.Chance(60);
    const Sl& sl = *scene_.sls[world_.random().Below(scene_.sls.size())];
    const Sn& vouching = *scene_.sns[world_.random().Below(scene_.sns.size())];
    const SigningKey& key = world_.Chance(4) ? stranger : (sn ? vouching.key() : sl.key());
    Statement statement;
    statement.contract = world_.Chance(4) ? ContractName{"another"} : kTraining;
    const auto& last = scene_.home.end()->state().last_seq;
    const auto used = last.find(key.kid());
    statement.seq = (used == last.end() ? 0 : used->second) + (world_.Chance(6) ? 0 : 1);
    statement.seen = Seen();
    statement.event = sn ? SnEvent(sl) : SlEvent();
    if (world_.Chance(6)) statement.event = sn ? SlEvent() : SnEvent(sl);
    std::string text = SignStatement(key, statement);
    if (world_.Chance(3)) text[text.size() - 5] = text[text.size() - 5] == 'A' ? 'B' : 'A';
    if (world_.Chance(2)) text.resize(text.size() / 2);
    return text;
  }

 private:
  Place Seen() {
    const Log& final = scene_.home.final();
    if (world_.Chance(5)) return {final->place().position, PartsHash().Add("no head").Finish()};
    if (world_.Chance(5)) return At(final, 0)->place();
    return final->place();
  }
  RoundId Round() {
    const std::uint64_t round = contract_ == nullptr ? 0 : contract_->round.value();
    return RoundId{world_.Chance(15) ? round + 1
                                     : (world_.Chance(15) && round > 0 ? round - 1 : round)};
  }
  AttemptId Attempt() {
    return AttemptId{(contract_ == nullptr ? 0 : contract_->attempt.value()) +
                     (world_.Chance(15) ? 1U : 0U)};
  }
  Digest Set() {
    if (contract_ == nullptr || world_.Chance(20)) return PartsHash().Add("no set").Finish();
    return contract_->set;
  }
  NodeName Name() {
    if (world_.Chance(15)) return NodeName{"nobody"};
    return scene_.sls[world_.random().Below(scene_.sls.size())]->name();
  }
  std::vector<NodeName> Names() {
    std::vector<NodeName> names;
    for (const auto& sl : scene_.sls) {
      if (world_.Chance(40)) names.push_back(sl->name());
    }
    if (world_.Chance(15)) names.emplace_back("nobody");
    std::sort(names.begin(), names.end());
    return names;
  }
  OperatorClaim Claim(const Event& event) {
    if (world_.Chance(20)) return {"", "spiffe://sim/stranger"};
    const Event other = ContractAmended{9, {}};
    const SigningKey stranger = KeyOf(77'001);
    const SigningKey& key =
        scene_.operators.empty() || world_.Chance(20) ? stranger : scene_.operators.front();
    std::string jws = SignOperatorClaim(key, kTraining, world_.Chance(30) ? other : event,
                                        world_.Chance(30) ? 1 : 1'000'000, Seen());
    if (world_.Chance(15)) jws[jws.size() - 5] = jws[jws.size() - 5] == 'A' ? 'B' : 'A';
    return {jws, ""};
  }
  std::string Spoilt(const Sl& sl) {
    Rules rules = StatedRules(scene_.weather);
    if (world_.Chance(15)) rules.sync_interval = 9;
    if (world_.Chance(15)) rules.schema.reset();
    const SigningKey stranger = KeyOf(77'002);
    const SigningKey& other = world_.Chance(30) ? scene_.sns.front()->key() : stranger;
    const SigningKey& key = world_.Chance(40) ? other : sl.key();
    SignedNodeClaim claim;
    claim.contract = world_.Chance(10) ? ContractName{"another"} : kTraining;
    const auto& last = scene_.home.end()->state().last_seq;
    const auto used = last.find(key.kid());
    claim.seq = (used == last.end() ? 0 : used->second) + (world_.Chance(10) ? 0 : 1);
    claim.seen = Seen();
    claim.claim = {Name(),
                   key.public_key(),
                   "https://forged:30305",
                   world_.Chance(15) ? 1000U : 1U,
                   true,
                   rules,
                   world_.Chance(15) ? std::optional<Position>(Position{1}) : std::nullopt};
    std::string text = SignNodeClaim(key, claim);
    if (world_.Chance(5)) text.resize(text.size() - 3);
    return text;
  }
  Event SnEvent(const Sl& sl) {
    switch (world_.random().Below(10)) {
      case 0: {
        SnJoined joined;
        const SigningKey stranger = KeyOf(77'003);
        const SigningKey& key = world_.Chance(50) ? sl.key() : stranger;
        const NodeName name = world_.Chance(50) ? scene_.sns.front()->name() : NodeName{"sn9"};
        joined.claim =
            SignSnClaim(key, {name, key.public_key(), "https://sn9:30304"}, 1'000'000, Seen());
        joined.protocol = world_.Chance(20) ? 1 : 0;
        if (joined.protocol != 0) joined.finality = "embedded";
        return joined;
      }
      case 1: {
        ContractCreated created{StatedRules(scene_.weather), {}};
        created.claim = Claim(created);
        return created;
      }
      case 2: {
        ContractReset reset;
        reset.claim = Claim(reset);
        return reset;
      }
      case 3: {
        ContractAmended amended{world_.OneOf<std::uint64_t>({0, 1, 5000}), {}};
        amended.claim = Claim(amended);
        return amended;
      }
      case 4: {
        NodeRevoked revoked{Name(), {}};
        revoked.claim = Claim(revoked);
        return revoked;
      }
      case 5:
        return NodeAway{Name()};
      case 6:
        return RoundClosed{Round(), Attempt(), Names()};
      case 7:
        return RoundReopened{Round(), Attempt(), Names()};
      default:
        return NodeEnrolled{Spoilt(sl),
                            world_.Chance(20) ? "" : StrCat("spiffe://sim/sl/", Name().value())};
    }
  }
  Event SlEvent() {
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

  Scene& scene_;
  World& world_;
  const Contract* const contract_;
};

}  // namespace

void AppendAgain(Scene& scene) {
  const Log& end = scene.home.end();
  if (end->position() < 1) return;
  const auto length = static_cast<std::uint64_t>(end->position());
  const Log old = At(end, static_cast<std::int64_t>(scene.world.Between(std::uint64_t{1}, length)));
  std::vector<std::string> entries{old->entry};
  scene.statistics.Strike(StrikeName(Strike::kReplays));
  scene.home.Append(entries);
}

void Forge(Scene& scene) {
  if (scene.home.end()->position() < 0) return;
  for (int i = 0; i < 6; ++i) {
    const std::string text = Forger(scene).Draw();
    const Log page = scene.chronicle.Append(scene.home.end(), text);
    if (page->verdict.valid()) continue;
    scene.statistics.Strike(StrikeName(Strike::kForgeries));
    return scene.home.Append(std::vector<std::string>{text});
  }
}

}  // namespace starling::simulation
