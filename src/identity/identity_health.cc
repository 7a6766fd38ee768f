#include "identity/identity_health.h"

#include <algorithm>

#include "base/text.h"

namespace starling {
namespace {

constexpr Duration kWordEvery = 5s;

}  // namespace

IdentityHealth LookAtIdentity(const SvidSource& source, UtcTime now) {
  IdentityHealth health;
  const std::shared_ptr<const IdentityState> state = source.Current();
  const SourceReport report = source.Report();
  if (state->svid != nullptr) health.until = state->svid->not_after;
  const bool early = state->svid != nullptr && state->svid->not_before > now;
  health.usable = state->svid != nullptr && !early && health.until > now;
  health.since = report.trouble_since;
  if (!report.trouble.ok()) {
    health.trouble = StrCat(report.source, ": ", report.trouble.message());
    health.next = NextStep(report.trouble);
  }
  if (state->svid == nullptr) {
    health.trouble =
        StrCat("this node has no certificate (",
               health.trouble.empty() ? StrCat(report.source, " gives none") : health.trouble, ")");
  } else if (early) {
    health.trouble = StrCat("the certificate of this node is not valid before ",
                            FormatUtc(state->svid->not_before),
                            health.trouble.empty() ? "" : StrCat(" (", health.trouble, ")"));
    health.next = "is the clock of this node right?";
    health.since = {};
  } else if (!health.usable) {
    health.trouble =
        StrCat("the certificate of this node has expired, at ", FormatUtc(health.until),
               health.trouble.empty() ? "" : StrCat(" (", health.trouble, ")"));
    health.since = health.until;
  }
  if (!health.trouble.empty() && health.next.empty()) {
    health.next = "have a new certificate issued; is the clock right?";
  }
  return health;
}

std::string IdentityWords(const IdentityHealth& health) {
  std::string words;
  if (health.usable) words = StrCat("valid until ", FormatUtc(health.until));
  if (health.trouble.empty()) return words;
  StrAppend(&words, words.empty() ? "" : "; ", health.trouble);
  if (health.since != UtcTime{}) StrAppend(&words, ", since ", FormatUtc(health.since));
  return StrCat(words, "; next: ", health.next);
}

std::string IdentityLine(const IdentityHealth& health) {
  return StrCat(health.usable ? "ready, " : "", IdentityWords(health));
}

Status WaitForIdentity(const SvidSource& source, Duration limit, const Clock& clock, const Log& log,
                       const std::stop_token& stop) {
  const Instant begin = clock.Now();
  for (;;) {
    const Duration left = begin + limit - clock.Now();
    Status status = source.AwaitIdentity(std::clamp(left, Duration::zero(), kWordEvery), stop);
    if (!absl::IsDeadlineExceeded(status)) return status;
    const Duration waited = clock.Now() - begin;
    if (waited >= limit) {
      return WithNext(WithCode(absl::DeadlineExceededError(
                                   StrCat("no identity after ", Millis(waited) / 1000,
                                          " s: ", LookAtIdentity(source, clock.UtcNow()).trouble)),
                               "no-identity"),
                      NextStep(status));
    }
    log.Info("waits for its identity since {} s: {}", Millis(waited) / 1000,
             IdentityLine(LookAtIdentity(source, clock.UtcNow())));
  }
}

}  // namespace starling
