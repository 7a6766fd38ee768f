// Checker: what must hold after every event of a simulated swarm, whatever happens
// (docs/protocol.md, "What the simulator asserts"; the numbers here are those). It sees every page
// of the log, what programs do and what nodes serve, and keeps the first failure. One thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "simulation/chronicle.h"
#include "simulation/scene.h"

namespace starling::simulation {

class Checker {
 public:
  void Watch(Scene& scene) { scene_ = &scene; }

  // The program of a node offers `update`, trained from `model`.
  void Trained(const Digest& update, const std::optional<Digest>& model);
  // The log has one page more, final or not.
  void OnPage(const Log& page);
  // What is final may have grown.
  void OnFinal();
  // An SL has replayed `view`.
  void Replayed(const NodeName& node, const Log& view);
  void Returned(const NodeName& node, Position instance, const Digest& model);
  // An SL votes for what it must hold.
  void Votes(const Sl& sl, const Digest& root);
  // Update bytes go from one node to another.
  void Served(const NodeName& server, const NodeName& asker, const Digest& update);
  // An SL has left; `good`: its training is done.
  void Left(const NodeName& node, bool good, const std::string& summary);
  [[nodiscard]] bool MayRefuse(const std::string& why) const;
  // Something has struck this node: what it held may be gone, its check-in may be removed.
  void Struck(const NodeName& node) { struck_.insert(node); }
  // Its process has ended: what it voted for may be gone with it.
  void AfterCrash(const Sl& sl);
  void OperatorSpoke() { operator_spoke_ = true; }
  // After every event: 5, 12.
  void Look();
  // At the end: 6, 7.
  void LookBack();
  void Fail(std::string what);

  [[nodiscard]] bool ok() const { return failure_.empty(); }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] std::uint64_t rounds() const { return sealed_.size(); }
  [[nodiscard]] std::uint64_t attempts() const { return attempts_; }

 private:
  using RoundKey = std::pair<Position, RoundId>;
  void Closed(const Contract& contract);
  void Compare(const Page& page, const Contract& before, const Contract& after);
  void Sealed(const Contract& merging, const Digest& root);
  void Reopened(const Contract& merging, const Contract& after);
  void Again(const Log& page);
  void FinalPage(const Log& page);
  void SlowTrainer(const Contract& before, const Contract& after);
  void LookAtHolders();
  void DropVoid(const Log& log);
  void OtherLedger(const Log& log);
  [[nodiscard]] bool CalmFor(const NodeName& node) const;
  [[nodiscard]] std::uint64_t LiarsIn(const Contract& merging) const;

  Scene* scene_ = nullptr;
  std::map<Digest, std::optional<Digest>> trained_from_;
  std::set<std::pair<Digest, NodeName>> due_;  // updates, and who may have their bytes
  std::map<RoundKey, Digest> sealed_;          // in the final log
  std::map<RoundKey, std::uint64_t> reopened_;
  std::map<Position, Digest> done_;  // instances that are over: the final model
  // 10: check-ins that everybody else has left alone.
  std::map<NodeName, std::pair<RoundKey, Digest>> alone_;
  Log final_;
  std::set<NodeName> struck_;
  std::map<Digest, std::set<NodeName>> lost_copies_;  // of those that voted for that root
  std::map<NodeName, std::set<Digest>> voted_;
  std::uint64_t attempts_ = 0;
  bool operator_spoke_ = false;
  std::string failure_;
};

}  // namespace starling::simulation
