#include "tensor/half.h"

#include <cmath>
#include <limits>

#include "base/random.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

struct F16 {
  static double ToDouble(std::uint16_t bits) { return F16ToDouble(bits); }
  static std::uint16_t FromDouble(double value) { return F16FromDouble(value); }
  static constexpr std::uint16_t kInfinity = 0x7c00;
};
struct BF16 {
  static double ToDouble(std::uint16_t bits) { return BF16ToDouble(bits); }
  static std::uint16_t FromDouble(double value) { return BF16FromDouble(value); }
  static constexpr std::uint16_t kInfinity = 0x7f80;
};

// The spellings for the vector units must pass the same tests.
struct FastF16 : F16 {
  static double ToDouble(std::uint16_t bits) { return FastF16ToDouble(bits); }
  static std::uint16_t FromDouble(double value) { return FastF16FromDouble(value); }
};
struct FastBF16 : BF16 {
  static std::uint16_t FromDouble(double value) { return FastBF16FromDouble(value); }
};

// The definition, slowly: the nearest finite value, ties to the even one; beyond the halfway point
// to the next power of two, infinity.
template <typename Format>
std::uint16_t Oracle(double value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  const std::uint16_t top = Format::kInfinity - 1;
  const double step = Format::ToDouble(top) - Format::ToDouble(top - 1);
  if (magnitude >= Format::ToDouble(top) + step / 2)
    return static_cast<std::uint16_t>(sign | Format::kInfinity);
  std::uint16_t low = 0;
  std::uint16_t high = top;
  while (high - low > 1) {  // Positive halves are ordered as their bits are.
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (Format::ToDouble(middle) <= magnitude ? low : high) = middle;
  }
  if (Format::ToDouble(high) <= magnitude) low = high;
  if (low == top) return static_cast<std::uint16_t>(sign | top);
  const double below = magnitude - Format::ToDouble(low);
  const double above = Format::ToDouble(static_cast<std::uint16_t>(low + 1)) - magnitude;
  const bool up = above < below || (above == below && (low & 1U) != 0);
  return static_cast<std::uint16_t>(sign | (low + (up ? 1 : 0)));
}

template <typename Format>
class Half : public testing::Test {};
using Formats = testing::Types<F16, BF16, FastF16, FastBF16>;
TYPED_TEST_SUITE(Half, Formats);

TYPED_TEST(Half, EveryValueRoundTrips) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const double value = TypeParam::ToDouble(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(TypeParam::FromDouble(value), bits) << bits;
  }
}

TYPED_TEST(Half, EveryMidpointGoesToTheEvenNeighbour) {
  for (std::uint16_t bits = 0; bits + 1 < TypeParam::kInfinity; ++bits) {
    const double low = TypeParam::ToDouble(bits);
    const double high = TypeParam::ToDouble(static_cast<std::uint16_t>(bits + 1));
    const double middle = low + (high - low) / 2;
    const std::uint16_t even = (bits & 1U) == 0 ? bits : static_cast<std::uint16_t>(bits + 1);
    ASSERT_EQ(TypeParam::FromDouble(middle), even) << bits;
    ASSERT_EQ(TypeParam::FromDouble(std::nextafter(middle, high)), bits + 1) << bits;
    ASSERT_EQ(TypeParam::FromDouble(std::nextafter(middle, low)), bits) << bits;
    ASSERT_EQ(TypeParam::FromDouble(-middle), even | 0x8000) << bits;
  }
}

TYPED_TEST(Half, RandomDoublesMatchTheOracle) {
  SeededRandom random(7);
  for (int i = 0; i < 200000; ++i) {
    const double value = std::bit_cast<double>(random.Next());
    if (std::isnan(value)) continue;
    ASSERT_EQ(TypeParam::FromDouble(value), Oracle<TypeParam>(value)) << value;
    const double near = std::ldexp(static_cast<double>(random.Below(1U << 20U)),
                                   static_cast<int>(random.Below(60)) - 45);
    ASSERT_EQ(TypeParam::FromDouble(near), Oracle<TypeParam>(near)) << near;
  }
}

TEST(HalfValues, AreThoseOfTheFormats) {
  EXPECT_EQ(F16ToDouble(0x3c00), 1.0);
  EXPECT_EQ(F16ToDouble(0x7bff), 65504.0);
  EXPECT_EQ(F16ToDouble(0x0001), 0x1p-24);
  EXPECT_EQ(F16ToDouble(0xc500), -5.0);
  EXPECT_EQ(BF16ToDouble(0x3f80), 1.0);
  EXPECT_EQ(BF16ToDouble(0x0001), 0x1p-133);
  EXPECT_EQ(BF16ToDouble(0xc0a0), -5.0);
}

TEST(HalfValues, DecodeAlikeInBothSpellings) {
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const double plain = F16ToDouble(bits);
    const double fast = FastF16ToDouble(bits);
    if (std::isnan(plain))
      ASSERT_TRUE(std::isnan(fast)) << i;
    else
      ASSERT_EQ(std::bit_cast<std::uint64_t>(fast), std::bit_cast<std::uint64_t>(plain)) << i;
  }
}

TEST(HalfValues, AreRoundedOnceNotByWayOfFloat) {
  // As a float this is exactly halfway between 1 and its successor, and would go to the even 1.
  EXPECT_EQ(F16FromDouble(1.0 + 0x1p-11 + 0x1p-40), 0x3c01);
  EXPECT_EQ(FastF16FromDouble(1.0 + 0x1p-11 + 0x1p-40), 0x3c01);
  EXPECT_EQ(BF16FromDouble(1.0 + 0x1p-8 + 0x1p-40), 0x3f81);
  EXPECT_EQ(FastBF16FromDouble(1.0 + 0x1p-8 + 0x1p-40), 0x3f81);
}

TYPED_TEST(Half, TinyDoublesBecomeZeroOfTheirSign) {
  for (const double tiny : {0x1p-1074, 0x1p-1022, 0x1p-200, TypeParam::ToDouble(1) / 2}) {
    EXPECT_EQ(TypeParam::FromDouble(tiny), 0) << tiny;
    EXPECT_EQ(TypeParam::FromDouble(-tiny), 0x8000) << tiny;
  }
  EXPECT_EQ(TypeParam::FromDouble(std::nextafter(TypeParam::ToDouble(1) / 2, 1.0)), 1);
}

TYPED_TEST(Half, OverflowAndInfinitiesBecomeInfinity) {
  const double top = TypeParam::ToDouble(TypeParam::kInfinity - 1);
  EXPECT_EQ(TypeParam::FromDouble(top * 2), TypeParam::kInfinity);
  EXPECT_EQ(TypeParam::FromDouble(std::numeric_limits<double>::max()), TypeParam::kInfinity);
  const double step = top - TypeParam::ToDouble(TypeParam::kInfinity - 2);
  EXPECT_EQ(TypeParam::FromDouble(top + step / 2), TypeParam::kInfinity);
  EXPECT_EQ(TypeParam::FromDouble(std::nextafter(top + step / 2, 0.0)), TypeParam::kInfinity - 1);
  EXPECT_EQ(TypeParam::FromDouble(-std::numeric_limits<double>::infinity()),
            TypeParam::kInfinity | 0x8000);
}

}  // namespace
}  // namespace starling
