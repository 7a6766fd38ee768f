#include "identity/spiffe/quiet_grpc.h"

#include <cstdlib>
#include <mutex>

#include "grpc/support/log.h"

namespace starling {

void QuietGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody here changes the environment.
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  });
}

}  // namespace starling
