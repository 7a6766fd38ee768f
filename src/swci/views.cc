#include "swci/views.h"

#include <algorithm>

#include "base/text.h"
#include "protocol/waiting.h"

namespace starling {
namespace {

std::string Joined(const std::vector<std::string>& items, std::string_view none = "-") {
  std::string out;
  for (const std::string& item : items) StrAppend(&out, out.empty() ? "" : ", ", item);
  return out.empty() ? std::string(none) : out;
}

// Width on a terminal: bytes that begin a character.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string ShortRoot(std::string_view root) {
  constexpr std::string_view kPrefix = "sha256:";
  if (root.starts_with(kPrefix)) root.remove_prefix(kPrefix.size());
  return root.empty() ? "-" : std::string(root.substr(0, 8));
}

std::string OrDash(const std::optional<double>& value) {
  return value ? fmt::format("{:.6g}", *value) : "-";
}

// A rule as text: what is left open says so.
std::string RuleText(const Json& rules, const std::string& member) {
  const auto found = rules.find(member);
  if (found == rules.end() || found->is_null()) return "open";
  return Printable(found->is_string() ? found->get<std::string>() : found->dump(), 200);
}

std::size_t Present(const ContractView& contract) {
  return static_cast<std::size_t>(std::count_if(contract.nodes.begin(), contract.nodes.end(),
                                                [](const ContractNode& n) { return n.present; }));
}

std::size_t Holders(const ContractView& contract) {
  return static_cast<std::size_t>(std::count_if(contract.nodes.begin(), contract.nodes.end(),
                                                [](const ContractNode& n) { return n.holder; }));
}

std::string WaitingLine(const WaitingView& waiting, UtcTime now) {
  return WaitSentence(
      WaitWords{waiting.what, waiting.trouble ? "" : Joined(waiting.on, ""),
                StrCat(FormatLocalTime(waiting.since), " (", AgeText(now - waiting.since), ")"),
                waiting.next});
}

// Members of a checked-in or node-finished payload, whoever wrote it.
std::optional<double> Number(const Json& payload, const std::string& member) {
  const auto found = payload.find(member);
  if (found == payload.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

}  // namespace

std::vector<std::string> TableLines(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string AgeText(Duration age) {
  const std::int64_t seconds = std::max<std::int64_t>(0, Millis(age) / 1000);
  if (seconds < 120) return StrCat(seconds, " s");
  if (seconds < 7200) return StrCat(seconds / 60, " min");
  return StrCat(seconds / 3600, " h");
}

std::vector<std::string> NodeLines(const std::vector<NodeRow>& nodes) {
  std::vector<std::string> lines = {
      "NodeType,HostIP,Port,ContainerName,UUID,ParentUUID,i-am-alive"};
  for (const NodeRow& node : nodes) {
    lines.push_back(StrCat(node.type, ",", node.host, ",", node.port, ",", node.name, ",",
                           node.uuid, ",", node.parent, ",",
                           node.alive ? FormatUtc(*node.alive) : ""));
  }
  return lines;
}

std::vector<std::string> ContractInfoLines(const ContractView& contract) {
  std::vector<std::string> lines = {StrCat("CONTRACT : ", contract.name),
                                    StrCat("INSTANCE : ", contract.instance)};
  for (const std::string member : {"min_peers", "merge", "sync_interval", "size", "schema",
                                   "witnesses", "audit", "initial", "weight_max"}) {
    lines.push_back(StrCat("RULE ", member, " : ", RuleText(contract.rules, member)));
  }
  for (const ContractNode& node : contract.nodes) {
    lines.push_back(StrCat("NODE : ", node.name, ",", node.kind, ",",
                           node.present ? "present" : "away", ",weight ", node.weight, ",",
                           node.blob_url));
  }
  return lines;
}

std::vector<std::string> ContractStatusLines(const ContractView& contract) {
  std::vector<std::string> lines = {
      StrCat("CONTRACT : ", contract.name),
      StrCat("STATE : ", contract.phase),
      StrCat("ROUND : ", contract.round),
      StrCat("ROUNDS SEALED : ", contract.rounds_sealed),
      StrCat("NODES : ", contract.nodes.size(), " (", Present(contract), " present)"),
      StrCat("PARTICIPANTS : ", Joined(contract.participants)),
      StrCat("LEADER : ", contract.leader.empty() ? "-" : contract.leader),
      StrCat("MODEL : ", contract.base.empty() ? "-" : contract.base),
  };
  for (const WaitingView& waiting : contract.waiting) {
    lines.push_back(StrCat("WAITING : ", waiting.what, "; on ", Joined(waiting.on), "; since ",
                           FormatUtc(waiting.since), "; next: ", waiting.next));
  }
  return lines;
}

std::vector<std::string> TrainingListLines(const std::vector<ContractView>& contracts) {
  if (contracts.empty()) return {"no trainings"};
  std::vector<std::vector<std::string>> rows = {
      {"TRAINING", "PHASE", "ROUND", "SEALED", "NODES", "MODEL"}};
  for (const ContractView& contract : contracts) {
    rows.push_back(
        {contract.name, contract.phase, StrCat(contract.round), StrCat(contract.rounds_sealed),
         StrCat(Present(contract), "/", contract.nodes.size()), ShortRoot(contract.base)});
  }
  return TableLines(rows);
}

std::vector<std::string> TrainingShowLines(const ContractView& contract) {
  std::vector<std::string> lines = {
      StrCat("training ", contract.name, ", began at entry ", contract.instance),
      StrCat("  ", contract.phase, ", round ", contract.round, ", ", contract.rounds_sealed,
             " sealed, model ", contract.base.empty() ? "none yet" : contract.base),
      StrCat("  participants ", Joined(contract.participants),
             contract.leader.empty() ? "" : StrCat(", leader ", contract.leader)),
  };
  if (!contract.final_root.empty()) {
    lines.push_back(StrCat("  over: the same final model on ", Holders(contract), " of ",
                           contract.nodes.size(), " nodes"));
  }
  std::string rules;
  for (const std::string member : {"min_peers", "merge", "sync_interval", "size", "witnesses",
                                   "audit", "initial", "weight_max"}) {
    StrAppend(&rules, rules.empty() ? "" : ", ", member, " ", RuleText(contract.rules, member));
  }
  lines.push_back(StrCat("  rules: ", rules));
  std::vector<std::vector<std::string>> rows = {
      {"  NODE", "KIND", "PRESENT", "CHECKED IN", "HOLDS MODEL", "WEIGHT", "LEADS", "ADDRESS"}};
  const auto yes = [](bool value) { return std::string(value ? "yes" : "no"); };
  for (const ContractNode& node : contract.nodes) {
    rows.push_back({StrCat("  ", node.name), node.kind, yes(node.present), yes(node.checked_in),
                    yes(node.holder), StrCat(node.weight), yes(node.may_lead), node.blob_url});
  }
  for (std::string& line : TableLines(rows)) lines.push_back(std::move(line));
  return lines;
}

std::vector<std::string> StatusLines(const StatusView& status, UtcTime now) {
  std::vector<std::string> lines = {
      StrCat("SN ", status.sn, ": up for ", AgeText(std::chrono::milliseconds(status.uptime_ms)),
             ", ", status.end + 1, " entries, head ", ShortRoot(status.head))};
  for (const WaitingView& trouble : status.troubles)
    lines.push_back(StrCat("  ", WaitingLine(trouble, now)));
  for (const ContractView& contract : status.contracts) {
    lines.push_back(StrCat("training ", contract.name, ": ", contract.phase, ", round ",
                           contract.round, ", ", contract.rounds_sealed, " sealed, ",
                           Present(contract), " of ", contract.nodes.size(), " nodes present"));
    for (const WaitingView& waiting : contract.waiting) {
      lines.push_back(StrCat("  ", WaitingLine(waiting, now)));
    }
    if (!contract.final_root.empty()) {
      lines.push_back(StrCat("  over: ", contract.final_root, " on ", Holders(contract), " of ",
                             contract.nodes.size(), " nodes"));
    }
  }
  if (status.contracts.empty()) lines.emplace_back("no trainings");
  return lines;
}

PerfTable::PerfTable(const ContractView& contract, const std::vector<NodeRow>& nodes)
    : contract_(contract.name), instance_(contract.instance), leader_(contract.leader) {
  for (const ContractNode& node : contract.nodes) rows_[node.name] = Row{};
  for (const NodeRow& node : nodes) {
    const auto row = rows_.find(node.name);
    if (node.contract == contract.name && row != rows_.end()) row->second.uid = node.uuid;
  }
}

void PerfTable::Add(const DecodedEntry& entry) {
  if (entry.position < instance_ || !entry.ignored.empty() || !entry.payload.is_object()) return;
  const auto type = entry.payload.find("type");
  const auto contract = entry.payload.find("contract");
  if (type == entry.payload.end() || contract == entry.payload.end() || *contract != contract_)
    return;
  if (*type != "checked-in" && *type != "node-finished") return;
  const auto row = rows_.find(entry.author);
  if (row == rows_.end()) return;
  if (const auto loss = Number(entry.payload, "loss")) row->second.loss = loss;
  if (const auto metric = Number(entry.payload, "metric")) row->second.metric = metric;
  if (*type == "checked-in") ++row->second.rounds;
  if (const auto batches = Number(entry.payload, "batches"); batches && *batches >= 0) {
    row->second.batches += static_cast<std::uint64_t>(*batches);
  }
}

std::vector<std::string> PerfTable::Lines() const {
  std::vector<std::string> lines = {
      "UID,Node,IsAdmin,ModelLoss,ModelMetric,TotalEpochs,CompletedEpochs,CheckIns,Batches"};
  for (const auto& [name, row] : rows_) {
    lines.push_back(StrCat(row.uid.empty() ? "-" : row.uid, ",", name, ",",
                           name == leader_ ? "True" : "False", ",", OrDash(row.loss), ",",
                           OrDash(row.metric), ",-,-,", row.rounds, ",", row.batches));
  }
  return lines;
}

}  // namespace starling
