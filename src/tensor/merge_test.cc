#include "tensor/merge.h"

#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/random.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "tensor/elements.h"
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace starling {
namespace {

constexpr DType kAll[] = {DType::kF64, DType::kI64, DType::kU64,  DType::kF32, DType::kI32,
                          DType::kU32, DType::kF16, DType::kBF16, DType::kI16, DType::kU16,
                          DType::kI8,  DType::kU8,  DType::kBool};

Layout OneTensor(DType dtype, std::uint64_t count) {
  return *Layout::Make({{"t", dtype, {count}}});
}

// A model of one tensor with the given elements.
template <typename T>
Bytes ModelOf(const Layout& layout, const std::vector<T>& elements) {
  Bytes bytes(layout.size());
  std::memcpy(bytes.data(), layout.header().data(), layout.header().size());
  std::memcpy(bytes.data() + layout.data_start(), elements.data(), elements.size() * sizeof(T));
  return bytes;
}

Bytes Merge(const Layout& layout, const std::vector<Bytes>& models,
            const std::vector<std::uint64_t>& weights, const Bytes& base, SimdLevel level) {
  Bytes out(layout.size());
  MeanMerger merger(layout, level);
  for (std::uint64_t chunk = 0; chunk < ChunkCount(layout.size()); ++chunk) {
    const ByteRange range = ChunkRange(layout.size(), chunk);
    merger.Begin(chunk);
    for (std::size_t i = 0; i < models.size(); ++i)
      merger.Add(ByteSpan(models[i]).subspan(range.begin, range.size()), weights[i]);
    merger.Finish(base.empty() ? ByteSpan() : ByteSpan(base).subspan(range.begin, range.size()),
                  MutableByteSpan(out).subspan(range.begin, range.size()));
  }
  return out;
}

Bytes Reference(const Layout& layout, const std::vector<Bytes>& models,
                const std::vector<std::uint64_t>& weights, const Bytes& base) {
  Bytes out(layout.size());
  for (std::uint64_t chunk = 0; chunk < ChunkCount(layout.size()); ++chunk) {
    const ByteRange range = ChunkRange(layout.size(), chunk);
    std::vector<ByteSpan> parts;
    for (const Bytes& model : models)
      parts.push_back(ByteSpan(model).subspan(range.begin, range.size()));
    ReferenceMean(layout, chunk, parts, weights,
                  base.empty() ? ByteSpan() : ByteSpan(base).subspan(range.begin, range.size()),
                  MutableByteSpan(out).subspan(range.begin, range.size()));
  }
  return out;
}

template <typename T>
std::vector<T> MeanOf(DType dtype, const std::vector<std::vector<T>>& updates,
                      const std::vector<std::uint64_t>& weights, const std::vector<T>& base) {
  const Layout layout = OneTensor(dtype, updates[0].size());
  std::vector<Bytes> models;
  for (const std::vector<T>& update : updates) models.push_back(ModelOf(layout, update));
  const Bytes base_bytes = base.empty() ? Bytes() : ModelOf(layout, base);
  const Bytes reference = Reference(layout, models, weights, base_bytes);
  for (const SimdLevel level : {SimdLevel::kPortable, BestSimdLevel()})
    EXPECT_EQ(Merge(layout, models, weights, base_bytes, level), reference);
  std::vector<T> out(updates[0].size());
  std::memcpy(out.data(), reference.data() + layout.data_start(), out.size() * sizeof(T));
  return out;
}

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();
std::uint64_t BitsOf(double value) { return std::bit_cast<std::uint64_t>(value); }

TEST(Mean, WeighsAndDividesOnce) {
  EXPECT_EQ(MeanOf<double>(DType::kF64, {{1.0}, {2.0}, {4.0}}, {1, 3, 100}, {})[0],
            (1.0 + 3 * 2.0 + 100 * 4.0) / 104.0);
  EXPECT_EQ(MeanOf<float>(DType::kF32, {{0.1F}, {0.2F}}, {1, 1}, {})[0],
            static_cast<float>((static_cast<double>(0.1F) + static_cast<double>(0.2F)) / 2.0));
}

TEST(Mean, StartsAtPlusZeroSoThatAllMinusZerosGivePlusZero) {
  EXPECT_EQ(BitsOf(MeanOf<double>(DType::kF64, {{-0.0}, {-0.0}}, {1, 1}, {})[0]), BitsOf(0.0));
}

TEST(Mean, SkipsWhatIsNotFinite) {
  const std::vector<double> out =
      MeanOf<double>(DType::kF64, {{kNan, 1.0, -kInf}, {2.0, kInf, kNan}, {4.0, 3.0, 5.0}},
                     {1, 1, 3}, {7.0, 7.0, 7.0});
  EXPECT_EQ(out, (std::vector<double>{(2.0 + 12.0) / 4.0, (1.0 + 9.0) / 4.0, 5.0}));
}

TEST(Mean, TakesTheBaseWhereNothingIsFinite) {
  EXPECT_EQ(MeanOf<double>(DType::kF64, {{kNan}, {kInf}}, {1, 1}, {9.5})[0], 9.5);
  EXPECT_EQ(MeanOf<double>(DType::kF64, {{kNan}}, {1}, {-kInf})[0], -kInf);
  EXPECT_EQ(BitsOf(MeanOf<double>(DType::kF64, {{kNan}}, {1}, {})[0]), 0x7ff8000000000000U);
}

TEST(Mean, ThereIsOneCanonicalNan) {
  const double odd = std::bit_cast<double>(std::uint64_t{0xfff8000000001234U});
  EXPECT_EQ(BitsOf(MeanOf<double>(DType::kF64, {{odd}}, {1}, {odd})[0]), 0x7ff8000000000000U);
  EXPECT_EQ(MeanOf<std::uint16_t>(DType::kF16, {{0xffff}}, {1}, {0xfe01})[0], 0x7e00);
  EXPECT_EQ(MeanOf<std::uint16_t>(DType::kBF16, {{0xffff}}, {1}, {0xff81})[0], 0x7fc0);
}

TEST(Mean, AWeightOfZeroCountsForNothing) {
  EXPECT_EQ(MeanOf<double>(DType::kF64, {{kNan}, {3.0}, {1000.0}}, {0, 2, 0}, {})[0], 3.0);
}

TEST(Mean, SixtyFourBitIntegersAreExact) {
  const std::int64_t big = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(
      (MeanOf<std::int64_t>(DType::kI64, {{big, -3, 3, -1}, {big - 1, -4, 4, 0}}, {1, 1}, {})),
      (std::vector<std::int64_t>{big - 1, -4, 4, 0}));
  EXPECT_EQ(MeanOf<std::int64_t>(DType::kI64, {{big}, {big}, {big - 1}}, {1, 3, 100}, {})[0],
            big - 1);
  const std::uint64_t top = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(MeanOf<std::uint64_t>(DType::kU64, {{top}, {top}}, {100, 100}, {})[0], top);
}

TEST(Mean, SmallIntegersRoundToNearestEven) {
  EXPECT_EQ(
      (MeanOf<std::int8_t>(DType::kI8, {{1, 2, -1, -2, 127}, {2, 3, -2, -3, 127}}, {1, 1}, {})),
      (std::vector<std::int8_t>{2, 2, -2, -2, 127}));
}

TEST(Mean, BoolsVoteAndATieKeepsTheBase) {
  EXPECT_EQ(
      (MeanOf<std::uint8_t>(DType::kBool, {{1, 0, 1}, {0, 0, 1}, {0, 1, 0}}, {2, 1, 1}, {1, 1, 0})),
      (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_EQ(MeanOf<std::uint8_t>(DType::kBool, {{1}, {0}}, {1, 1}, {})[0], 0);
}

TEST(Mean, EveryHalfSurvivesAMergeWithItself) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<std::uint16_t> all(65536);
    for (std::uint32_t i = 0; i < 65536; ++i) all[i] = static_cast<std::uint16_t>(i);
    const std::vector<std::uint16_t> out =
        MeanOf<std::uint16_t>(dtype, {all, all, all}, {1, 3, 100}, all);
    for (std::uint32_t i = 0; i < 65536; ++i) {
      const double before = dtype == DType::kF16 ? F16ToDouble(all[i]) : BF16ToDouble(all[i]);
      if (std::isnan(before))
        ASSERT_EQ(out[i], dtype == DType::kF16 ? kCanonicalNanF16 : kCanonicalNanBF16);
      else if (before == 0.0)
        ASSERT_EQ(out[i], 0);
      else
        ASSERT_EQ(out[i], all[i]);
    }
  }
}

// Random bytes are every kind of value: NaNs with payloads, infinities, denormals, zeros of both
// signs.
TEST(Mean, TheKernelEqualsTheReferenceBitForBit) {
  std::vector<TensorSpec> specs;
  for (const DType dtype : kAll) {
    specs.push_back({StrCat("big/", NameOf(dtype)), dtype, {45'000 + SizeOf(dtype)}});
    specs.push_back({StrCat("odd/", NameOf(dtype)), dtype, {3, 7}});
  }
  const Layout layout = *Layout::Make(specs);
  ASSERT_GT(ChunkCount(layout.size()), 2U);
  SeededRandom random(3);
  const auto model = [&] {
    Bytes bytes(layout.size());
    random.Fill(bytes);
    std::memcpy(bytes.data(), layout.header().data(), layout.header().size());
    for (const TensorPlace& tensor : layout.tensors()) {
      for (std::uint64_t at = tensor.begin; at < tensor.end; ++at) {
        if (tensor.spec.dtype == DType::kBool) bytes[at] &= std::byte{1};
        // Long stretches of ordinary values, so that both paths of the kernel run.
        else if (tensor.spec.name.starts_with("big") && at % 8192 > 64)
          bytes[at] &= std::byte{0x3f};
      }
    }
    return bytes;
  };
  const std::vector<Bytes> models = {model(), model(), model(), model()};
  const Bytes base = model();
  for (const auto& [weights, b] : {std::pair<std::vector<std::uint64_t>, Bytes>{{1, 1, 1, 1}, base},
                                   {{1, 3, 100, 0}, base},
                                   {{100, 7, 3, 1}, {}}}) {
    const Bytes reference = Reference(layout, models, weights, b);
    EXPECT_EQ(Merge(layout, models, weights, b, SimdLevel::kPortable), reference);
    EXPECT_EQ(Merge(layout, models, weights, b, BestSimdLevel()), reference);
    EXPECT_TRUE(
        std::equal(layout.header().begin(), layout.header().end(), AsText(reference).begin()));
  }
}

TEST(Mean, TheOutputMayStandWhereTheBaseStood) {
  const Layout layout = OneTensor(DType::kF32, 1000);
  std::vector<float> values(1000, std::numeric_limits<float>::quiet_NaN());
  const Bytes update = ModelOf(layout, values);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Bytes place = ModelOf(layout, values);
  const Bytes base = place;
  MeanMerger merger(layout);
  merger.Begin(0);
  merger.Add(update, 1);
  merger.Finish(place, place);
  EXPECT_EQ(place, base);
}

TEST(Mean, EveryHalfMeetsOthers) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (const std::uint32_t step : {1U, 40503U, 65535U}) {
      std::vector<std::uint16_t> all(65536);
      std::vector<std::uint16_t> others(65536);
      for (std::uint32_t i = 0; i < 65536; ++i) {
        all[i] = static_cast<std::uint16_t>(i);
        others[i] = static_cast<std::uint16_t>(i * step + 1);
      }
      const std::vector<std::uint16_t> out =
          MeanOf<std::uint16_t>(dtype, {all, others}, {1, 3}, {});
      const auto value = [&](std::uint16_t bits) {
        return dtype == DType::kF16 ? F16ToDouble(bits) : BF16ToDouble(bits);
      };
      for (std::uint32_t i = 0; i < 65536; ++i) {
        const double mean = (value(all[i]) + 3.0 * value(others[i])) / 4.0;
        if (!std::isfinite(mean) || mean == 0.0) continue;
        ASSERT_EQ(out[i], dtype == DType::kF16 ? F16FromDouble(mean) : BF16FromDouble(mean)) << i;
      }
    }
  }
}

template <typename T, typename Bits>
std::vector<T> Values(std::initializer_list<Bits> bits) {
  std::vector<T> values;
  for (const Bits each : bits) {
    values.push_back(std::bit_cast<T>(each));
    values.push_back(std::bit_cast<T>(each | Bits{1} << (sizeof(Bits) * 8 - 1)));  // negative
  }
  return values;
}

// Each special value beside each other one, in all three places.
template <typename T>
void MergeAllTriples(DType dtype, const std::vector<T>& values) {
  std::vector<std::vector<T>> updates(3);
  for (const T& a : values) {
    for (const T& b : values) {
      for (const T& c : values) {
        updates[0].push_back(a);
        updates[1].push_back(b);
        updates[2].push_back(c);
      }
    }
  }
  for (const std::vector<std::uint64_t>& weights :
       {std::vector<std::uint64_t>{1, 1, 1}, {1, 3, 100}, {0, 1, 0}, {0, 0, 0}}) {
    MeanOf<T>(dtype, updates, weights, {});
    MeanOf<T>(dtype, updates, weights, updates[1]);
  }
}

TEST(Mean, SpecialFloatsMergeAlikeInKernelAndReference) {
  MergeAllTriples(DType::kF32,
                  Values<float, std::uint32_t>({0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x7f7fffff,
                                                0x7f800000, 0x7f800001, 0x7fc00000, 0x7fc12345}));
}

TEST(Mean, SpecialDoublesMergeAlikeInKernelAndReference) {
  MergeAllTriples(DType::kF64, Values<double, std::uint64_t>(
                                   {0, 1, 0xfffffffffffffU, 0x10000000000000U, 0x3ff0000000000000U,
                                    0x7fefffffffffffffU, 0x7ff0000000000000U, 0x7ff0000000000001U,
                                    0x7ff8000000000000U, 0x7ff8000000012345U}));
}

TEST(Mean, DoublesMayOverflowAndNothingElseDoes) {
  const double top = std::numeric_limits<double>::max();
  EXPECT_EQ(MeanOf<double>(DType::kF64, {{top}, {top}}, {1, 1}, {})[0], kInf);
  EXPECT_EQ(BitsOf(MeanOf<double>(DType::kF64, {{top}, {-top}}, {3, 3}, {1.0})[0]),
            0x7ff8000000000000U);  // inf − inf: no number, and not the base's
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ(MeanOf<float>(DType::kF32, {{most}, {most}}, {1'000'000'000, 7}, {})[0], most);
  EXPECT_EQ(MeanOf<std::uint16_t>(DType::kF16, {{0x7bff}, {0x7bff}}, {1, 100}, {})[0], 0x7bff);
}

TEST(Mean, SubnormalsAreNumbers) {
  const float least = std::numeric_limits<float>::denorm_min();
  const std::vector<float> out =
      MeanOf<float>(DType::kF32, {{least, least, 3 * least}, {0.0F, least, 0.0F}}, {1, 1}, {});
  EXPECT_EQ(out, (std::vector<float>{0.0F, least, 2 * least}));  // halves go to the even one
}

template <typename T>
void MergeExtremes(DType dtype) {
  const T low = std::numeric_limits<T>::min();
  const T high = std::numeric_limits<T>::max();
  const T one{1};
  MergeAllTriples<T>(dtype, {low, high, T{0}, one, static_cast<T>(high - 1),
                             static_cast<T>(low + 1), static_cast<T>(high / 2)});
  EXPECT_EQ(MeanOf<T>(dtype, {{high}, {high}}, {1, 1'000'000}, {})[0], high);
  EXPECT_EQ(MeanOf<T>(dtype, {{low}, {low}}, {1, 1'000'000}, {})[0], low);
}

TEST(Mean, IntegersAtTheirExtremesStayInRange) {
  MergeExtremes<std::int64_t>(DType::kI64);
  MergeExtremes<std::uint64_t>(DType::kU64);
  MergeExtremes<std::int32_t>(DType::kI32);
  MergeExtremes<std::uint32_t>(DType::kU32);
  MergeExtremes<std::int16_t>(DType::kI16);
  MergeExtremes<std::uint16_t>(DType::kU16);
  MergeExtremes<std::int8_t>(DType::kI8);
  MergeExtremes<std::uint8_t>(DType::kU8);
  EXPECT_EQ(MeanOf<std::uint32_t>(DType::kU32, {{UINT32_MAX}, {0}}, {1, 1}, {})[0], 0x80000000U);
  EXPECT_EQ(MeanOf<std::int32_t>(DType::kI32, {{INT32_MIN}, {INT32_MAX}}, {1, 1}, {})[0], 0);
}

TEST(Mean, WhereNothingWeighsIntegersComeFromTheBase) {
  EXPECT_EQ((MeanOf<std::int32_t>(DType::kI32, {{1, 2}}, {0}, {7, -7})),
            (std::vector<std::int32_t>{7, -7}));
  EXPECT_EQ(MeanOf<std::int64_t>(DType::kI64, {{1}}, {0}, {-9})[0], -9);
  EXPECT_EQ(MeanOf<std::uint8_t>(DType::kU8, {{1}}, {0}, {})[0], 0);
  EXPECT_EQ(MeanOf<std::uint8_t>(DType::kBool, {{0}}, {0}, {1})[0], 1);
}

TEST(Mean, BytesMayStandAnywhere) {
  const Layout layout = *Layout::Make({{"d", DType::kF64, {99}},
                                       {"f", DType::kF32, {99}},
                                       {"h", DType::kF16, {99}},
                                       {"i", DType::kI64, {99}},
                                       {"s", DType::kI16, {99}}});
  SeededRandom random(5);
  Bytes update(layout.size());
  random.Fill(update);
  const Bytes expected = Reference(layout, {update}, {3}, {});
  for (std::size_t shift = 1; shift < 8; ++shift) {
    Bytes place(layout.size() + shift);
    std::copy(update.begin(), update.end(), place.begin() + static_cast<std::ptrdiff_t>(shift));
    for (const SimdLevel level : {SimdLevel::kPortable, BestSimdLevel()}) {
      MeanMerger merger(layout, level);
      merger.Begin(0);
      merger.Add(ByteSpan(place).subspan(shift), 3);
      Bytes out(layout.size() + shift);
      merger.Finish({}, MutableByteSpan(out).subspan(shift));
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                             out.begin() + static_cast<std::ptrdiff_t>(shift)))
          << shift;
    }
  }
}

TEST(MeanDeathTest, WhatWouldMakeReplicasDifferEndsTheProcess) {
  const Layout layout = OneTensor(DType::kF32, 4);
  const Bytes update = ModelOf<float>(layout, {1, 2, 3, 4});
  MeanMerger merger(layout);
  EXPECT_DEATH(
      {
        std::fesetround(FE_UPWARD);
        merger.Begin(0);
      },
      "CHECK failed: std::fegetround");
#if defined(__SSE2__)
  EXPECT_DEATH(
      {
        _mm_setcsr(_mm_getcsr() | 0x8040U);
        merger.Begin(0);
      },
      "CHECK failed");
#endif
  merger.Begin(0);
  EXPECT_DEATH(merger.Add(ByteSpan(update).first(10), 1), "CHECK failed");
  merger.Add(update, std::uint64_t{1} << 53U);
  EXPECT_DEATH(merger.Add(update, 1), "CHECK failed: weight");
}

TEST(UpdateNorm, IsTheEuclideanDistance) {
  const Layout layout = OneTensor(DType::kF32, 2);
  EXPECT_DOUBLE_EQ(UpdateNorm(layout, ModelOf<float>(layout, {4.0F, 6.0F}),
                              ModelOf<float>(layout, {1.0F, 2.0F})),
                   5.0);
  EXPECT_DOUBLE_EQ(UpdateNorm(layout, ModelOf<float>(layout, {3.0F, 4.0F}), {}), 5.0);
}

TEST(UpdateNorm, CountsEveryFloatingTensorAndNothingElse) {
  const Layout layout = *Layout::Make({{"d", DType::kF64, {11}},
                                       {"h", DType::kF16, {9}},
                                       {"b", DType::kBF16, {3}},
                                       {"i", DType::kI32, {50}},
                                       {"t", DType::kBool, {50}}});
  Bytes update(layout.size(), std::byte{1});
  for (const TensorPlace& tensor : layout.tensors()) {
    for (std::uint64_t i = 0; i < tensor.spec.shape[0]; ++i) {
      const MutableByteSpan bytes = MutableByteSpan(update).subspan(tensor.begin);
      if (tensor.spec.dtype == DType::kF64) StoreElement(bytes, i, 2.0);
      if (tensor.spec.dtype == DType::kF16) StoreElement<std::uint16_t>(bytes, i, 0xc200);   // −3
      if (tensor.spec.dtype == DType::kBF16) StoreElement<std::uint16_t>(bytes, i, 0x4080);  // 4
    }
  }
  EXPECT_DOUBLE_EQ(UpdateNorm(layout, update, {}), std::sqrt(11 * 4.0 + 9 * 9.0 + 3 * 16.0));
  EXPECT_EQ(UpdateNorm(layout, update, update), 0.0);
}

TEST(UpdateNorm, LeavesOutWhatIsNotFinite) {
  const Layout layout = OneTensor(DType::kF32, 12);
  std::vector<float> values(12, 0.0F);
  values[0] = 3.0F;
  values[1] = std::numeric_limits<float>::quiet_NaN();
  values[5] = -std::numeric_limits<float>::infinity();
  values[9] = std::numeric_limits<float>::infinity();
  values[11] = 4.0F;
  EXPECT_DOUBLE_EQ(UpdateNorm(layout, ModelOf(layout, values), {}), 5.0);
}

}  // namespace
}  // namespace starling
