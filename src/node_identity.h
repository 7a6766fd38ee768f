// Which identity the settings ask for, and opening it: PEM files, the SPIFFE Workload API, or a
// SPIRE join token.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "environment.h"
#include "identity/spiffe/join_source.h"
#include "identity/spiffe/workload_source.h"
#include "identity/svid.h"

namespace starling {

struct IdentityConfig {
  std::variant<PemFiles, WorkloadOptions, JoinOptions> source;
  std::string join_token_file;  // "-": standard input
};

// Files win over a join token, that over a socket: an environment often names the socket for all.
// A SPIRE server without a token, as at a restart, counts only where there is no socket.
// InvalidArgument "No identity specified" when nothing is complete.
[[nodiscard]] Result<IdentityConfig> IdentityFrom(const Settings& settings, Role role);

// Starts the source; whoever needs a certificate waits for it. The clock must outlive the answer.
[[nodiscard]] Result<std::unique_ptr<SvidSource>> OpenIdentity(IdentityConfig config,
                                                               const Clock& clock, const Log& log);

}  // namespace starling
