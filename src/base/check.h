// CHECK: our own bugs end the process, in release builds too; the world's errors are a Status
// instead.
#pragma once

namespace starling {
// Prints file, line and condition to standard error and aborts. Any thread.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition) noexcept;
}  // namespace starling

#define CHECK(condition)                               \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::starling::CheckFailed(__FILE__, __LINE__, #condition))
