// The header of a model. What parses is canonical: made again from its tensors it gives the same
// bytes.
#include <cstdint>

#include "base/check.h"
#include "tensor/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const starling::Result<starling::Layout> layout =
      starling::Layout::Parse(std::as_bytes(std::span(data, size)));
  if (!layout.ok()) return 0;
  std::vector<starling::TensorSpec> specs;
  for (const starling::TensorPlace& tensor : layout->tensors()) specs.push_back(tensor.spec);
  CHECK(starling::Layout::Make(specs)->header() == layout->header());
  return 0;
}
