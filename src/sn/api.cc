#include "sn/api.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "ledger/page.h"
#include "sn/admission.h"

namespace starling {
namespace {

constexpr std::size_t kEntriesMax = 1000;  // in one append
constexpr std::uint64_t kWaitMillisMax = 60'000;
// How long a copy is waited for that is a moment behind whoever asks.
constexpr Duration kBehindPatience = 2s;
// How often a following SN looks whether its sentinel is still there, for those who wait.
constexpr Duration kUpstreamLook = 1s;
// An append's JSON: its entries and some air.
constexpr std::size_t kBodyBytesMax = kAppendBytesMax + (std::size_t{32} << 10);

Status BadRequest(const std::string& message) {
  return WithNext(WithCode(absl::InvalidArgumentError(message), "bad-request"),
                  "see docs/formats/http.md");
}

Result<std::uint64_t> QueryNumber(const HttpRequest& request, const std::string& name) {
  const auto found = request.query.find(name);
  if (found == request.query.end()) return std::uint64_t{0};
  const std::string& text = found->second;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      value > kJsonIntegerMax) {
    return BadRequest(StrCat("query ", name, " is not a number: ", Printable(text, 40)));
  }
  return value;
}

Result<Json> BodyObject(const HttpRequest& request) {
  Result<Json> body = ParseJson(request.body, {.bytes_max = kBodyBytesMax});
  if (!body.ok())
    return WithNext(WithCode(body.status(), "bad-request"), "see docs/formats/http.md");
  if (!body->is_object()) return BadRequest("the body is no JSON object");
  return body;
}

Status Allow(const PeerPolicy& policy, const HttpRequest& request, std::string_view who) {
  if (request.peer && policy.Allows(*request.peer)) return absl::OkStatus();
  return WithNext(
      WithCode(absl::PermissionDeniedError(
                   StrCat("only ", who, " may ask this, not ",
                          request.peer ? request.peer->text() : "somebody without a certificate")),
               "wrong-path"),
      "use a certificate whose SPIFFE ID ends in the right path");
}

}  // namespace

SnApi::SnApi(SnApiOptions options, const Deps& deps)
    : options_(std::move(options)), deps_(deps), started_{deps.clock.Now(), deps.clock.UtcNow()} {
  AddReads();
  AddWrites();
}

void SnApi::AddReads() {
  router_.Add("GET", "/is_up", [](const RouteMatch&) { return TextResponse("OK"); });
  router_.Add("GET", "/v1/entries", [this](const RouteMatch& match) {
    Result<HttpResponse> answer = GetEntries(match);
    return answer.ok() ? *std::move(answer) : Problem(answer.status());
  });
  router_.Add("GET", "/v1/nodes", [this](const RouteMatch&) { return GetNodes(); });
  router_.Add("GET", "/v1/contracts", [this](const RouteMatch&) {
    const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
    Json contracts = Json::array();
    for (const auto& [name, contract] : snapshot->state.contracts)
      contracts.push_back(ContractJson(contract, *snapshot, started_));
    return JsonResponse({{"contracts", std::move(contracts)}});
  });
  router_.Add("GET", "/v1/contracts/{name}", [this](const RouteMatch& match) {
    Result<HttpResponse> answer = GetContract(match);
    return answer.ok() ? *std::move(answer) : Problem(answer.status());
  });
  router_.Add("GET", "/v1/status", [this](const RouteMatch&) { return GetStatus(); });
}

void SnApi::AddWrites() {
  if (follows()) {
    const auto forward = [this](const RouteMatch& match) {
      return deps_.upstream.forward(match.request, match.stop);
    };
    for (const char* const pattern :
         {"/v1/entries", "/v1/nodes", "/v1/sns", "/v1/contracts", "/v1/contracts/{name}"})
      router_.Add("POST", pattern, forward);
    return;
  }
  const auto add = [this](const std::string& pattern, const PeerPolicy& policy,
                          std::string_view who, auto handler) {
    router_.Add("POST", pattern,
                [this, &policy, who, handler](const RouteMatch& match) -> HttpResponse {
                  if (const Status status = Allow(policy, match.request, who); !status.ok())
                    return Problem(status);
                  Result<HttpResponse> answer = (this->*handler)(match);
                  return answer.ok() ? *std::move(answer) : Problem(answer.status());
                });
  };
  add("/v1/sns", options_.networks, "network nodes", &SnApi::PostSns);
  add("/v1/entries", options_.learners, "learning nodes", &SnApi::PostEntries);
  add("/v1/contracts", options_.operators, "operators", &SnApi::PostContracts);
  add("/v1/contracts/{name}", options_.operators, "operators", &SnApi::PostContract);
  router_.Add("POST", "/v1/nodes", [this](const RouteMatch& match) -> HttpResponse {
    if (const Status status = Allow(options_.learners, match.request, "learning nodes");
        !status.ok())
      return Problem(status);
    return PostNodes(match);
  });
}

