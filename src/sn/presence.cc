#include "sn/presence.h"

#include <string>
#include <vector>

namespace starling {

void Presence::Heard(const SpiffeId& peer, std::string_view stated, const LedgerState& state,
                     UtcTime now) {
  if (!stated.empty()) {
    const std::size_t slash = stated.find('/');
    if (slash == std::string_view::npos) return;
    const auto contract = state.contracts.find(ContractName(std::string(stated.substr(0, slash))));
    if (contract == state.contracts.end()) return;
    const Node* node = contract->second.Find(NodeName(std::string(stated.substr(slash + 1))));
    // Nodes of one SPIFFE ID can claim to be one another here; a timestamp is all they gain.
    if (node != nullptr && node->spiffe_id == peer.text())
      HeardNode(contract->first, node->name, now);
    return;
  }
  for (const auto& [name, contract] : state.contracts) {
    std::vector<const Node*> fitting;
    for (const auto& [node_name, node] : contract.nodes) {
      if (node.spiffe_id == peer.text()) fitting.push_back(&node);
    }
    if (fitting.size() == 1) HeardNode(name, fitting[0]->name, now);
  }
}

void Presence::HeardNode(const ContractName& contract, const NodeName& node, UtcTime now) {
  heard_.With([&](std::map<Key, UtcTime>& heard) { heard[{contract, node}] = now; });
}

std::optional<UtcTime> Presence::LastHeard(const ContractName& contract,
                                           const NodeName& node) const {
  return heard_.With([&](const std::map<Key, UtcTime>& heard) -> std::optional<UtcTime> {
    const auto found = heard.find({contract, node});
    if (found == heard.end()) return std::nullopt;
    return found->second;
  });
}

}  // namespace starling
