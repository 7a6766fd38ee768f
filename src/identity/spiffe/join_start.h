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
// By what a server is believed that gets a token: the file, read again each time, since it may be
// what is wrong, and `known`. A server that this node had an agent of was believed by what it had
// said itself, so that no file is needed then, and no insecurity.
[[nodiscard]] Result<Bundle> BundleToAttestBy(const JoinOptions& options, const Bundle& known);

}  // namespace starling