HttpResponse SnApi::Handle(const HttpRequest& request, const std::stop_token& stop) {
  const std::string speaks_for = request.Header("starling-for");
  if (speaks_for.empty()) return HandleOf(request, stop);
  // A following SN passes on what somebody has asked it, and vouches for who that is.
  if (const Status status = Allow(options_.networks, request, "network nodes"); !status.ok())
    return Problem(status);
  Result<SpiffeId> id = SpiffeId::Parse(speaks_for);
  if (!id.ok()) return Problem(BadRequest("Starling-For is no SPIFFE ID"));
  HttpRequest passed = request;
  passed.peer = *std::move(id);
  return HandleOf(passed, stop);
}

HttpResponse SnApi::HandleOf(const HttpRequest& request, const std::stop_token& stop) {
  // The sentinel judges what is passed on to it.
  const bool is_passed_on = follows() && request.method == "POST";
  if (!is_passed_on) {
    if (const Status status = CheckSeenHeader(request, stop); !status.ok()) return Problem(status);
  }
  NoteWhoAsks(request);
  return router_.Handle(request, stop);
}

void SnApi::NoteWhoAsks(const HttpRequest& request) {
  if (!request.peer) return;
  const std::string node = request.Header("starling-node");
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  if (options_.learners.Allows(*request.peer)) {
    presence_.Heard(*request.peer, node, snapshot->state, deps_.clock.UtcNow());
  } else if (options_.networks.Allows(*request.peer) &&
             snapshot->state.sns.contains(NodeName(node))) {
    presence_.HeardNode(kSnsContract, NodeName(node), deps_.clock.UtcNow());
  }
}

HttpResponse SnApi::Problem(const Status& status, const Json& extra) {
  const std::string code = StableCode(status);
  refused_.With([&](auto& refused) { ++refused[code]; });
  if (code == "split-ledger") deps_.log.Error("{}", ErrorLine(status, "sn"));
  return ProblemResponse(status, extra);
}

std::map<std::string, std::uint64_t> SnApi::refused() const {
  return refused_.With([](const auto& refused) { return refused; });
}

Status SnApi::CheckPlace(const Place& seen) const {
  const std::optional<Digest> ours = deps_.feed.HeadAt(seen.position);
  if (ours) return *ours == seen.head ? absl::OkStatus() : SplitLedger(seen, *ours);
  if (follows()) {
    return WithNext(
        WithCode(absl::UnavailableError(StrCat("this SN's copy of the ledger ends before position ",
                                               seen.position.value(), ", which you have seen")),
                 "behind"),
        "it follows the sentinel; ask again in a second, or another SN");
  }
  return WithNext(
      WithCode(
          absl::FailedPreconditionError(StrCat("this ledger ends before position ",
                                               seen.position.value(), ", which you have seen")),
          "seen-ahead"),
      "the SN may have been restored from an old copy, and asks the other nodes for what it lacks; "
      "if none has it, bring its newest ledger.db back");
}

Status SnApi::CheckSeenHeader(const HttpRequest& request, const std::stop_token& stop) const {
  const std::string header = request.Header("starling-seen");
  if (header.empty()) return absl::OkStatus();
  const Result<Place> seen = ParsePlace(header);
  if (!seen.ok()) return BadRequest("Starling-Seen is not <position>:<head>");
  // A copy is a moment behind.
  if (follows()) static_cast<void>(deps_.feed.WaitFor(seen->position, kBehindPatience, stop));
  Status status = CheckPlace(*seen);
  if (status.ok() || !request.peer) return status;
  const ShownPlace shown{*seen, request.Header("starling-url"), request.peer->text()};
  const std::string code = StableCode(status);
  if (code == "seen-ahead" && deps_.on_ahead) deps_.on_ahead(shown, stop);
  if (code == "split-ledger" && deps_.on_split) deps_.on_split(shown, status, stop);
  return status;
}

Status SnApi::WaitForEntries(Position begin, Duration patience, const std::stop_token& stop) const {
  if (!follows()) {
    static_cast<void>(deps_.feed.WaitFor(begin, patience, stop));
    return absl::OkStatus();
  }
  // Who waits here for news must learn that none can come, and may ask another SN.
  const Instant until = deps_.clock.Now() + patience;
  while (deps_.feed.Current()->end.position < begin && !stop.stop_requested()) {
    RETURN_IF_ERROR(deps_.upstream.state());
    const Duration left = until - deps_.clock.Now();
    if (left <= Duration::zero()) break;
    static_cast<void>(deps_.feed.WaitFor(begin, std::min<Duration>(left, kUpstreamLook), stop));
  }
  return absl::OkStatus();
}

