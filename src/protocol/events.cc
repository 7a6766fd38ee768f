#include "protocol/events.h"

#include <array>
#include <utility>

#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/fields.h"

namespace starling {
namespace {

using fields::GetAttempt;
using fields::GetNode;
using fields::GetNodes;
using fields::GetRoot;
using fields::GetRound;

constexpr std::size_t kClaimTextMax = 48U << 10;
constexpr std::array<std::string_view, 13> kTypes = {
    "sn-joined",    "contract-created", "contract-reset", "contract-amended", "node-enrolled",
    "node-revoked", "node-away",        "checked-in",     "node-finished",    "round-closed",
    "stalled",      "round-reopened",   "round-merged"};
constexpr std::array<std::string_view, 3> kModes = {"snapshot", "active", "inactive"};

Json ClaimJson(const OperatorClaim& claim) {
  return claim.jws.empty() ? Json{{"spiffe_id", claim.spiffe_id}} : Json{{"jws", claim.jws}};
}

Result<OperatorClaim> GetClaim(const Json& object) {
  ASSIGN_OR_RETURN(const Json* const claim, GetObject(object, "claim"));
  RETURN_IF_ERROR(OnlyMembers(*claim, {"spiffe_id", "jws"}));
  if (claim->size() != 1) return absl::InvalidArgumentError("a claim has a jws or a spiffe_id");
  OperatorClaim out;
  if (Has(*claim, "jws")) {
    ASSIGN_OR_RETURN(out.jws, GetString(*claim, "jws", kClaimTextMax));
  } else {
    ASSIGN_OR_RETURN(out.spiffe_id, GetString(*claim, "spiffe_id", 2048));
  }
  if (out.jws.empty() && out.spiffe_id.empty()) return absl::InvalidArgumentError("an empty claim");
  return out;
}

// --- reports: for people, so a missing member is no error ---
void PutNumber(Json& object, std::string_view name, const std::optional<double>& value) {
  if (value) object[std::string(name)] = *value;
}
Status TakeNumber(const Json& object, std::string_view name, std::optional<double>& out) {
  if (!Has(object, name)) return absl::OkStatus();
  ASSIGN_OR_RETURN(out, GetNumber(object, name));
  return absl::OkStatus();
}
Status TakeUint(const Json& object, std::string_view name, std::uint64_t& out) {
  if (!Has(object, name)) return absl::OkStatus();
  ASSIGN_OR_RETURN(out, GetUint(object, name));
  return absl::OkStatus();
}

void PutReport(const CheckinReport& report, Json& object) {
  PutNumber(object, "norm", report.norm);
  PutNumber(object, "loss", report.loss);
  PutNumber(object, "metric", report.metric);
  PutNumber(object, "base_loss", report.base_loss);
  PutNumber(object, "base_metric", report.base_metric);
  object["train_ms"] = report.train_ms;
  object["batches"] = report.batches;
}
Result<CheckinReport> TakeReport(const Json& object) {
  CheckinReport report;
  RETURN_IF_ERROR(TakeNumber(object, "norm", report.norm));
  RETURN_IF_ERROR(TakeNumber(object, "loss", report.loss));
  RETURN_IF_ERROR(TakeNumber(object, "metric", report.metric));
  RETURN_IF_ERROR(TakeNumber(object, "base_loss", report.base_loss));
  RETURN_IF_ERROR(TakeNumber(object, "base_metric", report.base_metric));
  RETURN_IF_ERROR(TakeUint(object, "train_ms", report.train_ms));
  RETURN_IF_ERROR(TakeUint(object, "batches", report.batches));
  return report;
}

// --- to JSON: one overload an event, adding its members ---
void Put(const SnJoined& e, Json& j) {
  j["claim"] = e.claim;
  if (e.protocol == 0) return;
  j["protocol"] = e.protocol;
  j["finality"] = e.finality;
  j["operator_keys"] = Json::array();
  for (const PublicKey& key : e.operator_keys) j["operator_keys"].push_back(PublicKeyText(key));
}
void Put(const ContractCreated& e, Json& j) {
  j["rules"] = RulesJson(e.rules);
  j["claim"] = ClaimJson(e.claim);
}
void Put(const ContractReset& e, Json& j) { j["claim"] = ClaimJson(e.claim); }
void Put(const ContractAmended& e, Json& j) {
  j["min_peers"] = e.min_peers;
  j["claim"] = ClaimJson(e.claim);
}
void Put(const NodeEnrolled& e, Json& j) {
  j["claim"] = e.claim;
  j["spiffe_id"] = e.spiffe_id;
}
void Put(const NodeRevoked& e, Json& j) {
  j["name"] = e.name.value();
  j["claim"] = ClaimJson(e.claim);
}
void Put(const NodeAway& e, Json& j) {
  j["name"] = e.name.value();
  if (!e.why.empty()) j["why"] = e.why;
}
void Put(const CheckedIn& e, Json& j) {
  j["round"] = e.round.value();
  j["update"] = RootText(e.update);
  j["base"] = fields::RootOrEmpty(e.base);
  PutReport(e.report, j);
}
void Put(const NodeFinished& e, Json& j) {
  j["mode"] = kModes[static_cast<std::size_t>(e.mode)];
  if (e.update) j["update"] = RootText(*e.update);
  PutReport(e.report, j);
}
void Put(const RoundClosed& e, Json& j) {
  j["round"] = e.round.value();
  j["attempt"] = e.attempt.value();
  j["without"] = fields::NodesJson(e.without);
}
void Put(const Stalled& e, Json& j) {
  j["round"] = e.round.value();
  j["attempt"] = e.attempt.value();
  j["set"] = HexOf(e.set);
  j["on"] = fields::NodesJson(e.on);
  j["why"] = e.why;
}
void Put(const RoundReopened& e, Json& j) {
  j["round"] = e.round.value();
  j["attempt"] = e.attempt.value();
  j["without"] = fields::NodesJson(e.without);
}
void Put(const RoundMerged& e, Json& j) {
  j["round"] = e.round.value();
  j["attempt"] = e.attempt.value();
  j["set"] = HexOf(e.set);
  j["root"] = RootText(e.root);
  j["pull_ms"] = e.report.pull_ms;
  j["merge_ms"] = e.report.merge_ms;
  j["bytes"] = e.report.bytes;
}

// --- from JSON: `Only` names the members beside the common ones ---
Status Only(const Json& j, std::initializer_list<std::string_view> members) {
  std::size_t known =
      3 + (Has(j, "contract") ? 1U : 0U);  // type, seq, seen: taken by ParseStatement
  for (const std::string_view member : members) known += Has(j, member) ? 1U : 0U;
  if (known == j.size()) return absl::OkStatus();
  return absl::InvalidArgumentError("the entry has a member that its type does not know");
}

Result<Event> TakeSnJoined(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"claim", "protocol", "finality", "operator_keys"}));
  SnJoined e;
  ASSIGN_OR_RETURN(e.claim, GetString(j, "claim", kClaimTextMax));
  if (!Has(j, "protocol") && !Has(j, "finality") && !Has(j, "operator_keys")) return Event{e};
  ASSIGN_OR_RETURN(e.protocol, GetUint(j, "protocol"));
  ASSIGN_OR_RETURN(e.finality, GetString(j, "finality", 64));
  ASSIGN_OR_RETURN(const std::vector<std::string> keys, fields::GetTexts(j, "operator_keys", 64));
  for (const std::string& text : keys) {
    ASSIGN_OR_RETURN(const PublicKey key, ParsePublicKey(text));
    e.operator_keys.push_back(key);
  }
  return Event{e};
}
Result<Event> TakeContractCreated(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"rules", "claim"}));
  ContractCreated e;
  ASSIGN_OR_RETURN(const Json* const rules, GetObject(j, "rules"));
  ASSIGN_OR_RETURN(e.rules, ParseRules(*rules));
  ASSIGN_OR_RETURN(e.claim, GetClaim(j));
  return Event{e};
}
Result<Event> TakeContractReset(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"claim"}));
  ContractReset e;
  ASSIGN_OR_RETURN(e.claim, GetClaim(j));
  return Event{e};
}
Result<Event> TakeContractAmended(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"min_peers", "claim"}));
  ContractAmended e;
  ASSIGN_OR_RETURN(e.min_peers, GetUint(j, "min_peers"));
  ASSIGN_OR_RETURN(e.claim, GetClaim(j));
  return Event{e};
}
Result<Event> TakeNodeEnrolled(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"claim", "spiffe_id"}));
  NodeEnrolled e;
  ASSIGN_OR_RETURN(e.claim, GetString(j, "claim", kClaimTextMax));
  ASSIGN_OR_RETURN(e.spiffe_id, GetString(j, "spiffe_id", 2048));
  return Event{e};
}
Result<Event> TakeNodeRevoked(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"name", "claim"}));
  NodeRevoked e;
  ASSIGN_OR_RETURN(e.name, GetNode(j, "name"));
  ASSIGN_OR_RETURN(e.claim, GetClaim(j));
  return Event{e};
}
Result<Event> TakeNodeAway(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"name", "why"}));
  NodeAway e;
  ASSIGN_OR_RETURN(e.name, GetNode(j, "name"));
  if (Has(j, "why")) {
    ASSIGN_OR_RETURN(e.why, GetString(j, "why", kAwayWhyMax));
  }
  return Event{e};
}
Result<Event> TakeCheckedIn(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"round", "update", "base", "norm", "loss", "metric", "base_loss",
                           "base_metric", "train_ms", "batches"}));
  CheckedIn e;
  ASSIGN_OR_RETURN(e.round, GetRound(j));
  ASSIGN_OR_RETURN(e.update, GetRoot(j, "update"));
  ASSIGN_OR_RETURN(e.base, fields::GetOptionalRoot(j, "base"));
  ASSIGN_OR_RETURN(e.report, TakeReport(j));
  return Event{e};
}
Result<Event> TakeNodeFinished(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"mode", "update", "norm", "loss", "metric", "base_loss", "base_metric",
                           "train_ms", "batches"}));
  NodeFinished e;
  ASSIGN_OR_RETURN(const std::string mode, GetString(j, "mode", 16));
  std::size_t index = 0;
  while (index < kModes.size() && kModes[index] != mode) ++index;
  if (index == kModes.size())
    return absl::InvalidArgumentError("mode is snapshot, active or inactive");
  e.mode = static_cast<FinishMode>(index);
  if (Has(j, "update")) {
    ASSIGN_OR_RETURN(e.update, GetRoot(j, "update"));
  }
  if (e.update.has_value() != (e.mode == FinishMode::kSnapshot))
    return absl::InvalidArgumentError("mode snapshot, and no other, names an update");
  ASSIGN_OR_RETURN(e.report, TakeReport(j));
  return Event{e};
}
Result<Event> TakeRoundClosed(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"round", "attempt", "without"}));
  RoundClosed e;
  ASSIGN_OR_RETURN(e.round, GetRound(j));
  ASSIGN_OR_RETURN(e.attempt, GetAttempt(j));
  ASSIGN_OR_RETURN(e.without, GetNodes(j, "without"));
  return Event{e};
}
Result<Digest> TakeSet(const Json& j) {
  ASSIGN_OR_RETURN(const std::string text, GetString(j, "set", 64));
  return ParseHexDigest(text);
}
Result<Event> TakeStalled(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"round", "attempt", "set", "on", "why"}));
  Stalled e;
  ASSIGN_OR_RETURN(e.round, GetRound(j));
  ASSIGN_OR_RETURN(e.attempt, GetAttempt(j));
  ASSIGN_OR_RETURN(e.set, TakeSet(j));
  ASSIGN_OR_RETURN(e.on, GetNodes(j, "on"));
  ASSIGN_OR_RETURN(e.why, GetString(j, "why", 64));
  return Event{e};
}
Result<Event> TakeRoundReopened(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"round", "attempt", "without"}));
  RoundReopened e;
  ASSIGN_OR_RETURN(e.round, GetRound(j));
  ASSIGN_OR_RETURN(e.attempt, GetAttempt(j));
  ASSIGN_OR_RETURN(e.without, GetNodes(j, "without"));
  return Event{e};
}
Result<Event> TakeRoundMerged(const Json& j) {
  RETURN_IF_ERROR(Only(j, {"round", "attempt", "set", "root", "pull_ms", "merge_ms", "bytes"}));
  RoundMerged e;
  ASSIGN_OR_RETURN(e.round, GetRound(j));
  ASSIGN_OR_RETURN(e.attempt, GetAttempt(j));
  ASSIGN_OR_RETURN(e.set, TakeSet(j));
  ASSIGN_OR_RETURN(e.root, GetRoot(j, "root"));
  RETURN_IF_ERROR(TakeUint(j, "pull_ms", e.report.pull_ms));
  RETURN_IF_ERROR(TakeUint(j, "merge_ms", e.report.merge_ms));
  RETURN_IF_ERROR(TakeUint(j, "bytes", e.report.bytes));
  return Event{e};
}

