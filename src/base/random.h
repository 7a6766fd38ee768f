// Chance as an argument. Seeded generators are our own (SplitMix64), so a seed means the same on
// every build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace starling {

// Not thread-safe unless an implementation says so.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t Next() = 0;
  // Uniform in [0, bound); bound > 0. Unbiased.
  std::uint64_t Below(std::uint64_t bound);
  // True with probability `per_million` / 1e6.
  bool Chance(std::uint64_t per_million) { return Below(1'000'000) < per_million; }
  void Fill(std::span<std::byte> out);
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() override;

 private:
  std::uint64_t state_;
};

// getrandom(2). Any thread. For keys, nonces and jitter outside the simulator.
class SystemRandom final : public Random {
 public:
  std::uint64_t Next() override;
};

}  // namespace starling
