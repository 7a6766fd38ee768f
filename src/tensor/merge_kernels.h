// The loops of the mean, plain enough that the compiler vectorises them. Each is inlined into one
// caller per instruction set (STARLING_KERNEL); only the vector width differs, never an operation
// or its order. ReferenceMean is the same arithmetic written for reading. Elements are loaded from
// bytes: an update may stand anywhere in a reply, and a load that may be unaligned costs the vector
// units nothing. Pure; any thread.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tensor/elements.h"

#define STARLING_KERNEL [[gnu::always_inline]] inline

namespace starling::kernels {

// The formats of elements.h, without branches.
struct FastF16 : AsF16 {
  STARLING_KERNEL static double ToDouble(Stored v) { return FastF16ToDouble(v); }
  STARLING_KERNEL static Stored FromDouble(double v) { return FastF16FromDouble(v); }
};
struct FastBF16 : AsBF16 {
  STARLING_KERNEL static Stored FromDouble(double v) { return FastBF16FromDouble(v); }
};

template <typename T>
STARLING_KERNEL T Load(const std::byte* from, std::size_t i) {
  T value;
  std::memcpy(&value, from + i * sizeof value, sizeof value);
  return value;
}
template <typename T>
STARLING_KERNEL void Store(std::byte* to, std::size_t i, T value) {
  std::memcpy(to + i * sizeof value, &value, sizeof value);
}

// By the exponent bits.
template <typename Format>
STARLING_KERNEL bool AllFinite(const std::byte* x, std::size_t count) {
  using Bits = std::remove_const_t<decltype(Format::kExponent)>;
  Bits bad = 0;
  for (std::size_t i = 0; i < count; ++i)
    bad |= static_cast<Bits>((Load<Bits>(x, i) & Format::kExponent) == Format::kExponent);
  return bad == 0;
}

template <typename Format>
STARLING_KERNEL void AddFinite(const std::byte* x, std::size_t count, double weight, double* sum) {
  for (std::size_t i = 0; i < count; ++i)
    sum[i] += weight * Format::ToDouble(Load<typename Format::Stored>(x, i));
}

// With values that are not finite among them: their weight is noted instead.
template <typename Format>
void AddCarefully(const std::byte* x, std::size_t count, double weight, double* sum,
                  double* skipped) {
  for (std::size_t i = 0; i < count; ++i) {
    const double value = Format::ToDouble(Load<typename Format::Stored>(x, i));
    if (std::isfinite(value))
      sum[i] += weight * value;
    else
      skipped[i] += weight;
  }
}

template <typename T>
STARLING_KERNEL void AddIntegers(const std::byte* x, std::size_t count, double weight,
                                 double* sum) {
  for (std::size_t i = 0; i < count; ++i) sum[i] += weight * static_cast<double>(Load<T>(x, i));
}

template <typename T>
STARLING_KERNEL void AddWide(const std::byte* x, std::size_t count, std::uint64_t weight,
                             Int128* sum) {
  for (std::size_t i = 0; i < count; ++i)
    sum[i] += static_cast<Int128>(Load<T>(x, i)) * static_cast<Int128>(weight);
}

// For and against, in one sum: exact, as weights are integers.
STARLING_KERNEL void AddVotes(const std::byte* x, std::size_t count, double weight, double* sum) {
  for (std::size_t i = 0; i < count; ++i)
    sum[i] += Load<std::uint8_t>(x, i) != 0 ? weight : -weight;
}

// Every element has `weight` > 0.
template <typename Format>
STARLING_KERNEL void FinishFloats(const double* sum, std::size_t count, double weight,
                                  std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const double mean = sum[i] / weight;
    // A sum of finite doubles is NaN where partial sums of both signs overflowed. No other format
    // can: 2^128 times a weight of 2^53 fits.
    if constexpr (std::is_same_v<typename Format::Stored, double>)
      Store(out, i, std::isnan(mean) ? Format::Nan() : mean);
    else
      Store(out, i, Format::FromDouble(mean));
  }
}

// Elements differ in weight; `base` may be null and may be `out`.
template <typename Format>
void FinishFloatsCarefully(const double* sum, const double* skipped, std::size_t count,
                           double weight_of_all, const std::byte* base, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const double weight = weight_of_all - skipped[i];
    if (weight > 0.0) {
      FinishFloats<Format>(sum + i, 1, weight, out + i * sizeof(typename Format::Stored));
      continue;
    }
    typename Format::Stored value = Format::Nan();
    if (base != nullptr) {
      const auto kept = Load<typename Format::Stored>(base, i);
      if (!std::isnan(Format::ToDouble(kept))) value = kept;
    }
    Store(out, i, value);
  }
}

// Adding 1.5 · 2^52 rounds to an integer, ties to even, and leaves it in the low bits.
template <typename T>
STARLING_KERNEL void FinishIntegers(const double* sum, std::size_t count, double weight,
                                    std::byte* out) {
  static_assert(sizeof(T) <= 4);
  for (std::size_t i = 0; i < count; ++i) {
    const double shifted = sum[i] / weight + 0x1.8p52;
    Store(out, i,
          static_cast<T>(static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(shifted))));
  }
}

template <typename T>
STARLING_KERNEL void FinishWide(const Int128* sum, std::size_t count, std::uint64_t weight,
                                std::byte* out) {
  for (std::size_t i = 0; i < count; ++i)
    Store(out, i, DivideToEven<T>(sum[i], static_cast<Int128>(weight)));
}

STARLING_KERNEL void FinishVotes(const double* sum, std::size_t count, const std::byte* base,
                                 std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const bool before = base != nullptr && Load<std::uint8_t>(base, i) != 0;
    Store<std::uint8_t>(out, i, sum[i] > 0.0 || (sum[i] == 0.0 && before) ? 1 : 0);
  }
}

// Sum of the squares of the finite differences update − base (null: 0), in eight lanes of a fixed
// order, so people read the same digits every time.
template <typename Format>
STARLING_KERNEL double SquaredDistance(const std::byte* update, const std::byte* base,
                                       std::size_t count) {
  using Stored = typename Format::Stored;
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  for (std::size_t i = 0; i < count; i += kLanes) {
    double differences[kLanes] = {};
    const std::size_t here = count - i < kLanes ? count - i : kLanes;
    if (here == kLanes && base != nullptr) {
      for (std::size_t lane = 0; lane < kLanes; ++lane)
        differences[lane] = Format::ToDouble(Load<Stored>(update, i + lane)) -
                            Format::ToDouble(Load<Stored>(base, i + lane));
    } else {
      for (std::size_t lane = 0; lane < here; ++lane)
        differences[lane] =
            Format::ToDouble(Load<Stored>(update, i + lane)) -
            (base == nullptr ? 0.0 : Format::ToDouble(Load<Stored>(base, i + lane)));
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double square = differences[lane] * differences[lane];
      lanes[lane] += std::isfinite(square) ? square : 0.0;
    }
  }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace starling::kernels
