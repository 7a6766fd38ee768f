#include "identity_show.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/text.h"
#include "identity/certificate.h"
#include "identity/identity_health.h"

namespace starling {
namespace {

std::string Span(UtcTime::duration left) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left).count();
  if (seconds <= 0) return "over";
  if (seconds < 120) return StrCat(seconds, " s left");
  if (seconds < 2 * 3600) return StrCat(seconds / 60, " min left");
  if (seconds < 2 * 86'400) return StrCat(seconds / 3600, " h left");
  return StrCat(seconds / 86'400, " days left");
}

std::string Until(UtcTime end, UtcTime now) {
  return StrCat(FormatUtc(end), " (", Span(end - now), ")");
}

// The domains that a policy lets in: its own list, else all whose CAs are held.
std::vector<std::string> DomainsOf(const PeerPolicy& policy, const IdentityState& state) {
  std::vector<std::string> domains;
  for (const auto& [domain, bundle] : state.bundles) {
    if (bundle.roots.empty()) continue;
    if (policy.trust_domains.empty() ||
        std::ranges::find(policy.trust_domains, domain) != policy.trust_domains.end())
      domains.push_back(domain);
  }
  return domains;
}

std::string Joined(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) StrAppend(&text, text.empty() ? "" : ", ", item);
  return text.empty() ? "none" : text;
}

}  // namespace

std::string IdentityText(const SvidSource& source, const std::vector<PeerRole>& roles,
                         UtcTime now) {
  const std::shared_ptr<const IdentityState> state = source.Current();
  const SourceReport report = source.Report();
  std::string text = StrCat("from         ", report.source, "\n");
  if (state->svid != nullptr) {
    StrAppend(&text, "identity     ", state->svid->id.text(), "\nvalid        ",
              FormatUtc(state->svid->not_before), " to ", Until(state->svid->not_after, now), "\n");
  }
  if (const IdentityHealth health = LookAtIdentity(source, now); !health.trouble.empty())
    StrAppend(&text, "trouble      ", Printable(IdentityLine(health), 1000), "\n");
  StrAppend(&text, "\nbelieved authorities\n");
  for (const auto& [domain, bundle] : state->bundles) {
    for (const auto& root : bundle.roots)
      StrAppend(&text, "  ", domain, "  CA until ", Until(NotAfter(*root), now), "\n");
    if (bundle.roots.empty()) StrAppend(&text, "  ", domain, "  no CA: nobody is believed\n");
  }
  StrAppend(&text, "\npeers that are let in\n");
  for (const auto& [role, policy] : roles) {
    StrAppend(&text, "  ", role, std::string(role.size() < 14 ? 14 - role.size() : 1, ' '),
              Joined(policy.paths), "  of ", Joined(DomainsOf(policy, *state)), "\n");
  }
  return text;
}

Json IdentityJson(const SvidSource& source, const std::vector<PeerRole>& roles, UtcTime now) {
  const std::shared_ptr<const IdentityState> state = source.Current();
  const IdentityHealth health = LookAtIdentity(source, now);
  Json out{{"source", source.Report().source}, {"usable", health.usable}};
  if (state->svid != nullptr) {
    out["id"] = state->svid->id.text();
    out["not_before"] = FormatUtc(state->svid->not_before);
    out["not_after"] = FormatUtc(state->svid->not_after);
  }
  if (!health.trouble.empty()) out["trouble"] = IdentityLine(health);
  out["authorities"] = Json::object();
  for (const auto& [domain, bundle] : state->bundles) {
    Json ends = Json::array();
    for (const auto& root : bundle.roots) ends.push_back({{"until", FormatUtc(NotAfter(*root))}});
    out["authorities"][domain] = std::move(ends);
  }
  out["peers"] = Json::array();
  for (const auto& [role, policy] : roles) {
    out["peers"].push_back(
        {{"role", role}, {"paths", policy.paths}, {"trust_domains", DomainsOf(policy, *state)}});
  }
  return out;
}

}  // namespace starling
