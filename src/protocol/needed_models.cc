#include "protocol/needed_models.h"

#include <utility>

namespace starling {

NeededModels::Models NeededModels::At(const Contract& contract) {
  if (std::exchange(instance_, contract.instance) != contract.instance) made_.clear();
  Models models;
  for (const auto& [round, root] : contract.roots) {
    if (contract.sealed_round && round.value() + 1 >= contract.sealed_round->value())
      models.needed.insert(root);
  }
  std::erase_if(made_, [&](const auto& made) {
    const auto& [root, attempt] = made;
    const auto sealed = contract.roots.find(attempt.round);
    if (sealed == contract.roots.end()) {
      models.needed.insert(root);
      return false;
    }
    if (attempt.here && sealed->second != root) models.useless.insert(root);
    return true;
  });
  for (const Digest& root : models.needed) models.useless.erase(root);
  return models;
}

}  // namespace starling
