// Which nodes are at fault when a transfer or a merge fails, and why: carried in the Status, read
// once where the decider is told. Any thread.
#pragma once

#include <vector>

#include "base/result.h"
#include "protocol/sl_decider.h"

namespace starling {

// `status`, with `node` as the one at fault. Keeps who is named already; OK and Cancelled stay as
// they are.
[[nodiscard]] Status WithSource(Status status, const NodeName& node);
// The first of `failures` (not empty), with all that they name.
[[nodiscard]] Status WithAllSources(const std::vector<Status>& failures);
// Empty when no node is at fault: the disk of this one, say.
[[nodiscard]] std::vector<SourceFailure> SourceFailuresOf(const Status& status);

}  // namespace starling
