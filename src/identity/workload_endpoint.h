// Where a SPIFFE Workload API is, as SPIFFE's "Workload Endpoint" document writes addresses, and a
// connection to it whose failure says exactly what is wrong. Any thread; values.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>

#include "base/owned.h"
#include "base/result.h"

namespace starling {

// "unix:///abs/path", "unix:/abs/path", a bare absolute path, "tcp://IP:port"; anything else is
// refused with the next step. Gives the first or the last of these forms; that may be given again.
[[nodiscard]] Result<std::string> ParseWorkloadEndpoint(std::string_view text);

// `endpoint` as ParseWorkloadEndpoint() gave it. A connected non-blocking socket, closed on exec.
// Over tcp it breaks a minute after the other host has gone without a word. Blocks for at most five
// seconds. NotFound: no such socket; Unavailable: nobody listens, or no
// answer; PermissionDenied; each with the next step. Cancelled on `stop`.
[[nodiscard]] Result<UniqueFd> ConnectToWorkloadEndpoint(const std::string& endpoint,
                                                         const std::stop_token& stop);

// Changes when another socket is at the endpoint's path than before: then trying again is worth it
// at once. Always "" for tcp.
[[nodiscard]] std::string SocketFingerprint(const std::string& endpoint);

}  // namespace starling
