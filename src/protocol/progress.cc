#include "protocol/progress.h"

#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "protocol/fields.h"

namespace starling {
namespace {

Result<Phase> ParsePhase(const std::string& text) {
  for (const Phase phase : {Phase::kCollecting, Phase::kMerging, Phase::kDone}) {
    if (PhaseName(phase) == text) return phase;
  }
  return absl::InvalidArgumentError("phase: unknown");
}

constexpr std::size_t kTroubleTextMax = 1000;

Result<std::vector<Trouble>> GetTroubles(const Json& json) {
  std::vector<Trouble> troubles;
  if (!Has(json, "troubles")) return troubles;
  ASSIGN_OR_RETURN(const Json* const list, GetArray(json, "troubles", kTroublesMax));
  for (const Json& item : *list) {
    ASSIGN_OR_RETURN(const std::string what, GetString(item, "what", kTroubleTextMax));
    ASSIGN_OR_RETURN(const std::string next, GetString(item, "next", kTroubleTextMax));
    troubles.push_back({Printable(what, kTroubleTextMax), Printable(next, kTroubleTextMax)});
  }
  return troubles;
}

}  // namespace

Json ProgressJson(const Progress& progress) {
  Json json = {{"round", progress.round.value()},
               {"attempt", progress.attempt.value()},
               {"phase", PhaseName(progress.phase)},
               {"done_bytes", progress.done_bytes},
               {"waiting_for", fields::NodesJson(progress.waiting_for)}};
  if (progress.training_on) {
    json["training_on"] = progress.training_on->value();
    json["training_ms"] = progress.training_ms;
  }
  if (progress.time_unix_ms) json["time_unix_ms"] = *progress.time_unix_ms;
  for (const Trouble& trouble : progress.troubles)
    json["troubles"].push_back({{"what", trouble.what}, {"next", trouble.next}});
  return json;
}

Result<Progress> ParseProgress(const Json& json) {
  Progress progress;
  ASSIGN_OR_RETURN(progress.round, fields::GetRound(json));
  ASSIGN_OR_RETURN(progress.attempt, fields::GetAttempt(json));
  ASSIGN_OR_RETURN(const std::string phase, GetString(json, "phase"));
  ASSIGN_OR_RETURN(progress.phase, ParsePhase(phase));
  ASSIGN_OR_RETURN(progress.done_bytes, GetUint(json, "done_bytes"));
  Result<std::vector<NodeName>> waiting_for = fields::GetNodes(json, "waiting_for");
  RETURN_IF_ERROR(Annotate(waiting_for.status(), "waiting_for"));
  progress.waiting_for = *std::move(waiting_for);
  Result<std::vector<Trouble>> troubles = GetTroubles(json);
  RETURN_IF_ERROR(Annotate(troubles.status(), "troubles"));
  progress.troubles = *std::move(troubles);
  if (Has(json, "time_unix_ms")) {
    ASSIGN_OR_RETURN(const std::uint64_t time, GetUint(json, "time_unix_ms"));
    progress.time_unix_ms = static_cast<std::int64_t>(time);
  }
  if (!Has(json, "training_on")) return progress;
  ASSIGN_OR_RETURN(const std::uint64_t training_on, GetUint(json, "training_on"));
  progress.training_on = RoundId{training_on};
  ASSIGN_OR_RETURN(progress.training_ms, GetUint(json, "training_ms"));
  return progress;
}

ProbeAnswer ProbeAnswerOf(const Result<Json>& answer) {
  if (!answer.ok()) {
    Trouble trouble = TroubleOf(answer.status());
    return {std::nullopt, std::move(trouble.what), std::move(trouble.next),
            absl::IsNotFound(answer.status()), StableCode(answer.status()) == "no-identity"};
  }
  Result<Progress> progress = ParseProgress(*answer);
  if (!progress.ok())
    return {std::nullopt, StrCat("no progress in its answer: ", progress.status().message()),
            "compare the releases of the two"};
  return {*std::move(progress), ""};
}

ProbeAnswer ProbeAnswerOf(const Result<Json>& answer, UtcTime now) {
  ProbeAnswer probed = ProbeAnswerOf(answer);
  if (!probed.progress || !probed.progress->time_unix_ms) return probed;
  const std::chrono::milliseconds ahead(*probed.progress->time_unix_ms - UnixMs(now));
  if (std::optional<Trouble> trouble = ClockTrouble("its clock", ahead, "this SN's"))
    probed.progress->troubles.insert(probed.progress->troubles.begin(), *std::move(trouble));
  return probed;
}

}  // namespace starling
