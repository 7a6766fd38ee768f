// How a process' own identity is, in words: for /readyz and the log. Any thread.
#pragma once

#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "identity/svid.h"

namespace starling {

struct IdentityHealth {
  bool usable = false;  // there is a certificate, and it is valid now
  // What is wrong, in one line, "" when nothing is. A source that does not answer is named while
  // the certificate it gave is still good, too.
  std::string trouble;
  std::string next;  // the next step, "" without trouble
  UtcTime since;     // of the trouble
  UtcTime until;     // the certificate's end; the epoch without one
};
[[nodiscard]] IdentityHealth LookAtIdentity(const SvidSource& source, UtcTime now);
// "ready, valid until …", with the trouble behind it where there is one, or what is wrong.
[[nodiscard]] std::string IdentityLine(const IdentityHealth& health);
// The same without "ready, ", for pages that write it themselves.
[[nodiscard]] std::string IdentityWords(const IdentityHealth& health);

// Waits for the first certificate, `limit` at most, and says every 5 s in the log what it waits
// for. Errors as AwaitIdentity().
[[nodiscard]] Status WaitForIdentity(const SvidSource& source, Duration limit, const Clock& clock,
                                     const Log& log, const std::stop_token& stop);

}  // namespace starling
