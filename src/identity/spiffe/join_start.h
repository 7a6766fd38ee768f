// What a join source looks at before it starts, and before a token is spent. Errors are for people.
// One thread.
#pragma once

#include <cstddef>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "identity/spiffe/join_source.h"
#include "identity/svid.h"

namespace starling {

[[nodiscard]] Status CheckJoinOptions(const JoinOptions& options);
// Makes the directory where it is missing, removes what a killed process left of its state file
// (private keys), and finds out whether `bytes` can be written there, durably.
[[nodiscard]] Status PrepareStateDirectory(const std::string& state_dir, std::size_t bytes);
// Whether there is something that the server can be believed by; a file of it may come together
// with a token that is waited for. Warns of insecure bootstrap.
[[nodiscard]] Status CheckBootstrap(const JoinOptions& options, const Log& log);
// PEM, or the SPIFFE bundle format (JSON).
[[nodiscard]] Result<Bundle> ReadBundleFile(const std::string& path);

}  // namespace starling
