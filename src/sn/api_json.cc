#include "sn/api_json.h"

#include <algorithm>

#include "base/text.h"
#include "crypto/jws.h"
#include "http/client.h"

namespace starling {
namespace {

std::string OptionalRoot(const std::optional<Digest>& root) { return root ? RootText(*root) : ""; }

Json Names(const std::vector<Member>& members) {
  Json names = Json::array();
  for (const Member& member : members) names.push_back(member.name.value());
  return names;
}

Json NodeStateJson(const Contract& contract, const Node& node) {
  return {{"name", node.name.value()},
          {"kind", std::string(KindName(node.kind))},
          {"present", node.present},
          {"weight", node.weight},
          {"may_lead", node.may_lead},
          {"checked_in", node.checkin.has_value()},
          {"holder", contract.holders.contains(node.name)},
          {"blob_url", node.blob_url},
          {"spiffe_id", node.spiffe_id}};
}

// A node's claim inside an entry is a JWS of its own; an operator's may be a plain object. Null
// when there is nothing to decode.
Json ClaimPayload(const Json& payload) {
  const auto claim = payload.find("claim");
  if (claim == payload.end() || !claim->is_string()) return nullptr;
  const Result<Jws> jws = ParseJws(claim->get_ref<const std::string&>(), kEntryTyp);
  return jws.ok() ? jws->payload : Json(nullptr);
}

}  // namespace

UtcTime Moment::At(Instant instant) const {
  return utc + std::chrono::duration_cast<std::chrono::milliseconds>(instant - now);
}

Json PlaceJson(const Place& place) {
  return {{"position", place.position.value()}, {"head", HexOf(place.head)}};
}

Json WaitingJson(const Waiting& waiting, const Moment& moment) {
  Json on = Json::array();
  for (const NodeName& name : waiting.on) on.push_back(name.value());
  return {{"on", std::move(on)},
          {"what", waiting.what},
          {"since_unix_ms", UnixMs(moment.At(waiting.since))},
          {"next", waiting.next},
          {"trouble", waiting.trouble}};
}

Json ContractJson(const Contract& contract, const Snapshot& snapshot, const Moment& moment) {
  Json nodes = Json::array();
  for (const auto& [name, node] : contract.nodes) nodes.push_back(NodeStateJson(contract, node));
  Json waits = Json::array();
  for (const Waiting& waiting : snapshot.waiting) {
    if (waiting.contract == contract.name) waits.push_back(WaitingJson(waiting, moment));
  }
  const bool merging = contract.phase == Phase::kMerging;
  return {{"name", contract.name.value()},
          {"instance", contract.instance.value()},
          {"round", contract.round.value()},
          {"attempt", contract.attempt.value()},
          {"phase", std::string(PhaseName(contract.phase))},
          {"base", OptionalRoot(contract.base)},
          {"rules", RulesJson(contract.rules)},
          {"nodes", std::move(nodes)},
          {"participants", Names(merging ? contract.members : contract.sealed_members)},
          {"leader", merging ? LeaderOf(contract).value() : ""},
          {"waiting", std::move(waits)},
          {"rounds_sealed", contract.roots.size()},
          {"final_root", contract.phase == Phase::kDone ? OptionalRoot(contract.base) : ""}};
}

Json NodesJson(const Snapshot& snapshot, const Presence& presence, const SnSelf& self,
               const std::string& founder, UtcTime now) {
  Json nodes = Json::array();
  nodes.push_back({{"type", self.sentinel ? "SENTINEL" : "SN"},
                   {"name", self.name},
                   {"host", self.host},
                   {"port", self.api_port},
                   {"uuid", self.uuid},
                   {"parent", ""},
                   {"contract", ""},
                   {"alive_unix_ms", UnixMs(now)}});
  for (const auto& [name, sn] : snapshot.state.sns) {
    if (name.value() == self.name) continue;
    const Result<Endpoint> endpoint = Endpoint::Parse(sn.api_url);
    const std::optional<UtcTime> heard = presence.LastHeard(kSnsContract, name);
    nodes.push_back({{"type", name.value() == founder ? "SENTINEL" : "SN"},
                     {"name", name.value()},
                     {"host", endpoint.ok() ? endpoint->host : ""},
                     {"port", endpoint.ok() ? endpoint->port : 0},
                     {"uuid", UuidOfKey(sn.kid)},
                     {"parent", ""},
                     {"contract", ""},
                     {"alive_unix_ms", heard ? UnixMs(*heard) : 0}});
  }
  for (const auto& [contract_name, contract] : snapshot.state.contracts) {
    for (const auto& [name, node] : contract.nodes) {
      const Result<Endpoint> endpoint = Endpoint::Parse(node.blob_url);
      const std::optional<UtcTime> heard = presence.LastHeard(contract_name, name);
      nodes.push_back({{"type", "SL"},
                       {"name", name.value()},
                       {"host", endpoint.ok() ? endpoint->host : ""},
                       {"port", endpoint.ok() ? endpoint->port : 0},
                       {"uuid", UuidOfKey(node.kid)},
                       {"parent", self.uuid},
                       {"contract", contract_name.value()},
                       {"alive_unix_ms", heard ? UnixMs(*heard) : 0}});
    }
  }
  return {{"nodes", std::move(nodes)}};
}

std::string FounderOf(const std::string& first_entry) {
  const Result<Jws> jws = ParseJws(first_entry, kEntryTyp);
  if (!jws.ok()) return "";
  const Result<Statement> statement = ParseStatement(jws->payload);
  if (!statement.ok()) return "";
  const auto* const joined = std::get_if<SnJoined>(&statement->event);
  if (joined == nullptr) return "";
  const Result<SignedSnClaim> claim = ParseSnClaim(joined->claim);
  return claim.ok() ? claim->claim.name.value() : "";
}

Json EntriesJson(std::span<const LedgerRecord> records, std::span<const EntryNote> notes) {
  Json entries = Json::array();
  for (std::size_t i = 0; i < records.size(); ++i) {
    const LedgerRecord& record = records[i];
    Json item = {{"position", record.position},
                 {"time_unix_ms", record.time_unix_ms},
                 {"head", HexOf(record.head)},
                 {"entry", record.entry}};
    if (i < notes.size()) {
      const Result<Jws> jws = ParseJws(record.entry, kEntryTyp);
      item["payload"] = jws.ok() ? jws->payload : Json(nullptr);
      if (Json claim = jws.ok() ? ClaimPayload(jws->payload) : Json(nullptr); !claim.is_null()) {
        item["claim_payload"] = std::move(claim);
      }
      item["author"] = notes[i].author;
      item["ignored"] = notes[i].reason;
    }
    entries.push_back(std::move(item));
  }
  return entries;
}

std::string UuidOfKey(std::string_view kid) {
  const Digest digest = HashOf(AsBytes(kid));
  Bytes bytes(digest.bytes.begin(), digest.bytes.begin() + 16);
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x80};
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  const std::string hex = HexEncode(bytes);
  return StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                hex.substr(16, 4), "-", hex.substr(20));
}

}  // namespace starling
