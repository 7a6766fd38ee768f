// The words of a story. Formats are for people; programs use --json.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/text.h"
#include "protocol/waiting.h"
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

// The reasons of a `stalled` as people say them; what is none of ours is shown as it is.
std::string WhyText(const std::string& why) {
  static constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"silent", "sent too little for too long"},
      {"refused", "refused or broke off"},
      {"wrong bytes", "sent wrong bytes"},
      {"root", "merged another model than the updates give"},
      {"vote", "neither voted nor answered"},
      {"lost", "has lost its update"}};
  std::vector<std::string> said;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(why, ", "))) {
    const auto* const found = std::find_if(std::begin(kWords), std::end(kWords),
                                           [&](const auto& pair) { return pair.first == word; });
    said.push_back(found == std::end(kWords) ? Printable(word) : std::string(found->second));
  }
  return absl::StrJoin(said, "; ");
}

// Who has signed another root than `right`, or, where none is known yet, all sides.
std::string VotesText(const AttemptStory& attempt, const std::optional<Digest>& right) {
  std::map<Digest, std::vector<NodeName>> sides;
  for (const auto& [name, root] : attempt.votes) sides[root].push_back(name);
  if (sides.size() < 2 && (!right || sides.empty() || sides.begin()->first == *right)) return "";
  std::string text;
  for (const auto& [root, names] : sides) {
    if (right && root == *right) continue;
    StrAppend(&text, text.empty() ? "" : "; ", NamesText(names), " voted for ",
              right ? "another model, " : "", ShortText(root));
  }
  return text;
}

std::string AttemptLine(const AttemptStory& attempt, const std::optional<Digest>& sealed) {
  std::vector<std::string> parts;
  if (!attempt.left_out.empty())
    parts.push_back(
        StrCat("closed without ", NamesText(attempt.left_out), ", gone or removed before"));
  for (const AttemptStory::Blame& blame : attempt.blames)
    parts.push_back(
        StrCat(blame.by.value(), " blames ", NamesText(blame.on), ": ", WhyText(blame.why)));
  const bool reopened = !attempt.removed.empty();
  if (std::string votes = VotesText(attempt, reopened ? std::nullopt : sealed); !votes.empty())
    parts.push_back(std::move(votes));
  if (reopened)
    parts.push_back(StrCat("opened again after ",
                           Seconds(attempt.reopened_unix_ms - attempt.closed_unix_ms), " without ",
                           NamesText(attempt.removed)));
  if (parts.empty()) return "";
  return StrCat("  attempt ", attempt.attempt.value() + 1, ", led by ", attempt.leader.value(),
                ": ", absl::StrJoin(parts, "; "), ".\n");
}

Json NamesJson(const std::vector<NodeName>& names) {
  Json json = Json::array();
  for (const NodeName& name : names) json.push_back(name.value());
  return json;
}

Json AttemptJson(const AttemptStory& attempt) {
  Json blames = Json::array(), votes = Json::object();
  for (const AttemptStory::Blame& blame : attempt.blames)
    blames.push_back({{"by", blame.by.value()}, {"on", NamesJson(blame.on)}, {"why", blame.why}});
  for (const auto& [name, root] : attempt.votes) votes[name.value()] = RootText(root);
  return {{"attempt", attempt.attempt.value()},
          {"leader", attempt.leader.value()},
          {"members", NamesJson(attempt.members)},
          {"left_out", NamesJson(attempt.left_out)},
          {"blames", blames},
          {"votes", votes},
          {"removed", NamesJson(attempt.removed)},
          {"closed_unix_ms", attempt.closed_unix_ms},
          {"reopened_unix_ms", attempt.reopened_unix_ms}};
}

Json TroubleJson(const RoundStory& round) {
  Json attempts = Json::array(), presence = Json::array();
  for (const AttemptStory& attempt : round.attempts) attempts.push_back(AttemptJson(attempt));
  for (const PresenceStory& one : round.presence)
    presence.push_back(
        {{"name", one.node.value()}, {"gone", one.gone}, {"by", one.by}, {"new_key", one.new_key}});
  return {{"attempts", attempts}, {"presence", presence}};
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

std::string TroubleLines(const RoundStory& round) {
  std::string text;
  for (const PresenceStory& one : round.presence) {
    if (one.gone && one.by == one.node.value())
      StrAppend(&text, "  ", one.node.value(), " left.\n");
    else if (one.gone)
      StrAppend(&text, "  ", one.node.value(), " was gone: it did not answer ", one.by, ".\n");
    else
      StrAppend(&text, "  ", one.node.value(), " enrolled again",
                one.new_key ? ", with a new key" : "", ".\n");
  }
  for (const AttemptStory& attempt : round.attempts)
    StrAppend(&text, AttemptLine(attempt, round.root));
  return text;
}

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
                         " nodes have checked in\n", TroubleLines(round));
  StrAppend(&text, round.members.size(), " of ", training.nodes.size(), " nodes took part, ",
            LeadersText(round), " led");
  if (round.attempt.value() > 0) StrAppend(&text, " (attempt ", round.attempt.value() + 1, ")");
  StrAppend(&text, ".\n");
  for (const Member& member : round.members) StrAppend(&text, MemberLine(round, member), "\n");
  StrAppend(&text, TroubleLines(round));
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
    Json one_round = TroubleJson(round);
    one_round.update({{"round", number.value()},
                      {"attempt", round.attempt.value()},
                      {"participants", members},
                      {"leaders", leaders},
                      {"root", round.root ? RootText(*round.root) : ""},
                      {"opened_unix_ms", round.opened_unix_ms},
                      {"closed_unix_ms", round.closed_unix_ms},
                      {"sealed_unix_ms", round.sealed_unix_ms},
                      {"holders", round.holders.size()}});
    rounds.push_back(std::move(one_round));
  }
  return {{"training", training.name.value()},
          {"instance", training.instance.value()},
          {"nodes", training.nodes.size()},
          {"done", training.done},
          {"rounds", rounds}};
}

}  // namespace starling
