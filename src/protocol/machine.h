// The event table, row by row. Each function tests one event against the state and applies it, or
// answers why it is ignored (empty: applied). Private to src/protocol; one thread.
#pragma once

#include <string>

#include "protocol/reasons.h"
#include "protocol/state.h"

namespace starling::machine {

// Who speaks: an SN, or an SL enrolled in the contract.
struct Author {
  const SnInfo* sn = nullptr;
  NodeName node;  // of an SL
  [[nodiscard]] bool is_sn() const { return sn != nullptr; }
};

// Context of one entry: its position, and the check of a place that it names.
struct Context {
  Position position;
  const std::vector<Digest>* heads = nullptr;
  [[nodiscard]] bool Knows(
      const Place& place) const;  // replay's head at that position is the one stated
};

[[nodiscard]] Why Join(LedgerState& state, const Context& context, const Author& author,
                       const SnJoined& event);
[[nodiscard]] Why Create(LedgerState& state, const Context& context, const ContractName& name,
                         const ContractCreated& event);
[[nodiscard]] Why Reset(LedgerState& state, const Context& context, Contract& contract,
                        const ContractReset& event);
[[nodiscard]] Why Amend(LedgerState& state, const Context& context, Contract& contract,
                        const ContractAmended& event);
[[nodiscard]] Why Revoke(LedgerState& state, const Context& context, Contract& contract,
                         const NodeRevoked& event);
[[nodiscard]] Why Enrol(LedgerState& state, const Context& context, Contract& contract,
                        const NodeEnrolled& event);
[[nodiscard]] Why Away(Contract& contract, const Author& author, const NodeAway& event);
[[nodiscard]] Why CheckIn(Contract& contract, const NodeName& author, const CheckedIn& event);
[[nodiscard]] Why Finish(Contract& contract, const NodeName& author, const NodeFinished& event);
[[nodiscard]] Why Close(Contract& contract, const RoundClosed& event);
[[nodiscard]] Why Stall(Contract& contract, const NodeName& author, const Stalled& event);
[[nodiscard]] Why Reopen(Contract& contract, const RoundReopened& event);
[[nodiscard]] Why Merge(Contract& contract, const NodeName& author, const RoundMerged& event);

// C: what a close of now would freeze.
[[nodiscard]] std::vector<Member> Closing(const Contract& contract,
                                          const std::vector<NodeName>& without);
// Why a close that freezes `members` would be ignored; empty: it would not.
[[nodiscard]] Why CannotClose(const Contract& contract, const std::vector<Member>& members);
// A node that was removed so often from one round is left out of the rest of it, by choice.
inline constexpr std::uint64_t kRemovedTwice = 2;
// Who has accused this node in this round, beside itself.
[[nodiscard]] std::vector<NodeName> AccusersOf(const Contract& contract, const NodeName& name);

}  // namespace starling::machine
