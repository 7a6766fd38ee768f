#include "swci/training.h"

#include <ostream>
#include <utility>

#include "base/text.h"
#include "swci/views.h"

namespace starling {
namespace {

void Print(const std::vector<std::string>& lines, std::ostream& out) {
  for (const std::string& line : lines) out << line << "\n";
  out << std::flush;
}

Result<ContractName> Named(const std::string& name) {
  Result<ContractName> parsed = ParseContractName(name);
  if (!parsed.ok())
    return WithNext(parsed.status(), "name a training: letters, digits, '.', '_', '-'");
  return parsed;
}

void PrintDone(std::string_view what, const std::string& name, std::int64_t position, bool json,
               std::ostream& out) {
  if (json) {
    out << Json({{"training", name}, {"position", position}}).dump() << "\n";
  } else {
    out << "training " << name << ": " << what << " (entry " << position << ")\n";
  }
  out << std::flush;
}

Status Show(const TrainingRequest& request, SnClient& client, std::ostream& out) {
  ASSIGN_OR_RETURN(const ContractName name, Named(request.name));
  ASSIGN_OR_RETURN(const ContractView contract, client.Contract(name));
  if (request.json) {
    out << contract.raw.dump(2) << "\n" << std::flush;
  } else {
    Print(TrainingShowLines(contract), out);
  }
  return absl::OkStatus();
}

Status List(const TrainingRequest& request, SnClient& client, std::ostream& out) {
  ASSIGN_OR_RETURN(const std::vector<ContractView> contracts, client.Contracts());
  if (!request.json) {
    Print(TrainingListLines(contracts), out);
    return absl::OkStatus();
  }
  Json all = Json::array();
  for (const ContractView& contract : contracts) all.push_back(contract.raw);
  out << all.dump(2) << "\n" << std::flush;
  return absl::OkStatus();
}

Status Set(const TrainingRequest& request, const ContractName& name, SnClient& client,
           std::ostream& out) {
  if (!request.min_peers) {
    return WithNext(absl::InvalidArgumentError("nothing to set"),
                    "give --min-peers, the one rule that may change while a training runs");
  }
  ASSIGN_OR_RETURN(const std::int64_t position, client.Amend(name, *request.min_peers));
  PrintDone(StrCat("min_peers is ", *request.min_peers), request.name, position, request.json, out);
  return absl::OkStatus();
}

}  // namespace

Result<Rules> RulesFrom(const TrainingRules& given) {
  Rules rules;
  rules.min_peers = given.min_peers;
  rules.sync_interval = given.sync_interval;
  rules.merge = given.merge;
  if (given.witnesses) rules.witnesses = *given.witnesses;
  if (given.audit) rules.audit = *given.audit;
  if (given.weight_max) rules.weight_max = *given.weight_max;
  if (given.initial == "merge") {
    rules.initial = InitialMerge{};
  } else if (given.initial != "leader") {
    Result<Digest> root = ParseRoot(given.initial);
    if (!root.ok())
      return absl::InvalidArgumentError(StrCat("--initial: leader, merge or sha256:…, not \"",
                                               Printable(given.initial, 80), "\""));
    rules.initial = *root;
  }
  for (const std::string& member : given.members) {
    const std::size_t equals = member.find('=');
    if (equals == std::string::npos)
      return absl::InvalidArgumentError(
          StrCat("--member: name=key, not \"", Printable(member, 80), "\""));
    ASSIGN_OR_RETURN(NodeName name, ParseNodeName(member.substr(0, equals)));
    ASSIGN_OR_RETURN(const PublicKey key, ParsePublicKey(member.substr(equals + 1)));
    if (!rules.members.emplace(std::move(name), key).second)
      return absl::InvalidArgumentError(StrCat("--member: named twice: ", Printable(member, 80)));
  }
  rules.admins = given.admins;
  return rules;
}

Status RunTraining(const TrainingRequest& request, SnClient& client, std::ostream& out) {
  using Action = TrainingRequest::Action;
  if (request.action == Action::kList) return List(request, client, out);
  if (request.action == Action::kShow) return Show(request, client, out);
  ASSIGN_OR_RETURN(const ContractName name, Named(request.name));
  if (request.action == Action::kSet) return Set(request, name, client, out);
  if (request.action == Action::kCreate) {
    ASSIGN_OR_RETURN(const Rules rules, RulesFrom(request.rules));
    ASSIGN_OR_RETURN(const std::int64_t position, client.Create(name, rules));
    PrintDone("created", request.name, position, request.json, out);
  } else if (request.action == Action::kReset) {
    ASSIGN_OR_RETURN(const std::int64_t position, client.Reset(name));
    PrintDone("reset; nodes enrol anew", request.name, position, request.json, out);
  } else {
    ASSIGN_OR_RETURN(const NodeName node, ParseNodeName(request.node));
    ASSIGN_OR_RETURN(const std::int64_t position, client.Revoke(name, node));
    PrintDone(StrCat(node.value(), " is revoked"), request.name, position, request.json, out);
  }
  return absl::OkStatus();
}

Status RunStatus(const StatusRequest& request, SnClient& client, const Clock& clock,
                 const std::function<bool(Duration)>& pause, std::ostream& out) {
  std::string shown;
  for (;;) {
    const Result<StatusView> status = client.GetStatus();
    if (!status.ok() && !request.watch) return status.status();
    std::string text;
    if (!status.ok()) {
      text = StrCat(Printable(std::string(status.status().message())),
                    "; next: ", Printable(NextStep(status.status())), "\n");
    } else if (request.json) {
      text = StrCat(status->raw.dump(request.watch ? -1 : 2), "\n");
    } else {
      for (const std::string& line : StatusLines(*status, clock.UtcNow()))
        StrAppend(&text, line, "\n");
    }
    if (text != shown) {
      if (request.watch && !request.json) out << "--- " << FormatLocalTime(clock.UtcNow()) << "\n";
      out << text << std::flush;
      shown = std::move(text);
    }
    if (!request.watch || !pause(request.every)) return absl::OkStatus();
  }
}

int ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return 2;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
      return 4;
    default:
      return 1;
  }
}

}  // namespace starling
