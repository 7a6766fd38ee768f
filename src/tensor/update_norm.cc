#include <cmath>

#include "base/check.h"
#include "tensor/merge.h"
#include "tensor/merge_kernels.h"

namespace starling {
namespace {

using namespace kernels;  // NOLINT(google-build-using-namespace): this file only calls them

STARLING_KERNEL double SumOfSquares(const Layout& layout, ByteSpan update, ByteSpan base) {
  double sum = 0.0;
  for (const TensorPlace& tensor : layout.tensors()) {
    const std::byte* const x = update.data() + tensor.begin;
    const std::byte* const y = base.empty() ? nullptr : base.data() + tensor.begin;
    const std::size_t count = (tensor.end - tensor.begin) / SizeOf(tensor.spec.dtype);
    switch (tensor.spec.dtype) {
      case DType::kF64:
        sum += SquaredDistance<AsF64>(x, y, count);
        break;
      case DType::kF32:
        sum += SquaredDistance<AsF32>(x, y, count);
        break;
      case DType::kF16:
        sum += SquaredDistance<FastF16>(x, y, count);
        break;
      case DType::kBF16:
        sum += SquaredDistance<FastBF16>(x, y, count);
        break;
      default:
        break;
    }
  }
  return sum;
}

[[gnu::noinline]] double SumPortable(const Layout& layout, ByteSpan update, ByteSpan base) {
  return SumOfSquares(layout, update, base);
}
#if defined(__x86_64__)
[[gnu::noinline, gnu::target("avx2")]] double SumAvx2(const Layout& layout, ByteSpan update,
                                                      ByteSpan base) {
  return SumOfSquares(layout, update, base);
}
#endif

}  // namespace

double UpdateNorm(const Layout& layout, ByteSpan update, ByteSpan base) {
  CHECK(update.size() == layout.size() && (base.empty() || base.size() == update.size()));
#if defined(__x86_64__)
  if (BestSimdLevel() == SimdLevel::kAvx2) return std::sqrt(SumAvx2(layout, update, base));
#endif
  return std::sqrt(SumPortable(layout, update, base));
}

}  // namespace starling
