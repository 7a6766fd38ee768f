// Waiting: one wait, for people: for whom, since when, what happens next; and the words for what
// keeps a node away, the same wherever they are read. Values; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "protocol/ids.h"

namespace starling {

// What is wrong with one node or one connection, and what a person can do about it.
struct Trouble {
  std::string what;  // "its port is closed: 10.0.0.3:30305: Connection refused"
  std::string next;  // "start it, or open its port"
  friend bool operator==(const Trouble&, const Trouble&) = default;
};

struct Waiting {
  ContractName contract;
  std::vector<NodeName> on;
  std::string what;  // "round 3 waits for check-ins: 2 of 3 here"
  Instant since;
  std::string next;              // "closes without c in 12 s"
  std::vector<NodeName> silent;  // of `on`: those that do not answer probes
  std::optional<Instant> until;  // when `next` happens by itself
  bool trouble = false;          // what is wrong with one node (`on`); `what` begins with its name
};

// The words for a failure to reach a node, by the failure's stable code (docs/protocol.md, "Waits
// in words"). `failure` is not OK; its message follows the words, and its own next step wins.
[[nodiscard]] Trouble TroubleOf(const Status& failure);
// A node that takes connections and says nothing.
[[nodiscard]] Trouble SilentTrouble();
// The clock of one differs from another's by so much that tokens and certificates fail; nothing
// when it does not. `whose` and `theirs`: "its clock", "this SN's".
inline constexpr std::chrono::milliseconds kClockOffMax = std::chrono::seconds(30);
[[nodiscard]] std::optional<Trouble> ClockTrouble(std::string_view whose,
                                                  std::chrono::milliseconds ahead,
                                                  std::string_view theirs);

// "a, b"
[[nodiscard]] std::string NamesText(const std::vector<NodeName>& names);
// One wait in one sentence: "<what>, waits for a, b, since <since>; next: <next>". `since` is a
// time in words.
struct WaitWords {
  std::string what;
  std::string on;  // "a, b"; "" where `what` says it, or nobody is named
  std::string since;
  std::string next;
};
[[nodiscard]] std::string WaitSentence(const WaitWords& words);
[[nodiscard]] std::string WaitSentence(const Waiting& waiting, std::string since);

}  // namespace starling
