// Rules to and from JSON, and their difference in words.
#include "base/text.h"
#include "protocol/events.h"
#include "protocol/fields.h"

namespace starling {
namespace {

constexpr std::uint64_t kWeightLimit = 1'000'000;
constexpr std::uint64_t kSmallLimit = 1024;

Json InitialJson(const Initial& initial) {
  if (std::holds_alternative<InitialLeader>(initial)) return "leader";
  if (std::holds_alternative<InitialMerge>(initial)) return "merge";
  return RootText(std::get<Digest>(initial));
}

Result<Initial> ParseInitial(const std::string& text) {
  if (text == "leader") return Initial{InitialLeader{}};
  if (text == "merge") return Initial{InitialMerge{}};
  const Result<Digest> root = ParseRoot(text);
  if (!root.ok()) return absl::InvalidArgumentError("initial is leader, merge or a root");
  return Initial{*root};
}

// Sets `out` when the member is there; a bound keeps hostile values out of arithmetic.
Status Take(const Json& object, std::string_view member, std::uint64_t least, std::uint64_t most,
            std::uint64_t& out) {
  if (!Has(object, member)) return absl::OkStatus();
  ASSIGN_OR_RETURN(out, GetUint(object, member));
  if (out < least || out > most)
    return absl::InvalidArgumentError(
        StrCat("member \"", member, "\" is not between ", least, " and ", most));
  return absl::OkStatus();
}
Status Take(const Json& object, std::string_view member, std::uint64_t least, std::uint64_t most,
            std::optional<std::uint64_t>& out) {
  if (!Has(object, member)) return absl::OkStatus();
  std::uint64_t value = 0;
  RETURN_IF_ERROR(Take(object, member, least, most, value));
  out = value;
  return absl::OkStatus();
}

Status TakeMembers(const Json& object, Rules& rules) {
  if (!Has(object, "members")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Json* const members, GetObject(object, "members"));
  if (members->size() > kNodesMax)
    return absl::InvalidArgumentError("more members than nodes are allowed");
  for (const auto& [name, key] : members->items()) {
    ASSIGN_OR_RETURN(const NodeName node, ParseNodeName(name));
    ASSIGN_OR_RETURN(const PublicKey parsed, fields::GetKey(*members, name));
    rules.members[node] = parsed;
  }
  return absl::OkStatus();
}

}  // namespace

Json RulesJson(const Rules& rules) {
  Json object = {{"merge_version", rules.merge_version}, {"chunk", rules.chunk},
                 {"witnesses", rules.witnesses},         {"audit", rules.audit},
                 {"weight_max", rules.weight_max},       {"initial", InitialJson(rules.initial)}};
  if (rules.min_peers) object["min_peers"] = *rules.min_peers;
  if (rules.merge) object["merge"] = *rules.merge;
  if (rules.schema) object["schema"] = RootText(*rules.schema);
  if (rules.size) object["size"] = *rules.size;
  if (rules.sync_interval) object["sync_interval"] = *rules.sync_interval;
  for (const auto& [name, key] : rules.members)
    object["members"][name.value()] = PublicKeyText(key);
  if (!rules.admins.empty()) object["admins"] = rules.admins;
  if (!rules.license_issuers.empty()) object["license_issuers"] = rules.license_issuers;
  return object;
}

Result<Rules> ParseRules(const Json& object) {
  RETURN_IF_ERROR(OnlyMembers(object, {"min_peers", "merge", "schema", "size", "sync_interval",
                                       "merge_version", "chunk", "witnesses", "audit", "initial",
                                       "weight_max", "members", "admins", "license_issuers"}));
  Rules rules;
  RETURN_IF_ERROR(Take(object, "min_peers", 1, kNodesMax, rules.min_peers));
  RETURN_IF_ERROR(Take(object, "size", 1, kBlobBytesMax, rules.size));
  RETURN_IF_ERROR(Take(object, "sync_interval", 1, kJsonIntegerMax, rules.sync_interval));
  RETURN_IF_ERROR(Take(object, "merge_version", 1, 1, rules.merge_version));
  RETURN_IF_ERROR(Take(object, "chunk", kChunkBytes, kChunkBytes, rules.chunk));
  RETURN_IF_ERROR(Take(object, "witnesses", 1, kSmallLimit, rules.witnesses));
  RETURN_IF_ERROR(Take(object, "audit", 0, kSmallLimit, rules.audit));
  RETURN_IF_ERROR(Take(object, "weight_max", 1, kWeightLimit, rules.weight_max));
  if (Has(object, "merge")) {
    ASSIGN_OR_RETURN(rules.merge, GetString(object, "merge", 32));
    if (*rules.merge != "mean")
      return WithCode(absl::UnimplementedError(StrCat("merge rule \"", Printable(*rules.merge, 32),
                                                      "\" comes in a later release")),
                      "later-release");
  }
  if (Has(object, "schema")) {
    ASSIGN_OR_RETURN(rules.schema, fields::GetRoot(object, "schema"));
  }
  if (Has(object, "initial")) {
    ASSIGN_OR_RETURN(const std::string text, GetString(object, "initial", 128));
    ASSIGN_OR_RETURN(rules.initial, ParseInitial(text));
  }
  RETURN_IF_ERROR(TakeMembers(object, rules));
  if (Has(object, "admins")) {
    ASSIGN_OR_RETURN(rules.admins, fields::GetTexts(object, "admins", 64));
  }
  if (Has(object, "license_issuers")) {
    ASSIGN_OR_RETURN(rules.license_issuers, fields::GetTexts(object, "license_issuers", 64));
  }
  return rules;
}

std::string RulesDifference(const Rules& fixed, const Rules& stated, bool amended) {
  std::string text;
  const auto compare = [&](std::string_view name, const auto& here, const auto& there,
                           const auto& words) {
    if (!here || !there || *here == *there) return;
    StrAppend(&text, text.empty() ? "" : "; ", name, ": ", words(*here), " in the training, ",
              words(*there), " here");
  };
  const auto number = [](std::uint64_t value) { return StrCat(value); };
  if (!amended) compare("min_peers", fixed.min_peers, stated.min_peers, number);
  compare("merge", fixed.merge, stated.merge,
          [](const std::string& value) { return Printable(value, 32); });
  compare("sync_interval", fixed.sync_interval, stated.sync_interval, number);
  compare("model schema", fixed.schema, stated.schema,
          [](const Digest& value) { return ShortText(value); });
  compare("model bytes", fixed.size, stated.size, number);
  return text;
}

}  // namespace starling
