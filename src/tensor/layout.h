// Layout: where each tensor stands in a model's blob. Canonical (docs/formats/safetensors.md): one
// list of tensors gives one header, so `schema` (the root of the header) names the shape of a
// model. Immutable after Make/Parse; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "crypto/merkle.h"
#include "tensor/dtype.h"

namespace starling {

struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::uint64_t> shape;
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

struct TensorPlace {
  TensorSpec spec;
  std::uint64_t begin = 0;  // from the start of the blob
  std::uint64_t end = 0;
};

class Layout {
 public:
  // Order free; refuses doubles, too many, too large, empty lists.
  static Result<Layout> Make(std::vector<TensorSpec> specs);
  // `prefix`: at least the header of a blob. Refuses anything but the canonical form.
  static Result<Layout> Parse(ByteSpan prefix);

  [[nodiscard]] const std::vector<TensorPlace>& tensors() const { return tensors_; }
  [[nodiscard]] const std::string& header() const { return header_; }  // bytes [0, data_start)
  [[nodiscard]] std::uint64_t data_start() const { return header_.size(); }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const Digest& schema() const { return schema_; }

 private:
  Layout() = default;
  std::vector<TensorPlace> tensors_;
  std::string header_;
  std::uint64_t size_ = 0;
  Digest schema_;
};

// "dense/kernel: F32 [784,256] here, F32 [784,128] there; conv/bias: only there" — at most `lines`
// differences, then "and 12 more".
[[nodiscard]] std::string Difference(const Layout& here, const Layout& there,
                                     std::size_t lines = 5);

}  // namespace starling
