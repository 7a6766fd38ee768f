// Presence: when an SL was last heard of, for LIST NODES only; nothing is decided by it. Only
// enrolled nodes are remembered, so the ledger bounds its size. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/mailbox.h"
#include "identity/spiffe_id.h"
#include "protocol/state.h"

namespace starling {

// Where SNs are remembered: under their names, in no training.
inline const ContractName kSnsContract{};

class Presence {
 public:
  // A request came from `peer`. `stated` is the header Starling-Node ("<training>/<node>"); without
  // it the peer is the node whose SPIFFE ID it shows, where only one node shows that one. Whatever
  // fits no enrolled node is forgotten.
  void Heard(const SpiffeId& peer, std::string_view stated, const LedgerState& state, UtcTime now);
  void HeardNode(const ContractName& contract, const NodeName& node, UtcTime now);
  [[nodiscard]] std::optional<UtcTime> LastHeard(const ContractName& contract,
                                                 const NodeName& node) const;

 private:
  using Key = std::pair<ContractName, NodeName>;
  Guarded<std::map<Key, UtcTime>> heard_;
};

}  // namespace starling
