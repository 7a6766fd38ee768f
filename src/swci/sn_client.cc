#include "swci/sn_client.h"

#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "protocol/waiting.h"

namespace starling {
namespace {

constexpr std::size_t kContractsMax = 100'000;
constexpr std::size_t kNodesShownMax = 1'000'000;
constexpr std::size_t kEntriesMax = 1000;
constexpr std::size_t kTroublesShownMax = 1000;

Result<std::int64_t> GetPosition(const Json& object, std::string_view member) {
  const auto found = object.find(std::string(member));
  if (!object.is_object() || found == object.end() || !found->is_number_integer()) {
    return absl::InvalidArgumentError(StrCat("member ", member, " is missing or no integer"));
  }
  return found->get<std::int64_t>();
}

Result<std::vector<std::string>> GetNames(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const list, GetArray(object, member, kNodesMax));
  std::vector<std::string> names;
  for (const Json& name : *list) {
    if (!name.is_string())
      return absl::InvalidArgumentError(StrCat("member ", member, " holds no names"));
    names.push_back(Printable(name.get<std::string>(), kNameBytesMax));
  }
  return names;
}

// Everything that goes to a terminal is made printable here.
Result<std::string> GetText(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const std::string text, GetString(object, member));
  return Printable(text, 1000);
}

Result<ContractNode> ParseContractNode(const Json& json) {
  ContractNode node;
  ASSIGN_OR_RETURN(node.name, GetText(json, "name"));
  ASSIGN_OR_RETURN(node.kind, GetText(json, "kind"));
  ASSIGN_OR_RETURN(node.blob_url, GetText(json, "blob_url"));
  ASSIGN_OR_RETURN(node.spiffe_id, GetText(json, "spiffe_id"));
  ASSIGN_OR_RETURN(node.present, GetBool(json, "present"));
  ASSIGN_OR_RETURN(node.may_lead, GetBool(json, "may_lead"));
  ASSIGN_OR_RETURN(node.checked_in, GetBool(json, "checked_in"));
  ASSIGN_OR_RETURN(node.holder, GetBool(json, "holder"));
  ASSIGN_OR_RETURN(node.weight, GetUint(json, "weight"));
  return node;
}

Result<WaitingView> ParseWaitingView(const Json& json) {
  WaitingView waiting;
  ASSIGN_OR_RETURN(waiting.on, GetNames(json, "on"));
  ASSIGN_OR_RETURN(waiting.what, GetText(json, "what"));
  ASSIGN_OR_RETURN(waiting.next, GetText(json, "next"));
  ASSIGN_OR_RETURN(const std::uint64_t since, GetUint(json, "since_unix_ms"));
  waiting.since = FromUnixMs(static_cast<std::int64_t>(since));
  if (Has(json, "trouble")) {  // An older SN does not say.
    ASSIGN_OR_RETURN(waiting.trouble, GetBool(json, "trouble"));
  }
  return waiting;
}

template <typename T>
Result<std::vector<T>> ParseList(const Json& object, std::string_view member, std::size_t items_max,
                                 Result<T> (*parse)(const Json&)) {
  ASSIGN_OR_RETURN(const Json* const list, GetArray(object, member, items_max));
  std::vector<T> out;
  for (const Json& item : *list) {
    Result<T> parsed = parse(item);
    if (!parsed.ok()) return Annotate(parsed.status(), member);
    out.push_back(*std::move(parsed));
  }
  return out;
}

Result<DecodedEntry> ParseDecodedEntry(const Json& json) {
  DecodedEntry entry;
  ASSIGN_OR_RETURN(entry.position, GetPosition(json, "position"));
  ASSIGN_OR_RETURN(const std::uint64_t time, GetUint(json, "time_unix_ms"));
  ASSIGN_OR_RETURN(entry.author, GetText(json, "author"));
  ASSIGN_OR_RETURN(entry.ignored, GetText(json, "ignored"));
  entry.time = FromUnixMs(static_cast<std::int64_t>(time));
  if (const auto payload = json.find("payload"); payload != json.end()) entry.payload = *payload;
  return entry;
}

// An SN that cannot be reached, with the cause and the next step in words.
Status WithWords(const Status& failure, const Endpoint& sn) {
  const bool reached = !absl::IsUnavailable(failure) && !absl::IsDeadlineExceeded(failure) &&
                       !absl::IsUnauthenticated(failure);
  if (reached || !NextStep(failure).empty()) return Annotate(failure, sn.Url());
  Trouble trouble = TroubleOf(failure);
  return WithNext(WithCode(Status(failure.code(),
                                  StrCat("the SN ", sn.Url(), " does not answer: ", trouble.what)),
                           StableCode(failure)),
                  trouble.next);
}

}  // namespace

Result<ContractView> ParseContractView(const Json& json) {
  ContractView view;
  ASSIGN_OR_RETURN(view.name, GetText(json, "name"));
  ASSIGN_OR_RETURN(view.phase, GetText(json, "phase"));
  ASSIGN_OR_RETURN(view.base, GetText(json, "base"));
  ASSIGN_OR_RETURN(view.leader, GetText(json, "leader"));
  ASSIGN_OR_RETURN(view.final_root, GetText(json, "final_root"));
  ASSIGN_OR_RETURN(view.instance, GetPosition(json, "instance"));
  ASSIGN_OR_RETURN(view.round, GetUint(json, "round"));
  ASSIGN_OR_RETURN(view.attempt, GetUint(json, "attempt"));
  ASSIGN_OR_RETURN(view.rounds_sealed, GetUint(json, "rounds_sealed"));
  ASSIGN_OR_RETURN(view.participants, GetNames(json, "participants"));
  ASSIGN_OR_RETURN(view.nodes, ParseList(json, "nodes", kNodesMax, ParseContractNode));
  ASSIGN_OR_RETURN(view.waiting, ParseList(json, "waiting", kNodesMax, ParseWaitingView));
  ASSIGN_OR_RETURN(const Json* const rules, GetObject(json, "rules"));
  view.rules = *rules;
  view.raw = json;
  return view;
}

