// The identity that lies in PEM files. Both check chain, key, SPIFFE ID (exactly one URI SAN) and
// validity before anything is used; each error names the file and the next step. Any thread.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "identity/live_source.h"
#include "identity/svid.h"

namespace starling {

// Once, for a command that soon ends.
Result<std::unique_ptr<SvidSource>> LoadPemSource(const PemFiles& files, UtcTime at);

struct PemWatchOptions {
  Duration quiet{200ms};     // a change is read when nothing has changed for so long
  Duration settle{5s};       // what is bad for so long is a trouble; before, it may be half written
  Duration retry{250ms};     // between looks while something is bad and not yet a trouble
  Duration slow_look{1min};  // where inotify does not see, and for what time alone changes
  bool inotify = true;
  // After each look, from the source's own thread: what came of it. For tests.
  std::function<void(const Status&)> looked;
};

// And again whenever they change: renewed in place, renamed over, behind a link that is swapped, CA
// files added or removed. Files that are bad never replace what is held: they are a trouble in
// Report() (a certificate and a key that do not fit are one only after `settle`, as they are
// written one after the other). Another SPIFFE ID is taken, and logged. Warns of certificates that
// end soon, once a day (expiry.h). The clock must outlive the source; `settle` and validity are
// measured by it, waiting is real. Fails when the files are bad at the start.
Result<std::unique_ptr<LiveSource>> WatchPemFiles(const PemFiles& files, const Clock& clock,
                                                  Log log, PemWatchOptions options = {});

}  // namespace starling
