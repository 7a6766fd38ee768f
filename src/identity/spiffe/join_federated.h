// The bundles of other trust domains that the entry of a join source names. One thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "identity/spiffe/spire_client.h"

namespace starling {

class FederatedBundles {
 public:
  // In DER by trust domain, as the server has them now. One that cannot be had hurts nothing else:
  // the one that was read last stays, and the log says why, once, without the secrets. Only
  // Cancelled is an error.
  [[nodiscard]] Result<std::map<std::string, std::string>> Read(
      SpireClient& client, const std::vector<std::string>& domains,
      const std::vector<std::string>& secrets, const Log& log);

 private:
  std::map<std::string, std::string> held_;      // as read last
  std::map<std::string, std::string> troubles_;  // by trust domain: said once
};

}  // namespace starling
