// The files that a join token comes in where somebody else brings it: Kubernetes mounts a Secret
// that may be empty when the node starts, and fills it later.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "identity/join_plan.h"
#include "identity/path_watch.h"

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
                                                 const Clock& clock, const std::stop_token& stop);

// A token in the file that may make another agent: neither the lost agent's nor the spent one.
// Else the loss, which names the file. `facts` has all but what the file tells.
[[nodiscard]] Result<std::string> ReadOtherToken(const std::string& path, LostAgentFacts facts);

// Until a watched path may lead to other bytes than when it was added, for `limit`, or until
// `stop`.
void AwaitChange(PathWatch& watch, Duration limit, const Clock& clock, const std::stop_token& stop);

}  // namespace starling
