// HostClock: the monotonic clock of one simulated host: it runs too fast or too slow and leaps
// forward (a host that slept). One thread; borrows the world.
#pragma once

#include "simulation/world.h"

namespace starling::simulation {

class HostClock {
 public:
  // `drift`: parts per million too fast; negative: too slow.
  HostClock(const World& world, std::int64_t drift) : world_(world), drift_(drift) {}

  [[nodiscard]] Instant Now() const { return base_ + Shown(world_.Now() - since_); }
  // True time until this clock shows `at`; 0 when it has. One nanosecond late rather than early.
  [[nodiscard]] Duration Until(Instant at) const {
    const Duration left = at - Now();
    if (left <= Duration(0)) return Duration(0);
    return Duration(left.count() / (kMillion + drift_) * kMillion +
                    left.count() % (kMillion + drift_) * kMillion / (kMillion + drift_) + 1);
  }
  void Leap(Duration by) { base_ += by; }
  void Drift(std::int64_t drift) {
    base_ = Now();
    since_ = world_.Now();
    drift_ = drift;
  }

 private:
  static constexpr std::int64_t kMillion = 1'000'000;
  [[nodiscard]] Duration Shown(Duration passed) const {
    // Without overflow, and exact enough: passed · (1 + drift / 10⁶).
    return passed + Duration(passed.count() / kMillion * drift_ +
                             passed.count() % kMillion * drift_ / kMillion);
  }
  const World& world_;
  Instant base_{};   // what it showed…
  Instant since_{};  // …at this true time
  std::int64_t drift_;
};

}  // namespace starling::simulation
