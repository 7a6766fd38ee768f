// WaitLine: what an SL waits for, in one line for people: for whom, since when, what happens next.
// The log has it every 5 s, /readyz always. Pure; any thread.
#pragma once

#include <string>

#include "base/clock.h"
#include "protocol/waiting.h"

namespace starling {

// `now` and `utc` were read at one moment. Names those that do not answer, and how long it is until
// something happens by itself.
[[nodiscard]] std::string WaitLine(const Waiting& waiting, Instant now, UtcTime utc);

}  // namespace starling