Result<HttpResponse> SnApi::GetEntries(const RouteMatch& match) {
  ASSIGN_OR_RETURN(const std::uint64_t from, QueryNumber(match.request, "from"));
  ASSIGN_OR_RETURN(const std::uint64_t wait, QueryNumber(match.request, "wait"));
  ASSIGN_OR_RETURN(const std::uint64_t decode, QueryNumber(match.request, "decode"));
  const Position begin(static_cast<std::int64_t>(from));
  const Duration patience = std::min<Duration>(
      std::chrono::milliseconds(std::min(wait, kWaitMillisMax)), match.request.time_left);
  if (wait > 0) RETURN_IF_ERROR(WaitForEntries(begin, patience, match.stop));

  const Place end = deps_.feed.Current()->end;
  std::vector<LedgerRecord> records;
  if (begin <= end.position) {
    ASSIGN_OR_RETURN(records, deps_.ledger.Read(begin.value(), {.entries_max = kPageEntriesMax,
                                                                .bytes_max = kPageBytesMax}));
    // The ledger may have grown since; what is shown ends where the end says.
    while (!records.empty() && Position(records.back().position) > end.position) records.pop_back();
  }
  std::vector<EntryNote> notes;
  if (decode != 0) notes = deps_.feed.Notes(begin, records.size());
  const LedgerEnd final_end = deps_.ledger.Final();
  const Place final_place = Position(final_end.position) <= end.position
                                ? Place{Position(final_end.position), final_end.head}
                                : end;
  return JsonResponse({{"end", PlaceJson(end)},
                       {"final", PlaceJson(final_place)},
                       {"entries", EntriesJson(records, notes)},
                       {"now_unix_ms", UnixMs(deps_.clock.UtcNow())}});
}

HttpResponse SnApi::GetNodes() {
  // Entry 0 is the sentinel's own.
  std::string founder;
  if (const auto first = deps_.ledger.Read(0, {.entries_max = 1}); first.ok() && !first->empty())
    founder = FounderOf(first->front().entry);
  if (deps_.upstream.state && deps_.upstream.state().ok())
    presence_.HeardNode(kSnsContract, NodeName(founder), deps_.clock.UtcNow());
  return JsonResponse(
      NodesJson(*deps_.feed.Current(), presence_, options_.self, founder, deps_.clock.UtcNow()));
}

Result<HttpResponse> SnApi::PostSns(const RouteMatch& match) {
  ASSIGN_OR_RETURN(const Json body, BodyObject(match.request));
  RETURN_IF_ERROR(OnlyMembers(body, {"claim"}));
  ASSIGN_OR_RETURN(const std::string claim, GetString(body, "claim", kEntryBytesMax));
  ASSIGN_OR_RETURN(const Place place, deps_.core.Join(claim));
  return JsonResponse(PlaceJson(place));
}

Result<HttpResponse> SnApi::PostEntries(const RouteMatch& match) {
  ASSIGN_OR_RETURN(const Json body, BodyObject(match.request));
  RETURN_IF_ERROR(OnlyMembers(body, {"entries"}));
  ASSIGN_OR_RETURN(const Json* const list, GetArray(body, "entries", kEntriesMax));
  std::vector<std::string> entries;
  for (const Json& entry : *list) {
    if (!entry.is_string()) return BadRequest("an entry is a string");
    entries.push_back(entry.get<std::string>());
  }
  ASSIGN_OR_RETURN(const SnCore::Appended appended, deps_.core.Append(entries));
  for (const auto& [contract, node] : appended.authors)
    presence_.HeardNode(contract, node, deps_.clock.UtcNow());
  Json answer = PlaceJson(appended.end);
  if (std::any_of(appended.ignored.begin(), appended.ignored.end(),
                  [](const std::string& reason) { return !reason.empty(); })) {
    answer["ignored"] = appended.ignored;
  }
  return JsonResponse(answer);
}

