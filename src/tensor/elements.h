// One element type at a time: how it is stored, what counts as finite, how a mean is rounded back.
// Shared by the kernel and its reference.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/bytes.h"
#include "tensor/half.h"

namespace starling {

__extension__ using Int128 = __int128;  // g++ and clang++ both have it; ISO C++ does not.

template <typename T>
T LoadElement(ByteSpan bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}
template <typename T>
void StoreElement(MutableByteSpan bytes, std::size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

// Floating formats: Stored, kExponent (all of these bits set: not finite), ToDouble, FromDouble
// (not NaN), Nan.
struct AsF64 {
  using Stored = double;
  static constexpr std::uint64_t kExponent = 0x7ff0000000000000U;
  static double ToDouble(Stored v) { return v; }
  static Stored FromDouble(double v) { return v; }
  static Stored Nan() { return std::bit_cast<double>(std::uint64_t{0x7ff8000000000000U}); }
};
struct AsF32 {
  using Stored = float;
  static constexpr std::uint32_t kExponent = 0x7f800000U;
  static double ToDouble(Stored v) { return static_cast<double>(v); }
  static Stored FromDouble(double v) { return static_cast<float>(v); }
  static Stored Nan() { return std::bit_cast<float>(0x7fc00000U); }
};
struct AsF16 {
  using Stored = std::uint16_t;
  static constexpr std::uint16_t kExponent = 0x7c00U;
  static double ToDouble(Stored v) { return F16ToDouble(v); }
  static Stored FromDouble(double v) { return F16FromDouble(v); }
  static Stored Nan() { return kCanonicalNanF16; }
};
struct AsBF16 {
  using Stored = std::uint16_t;
  static constexpr std::uint16_t kExponent = 0x7f80U;
  static double ToDouble(Stored v) { return BF16ToDouble(v); }
  static Stored FromDouble(double v) { return BF16FromDouble(v); }
  static Stored Nan() { return kCanonicalNanBF16; }
};

// Integers below 64 bits: nearest even of the double mean, which lies within the type's range.
template <typename T>
T RoundToInteger(double mean) {
  return static_cast<T>(std::nearbyint(mean));  // Round to nearest even: CHECKed by the merger.
}

// Nearest even of sum / weight, exactly.
template <typename T>
T DivideToEven(Int128 sum, Int128 weight) {
  Int128 quotient = sum / weight;
  Int128 rest = sum % weight;
  if (rest < 0) {  // Floor division, so that the rest is never negative.
    rest += weight;
    --quotient;
  }
  const Int128 twice = rest * 2;
  if (twice > weight || (twice == weight && (quotient & 1) != 0)) ++quotient;
  return static_cast<T>(quotient);
}

}  // namespace starling
