// World: virtual time, one seed, one queue of events. The whole scheduler of the simulator; one
// thread, no real clock.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "crypto/sha256.h"

namespace starling::sim {

class World {
 public:
  explicit World(std::uint64_t seed) : random(seed) {}

  void After(Duration delay, std::function<void()> run) {
    events_.push({clock.Now() + delay, order_++, std::move(run)});
  }

  // Runs until nothing is left, `done` says so, or virtual time passes `limit`. True when it was
  // `done`.
  bool RunUntil(const std::function<bool()>& done, Duration limit) {
    const Instant end = clock.Now() + limit;
    while (!done()) {
      if (events_.empty() || events_.top().at > end) return false;
      const Event event = events_.top();
      events_.pop();
      clock.AdvanceTo(event.at);
      event.run();
      ++events_run;
    }
    return true;
  }

  // Folds what happened into the trace: two runs of one seed must end with the same hash.
  void Trace(std::string_view what) { trace = PartsHash().Add(trace).Add(what).Finish(); }

  ManualClock clock;
  SeededRandom random;
  Digest trace{};
  std::uint64_t events_run = 0;

 private:
  struct Event {
    Instant at;
    std::uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;  // the earliest on top
    }
  };
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
};

}  // namespace starling::sim
