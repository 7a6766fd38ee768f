// The `mean` rule, chunk by chunk, bit for bit the same everywhere (docs/protocol.md, "Merging"):
// per element, in P's order, in double from +0.0, weighted by integers; non-finite elements are
// skipped; one division by the sum of the weights of the finite terms; one rounding to the dtype,
// ties to even. No finite term with a weight: the base's element (without a base: canonical NaN).
// One canonical NaN. I64/U64: exact in 128 bits, nearest even. Other integers: nearest even of the
// double mean. BOOL: weighted majority, tie = base (without a base: false). Header bytes are
// copied. All weights 0 is the caller's case (M = base).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "tensor/layout.h"

namespace starling {

enum class SimdLevel : std::uint8_t { kPortable, kAvx2 };
[[nodiscard]] SimdLevel BestSimdLevel();

// One worker's state: a few chunks of memory (allocated once), whatever the number of updates. One
// thread; CHECKs the floating-point control word (round to nearest, no flush to zero) in Begin().
class MeanMerger {
 public:
  explicit MeanMerger(const Layout& layout,
                      SimdLevel level = BestSimdLevel());  // Keeps a reference to layout.
  ~MeanMerger();
  MeanMerger(const MeanMerger&) = delete;
  MeanMerger& operator=(const MeanMerger&) = delete;

  void Begin(std::uint64_t chunk_index);
  // `chunk`: this update's bytes of the chunk (CHECKs the length), aligned or not. In P's order.
  // The weights of one chunk sum to at most 2^53 (CHECKed).
  void Add(ByteSpan chunk, std::uint64_t weight);
  // `base`: the base's bytes of the chunk, or empty in round 0. `out`: the merged bytes; may be the
  // same memory as `base`.
  void Finish(ByteSpan base, MutableByteSpan out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same rule, written for reading, one element at a time; tests compare the kernel with it bit
// by bit.
void ReferenceMean(const Layout& layout, std::uint64_t chunk_index,
                   std::span<const ByteSpan> chunks, std::span<const std::uint64_t> weights,
                   ByteSpan base, MutableByteSpan out);

// Euclidean norm of update − base over floating-point tensors (base empty: norm of the update). For
// people, not for the protocol: elements whose difference, or its square, is not finite are left
// out.
[[nodiscard]] double UpdateNorm(const Layout& layout, ByteSpan update, ByteSpan base);

}  // namespace starling
