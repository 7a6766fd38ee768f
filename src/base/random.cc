#include "base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace starling {

std::uint64_t Random::Below(std::uint64_t bound) {
  CHECK(bound > 0);
  // Values in the last, incomplete run of `bound` are drawn again: unbiased.
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t value = Next();
  while (value >= limit) value = Next();
  return value % bound;
}

void Random::Fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t value = Next();
    const std::size_t count = std::min(out.size(), sizeof value);
    std::memcpy(out.data(), &value, count);
    out = out.subspan(count);
  }
}

// SplitMix64 (Steele, Lea, Flood 2014): its constants are the algorithm.
std::uint64_t SeededRandom::Next() {
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

std::uint64_t SystemRandom::Next() {
  std::uint64_t value = 0;
  CHECK(getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

}  // namespace starling
