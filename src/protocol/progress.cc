#include "protocol/progress.h"

#include <limits>

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
  if (!Has(json, "training_on")) return progress;
  ASSIGN_OR_RETURN(const std::uint64_t training_on, GetUint(json, "training_on"));
  progress.training_on = RoundId{training_on};
  ASSIGN_OR_RETURN(progress.training_ms, GetUint(json, "training_ms"));
  return progress;
}

ProbeAnswer ProbeAnswerOf(const Result<Json>& answer) {
  if (!answer.ok()) return {std::nullopt, std::string(answer.status().message())};
  Result<Progress> progress = ParseProgress(*answer);
  if (!progress.ok())
    return {std::nullopt, StrCat("no progress in its answer: ", progress.status().message())};
  return {*std::move(progress), ""};
}

}  // namespace starling
