#include "identity/join_plan.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr Duration kRetryMin = std::chrono::seconds(1);
constexpr Duration kRetryMax = std::chrono::seconds(30);
constexpr Duration kRetryFloor = std::chrono::milliseconds(250);
constexpr auto kLookEvery = std::chrono::minutes(1);
constexpr auto kLookFloor = std::chrono::seconds(1);
constexpr std::size_t kListedMax = 20;  // IDs in an error
constexpr std::array<std::string_view, 6> kFinal = {"join-token-missing",  "join-token-spent",
                                                    "attestation-refused", "agent-refused",
                                                    "join-state-broken",   "no-bootstrap-bundle"};

Status Final(absl::StatusCode code, std::string_view stable_code, const std::string& why,
             std::string_view next) {
  return WithNext(WithCode(Status(code, why), stable_code), next);
}

std::string Listed(const std::vector<JoinEntry>& entries) {
  std::string text;
  for (std::size_t i = 0; i < std::min(entries.size(), kListedMax); ++i) {
    StrAppend(&text, i == 0 ? "" : ", ", Printable(entries[i].spiffe_id));
    if (!entries[i].hint.empty()) StrAppend(&text, " (hint ", Printable(entries[i].hint), ")");
  }
  if (entries.size() > kListedMax) StrAppend(&text, " and ", entries.size() - kListedMax, " more");
  return text;
}

std::string Wanted(const SvidChoice& choice) {
  if (!choice.hint.empty()) return StrCat("with the hint ", Printable(choice.hint));
  std::string text;
  for (const std::string& path : choice.paths) StrAppend(&text, text.empty() ? "" : ", ", path);
  return text.empty() ? "the only one" : StrCat("for ", text);
}

Status NoEntry(const std::vector<JoinEntry>& entries, const SvidChoice& choice) {
  const std::string why =
      entries.empty() ? "the SPIRE server has no entry for this node"
                      : StrCat("none of the entries that the SPIRE server has for this node is ",
                               Wanted(choice), "; there are: ", Listed(entries));
  return Final(absl::StatusCode::kNotFound, "no-matching-entry", why,
               entries.empty()
                   ? "spire-server entry create, with the ID that the join token was made for as "
                     "its parent; it is looked for again by itself"
                   : "create that entry, or choose one that there is with --spiffe-path");
}

}  // namespace

std::string NewTokenStep() {
  return "make a new join token: spire-server token generate -spiffeID ID (the parent of this "
         "node's entry), and start this node with it";
}

Result<JoinStart> DecideJoinStart(const JoinStartFacts& facts) {
  const bool given = !facts.token_hash.empty();
  if (absl::IsNotFound(facts.state.status())) {
    if (given) return JoinStart::kAttest;
    return Final(
        absl::StatusCode::kFailedPrecondition, "join-token-missing",
        StrCat("no join token is given, and there is no ", facts.path, " of an earlier start"),
        NewTokenStep());
  }
  if (!facts.state.ok()) {
    if (given) return JoinStart::kAttest;
    return WithNext(facts.state.status(), NewTokenStep());
  }
  const JoinState& state = *facts.state;
  if (state.trust_domain != facts.trust_domain) {
    if (given && state.token_hash != facts.token_hash) return JoinStart::kAttest;
    return Final(absl::StatusCode::kFailedPrecondition, "join-state-broken",
                 StrCat(facts.path, ": is of the trust domain ", Printable(state.trust_domain),
                        ", not ", facts.trust_domain),
                 StrCat("name another state directory, or ", NewTokenStep()));
  }
  const bool good = state.agent->not_after > facts.now;
  if (good && facts.token_in_file) return JoinStart::kResume;
  if (given && state.token_hash != facts.token_hash) return JoinStart::kAttest;
  if (good) return JoinStart::kResume;
  Status expired = AgentExpired(state.agent->not_after);
  if (!given) return expired;
  return Final(expired.code(), "agent-expired",
               StrCat(expired.message(), ", and the join token that is given was spent for it"),
               NewTokenStep());
}

Status DecideLostAgent(const LostAgentFacts& facts) {
  const std::string_view holds =
      facts.file_hash.empty()               ? "no join token"
      : facts.file_hash == facts.kept_hash  ? "the join token that was spent for this agent"
      : facts.file_hash == facts.spent_hash ? "a join token that the server does not take"
                                            : "";
  if (holds.empty()) return absl::OkStatus();
  return Final(facts.loss.code(), StableCode(facts.loss),
               StrCat(facts.loss.message(), "; ", facts.path, " holds ", holds),
               facts.waits ? StrCat("put another one there, it is taken by itself; on Kubernetes "
                                    "starling spire-tokens does that")
                           : NextStep(facts.loss));
}

Result<JoinEntry> ChooseEntry(std::vector<JoinEntry> entries, const SvidChoice& choice,
                              const std::string& trust_domain) {
  std::ranges::sort(entries, {}, [](const JoinEntry& e) { return std::tie(e.spiffe_id, e.id); });
  const PeerPolicy policy{{trust_domain}, choice.paths};
  const bool anything = choice.hint.empty() && choice.paths.empty();
  const bool single = !entries.empty() && entries.front().spiffe_id == entries.back().spiffe_id;
  for (JoinEntry& entry : entries) {
    const Result<SpiffeId> id = SpiffeId::Parse(entry.spiffe_id);
    if (!id.ok() || id->trust_domain() != trust_domain) continue;
    const bool fits =
        !choice.hint.empty() ? entry.hint == choice.hint : (anything ? single : policy.Allows(*id));
    if (fits) return std::move(entry);
  }
  return NoEntry(entries, choice);
}

JoinLife LifeOf(const Svid& svid, UtcTime received) {
  return {std::min(std::max(svid.not_before, received), svid.not_after), svid.not_after};
}

bool RenewalDue(const JoinLife& life, UtcTime now) {
  return now >= life.from + (life.until - life.from) / 2;
}

UtcTime NextLook(const JoinTimes& times) {
  UtcTime next = std::min(times.looked + kLookEvery,
                          times.agent.from + (times.agent.until - times.agent.from) / 2);
  if (times.svid) {
    const auto life = times.svid->until - times.svid->from;
    next = std::min({next, times.svid->from + life / 2, times.looked + life / 4});
  }
  return std::max(next, times.looked + kLookFloor);
}

Duration LookPause(const JoinTimes& times, UtcTime now) {
  if (now < times.looked) return Duration::zero();
  return std::clamp<Duration>(NextLook(times) - now, Duration::zero(), kLookEvery);
}

Duration RetryPause(int failures, std::span<const UtcTime> ends, UtcTime now) {
  Duration pause = kRetryMin;
  for (int i = 0; i < failures && pause < kRetryMax; ++i) pause *= 2;
  pause = std::min(pause, kRetryMax);
  for (const UtcTime end : ends) {
    if (end > now) pause = std::min(pause, std::max<Duration>((end - now) / 2, kRetryFloor));
  }
  return pause;
}

bool IsFinalJoinError(const Status& status) {
  return !status.ok() && std::ranges::find(kFinal, StableCode(status)) != kFinal.end();
}

Status AgentExpired(UtcTime at) {
  return Final(absl::StatusCode::kFailedPrecondition, "agent-expired",
               StrCat("this node's agent certificate ran out at ", FormatUtc(at),
                      ", and only a new join token gives another one"),
               NewTokenStep());
}

}  // namespace starling
