// WaitReporter: when to say what a training waits for: once the wait is 5 s old, and then every 5 s
// while it lasts. One thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sn/api_json.h"
#include "sn/feed.h"

namespace starling {

class WaitReporter {
 public:
  // The lines that are due now.
  [[nodiscard]] std::vector<std::string> Due(const Snapshot& snapshot, const Moment& moment);

 private:
  std::map<ContractName, Instant> said_;
};

}  // namespace starling
