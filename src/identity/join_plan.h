// What a node that is its own SPIRE agent decides: with which agent it starts, which entry is its
// own, what is due when, and what no waiting cures. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/join_state.h"
#include "identity/svid.h"

namespace starling {

// What an error says to do about a token that is gone.
[[nodiscard]] std::string NewTokenStep();

// What there is at the start: `state` as ReadJoinState() answered, from the file `path`.
struct JoinStartFacts {
  const Result<JoinState>& state;
  std::string path;
  std::string trust_domain;
  std::string token_hash;      // "": no token is given
  bool token_in_file = false;  // which somebody refills; else people gave it to this start
  UtcTime now;
};
enum class JoinStart : std::uint8_t { kResume, kAttest };
// The agent in the state goes on, without a token or with the one that it came from. Another token
// attests anew: one that people gave also where the state is good, one in a file only where it is
// of no use. Errors are for people: codes join-token-missing, join-token-spent, agent-expired,
// join-state-broken.
[[nodiscard]] Result<JoinStart> DecideJoinStart(const JoinStartFacts& facts);

// The agent of a node whose token comes in a file is of no use any more.
struct LostAgentFacts {
  const Status& loss;          // agent-refused by the server, or agent-expired
  std::string kept_hash;       // of the token that the agent came from
  std::string spent_hash;      // of the one that the server did not take instead; "": none
  std::string path = {};       // of the file
  std::string file_hash = {};  // of the token that the file has now; "": none
  bool waits = false;          // the node goes on without an agent until there is another token
};
// OK: the file's token attests anew. Else the loss, with what the file holds.
[[nodiscard]] Status DecideLostAgent(const LostAgentFacts& facts);

struct JoinEntry {
  std::string id;
  std::string spiffe_id;
  std::string hint;
  std::int64_t revision = 0;
  std::vector<std::string> federates_with;
  friend bool operator==(const JoinEntry&, const JoinEntry&) = default;
};
// The one that `choice` asks for, the first by SPIFFE ID and entry ID where several fit. An empty
// choice takes the only identity there is. The server gives every entry below the agent, whatever
// its selectors say, so that nothing is taken that was not asked for: NotFound (code
// no-matching-entry) lists what there is.
[[nodiscard]] Result<JoinEntry> ChooseEntry(std::vector<JoinEntry> entries,
                                            const SvidChoice& choice,
                                            const std::string& trust_domain);

// A certificate's life as it is left when it comes: SPIRE dates it back by a few seconds and caps
// it by the life of its CA, so that nothing but the certificate tells.
struct JoinLife {
  UtcTime from;
  UtcTime until;
};
[[nodiscard]] JoinLife LifeOf(const Svid& svid, UtcTime received);
// Half of the life is over.
[[nodiscard]] bool RenewalDue(const JoinLife& life, UtcTime now);

struct JoinTimes {
  JoinLife agent;
  std::optional<JoinLife> svid;
  UtcTime looked;  // at entries and bundles
};
// When to look at the server again: at the next renewal, after a quarter of the SVID's life at the
// latest, after a minute at the latest, and not within a second.
[[nodiscard]] UtcTime NextLook(const JoinTimes& times);
// How long to wait for it. The wall clock may jump meanwhile, so never longer than a minute, and at
// once where it was set back behind the last look.
[[nodiscard]] Duration LookPause(const JoinTimes& times, UtcTime now);

// How long to wait after `failures` (from 0) failures in a row: 1 s doubling up to 30 s, never
// beyond half of what is left of a certificate that still is valid.
[[nodiscard]] Duration RetryPause(int failures, std::span<const UtcTime> ends, UtcTime now);

// By the code: no later attempt can succeed without a new token or another configuration. An agent
// that ran out is none of these: it is the wall clock that says so, and that may have been wrong.
[[nodiscard]] bool IsFinalJoinError(const Status& status);
[[nodiscard]] Status AgentExpired(UtcTime at);

}  // namespace starling
