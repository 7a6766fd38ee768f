#include "simulation/oracle.h"

#include "base/check.h"

namespace starling::simulation {

Digest OracleMerge(MergeKind kind, const std::optional<Digest>& base,
                   const std::vector<Member>& members, const NodeName& leader) {
  CHECK(!members.empty());
  if (kind == MergeKind::kBase) return *base;
  PartsHash mean;
  mean.Add("mean");
  if (base) mean.Add(*base);
  for (const Member& member : members) {
    if (kind == MergeKind::kCopyOfLeader && member.name == leader) return *member.update;
    if (member.update) mean.Add(*member.update).Add(member.weight);
  }
  CHECK(kind == MergeKind::kMean);
  return mean.Finish();
}

Digest OracleMerge(const Contract& merging) {
  return OracleMerge(MergeKindOf(merging), merging.base, merging.members, LeaderOf(merging));
}

}  // namespace starling::simulation
