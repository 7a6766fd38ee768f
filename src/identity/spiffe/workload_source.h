// An identity from the SPIFFE Workload API, which a SPIRE agent serves on a socket: every
// certificate and bundle as the agent hands it out, rotated while the process runs.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "identity/live_source.h"
#include "identity/svid.h"
#include "identity/workload_endpoint.h"

namespace starling {

struct WorkloadOptions {
  std::string address;  // as ParseWorkloadEndpoint() takes it
  SvidChoice choice;
  // The first pause before trying again; it doubles with every failure up to the last one and is
  // the first again after a message. Another socket at the path ends it early.
  Duration retry_min = std::chrono::seconds(1);
  Duration retry_max = std::chrono::seconds(30);
  Duration silence_max = std::chrono::seconds(5);  // until a new stream that says nothing is named
  int message_bytes_max = 4 << 20;
};

// Watches the address from one thread of its own, which ends promptly with the source. Returns
// without waiting for an identity (LiveSource::AwaitIdentity() does); fails only for an address
// that is none.
//
// Each message is the whole state. PermissionDenied: the agent knows no identity for this process,
// or none any more; the SVID that is held is withdrawn, the bundles stay. InvalidArgument ends the
// watch for good. Anything else that is wrong, an agent that is not there included, is a trouble,
// and what is held stays.
//
// A stream is left for a new one when somebody else listens at the path, and when nothing came
// since the SVID that is held was at three quarters of its life (then again every further quarter,
// at most every `retry_max`): an agent that says nothing there either hangs, and is named.
//
// `clock` must outlive the source; it tells how old the SVID is. The pauses are real time.
[[nodiscard]] Result<std::unique_ptr<LiveSource>> StartWorkloadSource(
    const WorkloadOptions& options, const Clock& clock, Log log);

}  // namespace starling