Result<NodeRow> ParseNodeRow(const Json& json) {
  NodeRow row;
  ASSIGN_OR_RETURN(row.type, GetText(json, "type"));
  ASSIGN_OR_RETURN(row.name, GetText(json, "name"));
  ASSIGN_OR_RETURN(row.host, GetText(json, "host"));
  ASSIGN_OR_RETURN(row.port, GetUint(json, "port"));
  ASSIGN_OR_RETURN(row.uuid, GetText(json, "uuid"));
  ASSIGN_OR_RETURN(row.parent, GetText(json, "parent"));
  ASSIGN_OR_RETURN(row.contract, GetText(json, "contract"));
  ASSIGN_OR_RETURN(const std::uint64_t alive, GetUint(json, "alive_unix_ms"));
  if (alive != 0) row.alive = FromUnixMs(static_cast<std::int64_t>(alive));
  return row;
}

Result<StatusView> ParseStatusView(const Json& json) {
  StatusView view;
  ASSIGN_OR_RETURN(view.sn, GetText(json, "sn"));
  ASSIGN_OR_RETURN(const Json* const end, GetObject(json, "end"));
  ASSIGN_OR_RETURN(view.end, GetPosition(*end, "position"));
  ASSIGN_OR_RETURN(view.head, GetText(*end, "head"));
  ASSIGN_OR_RETURN(view.uptime_ms, GetUint(json, "uptime_ms"));
  ASSIGN_OR_RETURN(view.contracts, ParseList(json, "contracts", kContractsMax, ParseContractView));
  if (Has(json, "troubles")) {
    ASSIGN_OR_RETURN(view.troubles,
                     ParseList(json, "troubles", kTroublesShownMax, ParseWaitingView));
  }
  view.raw = json;
  return view;
}

HttpSnClient::HttpSnClient(HttpClient& http, std::vector<Endpoint> sns, std::stop_token stop)
    : http_(http), sns_(std::move(sns)), stop_(std::move(stop)) {
  CHECK(!sns_.empty());
}

Result<Json> HttpSnClient::Ask(const ClientRequest& request) {
  Status last;
  for (const Endpoint& sn : sns_) {
    Result<Json> answer = http_.DoJson(sn, request, stop_);
    if (answer.ok()) return answer;
    last = WithWords(answer.status(), sn);
    // Only an SN that cannot be reached is replaced by the next; an answer is an answer.
    if (!absl::IsUnavailable(last) && !absl::IsDeadlineExceeded(last)) break;
  }
  return last;
}

Result<std::int64_t> HttpSnClient::Tell(const std::string& target, const Json& body) {
  ASSIGN_OR_RETURN(const Json answer, Ask({.method = "POST",
                                           .target = target,
                                           .headers = {{"content-type", "application/json"}},
                                           .body = body.dump()}));
  return GetPosition(answer, "position");
}

Status HttpSnClient::IsUp() {
  Status last;
  for (const Endpoint& sn : sns_) {
    const Result<ClientResponse> answer = http_.Do(sn, {.target = "/is_up"}, stop_);
    if (answer.ok() && answer->status == 200) return absl::OkStatus();
    last = Annotate(
        answer.ok() ? absl::UnavailableError(StrCat("answers ", answer->status)) : answer.status(),
        sn.Url());
  }
  return last;
}

Result<std::vector<ContractView>> HttpSnClient::Contracts() {
  ASSIGN_OR_RETURN(const Json answer, Ask({.target = "/v1/contracts"}));
  return ParseList(answer, "contracts", kContractsMax, ParseContractView);
}

Result<ContractView> HttpSnClient::Contract(const ContractName& name) {
  ASSIGN_OR_RETURN(const Json answer, Ask({.target = StrCat("/v1/contracts/", name.value())}));
  return ParseContractView(answer);
}

Result<std::vector<NodeRow>> HttpSnClient::Nodes() {
  ASSIGN_OR_RETURN(const Json answer, Ask({.target = "/v1/nodes"}));
  return ParseList(answer, "nodes", kNodesShownMax, ParseNodeRow);
}

Result<StatusView> HttpSnClient::GetStatus() {
  ASSIGN_OR_RETURN(const Json answer, Ask({.target = "/v1/status"}));
  return ParseStatusView(answer);
}

Result<std::vector<DecodedEntry>> HttpSnClient::Entries(std::int64_t from) {
  ASSIGN_OR_RETURN(const Json answer,
                   Ask({.target = StrCat("/v1/entries?from=", from, "&decode=1")}));
  return ParseList(answer, "entries", kEntriesMax, ParseDecodedEntry);
}

Result<std::int64_t> HttpSnClient::Create(const ContractName& name, const Rules& rules) {
  return Tell("/v1/contracts", {{"name", name.value()}, {"rules", RulesJson(rules)}});
}
Result<std::int64_t> HttpSnClient::Amend(const ContractName& name, std::uint64_t min_peers) {
  return Tell(StrCat("/v1/contracts/", name.value()),
              {{"action", "amend"}, {"min_peers", min_peers}});
}
Result<std::int64_t> HttpSnClient::Reset(const ContractName& name) {
  return Tell(StrCat("/v1/contracts/", name.value()), {{"action", "reset"}});
}
Result<std::int64_t> HttpSnClient::Revoke(const ContractName& name, const NodeName& node) {
  return Tell(StrCat("/v1/contracts/", name.value()),
              {{"action", "revoke"}, {"node", node.value()}});
}

}  // namespace starling
