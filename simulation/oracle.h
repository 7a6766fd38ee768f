// The merge by an oracle: models are their roots here. Pure.
#pragma once

#include <optional>
#include <vector>

#include "protocol/state.h"

namespace starling::simulation {

// CHECKs a non-empty set.
[[nodiscard]] Digest OracleMerge(MergeKind kind, const std::optional<Digest>& base,
                                 const std::vector<Member>& members, const NodeName& leader);
[[nodiscard]] Digest OracleMerge(const Contract& merging);

}  // namespace starling::simulation
