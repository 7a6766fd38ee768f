// Entries that nobody should heed, from somebody who may append: what was said before, and what is
// not so. Signed with the keys of others, they would be lies of those; so they go in only if void.
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/forger.h"
#include "simulation/sl.h"
#include "simulation/sn.h"
#include "simulation/storm.h"

namespace starling::simulation {
namespace {

constexpr int kDrawn = 16;  // of which what was hit least goes in
constexpr std::uint64_t kFoundOneIn = 8;
constexpr std::uint64_t kCrowdOneIn = 800;  // it takes thousands of signatures
constexpr std::uint64_t kOfTheOtherLedger = 78'000;

std::string FirstEntry(const SigningKey& key, const SnJoined& joined) {
  return SignStatement(key, {ContractName{}, 2, Place{}, joined});
}

SnJoined Founding(const SigningKey& key) {
  SnJoined joined;
  joined.claim =
      SignSnClaim(key, {NodeName{"sn0"}, key.public_key(), "https://sn0:30304"}, 1, Place{});
  joined.protocol = 1;
  joined.finality = "embedded";
  return joined;
}

// Somebody begins a ledger, and not as entry 0 wants it.
void FoundBadly(Scene& scene) {
  const SigningKey key = KeyOf(kOfTheOtherLedger);
  SnJoined joined = Founding(key);
  std::string text;
  switch (scene.world.random().Below(6)) {
    case 0:
      text = SignStatement(key, {kTraining, 1, Place{}, ContractReset{{"", "spiffe://sim/sl"}}});
      break;
    case 1:
      joined.protocol = 0;
      break;
    case 2:
      joined.protocol = 2;
      break;
    case 3:
      joined.claim.resize(joined.claim.size() / 2);
      break;
    case 4:
      joined.claim = SignSnClaim(key, {NodeName{"sn0"}, key.public_key(), "https://sn0:30304"}, 1,
                                 scene.home.final()->place());
      break;
    default:
      text = FirstEntry(KeyOf(kOfTheOtherLedger + 1), joined);
      break;
  }
  if (text.empty()) text = FirstEntry(key, joined);
  Replay replay;
  const Verdict verdict = replay.Apply(text);
  scene.statistics.Strike("noise: a ledger founded wrongly");
  scene.statistics.Entry(verdict);
  if (verdict.valid() || !replay.state().sns.empty())
    scene.checker.Fail("replay: a ledger that is founded wrongly counts");
}

// Another ledger, with a training of as many nodes as may be, and one more.
void Crowd(Scene& scene) {
  const SigningKey sn = KeyOf(kOfTheOtherLedger);
  Replay replay;
  CHECK(replay.Apply(FirstEntry(sn, Founding(sn))).valid());
  ContractCreated created{StatedRules(scene.weather), {"", kOperator}};
  CHECK(replay.Apply(SignStatement(sn, {kTraining, 3, replay.place(), created})).valid());
  const Place seen = replay.place();
  for (std::uint64_t i = 0; i <= kNodesMax; ++i) {
    const SigningKey key = KeyOf(kOfTheOtherLedger + 10 + i);
    SignedNodeClaim claim{kTraining, 1, seen, {}};
    claim.claim.name = NodeName{StrCat("crowd", i)};
    claim.claim.key = key.public_key();
    claim.claim.blob_url = "https://crowd:30305";
    claim.claim.rules = created.rules;
    const NodeEnrolled enrolled{SignNodeClaim(key, claim), StrCat("spiffe://sim/crowd/", i)};
    const Verdict verdict = replay.Apply(SignStatement(sn, {kTraining, 4 + i, seen, enrolled}));
    if (verdict.valid() != (i < kNodesMax)) scene.checker.Fail("replay: a training is overfull");
    if (!verdict.valid()) scene.statistics.Entry(verdict);
  }
  scene.statistics.Strike("noise: a training is full");
}

// An embedded home is filled by the SN that orders the log, and by that one only while it is not
// catching up: what got into a restored copy before it has back what it lacks would split the log.
bool TakesEntries(const Scene& scene) {
  const Sn& front = *scene.sns.front();
  return !scene.home.is_final_at_once() || (scene.network.up(front.host()) && front.CanAppend());
}

// Whether it would count where a reorganisation may put it, before the end: signed with the key of
// a node that has not said it, it must never.
bool MayCountEarlier(const Scene& scene, const std::string& text) {
  const std::int64_t final = scene.home.final()->position();
  for (Log page = scene.home.end(); page->position() > final;) {
    page = page->before;
    if (page->replay.Try(text).valid()) return true;
  }
  return false;
}

}  // namespace

void AppendAgain(Scene& scene) {
  const Log& end = scene.home.end();
  if (end->position() < 1 || !TakesEntries(scene)) return;
  const auto length = static_cast<std::uint64_t>(end->position());
  const Log old = At(end, static_cast<std::int64_t>(scene.world.Between(std::uint64_t{1}, length)));
  std::vector<std::string> entries{old->entry};
  scene.statistics.Strike(StrikeName(Strike::kReplays));
  scene.home.Append(entries);
}

void Forge(Scene& scene) {
  const Log end = scene.home.end();
  if (end->position() < 0 || !TakesEntries(scene)) return;
  if (scene.world.random().Below(kFoundOneIn) == 0) FoundBadly(scene);
  if (scene.world.random().Below(kCrowdOneIn) == 0) Crowd(scene);
  std::string chosen;
  std::uint64_t fewest = std::numeric_limits<std::uint64_t>::max();
  Forger forger(scene);
  for (int i = 0; i < kDrawn; ++i) {
    const std::string text = forger.Draw();
    const Verdict verdict = end->replay.Try(text);
    if (verdict.valid() || MayCountEarlier(scene, text)) continue;
    const std::uint64_t hits = scene.statistics.Hits(verdict);
    if (hits < fewest) chosen = text;
    fewest = std::min(fewest, hits);
  }
  // With a planted fault it may count all the same.
  if (chosen.empty() || scene.chronicle.Append(end, chosen)->verdict.valid()) return;
  scene.statistics.Strike(StrikeName(Strike::kForgeries));
  scene.home.Append(std::vector<std::string>{chosen});
}

}  // namespace starling::simulation
