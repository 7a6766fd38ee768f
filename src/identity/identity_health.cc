#include "identity/identity_health.h"

#include "base/text.h"

namespace starling {

IdentityHealth LookAtIdentity(const SvidSource& source, UtcTime now) {
  IdentityHealth health;
  const std::shared_ptr<const IdentityState> state = source.Current();
  const SourceReport report = source.Report();
  if (state->svid != nullptr) health.until = state->svid->not_after;
  health.usable = state->svid != nullptr && health.until > now;
  health.since = report.trouble_since;
  if (!report.trouble.ok()) {
    health.trouble = StrCat(report.source, ": ", report.trouble.message());
    health.next = NextStep(report.trouble);
  }
  if (state->svid == nullptr) {
    health.trouble =
        StrCat("this node has no certificate (",
               health.trouble.empty() ? StrCat(report.source, " gives none") : health.trouble, ")");
  } else if (!health.usable) {
    health.trouble =
        StrCat("the certificate of this node has expired, at ", FormatUtc(health.until),
               health.trouble.empty() ? "" : StrCat(" (", health.trouble, ")"));
    health.since = health.until;
  }
  if (!health.trouble.empty() && health.next.empty()) {
    health.next = "have a new one issued; is the clock right?";
  }
  return health;
}

std::string IdentityLine(const IdentityHealth& health) {
  std::string line;
  if (health.usable) line = StrCat("ready, valid until ", FormatUtc(health.until));
  if (health.trouble.empty()) return line;
  StrAppend(&line, line.empty() ? "" : "; ", health.trouble);
  if (health.since != UtcTime{}) StrAppend(&line, ", since ", FormatUtc(health.since));
  return StrCat(line, "; next: ", health.next);
}

}  // namespace starling
