#include "protocol/needed_models.h"

#include <algorithm>
#include <utility>

namespace starling {

NeededModels::Models NeededModels::At(const Contract& contract) {
  if (std::exchange(instance_, contract.instance) != contract.instance) made_.clear();
  Models models;
  // The base and its predecessor.
  for (std::uint64_t back = 1; back <= std::min<std::uint64_t>(2, contract.roots.size()); ++back)
    models.needed.insert(contract.roots.at(RoundId{contract.roots.size() - back}));
  std::erase_if(made_, [&](const auto& made) {
    const auto& [root, attempt] = made;
    const Digest* const sealed = contract.roots.Find(attempt.round);
    if (sealed == nullptr) {
      models.needed.insert(root);
      return false;
    }
    if (attempt.here && *sealed != root) models.useless.insert(root);
    return true;
  });
  for (const Digest& root : models.needed) models.useless.erase(root);
  return models;
}

}  // namespace starling
