// float16 and bfloat16 against double: one rounding, ties to even; the same bits on every machine.
// Two spellings of the same functions: plain integer arithmetic, written for reading, and one
// without branches for the vector units (Fast…), which tests hold against it. The latter needs IEEE
// arithmetic without flushing of subnormals, as MeanMerger CHECKs. Any thread.
#pragma once

#include <bit>
#include <cstdint>

namespace starling {

inline constexpr std::uint16_t kCanonicalNanF16 = 0x7e00;
inline constexpr std::uint16_t kCanonicalNanBF16 = 0x7fc0;

namespace half_internal {

// Rounds a finite or infinite double to a 16-bit format with `kExponentBits` and `kMantissaBits`
// (IEEE 754-2019, 4.3.1: ties to even).
template <int kExponentBits, int kMantissaBits>
constexpr std::uint16_t RoundTo16(double value) {
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr std::uint32_t kInfinity = ((1U << kExponentBits) - 1U) << kMantissaBits;
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const auto sign = static_cast<std::uint32_t>(bits >> 63U) << (kExponentBits + kMantissaBits);
  const int exponent = static_cast<int>((bits >> 52U) & 0x7ffU) - 1023;
  if (exponent > kBias) return static_cast<std::uint16_t>(sign | kInfinity);
  // Subnormals of the target shift further; below half of the smallest one everything is zero.
  const int lowest = 1 - kBias;
  const int shift = 52 - kMantissaBits + (exponent < lowest ? lowest - exponent : 0);
  if (shift > 54) return static_cast<std::uint16_t>(sign);
  const std::uint64_t significand =
      (bits & 0xfffffffffffffU) | (exponent == -1023 ? 0 : 0x10000000000000U);
  std::uint64_t kept = significand >> static_cast<unsigned>(shift);
  const std::uint64_t rest = significand & ((std::uint64_t{1} << static_cast<unsigned>(shift)) - 1);
  const std::uint64_t half = std::uint64_t{1} << static_cast<unsigned>(shift - 1);
  if (rest > half || (rest == half && (kept & 1U) != 0)) ++kept;
  // A carry out of the significand moves into the exponent by itself, up to infinity.
  const std::uint32_t base =
      exponent < lowest ? 0U : static_cast<std::uint32_t>(exponent - lowest) << kMantissaBits;
  return static_cast<std::uint16_t>(sign | (base + static_cast<std::uint32_t>(kept)));
}

// 2^exponent.
constexpr double PowerOfTwo(int exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52U);
}

// |value| rounded to a number that the format has; 2^(bias + 1) stands for infinity. Adding a power
// of two whose last bit weighs as much as the target's lets the adder round, ties to even; taking
// it away again is exact.
template <int kExponentBits, int kMantissaBits>
constexpr double RoundMagnitude(double value) {
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr double kInfinity = PowerOfTwo(kBias + 1);
  constexpr double kSmallestNormal = PowerOfTwo(1 - kBias);
  constexpr std::uint64_t kExponentMask = 0x7ff0000000000000U;
  double magnitude =
      std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) & 0x7fffffffffffffffU);
  magnitude = magnitude < kInfinity ? magnitude : kInfinity;
  const double at_least = magnitude > kSmallestNormal ? magnitude : kSmallestNormal;
  const double adder =
      std::bit_cast<double>(std::bit_cast<std::uint64_t>(at_least) & kExponentMask) *
      PowerOfTwo(52 - kMantissaBits);
  return (magnitude + adder) - adder;
}

constexpr std::uint16_t SignOf(double value) {
  return static_cast<std::uint16_t>((std::bit_cast<std::uint64_t>(value) >> 48U) & 0x8000U);
}

}  // namespace half_internal

// NaN is the caller's case: all four take anything but NaN.
constexpr std::uint16_t F16FromDouble(double value) {
  return half_internal::RoundTo16<5, 10>(value);
}
constexpr std::uint16_t BF16FromDouble(double value) {
  return half_internal::RoundTo16<8, 7>(value);
}
constexpr std::uint16_t FastF16FromDouble(double value) {
  // 2^-112 takes the exponent's bias from float's to float16's: subnormals become float's, exactly.
  const float moved = static_cast<float>(half_internal::RoundMagnitude<5, 10>(value)) * 0x1p-112F;
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(moved) >> 13U) |
                                    half_internal::SignOf(value));
}
constexpr std::uint16_t FastBF16FromDouble(double value) {
  const auto rounded = static_cast<float>(half_internal::RoundMagnitude<8, 7>(value));
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(rounded) >> 16U) |
                                    half_internal::SignOf(value));
}

// Exact. NaN gives some NaN.
constexpr double BF16ToDouble(std::uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U));
}
constexpr double F16ToDouble(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (bits >> 10U) & 31U;
  const std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 31)
    return static_cast<double>(std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13U)));
  if (exponent == 0) {
    const double magnitude = static_cast<double>(mantissa) * 0x1p-24;
    return sign != 0 ? -magnitude : magnitude;
  }
  return static_cast<double>(
      std::bit_cast<float>(sign | ((exponent + 112U) << 23U) | (mantissa << 13U)));
}
constexpr double FastF16ToDouble(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  const std::uint32_t magnitude = (bits & 0x7fffU) << 13U;
  const auto moved = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112F);
  // 1 where the exponent is all ones: infinity and NaN keep their mantissa, the exponent is filled
  // up.
  const std::uint32_t special = ((bits & 0x7c00U) + 0x400U) >> 15U;
  return static_cast<double>(std::bit_cast<float>(moved | (special * 0x7f800000U) | sign));
}

}  // namespace starling
