// The mean, written for reading: one element at a time, straight from the definition. Tests hold
// the kernel against it.
#include <algorithm>

#include "base/check.h"
#include "tensor/elements.h"
#include "tensor/merge.h"

namespace starling {
namespace {

struct Terms {
  std::span<const ByteSpan> chunks;  // each the same part of an update
  std::span<const std::uint64_t> weights;
  ByteSpan base;  // empty: none
};

template <typename Format>
typename Format::Stored MeanOfFloats(const Terms& terms, std::size_t i) {
  double sum = 0.0;
  double weight = 0.0;
  for (std::size_t k = 0; k < terms.chunks.size(); ++k) {
    const double x = Format::ToDouble(LoadElement<typename Format::Stored>(terms.chunks[k], i));
    if (!std::isfinite(x)) continue;
    sum += static_cast<double>(terms.weights[k]) * x;
    weight += static_cast<double>(terms.weights[k]);
  }
  if (weight > 0.0) {
    const double mean = sum / weight;
    return std::isnan(mean) ? Format::Nan() : Format::FromDouble(mean);
  }
  if (terms.base.empty()) return Format::Nan();
  const auto kept = LoadElement<typename Format::Stored>(terms.base, i);
  return std::isnan(Format::ToDouble(kept)) ? Format::Nan() : kept;
}

template <typename T>
T MeanOfIntegers(const Terms& terms, std::size_t i) {
  double sum = 0.0;
  double weight = 0.0;
  for (std::size_t k = 0; k < terms.chunks.size(); ++k) {
    sum += static_cast<double>(terms.weights[k]) *
           static_cast<double>(LoadElement<T>(terms.chunks[k], i));
    weight += static_cast<double>(terms.weights[k]);
  }
  if (weight > 0.0) return RoundToInteger<T>(sum / weight);
  return terms.base.empty() ? T{0} : LoadElement<T>(terms.base, i);
}

template <typename T>
T MeanOfWideIntegers(const Terms& terms, std::size_t i) {
  Int128 sum = 0;
  Int128 weight = 0;
  for (std::size_t k = 0; k < terms.chunks.size(); ++k) {
    sum += static_cast<Int128>(LoadElement<T>(terms.chunks[k], i)) *
           static_cast<Int128>(terms.weights[k]);
    weight += static_cast<Int128>(terms.weights[k]);
  }
  if (weight > 0) return DivideToEven<T>(sum, weight);
  return terms.base.empty() ? T{0} : LoadElement<T>(terms.base, i);
}

std::uint8_t MajorityOfBools(const Terms& terms, std::size_t i) {
  std::uint64_t yes = 0;
  std::uint64_t no = 0;
  for (std::size_t k = 0; k < terms.chunks.size(); ++k) {
    (LoadElement<std::uint8_t>(terms.chunks[k], i) != 0 ? yes : no) += terms.weights[k];
  }
  if (yes != no) return yes > no ? 1 : 0;
  return !terms.base.empty() && LoadElement<std::uint8_t>(terms.base, i) != 0 ? 1 : 0;
}

void MeanAt(DType dtype, const Terms& terms, std::size_t i, MutableByteSpan out) {
  switch (dtype) {
    case DType::kF64:
      return StoreElement(out, i, MeanOfFloats<AsF64>(terms, i));
    case DType::kF32:
      return StoreElement(out, i, MeanOfFloats<AsF32>(terms, i));
    case DType::kF16:
      return StoreElement(out, i, MeanOfFloats<AsF16>(terms, i));
    case DType::kBF16:
      return StoreElement(out, i, MeanOfFloats<AsBF16>(terms, i));
    case DType::kI64:
      return StoreElement(out, i, MeanOfWideIntegers<std::int64_t>(terms, i));
    case DType::kU64:
      return StoreElement(out, i, MeanOfWideIntegers<std::uint64_t>(terms, i));
    case DType::kI32:
      return StoreElement(out, i, MeanOfIntegers<std::int32_t>(terms, i));
    case DType::kU32:
      return StoreElement(out, i, MeanOfIntegers<std::uint32_t>(terms, i));
    case DType::kI16:
      return StoreElement(out, i, MeanOfIntegers<std::int16_t>(terms, i));
    case DType::kU16:
      return StoreElement(out, i, MeanOfIntegers<std::uint16_t>(terms, i));
    case DType::kI8:
      return StoreElement(out, i, MeanOfIntegers<std::int8_t>(terms, i));
    case DType::kU8:
      return StoreElement(out, i, MeanOfIntegers<std::uint8_t>(terms, i));
    case DType::kBool:
      return StoreElement(out, i, MajorityOfBools(terms, i));
  }
}

}  // namespace

void ReferenceMean(const Layout& layout, std::uint64_t chunk_index,
                   std::span<const ByteSpan> chunks, std::span<const std::uint64_t> weights,
                   ByteSpan base, MutableByteSpan out) {
  CHECK(chunks.size() == weights.size() && !chunks.empty());
  const ByteRange range = ChunkRange(layout.size(), chunk_index);
  for (std::uint64_t at = range.begin; at < std::min(range.end, layout.data_start()); ++at)
    out[at - range.begin] = chunks[0][at - range.begin];
  for (const TensorPlace& tensor : layout.tensors()) {
    const std::uint64_t begin = std::max(range.begin, tensor.begin);
    const std::uint64_t end = std::min(range.end, tensor.end);
    if (begin >= end) continue;
    std::vector<ByteSpan> parts;
    for (const ByteSpan chunk : chunks)
      parts.push_back(chunk.subspan(begin - range.begin, end - begin));
    const Terms terms{parts, weights,
                      base.empty() ? base : base.subspan(begin - range.begin, end - begin)};
    const MutableByteSpan part = out.subspan(begin - range.begin, end - begin);
    for (std::size_t i = 0; i < part.size() / SizeOf(tensor.spec.dtype); ++i)
      MeanAt(tensor.spec.dtype, terms, i, part);
  }
}

}  // namespace starling
