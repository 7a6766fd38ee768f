#include "protocol/fields.h"

#include <algorithm>

#include "base/text.h"

namespace starling::fields {
namespace {

// https://host:port, where host has no character of a path, query or user, and port is 1 to 65535.
bool IsHostAndPort(std::string_view rest) {
  if (rest.find_first_of("/?#@ \\") != std::string_view::npos) return false;
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view digits = rest.substr(colon + 1);
  if (digits.empty() || digits.size() > 5) return false;
  std::uint32_t port = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return port >= 1 && port <= 65535;
}

}  // namespace

Json PlaceJson(const Place& place) {
  return Json::array({place.position.value(), HexOf(place.head)});
}

Result<Place> GetPlace(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const pair, GetArray(object, member, 2));
  if (pair->size() != 2 || !(*pair)[0].is_number_integer() || !(*pair)[1].is_string()) {
    return absl::InvalidArgumentError(StrCat("member \"", member, "\" is not [position, head]"));
  }
  const auto position = (*pair)[0].get<std::int64_t>();
  if (position < -1) return absl::InvalidArgumentError("a position is -1 or more");
  ASSIGN_OR_RETURN(const Digest head, ParseHexDigest((*pair)[1].get_ref<const std::string&>()));
  return Place{Position{position}, head};
}

Result<Digest> GetRoot(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const std::string text, GetString(object, member, 128));
  Result<Digest> root = ParseRoot(text);
  return root.ok() ? root : Annotate(root.status(), StrCat("member \"", member, "\""));
}

Result<std::optional<Digest>> GetOptionalRoot(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const std::string text, GetString(object, member, 128));
  if (text.empty()) return std::optional<Digest>();
  ASSIGN_OR_RETURN(const Digest root, GetRoot(object, member));
  return std::optional<Digest>(root);
}

Result<NodeName> GetNode(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const std::string text, GetString(object, member, kNameBytesMax));
  return ParseNodeName(text);
}

Result<std::vector<NodeName>> GetNodes(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, GetTexts(object, member, kNodesMax));
  std::vector<NodeName> names;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(NodeName name, ParseNodeName(text));
    if (!names.empty() && !(names.back() < name))
      return absl::InvalidArgumentError(
          StrCat("member \"", member, "\" is not sorted, or names one twice"));
    names.push_back(std::move(name));
  }
  return names;
}

Json NodesJson(const std::vector<NodeName>& names) {
  Json list = Json::array();
  for (const NodeName& name : names) list.push_back(name.value());
  return list;
}

Result<PublicKey> GetKey(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const std::string text, GetString(object, member, 64));
  return ParsePublicKey(text);
}

Result<RoundId> GetRound(const Json& object) {
  ASSIGN_OR_RETURN(const std::uint64_t round, GetUint(object, "round"));
  return RoundId{round};
}

Result<AttemptId> GetAttempt(const Json& object) {
  ASSIGN_OR_RETURN(const std::uint64_t attempt, GetUint(object, "attempt"));
  return AttemptId{attempt};
}

std::string RootOrEmpty(const std::optional<Digest>& root) {
  return root ? RootText(*root) : std::string();
}

Result<std::string> GetUrl(const Json& object, std::string_view member) {
  constexpr std::size_t kUrlMax = 300;
  ASSIGN_OR_RETURN(std::string url, GetString(object, member, kUrlMax));
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme) || !IsHostAndPort(std::string_view(url).substr(kScheme.size()))) {
    return absl::InvalidArgumentError(StrCat("member \"", member, "\" is not https://host:port"));
  }
  return url;
}

Result<std::vector<std::string>> GetTexts(const Json& object, std::string_view member,
                                          std::size_t items_max) {
  ASSIGN_OR_RETURN(const Json* const list, GetArray(object, member, items_max));
  std::vector<std::string> texts;
  for (const Json& item : *list) {
    if (!item.is_string() || item.get_ref<const std::string&>().size() > 2048)
      return absl::InvalidArgumentError(StrCat("member \"", member, "\" is not a list of texts"));
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

}  // namespace starling::fields
