// LeaderKill: kills the leader of one round in the middle of its merge, so that people see the
// swarm go on. A merge is short, so the leader is stopped first, when its round closes; if the
// round was sealed all the same it goes on, and a later round is tried. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/clock.h"
#include "tools/story.h"

namespace starling {

class LeaderKill {
 public:
  // Sends a signal to the process of a node.
  using Signal = std::function<void(const NodeName&, int)>;
  explicit LeaderKill(Signal signal) : signal_(std::move(signal)) {}

  // What the ledger tells now.
  void Look(const TrainingStory& training, Instant now);
  // When to look again though nothing new is told; nothing: no need.
  [[nodiscard]] std::optional<Instant> wake_at() const { return judge_at_; }
  // Whom it has killed, from then on.
  [[nodiscard]] const std::optional<NodeName>& killed() const { return killed_; }
  [[nodiscard]] std::optional<RoundId> round() const { return round_; }

 private:
  const Signal signal_;
  std::optional<RoundId> round_;  // whose leader was stopped or killed
  std::optional<NodeName> leader_;
  std::optional<Instant> judge_at_;
  std::optional<NodeName> killed_;
};

}  // namespace starling
