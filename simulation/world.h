// World: virtual time, chance and everything that will happen, for whole swarms in one thread from
// one seed. A run is a number: each event folds its time and label into `trace`, so two runs of one
// seed that differ anywhere have different traces. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"

namespace starling::simulation {

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) { Fold(std::to_string(seed)); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Instant Now() const { return now_; }  // true time; nodes see their own clocks
  SeededRandom& random() { return random_; }
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }

  // Uniform in [least, most].
  Duration Between(Duration least, Duration most) {
    if (most <= least) return least;
    const auto span = static_cast<std::uint64_t>((most - least).count());
    return least + Duration(static_cast<Duration::rep>(random_.Below(span + 1)));
  }
  std::uint64_t Between(std::uint64_t least, std::uint64_t most) {
    return least + random_.Below(most - least + 1);
  }
  [[nodiscard]] bool Chance(std::uint64_t percent) { return random_.Below(100) < percent; }
  template <typename T>
  const T& OneOf(const std::vector<T>& those) {
    return those[random_.Below(those.size())];
  }

  void After(Duration delay, std::string_view label, std::function<void()> run);
  // Runs the next event; false when there is none.
  bool RunOne();
  // Makes `text` part of the trace.
  void Fold(std::string_view text);

  // The story of a run, for people: a line a happening, when somebody listens.
  void Listen(std::function<void(Instant, const std::string&)> listener) {
    listener_ = std::move(listener);
  }
  [[nodiscard]] bool listened() const { return listener_ != nullptr; }
  void Tell(const std::string& line) const {
    if (listener_) listener_(now_, line);
  }

 private:
  struct Event {
    std::string label;
    std::function<void()> run;
  };
  SeededRandom random_;
  Instant now_{};
  std::map<std::pair<Instant, std::uint64_t>, Event> queue_;  // equal times in order of After()
  std::uint64_t next_order_ = 0;
  std::uint64_t trace_ = 0xcbf29ce484222325U;
  std::uint64_t events_ = 0;
  std::function<void(Instant, const std::string&)> listener_;
};

}  // namespace starling::simulation
