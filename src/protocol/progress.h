// Progress: what a node tells of itself at GET /v1/progress/{instance}, and the probe that asks for
// it (docs/protocol.md, "Probes"). Values; any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "crypto/json.h"
#include "protocol/state.h"
#include "protocol/waiting.h"

namespace starling {

// How long whoever performs a probe waits for its answer.
inline constexpr Duration kProbeLimit = std::chrono::seconds(2);

// What waits longer with each attempt of a round: d · 2^a, and no longer than 64 times d. For the
// deciders and for whoever moves bytes.
inline constexpr std::uint64_t kDoublingsMax = 6;
[[nodiscard]] inline Duration Doubled(Duration d, AttemptId attempt) {
  return d * (std::int64_t{1} << std::min(attempt.value(), kDoublingsMax));
}

inline constexpr std::size_t kTroublesMax = 8;

struct Progress {
  RoundId round;
  AttemptId attempt;
  Phase phase = Phase::kCollecting;
  std::uint64_t done_bytes = 0;              // of the merge under way
  std::vector<NodeName> waiting_for;         // sources that it cannot go on without
  std::optional<RoundId> training_on;        // the round for which its program trains now
  std::uint64_t training_ms = 0;             // and for how long it has
  std::vector<Trouble> troubles;             // of its own: its disk, its program; kTroublesMax
  std::optional<std::int64_t> time_unix_ms;  // its clock when it answered
  friend bool operator==(const Progress&, const Progress&) = default;
};

using ProbeId = Strong<struct ProbeIdTag, std::uint64_t>;

// A question to one node, asked once. The driver asks `url` within kProbeLimit, probes of one
// answer in parallel, and feeds back what came of each. Only a Progress of this instance is an
// answer: a node that is not enrolled in it (a wiped disk, another program on its port) answers 404
// and so fails.
struct Probe {
  ProbeId id;
  ContractName contract;
  Position instance;
  NodeName node;
  std::string url;  // blob_url of the node
};
struct ProbeAnswer {
  std::optional<Progress> progress;  // none: it failed
  std::string why;                   // in words, when it failed: "its port is closed: …"
  std::string next = {};             // and what a person can do about it
  // It failed, but a node of ours answers there and knows of no such enrolment: it has lost its
  // disk, or has not read yet that it is enrolled.
  bool unenrolled = false;
  // It failed for want of a certificate of who asked: that says nothing of the node.
  bool own_fault = false;
  [[nodiscard]] bool answered() const { return progress.has_value(); }
};

// As it travels. Strict: another shape is InvalidArgument, naming the member.
[[nodiscard]] Json ProgressJson(const Progress& progress);
[[nodiscard]] Result<Progress> ParseProgress(const Json& json);
// What the answer to a probe's request says; an error of the transport is a failed probe.
[[nodiscard]] ProbeAnswer ProbeAnswerOf(const Result<Json>& answer);
// The same at an SN, whose clock showed `now` when the answer came: a node whose clock is off has
// that among its troubles.
[[nodiscard]] ProbeAnswer ProbeAnswerOf(const Result<Json>& answer, UtcTime now);

}  // namespace starling
