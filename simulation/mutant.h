// Mutant: the event table with one row's test left out, for planted faults. It follows
// src/protocol/replay.cc, without signatures, and calls the same rows. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/jws.h"
#include "protocol/machine.h"
#include "protocol/replay.h"
#include "simulation/faults.h"

namespace starling::simulation {

class Mutant {
 public:
  explicit Mutant(Fault fault) : fault_(fault), shared_(std::make_shared<std::uint64_t>(0)) {}
  [[nodiscard]] static bool Plays(Fault fault);

  // The entry at the next position; `heads` are those before it.
  Verdict Apply(std::string_view entry, const std::vector<Digest>& heads);
  [[nodiscard]] const LedgerState& state() const { return state_; }

 private:
  [[nodiscard]] Why Header(const Jws& jws, const Statement& statement,
                           const std::vector<Digest>& heads, Verdict& verdict, bool& by_sn);
  [[nodiscard]] Why Row(const Statement& statement, const std::string& author, bool by_sn,
                        const std::vector<Digest>& heads);
  [[nodiscard]] Why SnRow(const Statement& statement, const machine::Author& author,
                          const machine::Context& context, Contract* contract);
  [[nodiscard]] Why SlRow(const Statement& statement, const NodeName& author, Contract& contract);
  [[nodiscard]] Why Close(Contract& contract, const RoundClosed& event) const;
  [[nodiscard]] Why Reopen(Contract& contract, const RoundReopened& event);

  Fault fault_;
  LedgerState state_;
  std::map<ContractName, Contract> before_seal_;
  std::shared_ptr<std::uint64_t> shared_;  // what kForgetfulReplay wrongly depends on
};

}  // namespace starling::simulation
