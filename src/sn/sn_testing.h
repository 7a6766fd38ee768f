// What tests of the SN need: learning nodes that sign, and an operator. No I/O.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/random.h"
#include "crypto/ed25519.h"
#include "protocol/events.h"

namespace starling {

inline SigningKey TestKey(std::uint64_t seed) {
  SeededRandom random(seed);
  return SigningKey::Generate(random);
}

inline Digest TestDigest(std::string_view text) { return HashOf(AsBytes(text)); }

inline Rules StatedRules(std::uint64_t min_peers = 2) {
  Rules rules;
  rules.min_peers = min_peers;
  rules.merge = "mean";
  rules.schema = TestDigest("schema");
  rules.size = kChunkBytes;
  rules.sync_interval = 10;
  return rules;
}

// A learning node's words. `seen` is the caller's, so that tests can lie.
class TestNode {
 public:
  TestNode(std::string name, std::uint64_t seed, std::string contract = "t")
      : blob_url("https://" + name + ":30305"),
        name_(std::move(name)),
        contract_(std::move(contract)),
        key_(TestKey(seed)) {}

  std::string Claim(const Place& seen, const Rules& rules = StatedRules(),
                    std::optional<Position> instance = {}) {
    NodeClaim claim;
    claim.name = name_;
    claim.key = key_.public_key();
    claim.blob_url = blob_url;
    claim.rules = rules;
    claim.instance = instance;
    return SignNodeClaim(
        key_, {.contract = contract_, .seq = ++seq_, .seen = seen, .claim = std::move(claim)});
  }
  std::string Say(const Place& seen, Event event) {
    return SignStatement(
        key_, {.contract = contract_, .seq = ++seq_, .seen = seen, .event = std::move(event)});
  }
  std::string CheckIn(const Place& seen, std::uint64_t round, std::optional<Digest> base = {}) {
    CheckedIn event;
    event.round = RoundId(round);
    event.update = Update(round);
    event.base = base;
    event.report.loss = 0.5;
    event.report.batches = 10;
    return Say(seen, event);
  }
  std::string Vote(const Place& seen, std::uint64_t round, const Digest& set, const Digest& root) {
    RoundMerged event;
    event.round = RoundId(round);
    event.set = set;
    event.root = root;
    return Say(seen, event);
  }
  [[nodiscard]] Digest Update(std::uint64_t round) const {
    return TestDigest(name_.value() + std::to_string(round));
  }
  void ForgetOneSeq() { --seq_; }
  [[nodiscard]] const NodeName& name() const { return name_; }
  [[nodiscard]] const ContractName& contract() const { return contract_; }

  std::string blob_url;  // where it is asked how it stands

 private:
  NodeName name_;
  ContractName contract_;
  SigningKey key_;
  std::uint64_t seq_ = 0;
};

}  // namespace starling
