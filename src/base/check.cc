#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace starling {

void CheckFailed(const char* file, int line, const char* condition) noexcept {
  static_cast<void>(std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition));
  std::abort();
}

}  // namespace starling
