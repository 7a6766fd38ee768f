#include "identity/expiry.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "identity/certificate.h"

namespace starling {
namespace {

constexpr auto kWarnBefore = std::chrono::days(30);
constexpr auto kShortLife = std::chrono::days(60);
constexpr int kShortLifeParts = 10;
constexpr auto kAgainAfter = std::chrono::hours(24);

std::string HowSoon(UtcTime end, UtcTime at) {
  if (end <= at) return StrCat("ended at ", FormatUtc(end));
  const auto hours = std::chrono::floor<std::chrono::hours>(end - at).count();
  return StrCat("ends at ", FormatUtc(end), ", in ",
                hours >= 48 ? StrCat(hours / 24, " days") : StrCat(hours, " hours"));
}

struct Ending {
  UtcTime end;
  std::string what;
};

std::vector<Ending> EndingsOf(const IdentityState& state, UtcTime at) {
  std::vector<Ending> endings;
  const auto consider = [&](const X509& certificate, std::string what) {
    const UtcTime end = NotAfter(certificate);
    if (EndsSoon(NotBefore(certificate), end, at)) endings.push_back({end, std::move(what)});
  };
  if (state.svid != nullptr) {
    const std::string id = state.svid->id.text();
    for (std::size_t i = 0; i < state.svid->chain.size(); ++i) {
      consider(*state.svid->chain[i],
               i == 0 ? StrCat("the certificate of ", id)
                      : StrCat("the intermediate CA certificate ", i, " behind that of ", id));
    }
  }
  for (const auto& [domain, bundle] : state.bundles) {
    const auto last = std::ranges::max_element(
        bundle.roots, {}, [](const std::shared_ptr<X509>& root) { return NotAfter(*root); });
    if (last == bundle.roots.end()) continue;
    consider(**last, StrCat("the last CA certificate held for the trust domain ", domain));
  }
  return endings;
}

std::string LineOf(const Ending& ending, UtcTime at) {
  return StrCat(ending.what, " ", HowSoon(ending.end, at), ": have a new one issued");
}

}  // namespace

bool EndsSoon(UtcTime not_before, UtcTime not_after, UtcTime at) {
  const auto life = not_after - not_before;
  const auto left = not_after - at;
  return life < kShortLife ? left * kShortLifeParts < life : left < kWarnBefore;
}

std::vector<std::string> ExpiryWarnings(const IdentityState& state, UtcTime at) {
  std::vector<std::string> lines;
  for (const Ending& ending : EndingsOf(state, at)) lines.push_back(LineOf(ending, at));
  return lines;
}

std::vector<std::string> ExpiryReminder::Due(const IdentityState& state, UtcTime now) {
  std::vector<std::string> lines;
  std::vector<UtcTime> ends;
  for (const Ending& ending : EndingsOf(state, now)) {
    ends.push_back(ending.end);
    lines.push_back(LineOf(ending, now));
  }
  // A clock that was set back counts as a new day.
  const bool same_day = said_.has_value() && now >= *said_ && now - *said_ < kAgainAfter;
  if (lines.empty() || (same_day && ends == of_)) return {};
  said_ = now;
  of_ = std::move(ends);
  return lines;
}

}  // namespace starling
