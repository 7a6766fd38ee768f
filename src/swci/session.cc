#include "swci/session.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "swci/views.h"

namespace starling {
namespace {

constexpr std::uint16_t kApiPort = 30304;
constexpr std::uint16_t kProxyPort = 443;
constexpr std::uint64_t kRetries = 360;
constexpr Duration kRetryEvery = 5s;
constexpr std::uint64_t kPauseSecondsMax = 86'400;
constexpr std::string_view kUp = "API Server is UP!";

Result<std::uint64_t> ParseNumber(const std::string& text, std::uint64_t max,
                                  std::string_view what) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > max) {
    return absl::InvalidArgumentError(StrCat("not a ", what, ": ", Printable(text, 40)));
  }
  return value;
}

Result<Endpoint> IpEndpoint(const std::vector<std::string>& arguments, std::size_t host_at) {
  std::uint64_t port = kApiPort;
  if (arguments.size() > host_at + 1) {
    ASSIGN_OR_RETURN(port, ParseNumber(arguments[host_at + 1], 65535, "port"));
  }
  const std::string& host = arguments[host_at];
  const bool v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return Endpoint::Parse(StrCat("https://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port));
}

Result<Endpoint> ServiceEndpoint(const std::string& service) {
  const bool has_port = service.rfind(':') != std::string::npos && !service.ends_with(']');
  return Endpoint::Parse(has_port ? StrCat("https://", service)
                                  : StrCat("https://", service, ":", kProxyPort));
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::vector<std::string> Help(const std::vector<std::string>& words) {
  std::string prefix;
  for (const std::string& word : words) StrAppend(&prefix, prefix.empty() ? "" : " ", Upper(word));
  std::vector<std::string> lines;
  for (const SwciPattern& pattern : SwciPatterns()) {
    if (!pattern.text.starts_with(prefix)) continue;
    lines.push_back(StrCat(pattern.text,
                           pattern.verb == SwciVerb::kLater ? "  (comes in a later release)" : ""));
  }
  if (lines.empty()) lines.push_back(StrCat("no command starts with ", Printable(prefix, 60)));
  return lines;
}

}  // namespace

std::string SwciSession::Prompt() const { return StrCat("SWCI:", count_, " > "); }

void SwciSession::Preset(const std::string& name, const Endpoint& sn) {
  contexts_[name] = Context{sn, world_.connect(sn), {}};
  active_ = name;
}

SwciResult SwciSession::Execute(std::string_view line) {
  SwciResult result;
  const Result<SwciCommand> command = ParseSwciLine(line);
  if (command.ok() && command->verb == SwciVerb::kNothing) {
    result.counted = false;
    return result;
  }
  ++count_;
  Lines lines = command.ok() ? Run(*command) : Lines(command.status());
  if (lines.ok()) {
    result.lines = *std::move(lines);
    result.exit = command->verb == SwciVerb::kExit;
    return result;
  }
  const std::string next = NextStep(lines.status());
  result.lines = {StrCat("ERROR : ", Printable(std::string(lines.status().message()), 500),
                         next.empty() ? "" : " Next: ", next)};
  result.failed = true;
  result.exit = exits_on_failure_;
  return result;
}

SwciSession::Lines SwciSession::Run(const SwciCommand& command) {
  switch (command.verb) {
    case SwciVerb::kCreateContext:
    case SwciVerb::kCreateContextService:
    case SwciVerb::kSwitchContext:
    case SwciVerb::kListContexts:
    case SwciVerb::kContextInfo:
    case SwciVerb::kContextVersion:
      return RunContext(command);
    case SwciVerb::kListContextEnv:
    case SwciVerb::kGetContextEnv:
    case SwciVerb::kSetContextEnv:
      return ContextEnv(command);
    case SwciVerb::kCreateContract:
    case SwciVerb::kListContracts:
    case SwciVerb::kContractInfo:
    case SwciVerb::kContractStatus:
    case SwciVerb::kPerfData:
    case SwciVerb::kResetContract:
      return RunContract(command);
    case SwciVerb::kLater:
      return absl::UnimplementedError("tasks and task runners come in a later release");
    default:
      return RunHere(command);
  }
}

SwciSession::Lines SwciSession::RunContext(const SwciCommand& command) {
  const std::vector<std::string>& given = command.arguments;
  switch (command.verb) {
    case SwciVerb::kCreateContext: {
      ASSIGN_OR_RETURN(const Endpoint sn, IpEndpoint(given, 1));
      return CreateContext(given[0], sn);
    }
    case SwciVerb::kCreateContextService: {
      ASSIGN_OR_RETURN(const Endpoint sn, ServiceEndpoint(given[1]));
      return CreateContext(given[0], sn);
    }
    case SwciVerb::kSwitchContext: {
      RETURN_IF_ERROR(Find(given[0]).status());
      active_ = given[0];
      return std::vector<std::string>{StrCat("DEFAULT CONTEXT SET TO : ", active_)};
    }
    case SwciVerb::kListContexts: {
      std::vector<std::string> lines;
      for (const auto& [name, context] : contexts_)
        lines.push_back(StrCat(name == active_ ? "* " : "  ", name, " : ", context.sn.Url()));
      if (lines.empty()) lines.emplace_back("no contexts");
      return lines;
    }
    case SwciVerb::kContextInfo: {
      ASSIGN_OR_RETURN(Context* const context, Find(given.empty() ? active_ : given[0]));
      const std::string& name = given.empty() ? active_ : given[0];
      return std::vector<std::string>{
          StrCat("CONTEXT : ", name), StrCat("SN : ", context->sn.Url()),
          StrCat("STATE : ", context->client->IsUp().ok() ? "UP" : "DOWN")};
    }
    default:
      return std::vector<std::string>{StrCat("starling ", STARLING_VERSION)};
  }
}

SwciSession::Lines SwciSession::CreateContext(const std::string& name, const Endpoint& sn) {
  std::unique_ptr<SnClient> client = world_.connect(sn);
  RETURN_IF_ERROR(Annotate(client->IsUp(), StrCat("context ", Printable(name, 128))));
  contexts_[name] = Context{sn, std::move(client), {}};
  std::vector<std::string> lines = {std::string(kUp), StrCat("CONTEXT CREATED : ", name)};
  if (contexts_.size() == 1) {
    active_ = name;
    lines.push_back(StrCat("DEFAULT CONTEXT SET TO : ", name));
  }
  return lines;
}

SwciSession::Lines SwciSession::ContextEnv(const SwciCommand& command) {
  std::vector<std::string> given = command.arguments;
  const std::size_t own = command.verb == SwciVerb::kListContextEnv  ? 0
                          : command.verb == SwciVerb::kGetContextEnv ? 1
                                                                     : 2;
  std::string name = active_;
  if (given.size() > own) {
    name = given[0];
    given.erase(given.begin());
  }
  ASSIGN_OR_RETURN(Context* const context, Find(name));
  std::vector<std::string> lines;
  if (command.verb == SwciVerb::kListContextEnv) {
    for (const auto& [key, value] : context->env) lines.push_back(StrCat(key, "=", value));
  } else if (command.verb == SwciVerb::kSetContextEnv) {
    context->env[given[0]] = given[1];
    lines.push_back(StrCat(given[0], "=", given[1]));
  } else {
    const auto found = context->env.find(given[0]);
    if (found == context->env.end())
      return absl::NotFoundError(
          StrCat("no variable ", Printable(given[0], 128), " in context ", name));
    lines.push_back(StrCat(found->first, "=", found->second));
  }
  return lines;
}

SwciSession::Lines SwciSession::RunContract(const SwciCommand& command) {
  if (command.verb == SwciVerb::kListContracts) return ListContracts();
  ASSIGN_OR_RETURN(const ContractName name, ParseContractName(command.arguments[0]));
  ASSIGN_OR_RETURN(SnClient* const client, Active());
  switch (command.verb) {
    case SwciVerb::kCreateContract:
      RETURN_IF_ERROR(client->Create(name, Rules{}).status());
      return std::vector<std::string>{StrCat("CONTRACT CREATED : ", name.value())};
    case SwciVerb::kResetContract:
      RETURN_IF_ERROR(client->Reset(name).status());
      return std::vector<std::string>{StrCat("CONTRACT RESET : ", name.value())};
    case SwciVerb::kContractInfo:
      return ContractInfo(name);
    case SwciVerb::kContractStatus:
      return ContractStatus(name);
    default:
      return PerfData(name);
  }
}

SwciSession::Lines SwciSession::ListContracts() {
  ASSIGN_OR_RETURN(SnClient* const client, Active());
  ASSIGN_OR_RETURN(const std::vector<ContractView> contracts, client->Contracts());
  std::vector<std::string> lines;
  for (const ContractView& contract : contracts) lines.push_back(contract.name);
  if (lines.empty()) lines.emplace_back("no contracts");
  return lines;
}

SwciSession::Lines SwciSession::ContractInfo(const ContractName& name) {
  ASSIGN_OR_RETURN(SnClient* const client, Active());
  ASSIGN_OR_RETURN(const ContractView contract, client->Contract(name));
  return ContractInfoLines(contract);
}

SwciSession::Lines SwciSession::ContractStatus(const ContractName& name) {
  ASSIGN_OR_RETURN(SnClient* const client, Active());
  ASSIGN_OR_RETURN(const ContractView contract, client->Contract(name));
  return ContractStatusLines(contract);
}

SwciSession::Lines SwciSession::PerfData(const ContractName& name) {
  ASSIGN_OR_RETURN(SnClient* const client, Active());
  ASSIGN_OR_RETURN(const ContractView contract, client->Contract(name));
  ASSIGN_OR_RETURN(const std::vector<NodeRow> nodes, client->Nodes());
  PerfTable table(contract, nodes);
  for (std::int64_t from = std::max<std::int64_t>(0, contract.instance);;) {
    ASSIGN_OR_RETURN(const std::vector<DecodedEntry> page, client->Entries(from));
    if (page.empty()) return table.Lines();
    for (const DecodedEntry& entry : page) table.Add(entry);
    if (page.back().position < from)
      return absl::DataLossError("the SN answers entries that were not asked for");
    from = page.back().position + 1;
  }
}

SwciSession::Lines SwciSession::ListNodes() {
  ASSIGN_OR_RETURN(SnClient* const client, Active());
  ASSIGN_OR_RETURN(const std::vector<NodeRow> nodes, client->Nodes());
  return NodeLines(nodes);
}

SwciSession::Lines SwciSession::WaitForUp(const Endpoint& sn, const std::string& retries) {
  std::uint64_t tries = kRetries;
  if (!retries.empty()) {
    ASSIGN_OR_RETURN(tries, ParseNumber(retries, 1'000'000, "number of retries"));
  }
  const std::unique_ptr<SnClient> client = world_.connect(sn);
  Status last = absl::UnavailableError("not asked");
  for (std::uint64_t i = 0; i < std::max<std::uint64_t>(1, tries); ++i) {
    if (i > 0 && !world_.pause(kRetryEvery)) return absl::CancelledError("interrupted");
    last = client->IsUp();
    if (last.ok()) return std::vector<std::string>{std::string(kUp)};
  }
  return Annotate(last, "API Server is not up");
}

SwciSession::Lines SwciSession::RunHere(const SwciCommand& command) {
  const std::vector<std::string>& given = command.arguments;
  switch (command.verb) {
    case SwciVerb::kListNodes:
      return ListNodes();
    case SwciVerb::kWaitForIp: {
      ASSIGN_OR_RETURN(const Endpoint sn, IpEndpoint(given, 0));
      return WaitForUp(sn, given.size() > 2 ? given[2] : "");
    }
    case SwciVerb::kWaitForService: {
      ASSIGN_OR_RETURN(const Endpoint sn, ServiceEndpoint(given[0]));
      return WaitForUp(sn, given.size() > 1 ? given[1] : "");
    }
    case SwciVerb::kChangeDirectory:
      RETURN_IF_ERROR(world_.change_directory(given[0]));
      [[fallthrough]];
    case SwciVerb::kPrintDirectory: {
      ASSIGN_OR_RETURN(const std::string directory, world_.directory());
      return std::vector<std::string>{StrCat("Current Directory : ", directory)};
    }
    case SwciVerb::kListDirectory: {
      // Options of ls are HPE's habit; the names are what there is to say.
      const auto path = std::find_if(given.begin(), given.end(), [](const std::string& word) {
        return !word.starts_with('-');
      });
      return world_.list_directory(path == given.end() ? "." : *path);
    }
    case SwciVerb::kPause: {
      ASSIGN_OR_RETURN(const std::uint64_t seconds,
                       ParseNumber(given[0], kPauseSecondsMax, "number of seconds"));
      if (!world_.pause(std::chrono::seconds(seconds))) return absl::CancelledError("interrupted");
      return std::vector<std::string>{};
    }
    case SwciVerb::kExitOnFailure: {
      const std::string word = given.empty() ? "ON" : Upper(given[0]);
      if (word != "ON" && word != "OFF")
        return absl::InvalidArgumentError("usage: EXIT ON FAILURE [on|off]");
      exits_on_failure_ = word == "ON";
      return std::vector<std::string>{StrCat("EXIT ON FAILURE IS TURNED ", word)};
    }
    case SwciVerb::kHelp:
      return Help(given);
    default:
      return std::vector<std::string>{};  // EXIT
  }
}

Result<SwciSession::Context*> SwciSession::Find(const std::string& name) {
  const auto found = contexts_.find(name);
  if (found != contexts_.end()) return &found->second;
  if (name.empty())
    return absl::FailedPreconditionError(
        "no context; CREATE CONTEXT <name> WITH IP <ip> makes one");
  return absl::NotFoundError(StrCat("no context ", Printable(name, 128)));
}

Result<SnClient*> SwciSession::Active() {
  ASSIGN_OR_RETURN(Context* const context, Find(active_));
  return context->client.get();
}

}  // namespace starling
