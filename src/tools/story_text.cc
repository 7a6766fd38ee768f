// The words of a story. Formats are for people; programs use --json.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "tools/story.h"

namespace starling {
namespace {

std::string Seconds(std::int64_t ms) {
  return absl::StrFormat("%.2f s", static_cast<double>(ms) / 1000.0);
}

std::string Names(const std::vector<Member>& members, std::string_view between) {
  return absl::StrJoin(members, AbslView(between),
                       [](std::string* out, const Member& m) { StrAppend(out, m.name.value()); });
}

std::string LeadersText(const RoundStory& round) {
  return absl::StrJoin(round.leaders, " > ",
                       [](std::string* out, const NodeName& n) { StrAppend(out, n.value()); });
}

std::string OptionalNumber(std::string_view label, const std::optional<double>& value) {
  return value ? absl::StrFormat(", %s %.4f", label, *value) : std::string();
}

std::uint64_t BytesMoved(const RoundStory& round) {
  std::uint64_t sum = 0;
  for (const auto& [name, report] : round.votes) sum += report.bytes;
  return sum;
}

std::string MemberLine(const RoundStory& round, const Member& member) {
  std::string line = absl::StrFormat("    %-10s weight %d", member.name.value(), member.weight);
  if (member.kind != NodeKind::kTrainer)
    StrAppend(&line, ", finished (", KindName(member.kind), ")");
  StrAppend(&line, ", update ", member.update ? ShortText(*member.update) : "none");
  const auto report = round.reports.find(member.name);
  if (report != round.reports.end()) {
    const CheckinReport& r = report->second;
    if (r.norm) absl::StrAppendFormat(&line, ", moved by %.4g", *r.norm);
    if (r.batches > 0)
      absl::StrAppendFormat(&line, ", %d batches in %s", r.batches,
                            Seconds(static_cast<std::int64_t>(r.train_ms)));
    StrAppend(&line, OptionalNumber("loss", r.loss), OptionalNumber("metric", r.metric));
  }
  const auto vote = round.votes.find(member.name);
  if (vote != round.votes.end()) {
    absl::StrAppendFormat(&line, "; pulled %s, merged %s, %.1f MiB",
                          Seconds(static_cast<std::int64_t>(vote->second.pull_ms)),
                          Seconds(static_cast<std::int64_t>(vote->second.merge_ms)),
                          static_cast<double>(vote->second.bytes) / 1048576.0);
  }
  return line;
}

// Loss and metric of the merged model, as the nodes measured them before the next round.
std::string AfterLine(const TrainingStory& training, RoundId round) {
  const auto next = training.rounds.find(RoundId{round.value() + 1});
  std::string line;
  if (next == training.rounds.end()) return line;
  for (const auto& [name, report] : next->second.reports) {
    if (!report.base_loss && !report.base_metric) continue;
    const std::string numbers = StrCat(OptionalNumber("loss", report.base_loss),
                                       OptionalNumber("metric", report.base_metric));
    StrAppend(&line, line.empty() ? "  after: " : "; ", name.value(), numbers.substr(1));
  }
  return line.empty() ? line : line + "\n";
}

std::string KindText(const RoundStory& round) {
  switch (round.kind) {
    case MergeKind::kMean:
      return "the weighted mean of their updates";
    case MergeKind::kCopyOfLeader:
      return "the leader's own model: everybody starts from it";
    case MergeKind::kBase:
      return "the model of the round before, as all weights are 0";
  }
  return "";
}

}  // namespace

std::string RoundLine(const RoundStory& round) {
  std::string line = absl::StrFormat("round %-3d %-12s leader %-6s model %s", round.round.value(),
                                     Names(round.members, " "), LeadersText(round),
                                     round.root ? ShortText(*round.root) : "--------");
  for (const auto& [name, report] : round.reports) {
    if (report.metric) absl::StrAppendFormat(&line, "  %s %.3f", name.value(), *report.metric);
  }
  absl::StrAppendFormat(&line, "  merged in %s",
                        Seconds(round.sealed_unix_ms - round.closed_unix_ms));
  return line;
}

std::string RoundParagraph(const TrainingStory& training, const RoundStory& round) {
  std::string text = StrCat("Round ", round.round.value(), ": ");
  if (!round.closed)
    return text + StrCat("open, ", round.reports.size(), " of ", training.nodes.size(),
                         " nodes have checked in\n");
  StrAppend(&text, round.members.size(), " of ", training.nodes.size(), " nodes took part, ",
            LeadersText(round), " led");
  if (round.attempt.value() > 0) StrAppend(&text, " (attempt ", round.attempt.value() + 1, ")");
  StrAppend(&text, ".\n");
  for (const Member& member : round.members) StrAppend(&text, MemberLine(round, member), "\n");
  if (round.opened_unix_ms > 0)
    StrAppend(&text, "  check-ins took ", Seconds(round.closed_unix_ms - round.opened_unix_ms),
              ", ");
  if (!round.root) return text + "the merge is under way.\n";
  absl::StrAppendFormat(&text, "the merge %s; %.1f MiB moved between the nodes.\n",
                        Seconds(round.sealed_unix_ms - round.closed_unix_ms),
                        static_cast<double>(BytesMoved(round)) / 1048576.0);
  StrAppend(&text, "  result: ", RootText(*round.root), ",\n          ", KindText(round),
            "; held by ", round.holders.size(), " of ", training.nodes.size(), " nodes.\n",
            AfterLine(training, round.round));
  return text;
}

std::string HoldersLine(const TrainingStory& training) {
  const RoundStory* last = training.LastSealed();
  if (last == nullptr) return "";
  return StrCat("same ", training.done ? "final " : "", "model on ", last->holders.size(), " of ",
                training.nodes.size(), " nodes");
}

Json StoryJson(const TrainingStory& training, std::optional<RoundId> only) {
  Json rounds = Json::array();
  for (const auto& [number, round] : training.rounds) {
    if (only && *only != number) continue;
    Json members = Json::array();
    for (const Member& m : round.members) {
      Json one = {{"name", m.name.value()},
                  {"kind", KindName(m.kind)},
                  {"weight", m.weight},
                  {"update", m.update ? RootText(*m.update) : ""}};
      if (const auto it = round.reports.find(m.name); it != round.reports.end()) {
        const CheckinReport& r = it->second;
        one["train_ms"] = r.train_ms;
        one["batches"] = r.batches;
        const std::pair<const char*, const std::optional<double>*> numbers[] = {
            {"norm", &r.norm},
            {"loss", &r.loss},
            {"metric", &r.metric},
            {"base_loss", &r.base_loss},
            {"base_metric", &r.base_metric}};
        for (const auto& [label, value] : numbers) {
          if (*value) one[label] = **value;
        }
      }
      if (const auto it = round.votes.find(m.name); it != round.votes.end()) {
        one["pull_ms"] = it->second.pull_ms;
        one["merge_ms"] = it->second.merge_ms;
        one["bytes"] = it->second.bytes;
      }
      members.push_back(std::move(one));
    }
    Json leaders = Json::array();
    for (const NodeName& leader : round.leaders) leaders.push_back(leader.value());
    rounds.push_back({{"round", number.value()},
                      {"attempt", round.attempt.value()},
                      {"participants", members},
                      {"leaders", leaders},
                      {"root", round.root ? RootText(*round.root) : ""},
                      {"opened_unix_ms", round.opened_unix_ms},
                      {"closed_unix_ms", round.closed_unix_ms},
                      {"sealed_unix_ms", round.sealed_unix_ms},
                      {"holders", round.holders.size()}});
  }
  return {{"training", training.name.value()},
          {"instance", training.instance.value()},
          {"nodes", training.nodes.size()},
          {"done", training.done},
          {"rounds", rounds}};
}

}  // namespace starling
