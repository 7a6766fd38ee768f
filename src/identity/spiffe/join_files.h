// The files that a join token comes in where somebody else brings it: Kubernetes mounts a Secret
// that may be empty when the node starts, and fills it later.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/result.h"

namespace starling {

struct JoinFiles {
  std::string token;
  std::string bundle;  // "": none is needed
};

// The token, once the files are there and not empty. Until then `waits` is told what is missing
// (code join-token-awaited, or why a file cannot be read), as often as it is looked at: at once
// when something changes on the way to the files (PathWatch), else every 5 s. Cancelled on `stop`.
[[nodiscard]] Result<std::string> AwaitJoinToken(const JoinFiles& files,
                                                 const std::function<void(const Status&)>& waits,
                                                 const std::stop_token& stop);

}  // namespace starling
