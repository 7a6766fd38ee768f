// One call of gRPC that ends by itself. Only for this folder, which alone knows gRPC.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <stop_token>

#include "base/clock.h"

namespace starling {

// `call` gets a context with a deadline, `limit` from now, and is cancelled on `stop`. The deadline
// is real time: gRPC takes no clock of ours.
template <typename Call>
grpc::Status CallWithin(Duration limit, const std::stop_token& stop, const Call& call) {
  grpc::ClientContext context;
  context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                    gpr_time_from_millis(Millis(limit), GPR_TIMESPAN)));
  const std::stop_callback cancel(stop, [&] { context.TryCancel(); });
  return call(context);
}

}  // namespace starling
