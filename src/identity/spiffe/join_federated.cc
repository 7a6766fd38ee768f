#include "identity/spiffe/join_federated.h"

#include <utility>

#include "base/bytes.h"
#include "base/secrets.h"
#include "base/text.h"

namespace starling {

Result<std::map<std::string, std::string>> FederatedBundles::Read(
    SpireClient& client, const std::vector<std::string>& domains,
    const std::vector<std::string>& secrets, const Log& log) {
  std::map<std::string, std::string> read;
  Status away;  // not waited for once for each bundle
  for (const std::string& domain : domains) {
    Result<SpireBundle> bundle = away.ok() ? client.FederatedBundle(domain) : away;
    if (bundle.ok()) {
      troubles_.erase(domain);
      read[domain] = std::move(bundle->roots);
      continue;
    }
    if (absl::IsCancelled(bundle.status())) return bundle.status();
    const bool none = absl::IsNotFound(bundle.status());
    if (StableCode(bundle.status()) == "spire-server-unreachable") away = bundle.status();
    std::string trouble =
        none ? StrCat("the SPIRE server has no bundle of ", Printable(domain),
                      ", which the entry names")
             : StrCat("the bundle of ", Printable(domain),
                      " cannot be read, what is held of it stays: ", bundle.status().message());
    const auto held = held_.find(domain);
    if (!none && held != held_.end()) read[domain] = held->second;
    std::string& said = troubles_[domain];
    if (said != trouble) log.Warning("identity: {}", Redacted(trouble, secrets));
    said = std::move(trouble);
  }
  held_ = read;
  return read;
}

}  // namespace starling
