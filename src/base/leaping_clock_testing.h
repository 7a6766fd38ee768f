// For tests of what takes long, with threads that cannot live in virtual time.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace starling {

// Real time and what a test adds to it.
class LeapingClock final : public Clock {
 public:
  [[nodiscard]] Instant Now() const override { return real_.Now() + leap_.load(); }
  [[nodiscard]] UtcTime UtcNow() const override { return real_.UtcNow(); }
  void Leap(Duration by) { leap_ = leap_.load() + by; }

 private:
  const RealClock real_;
  std::atomic<Duration> leap_ = Duration::zero();
};

}  // namespace starling