using Taker = Result<Event> (*)(const Json&);
constexpr std::array<Taker, kTypes.size()> kTakers = {
    TakeSnJoined,    TakeContractCreated, TakeContractReset, TakeContractAmended, TakeNodeEnrolled,
    TakeNodeRevoked, TakeNodeAway,        TakeCheckedIn,     TakeNodeFinished,    TakeRoundClosed,
    TakeStalled,     TakeRoundReopened,   TakeRoundMerged};
static_assert(std::variant_size_v<Event> == kTypes.size());

}  // namespace

std::string_view TypeOf(const Event& event) { return kTypes[event.index()]; }
std::span<const std::string_view> EventTypes() { return kTypes; }

Result<Statement> ParseStatement(const Json& payload) {
  Statement statement;
  ASSIGN_OR_RETURN(const std::string type, GetString(payload, "type", 32));
  ASSIGN_OR_RETURN(statement.seq, GetUint(payload, "seq"));
  ASSIGN_OR_RETURN(statement.seen, fields::GetPlace(payload, "seen"));
  std::size_t index = 0;
  while (index < kTypes.size() && kTypes[index] != type) ++index;
  if (index == kTypes.size())
    return absl::InvalidArgumentError(StrCat("unknown type \"", Printable(type, 32), "\""));
  if (index == 0) {
    if (Has(payload, "contract")) return absl::InvalidArgumentError("sn-joined names no training");
  } else {
    ASSIGN_OR_RETURN(const std::string contract, GetString(payload, "contract", kNameBytesMax));
    ASSIGN_OR_RETURN(statement.contract, ParseContractName(contract));
  }
  ASSIGN_OR_RETURN(statement.event, kTakers[index](payload));
  return statement;
}

Json StatementJson(const Statement& statement) {
  Json payload = {{"type", TypeOf(statement.event)},
                  {"seq", statement.seq},
                  {"seen", fields::PlaceJson(statement.seen)}};
  if (!std::holds_alternative<SnJoined>(statement.event))
    payload["contract"] = statement.contract.value();
  std::visit([&](const auto& event) { Put(event, payload); }, statement.event);
  return payload;
}

std::string SignStatement(const SigningKey& key, const Statement& statement) {
  return SignJws(key, kEntryTyp, StatementJson(statement));
}

}  // namespace starling
