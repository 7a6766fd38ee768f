// Admission: what the SN refuses before anything is stored. Pure questions to a Replay; the caller
// owns it and holds its lock.
#pragma once

#include <string_view>

#include "protocol/events.h"
#include "protocol/replay.h"

namespace starling {

// The header test of docs/protocol.md, section 1, of an entry that somebody else signed. The
// error's StableCode is one of bad-entry, no-such-training, unknown-key, bad-signature, seq-used,
// split-ledger, seen-ahead, seen-too-old.
[[nodiscard]] Result<Statement> CheckHeader(const Replay& replay, std::string_view entry);

// Does this log have the head that `seen` states? split-ledger or seen-ahead otherwise.
[[nodiscard]] Status CheckSeen(const Replay& replay, const Place& seen);

// A place as requests show it: "<position>:<head>". Refuses anything else.
[[nodiscard]] Result<Place> ParsePlace(std::string_view text);

// The rules of a training that is created because an SL asked for it: everything that nodes state
// is left open. Over a finished training (`previous`) the operator's own limits stay: members,
// weights, witnesses, audits, licences.
[[nodiscard]] Rules OpenRules(const Contract* previous);

// Another head at a place that both have; `who` names the other side ("you have seen", "https://…
// has").
[[nodiscard]] Status SplitLedger(const Place& shown, const Digest& ours,
                                 std::string_view who = "you have seen");

}  // namespace starling
