// WaitReporter: when to say what a training waits for: once the wait is 5 s old, and then every 5 s
// while it lasts. One thread.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sn/api_json.h"
#include "sn/feed.h"

namespace starling {

class WaitReporter {
 public:
  // The lines that are due now: of the trainings' waits, and of what is wrong with this SN.
  [[nodiscard]] std::vector<std::string> Due(const Snapshot& snapshot, const Moment& moment,
                                             const std::vector<Waiting>& own = {});

 private:
  // A training's wait is one however its words change; each node's trouble is one beside it.
  using Key = std::pair<ContractName, std::string>;
  std::map<Key, Instant> said_;
};

}  // namespace starling