HttpResponse SnApi::PostNodes(const RouteMatch& match) {
  const auto enrol = [&]() -> Result<Place> {
    ASSIGN_OR_RETURN(const Json body, BodyObject(match.request));
    RETURN_IF_ERROR(OnlyMembers(body, {"contract", "claim"}));
    ASSIGN_OR_RETURN(const std::string contract, GetString(body, "contract", kNameBytesMax));
    ASSIGN_OR_RETURN(const ContractName name, ParseContractName(contract));
    ASSIGN_OR_RETURN(const std::string claim, GetString(body, "claim", kEntryBytesMax));
    return deps_.core.Enrol(name, claim, *match.request.peer);
  };
  const Result<Place> place = enrol();
  if (place.ok()) return JsonResponse(PlaceJson(*place));
  if (StableCode(place.status()) != "seen-too-old") return Problem(place.status());
  const Place end = deps_.feed.Current()->end;
  return Problem(place.status(), {{"place", Json::array({end.position.value(), HexOf(end.head)})}});
}

Result<HttpResponse> SnApi::GetContract(const RouteMatch& match) const {
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  const auto found = snapshot->state.contracts.find(ContractName(match.parameters.at("name")));
  if (found == snapshot->state.contracts.end()) {
    return WithNext(
        WithCode(absl::NotFoundError(StrCat(
                     "no training \"", Printable(match.parameters.at("name"), 128), "\" here")),
                 "no-such-training"),
        "starling training list shows what there is");
  }
  return JsonResponse(ContractJson(found->second, *snapshot, started_));
}

Result<HttpResponse> SnApi::PostContracts(const RouteMatch& match) {
  ASSIGN_OR_RETURN(const Json body, BodyObject(match.request));
  RETURN_IF_ERROR(OnlyMembers(body, {"name", "rules"}));
  ASSIGN_OR_RETURN(const std::string text, GetString(body, "name", kNameBytesMax));
  ASSIGN_OR_RETURN(const ContractName name, ParseContractName(text));
  ASSIGN_OR_RETURN(const Json* const given, GetObject(body, "rules"));
  ASSIGN_OR_RETURN(Rules rules, ParseRules(*given));
  const OperatorClaim claim{.jws = "", .spiffe_id = match.request.peer->text()};
  ASSIGN_OR_RETURN(
      const Position position,
      deps_.core.Operate(name, ContractCreated{.rules = std::move(rules), .claim = claim}));
  return JsonResponse({{"position", position.value()}});
}

Result<HttpResponse> SnApi::PostContract(const RouteMatch& match) {
  ASSIGN_OR_RETURN(const Json body, BodyObject(match.request));
  ASSIGN_OR_RETURN(const std::string action, GetString(body, "action", 32));
  ASSIGN_OR_RETURN(const ContractName name, ParseContractName(match.parameters.at("name")));
  const OperatorClaim claim{.jws = "", .spiffe_id = match.request.peer->text()};
  Event event;
  if (action == "amend") {
    RETURN_IF_ERROR(OnlyMembers(body, {"action", "min_peers"}));
    ASSIGN_OR_RETURN(const std::uint64_t min_peers, GetUint(body, "min_peers"));
    event = ContractAmended{.min_peers = min_peers, .claim = claim};
  } else if (action == "reset") {
    RETURN_IF_ERROR(OnlyMembers(body, {"action"}));
    event = ContractReset{.claim = claim};
  } else if (action == "revoke") {
    RETURN_IF_ERROR(OnlyMembers(body, {"action", "node"}));
    ASSIGN_OR_RETURN(const std::string node, GetString(body, "node", kNameBytesMax));
    ASSIGN_OR_RETURN(NodeName node_name, ParseNodeName(node));
    event = NodeRevoked{.name = std::move(node_name), .claim = claim};
  } else {
    return BadRequest(StrCat("no action \"", Printable(action, 32), "\": amend, reset or revoke"));
  }
  ASSIGN_OR_RETURN(const Position position, deps_.core.Operate(name, std::move(event)));
  return JsonResponse({{"position", position.value()}});
}

HttpResponse SnApi::GetStatus() const {
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  Json contracts = Json::array();
  for (const auto& [name, contract] : snapshot->state.contracts)
    contracts.push_back(ContractJson(contract, *snapshot, started_));
  Json answer = {{"sn", options_.self.name},
                 {"end", PlaceJson(snapshot->end)},
                 {"uptime_ms", Millis(deps_.clock.Now() - started_.now)},
                 {"contracts", std::move(contracts)},
                 {"troubles", Json::array()}};
  if (deps_.troubles) {
    const Moment moment{deps_.clock.Now(), deps_.clock.UtcNow()};
    for (const Waiting& trouble : deps_.troubles())
      answer["troubles"].push_back(WaitingJson(trouble, moment));
  }
  if (follows()) {
    answer["follows"] = {{"sentinel", deps_.upstream.url()},
                         {"trouble", std::string(deps_.upstream.state().message())}};
  }
  return JsonResponse(answer);
}

}  // namespace starling
