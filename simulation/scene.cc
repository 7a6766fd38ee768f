#include "simulation/scene.h"

#include "base/check.h"
#include "simulation/sl.h"
#include "simulation/sn.h"

namespace starling::simulation {

Sl* Scene::Find(const NodeName& name) const {
  for (const auto& sl : sls) {
    if (sl->name() == name) return sl.get();
  }
  return nullptr;
}

SigningKey KeyOf(std::uint64_t number) {
  Result<SigningKey> key =
      SigningKey::FromSeed(PartsHash().Add("ledger key").Add(number).Finish().span());
  CHECK(key.ok());
  return *std::move(key);
}

Rules StatedRules(const Weather& weather) {
  Rules rules;
  rules.min_peers = weather.min_peers;
  rules.merge = "mean";
  rules.schema = PartsHash().Add("schema").Finish();
  rules.size = 1000;
  rules.sync_interval = 8;
  return rules;
}

OperatorClaim ClaimFor(const Scene& scene, const Event& event, std::uint64_t seq,
                       const Place& seen) {
  if (scene.operators.empty()) return {"", kOperator};
  return {SignOperatorClaim(scene.operators.front(), kTraining, event, seq, seen), ""};
}

}  // namespace starling::simulation
