// Waiting: one wait, for people: for whom, since when, what happens next. A value; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "protocol/ids.h"

namespace starling {

struct Waiting {
  ContractName contract;
  std::vector<NodeName> on;
  std::string what;  // "round 3 waits for check-ins: 2 of 3 here"
  Instant since;
  std::string next;              // "closes without c in 12 s"
  std::vector<NodeName> silent;  // of `on`: those that do not answer probes
  std::optional<Instant> until;  // when `next` happens by itself
};

}  // namespace starling
