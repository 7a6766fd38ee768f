// What there is to do for the entries and tokens of nodes: decided here, done by keeper.h. Pure;
// any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "identity/spiffe/spire_admin.h"
#include "tokens/secret.h"

namespace starling {

struct EntryPlan {
  std::vector<SpireEntry> create, update;  // an update has the id of the server's entry
  friend bool operator==(const EntryPlan&, const EntryPlan&) = default;
};
// `held`: what the server has with the IDs and parents of `wanted`. An entry is the one that is
// wanted when it has its ID, parent and selectors, or the id that we give (then its selectors were
// changed). Others with the same ID are somebody else's, and stay as they are. The order of names
// in a list means nothing, as the server does not keep it.
[[nodiscard]] EntryPlan PlanEntries(const std::vector<SpireEntry>& wanted,
                                    const std::vector<SpireEntry>& held);

// An entry that made the alias of a token which nobody used: to be removed once the token is over.
struct RetiredAlias {
  std::string entry;
  UtcTime over;
  std::string path = {};  // the alias; "": not said, the one of the Secret's node
  friend bool operator==(const RetiredAlias&, const RetiredAlias&) = default;
};

// What one Secret says of its token. What cannot be read is as if it was not there.
struct TokenSecret {
  std::string token;
  std::string agent;  // the SPIFFE ID of the alias that it was made for
  std::optional<UtcTime> expires;
  std::string bundle;
  std::vector<RetiredAlias> retired;
};
[[nodiscard]] TokenSecret ReadTokenSecret(const Secret& secret);

enum class NewToken : std::uint8_t {
  kNo,
  kFirst,       // there is none, or one of which nothing is known
  kOtherAgent,  // the configuration names another agent than it was made for
  kSpent,
  kUnknown,  // the server is another one than made it, or lost what it had
  kEnding,
};
// What the server knows of a token. It says nothing of tokens themselves: one is spent when its
// agent is there, and unknown when it has not even its alias.
enum class TokenFate : std::uint8_t { kUnused, kSpent, kUnknown };
[[nodiscard]] NewToken NeedsToken(const TokenSecret& held, const std::string& agent, TokenFate fate,
                                  Duration ttl, UtcTime now);
// Less than a quarter of the life of a token is left of this one.
[[nodiscard]] bool IsEnding(UtcTime expires, Duration ttl, UtcTime now);
// In the words of a log line, behind the name of the Secret.
[[nodiscard]] std::string_view NewTokenWords(NewToken why);

// What is to be in a Secret.
struct TokenContent {
  std::string agent;
  const SpireToken* fresh = nullptr;  // null: the token stays
  std::string bundle;
  std::vector<RetiredAlias> retired;
};
// What of it the Secret does not hold yet.
[[nodiscard]] SecretPatch PlanSecret(const TokenSecret& held, const TokenContent& wanted);
// Whether the Secret holds what was set.
[[nodiscard]] bool Holds(const Secret& secret, const SecretPatch& patch);

// 1 s, 2 s, 4 s … 30 s after so many failures in a row (from 1).
[[nodiscard]] Duration RetryAfter(int failures);

}  // namespace starling
