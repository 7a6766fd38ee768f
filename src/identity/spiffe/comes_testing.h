// Waiting in tests for what another thread does.
#pragma once

#include <condition_variable>
#include <mutex>

#include "base/clock.h"

namespace starling::testing {

inline constexpr Duration kHanging = std::chrono::seconds(60);

// Whether it comes true, by default before a test must be taken to hang.
template <typename Condition>
bool Comes(const Condition& condition, Duration limit = kHanging) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  for (Duration waited{}; waited < limit; waited += std::chrono::milliseconds(5)) {
    if (condition()) return true;
    never.wait_for(lock, std::chrono::milliseconds(5));
  }
  return condition();
}

}  // namespace starling::testing
