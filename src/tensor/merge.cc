#include "tensor/merge.h"

#include <algorithm>
#include <cfenv>

#include "base/check.h"
#include "tensor/merge_kernels.h"
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace starling {
namespace {

using namespace kernels;  // NOLINT(google-build-using-namespace): the other half of this file

// A run of one tensor's elements in the current chunk.
struct Segment {
  DType dtype = DType::kF32;
  std::size_t offset = 0;  // bytes from the chunk's start
  std::size_t count = 0;   // elements
  std::size_t first = 0;   // index into the accumulators
};

constexpr std::size_t kBlock = 1024;  // elements looked at together for non-finite values

// Whole numbers up to here are exact in a double, and so is every sum of weights.
constexpr std::uint64_t kWeightSumMax = std::uint64_t{1} << 53;

bool IsWide(DType dtype) { return dtype == DType::kI64 || dtype == DType::kU64; }

// What every replica must share, or the same inputs give other bits.
void CheckFloatingPoint() {
  CHECK(std::fegetround() == FE_TONEAREST);
#if defined(__SSE2__)
  constexpr unsigned kFlushToZero = 0x8000U;
  constexpr unsigned kDenormalsAreZero = 0x0040U;
  CHECK((_mm_getcsr() & (kFlushToZero | kDenormalsAreZero)) == 0);
#endif
}

}  // namespace

struct MeanMerger::Impl {
  Impl(const Layout& l, SimdLevel s) : layout(l), level(s) {}

  template <typename Format>
  STARLING_KERNEL void AddFloats(const Segment& segment, const std::byte* x, double weight) {
    for (std::size_t i = 0; i < segment.count; i += kBlock) {
      const std::byte* const block = x + i * sizeof(typename Format::Stored);
      const std::size_t count = std::min(kBlock, segment.count - i);
      double* const sums = sum.data() + segment.first + i;
      if (AllFinite<Format>(block, count)) {
        AddFinite<Format>(block, count, weight, sums);
      } else {
        if (skipped.empty()) skipped.assign(sum.size(), 0.0);
        AddCarefully<Format>(block, count, weight, sums, skipped.data() + segment.first + i);
      }
    }
  }

  STARLING_KERNEL void AddSegment(const Segment& s, ByteSpan chunk, std::uint64_t weight) {
    const auto w = static_cast<double>(weight);
    const std::byte* const x = chunk.data() + s.offset;
    double* const sums = sum.data() + s.first;
    switch (s.dtype) {
      case DType::kF64:
        return AddFloats<AsF64>(s, x, w);
      case DType::kF32:
        return AddFloats<AsF32>(s, x, w);
      case DType::kF16:
        return AddFloats<FastF16>(s, x, w);
      case DType::kBF16:
        return AddFloats<FastBF16>(s, x, w);
      case DType::kI64:
        return AddWide<std::int64_t>(x, s.count, weight, wide.data() + s.first);
      case DType::kU64:
        return AddWide<std::uint64_t>(x, s.count, weight, wide.data() + s.first);
      case DType::kI32:
        return AddIntegers<std::int32_t>(x, s.count, w, sums);
      case DType::kU32:
        return AddIntegers<std::uint32_t>(x, s.count, w, sums);
      case DType::kI16:
        return AddIntegers<std::int16_t>(x, s.count, w, sums);
      case DType::kU16:
        return AddIntegers<std::uint16_t>(x, s.count, w, sums);
      case DType::kI8:
        return AddIntegers<std::int8_t>(x, s.count, w, sums);
      case DType::kU8:
        return AddIntegers<std::uint8_t>(x, s.count, w, sums);
      case DType::kBool:
        return AddVotes(x, s.count, w, sums);
    }
  }

  template <typename Format>
  STARLING_KERNEL void FinishFloatSegment(const Segment& s, const std::byte* base, std::byte* out) {
    const auto all = static_cast<double>(total);
    if (skipped.empty() && total > 0)
      return FinishFloats<Format>(sum.data() + s.first, s.count, all, out);
    if (skipped.empty()) skipped.assign(sum.size(), 0.0);
    FinishFloatsCarefully<Format>(sum.data() + s.first, skipped.data() + s.first, s.count, all,
                                  base, out);
  }

  // No element of an integer tensor has a weight: the base's, or 0.
  static void FinishFromBase(const Segment& s, const std::byte* base, std::byte* out) {
    const std::size_t bytes = s.count * SizeOf(s.dtype);
    if (base == nullptr)
      std::memset(out, 0, bytes);
    else
      std::memmove(out, base, bytes);
  }

  STARLING_KERNEL void FinishSegment(const Segment& s, const std::byte* base, std::byte* out) {
    const double* const sums = sum.data() + s.first;
    const auto w = static_cast<double>(total);
    switch (s.dtype) {
      case DType::kF64:
        return FinishFloatSegment<AsF64>(s, base, out);
      case DType::kF32:
        return FinishFloatSegment<AsF32>(s, base, out);
      case DType::kF16:
        return FinishFloatSegment<FastF16>(s, base, out);
      case DType::kBF16:
        return FinishFloatSegment<FastBF16>(s, base, out);
      case DType::kBool:
        return FinishVotes(sums, s.count, base, out);
      default:
        break;
    }
    if (total == 0) return FinishFromBase(s, base, out);
    switch (s.dtype) {
      case DType::kI64:
        return FinishWide<std::int64_t>(wide.data() + s.first, s.count, total, out);
      case DType::kU64:
        return FinishWide<std::uint64_t>(wide.data() + s.first, s.count, total, out);
      case DType::kI32:
        return FinishIntegers<std::int32_t>(sums, s.count, w, out);
      case DType::kU32:
        return FinishIntegers<std::uint32_t>(sums, s.count, w, out);
      case DType::kI16:
        return FinishIntegers<std::int16_t>(sums, s.count, w, out);
      case DType::kU16:
        return FinishIntegers<std::uint16_t>(sums, s.count, w, out);
      case DType::kI8:
        return FinishIntegers<std::int8_t>(sums, s.count, w, out);
      case DType::kU8:
        return FinishIntegers<std::uint8_t>(sums, s.count, w, out);
      default:
        break;
    }
  }

  STARLING_KERNEL void AddAll(ByteSpan chunk, std::uint64_t weight) {
    for (const Segment& segment : segments) AddSegment(segment, chunk, weight);
  }
  STARLING_KERNEL void FinishAll(ByteSpan base, MutableByteSpan out) {
    for (const Segment& s : segments)
      FinishSegment(s, base.empty() ? nullptr : base.data() + s.offset, out.data() + s.offset);
  }

  [[gnu::noinline]] void AddPortable(ByteSpan chunk, std::uint64_t weight) {
    AddAll(chunk, weight);
  }
  [[gnu::noinline]] void FinishPortable(ByteSpan base, MutableByteSpan out) {
    FinishAll(base, out);
  }
#if defined(__x86_64__)
  // Without "fma": a fused multiply-add rounds once.
  [[gnu::noinline, gnu::target("avx2")]] void AddAvx2(ByteSpan chunk, std::uint64_t weight) {
    AddAll(chunk, weight);
  }
  [[gnu::noinline, gnu::target("avx2")]] void FinishAvx2(ByteSpan base, MutableByteSpan out) {
    FinishAll(base, out);
  }
#endif

  const Layout& layout;
  const SimdLevel level;
  ByteRange range;
  std::size_t header_bytes = 0;  // of the chunk
  std::vector<Segment> segments;
  std::uint64_t total = 0;  // sum of the weights added
  std::uint64_t added = 0;
  std::vector<double> sum;
  std::vector<double> skipped;  // weights of non-finite elements; empty while there are none
  std::vector<Int128> wide;     // for 64-bit integers
  Bytes header;
};

SimdLevel BestSimdLevel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return SimdLevel::kAvx2;
#endif
  return SimdLevel::kPortable;
}

