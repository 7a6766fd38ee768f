// Element types, as safetensors names them. Values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace starling {

enum class DType : std::uint8_t {
  kF64,
  kI64,
  kU64,
  kF32,
  kI32,
  kU32,
  kF16,
  kBF16,
  kI16,
  kU16,
  kI8,
  kU8,
  kBool
};

[[nodiscard]] std::size_t SizeOf(DType dtype);
[[nodiscard]] std::string_view NameOf(DType dtype);  // "F32"
[[nodiscard]] Result<DType> ParseDType(std::string_view name);

}  // namespace starling
