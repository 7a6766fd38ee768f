// Forger: draws entries that are nearly right: what an SN or an SL may say, with one thing or
// another wrong in it. Most are void; a few are good, so whoever appends them tries them first.
// Values; one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "simulation/scene.h"

namespace starling::simulation {

class Forger {
 public:
  explicit Forger(Scene& scene)
      : scene_(scene), world_(scene.world), contract_(scene.home.end()->Find(kTraining)) {}

  [[nodiscard]] std::string Draw();

 private:
  // Of the key that signs: the next one, or one that was used.
  [[nodiscard]] std::uint64_t Seq(const SigningKey& key, std::uint64_t used_percent);
  [[nodiscard]] Place Seen(std::uint64_t wrong_percent = 5);
  [[nodiscard]] RoundId Round();
  [[nodiscard]] AttemptId Attempt();
  [[nodiscard]] Digest Set();
  [[nodiscard]] NodeName Name();
  [[nodiscard]] std::vector<NodeName> Names();
  [[nodiscard]] std::vector<NodeName> WhoWeighs() const;
  [[nodiscard]] OperatorClaim Claim(const Event& event);
  [[nodiscard]] std::string Signed(const SigningKey& key, const Event& event);
  [[nodiscard]] const SigningKey& KeyOfNode(const Sl& sl);
  [[nodiscard]] std::string NodeClaimOf(const SigningKey& key, const NodeName& name);
  [[nodiscard]] std::string Identity(const NodeName& name);
  [[nodiscard]] Event Joins(const Sl& sl);
  [[nodiscard]] Event SnEvent(const Sl& sl);
  [[nodiscard]] Event SlEvent();

  Scene& scene_;
  World& world_;
  const Contract* const contract_;
  std::optional<SigningKey> made_;  // of nobody who runs
};

}  // namespace starling::simulation