MeanMerger::MeanMerger(const Layout& layout, SimdLevel level)
    : impl_(std::make_unique<Impl>(layout, level)) {}
MeanMerger::~MeanMerger() = default;

void MeanMerger::Begin(std::uint64_t chunk_index) {
  CheckFloatingPoint();
  Impl& m = *impl_;
  m.range = ChunkRange(m.layout.size(), chunk_index);
  m.header_bytes = m.range.begin < m.layout.data_start()
                       ? std::min(m.range.end, m.layout.data_start()) - m.range.begin
                       : 0;
  m.segments.clear();
  m.total = m.added = 0;
  std::size_t elements = 0;
  std::size_t wide = 0;
  const auto& tensors = m.layout.tensors();
  auto it = std::upper_bound(tensors.begin(), tensors.end(), m.range.begin,
                             [](std::uint64_t at, const TensorPlace& t) { return at < t.end; });
  for (; it != tensors.end() && it->begin < m.range.end; ++it) {
    const std::uint64_t begin = std::max(m.range.begin, it->begin);
    const std::uint64_t end = std::min(m.range.end, it->end);
    if (begin >= end) continue;
    std::size_t& next = IsWide(it->spec.dtype) ? wide : elements;
    const std::size_t count = (end - begin) / SizeOf(it->spec.dtype);
    m.segments.push_back({it->spec.dtype, begin - m.range.begin, count, next});
    next += count;
  }
  m.sum.assign(elements, 0.0);
  m.wide.assign(wide, 0);
  m.skipped.clear();
}

void MeanMerger::Add(ByteSpan chunk, std::uint64_t weight) {
  Impl& m = *impl_;
  CHECK(chunk.size() == m.range.size());
  CHECK(weight <= kWeightSumMax - m.total);
  if (m.added++ == 0)
    m.header.assign(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(m.header_bytes));
  m.total += weight;
#if defined(__x86_64__)
  if (m.level == SimdLevel::kAvx2) return m.AddAvx2(chunk, weight);
#endif
  m.AddPortable(chunk, weight);
}

void MeanMerger::Finish(ByteSpan base, MutableByteSpan out) {
  Impl& m = *impl_;
  CHECK(m.added > 0 && out.size() == m.range.size() && (base.empty() || base.size() == out.size()));
  std::copy(m.header.begin(), m.header.end(), out.begin());
#if defined(__x86_64__)
  if (m.level == SimdLevel::kAvx2) return m.FinishAvx2(base, out);
#endif
  m.FinishPortable(base, out);
}

}  // namespace starling
