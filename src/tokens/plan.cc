#include "tokens/plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "base/time_text.h"
#include "identity/spiffe_id.h"

namespace starling {
namespace {

constexpr std::string_view kToken = "token", kBundle = "bundle.pem";  // keys of the Secret's data
constexpr std::string_view kAgent = "starling.dev/token-agent";       // keys of its annotations
constexpr std::string_view kExpires = "starling.dev/token-expires";
constexpr std::string_view kRetired = "starling.dev/retired-entries";
constexpr std::size_t kTokenBytesMax = 128;
constexpr std::size_t kRetiredMax = 16;
constexpr std::size_t kEntryIdMax = 255;
constexpr int kLivesReserve = 4;  // a new token when less than this part of a life is left
constexpr Duration kRetryMax = 30s;

using Names = std::vector<std::string>;

bool SameNames(const Names& a, const Names& b) {
  return std::multiset<std::string>(a.begin(), a.end()) ==
         std::multiset<std::string>(b.begin(), b.end());
}

bool SameEntry(const SpireEntry& a, const SpireEntry& b) {
  return SameNames(a.selectors, b.selectors) && SameNames(a.dns_names, b.dns_names) &&
         SameNames(a.federates_with, b.federates_with) && a.x509_svid_ttl == b.x509_svid_ttl;
}

// What may stand in an ID of SPIRE: anything else never was a token or an entry's id of it.
bool IsPlain(std::string_view text, std::size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max && text != "." && text != ".." &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

std::string Value(const std::map<std::string, std::string>& in, std::string_view key) {
  const auto found = in.find(std::string(key));
  return found == in.end() ? "" : found->second;
}

bool IsPath(std::string_view text) {
  return text.starts_with("/") && SpiffeId::Parse(StrCat("spiffe://a", text)).ok();
}

// "id@time@/path id@time"
std::vector<RetiredAlias> ParseRetired(std::string_view text) {
  std::vector<RetiredAlias> retired;
  while (!text.empty() && retired.size() < kRetiredMax) {
    const std::string_view one = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    const std::size_t at = one.find('@');
    if (at == std::string_view::npos) continue;
    const std::string_view rest = one.substr(at + 1);
    const std::size_t end = std::min(rest.find('@'), rest.size());
    const std::optional<UtcTime> over = ParseUtc(rest.substr(0, end));
    const std::string path(rest.substr(std::min(end + 1, rest.size())));
    if (over && IsPlain(one.substr(0, at), kEntryIdMax) && (end == rest.size() || IsPath(path)))
      retired.push_back({std::string(one.substr(0, at)), *over, path});
  }
  return retired;
}

std::string RetiredText(const std::vector<RetiredAlias>& retired) {
  std::string text;
  // The newest: what is dropped stays with the server, which hurts nobody.
  const std::size_t skipped = retired.size() - std::min(retired.size(), kRetiredMax);
  for (std::size_t i = skipped; i < retired.size(); ++i) {
    StrAppend(&text, text.empty() ? "" : " ", retired[i].entry, "@", FormatUtc(retired[i].over));
    if (!retired[i].path.empty()) StrAppend(&text, "@", retired[i].path);
  }
  return text;
}

}  // namespace

EntryPlan PlanEntries(const std::vector<SpireEntry>& wanted, const std::vector<SpireEntry>& held) {
  EntryPlan plan;
  for (const SpireEntry& want : wanted) {
    const auto is_of = [&](const SpireEntry& has) {
      return has.path == want.path && has.parent == want.parent;
    };
    auto found = std::ranges::find_if(held, [&](const SpireEntry& has) {
      return is_of(has) && SameNames(has.selectors, want.selectors);
    });
    if (found == held.end()) {
      found = std::ranges::find_if(
          held, [&](const SpireEntry& has) { return is_of(has) && has.id == want.id; });
    }
    if (found == held.end()) {
      plan.create.push_back(want);
    } else if (!SameEntry(*found, want)) {
      plan.update.push_back(want);
      plan.update.back().id = found->id;
    }
  }
  return plan;
}

TokenSecret ReadTokenSecret(const Secret& secret) {
  TokenSecret out{.token = Value(secret.data, kToken),
                  .agent = Value(secret.annotations, kAgent),
                  .expires = ParseUtc(Value(secret.annotations, kExpires)),
                  .bundle = Value(secret.data, kBundle),
                  .retired = ParseRetired(Value(secret.annotations, kRetired))};
  if (!IsPlain(out.token, kTokenBytesMax)) out.token.clear();
  return out;
}

NewToken NeedsToken(const TokenSecret& held, const std::string& agent, TokenFate fate, Duration ttl,
                    UtcTime now) {
  if (held.token.empty() || !held.expires) return NewToken::kFirst;
  if (held.agent != agent) return NewToken::kOtherAgent;
  if (fate == TokenFate::kSpent) return NewToken::kSpent;
  if (fate == TokenFate::kUnknown) return NewToken::kUnknown;
  return IsEnding(*held.expires, ttl, now) ? NewToken::kEnding : NewToken::kNo;
}

bool IsEnding(UtcTime expires, Duration ttl, UtcTime now) {
  return expires - now < ttl / kLivesReserve;
}

std::string_view NewTokenWords(NewToken why) {
  switch (why) {
    case NewToken::kNo:
      return "keeps its join token";
    case NewToken::kFirst:
      return "has its first join token";
    case NewToken::kOtherAgent:
      return "has a join token for another agent than before";
    case NewToken::kSpent:
      return "has a new join token, as its node has used the old one";
    case NewToken::kUnknown:
      return "has a new join token, as the server does not know the old one";
    case NewToken::kEnding:
      return "has a new join token before the end of the old one, which nobody used";
  }
  return "";
}

SecretPatch PlanSecret(const TokenSecret& held, const TokenContent& wanted) {
  SecretPatch patch;
  if (wanted.fresh != nullptr) {
    patch.data[std::string(kToken)] = wanted.fresh->value;
    patch.annotations[std::string(kAgent)] = wanted.agent;
    patch.annotations[std::string(kExpires)] = FormatUtc(wanted.fresh->expires);
  }
  if (held.bundle != wanted.bundle) patch.data[std::string(kBundle)] = wanted.bundle;
  if (held.retired != wanted.retired)
    patch.annotations[std::string(kRetired)] = RetiredText(wanted.retired);
  return patch;
}

bool Holds(const Secret& secret, const SecretPatch& patch) {
  const auto in = [](const auto& all, const auto& some) {
    return std::ranges::all_of(some, [&](const auto& item) {
      const auto found = all.find(item.first);
      return found != all.end() && found->second == item.second;
    });
  };
  return in(secret.data, patch.data) && in(secret.annotations, patch.annotations);
}

Duration RetryAfter(int failures) {
  CHECK(failures > 0);
  Duration pause = 1s;
  for (int i = 1; i < failures && pause < kRetryMax; ++i) pause *= 2;
  return std::min(pause, kRetryMax);
}

}  // namespace starling
