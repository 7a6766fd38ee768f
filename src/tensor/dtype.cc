#include "tensor/dtype.h"

#include <string>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  std::size_t size;
};
constexpr Row kRows[] = {
    {DType::kF64, "F64", 8},  {DType::kI64, "I64", 8},   {DType::kU64, "U64", 8},
    {DType::kF32, "F32", 4},  {DType::kI32, "I32", 4},   {DType::kU32, "U32", 4},
    {DType::kF16, "F16", 2},  {DType::kBF16, "BF16", 2}, {DType::kI16, "I16", 2},
    {DType::kU16, "U16", 2},  {DType::kI8, "I8", 1},     {DType::kU8, "U8", 1},
    {DType::kBool, "BOOL", 1}};

}  // namespace

std::size_t SizeOf(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].size; }
std::string_view NameOf(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].name; }

Result<DType> ParseDType(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return row.dtype;
  }
  return WithNext(WithCode(absl::InvalidArgumentError(
                               StrCat("dtype \"", Printable(name, 32), "\" is not supported")),
                           "unknown-dtype"),
                  "use float64/32/16, bfloat16, int64/32/16/8, uint64/32/16/8 or bool tensors");
}

}  // namespace starling
