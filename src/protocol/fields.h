// Members that several events share, to and from JSON. Private to src/protocol. Any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "crypto/ed25519.h"
#include "crypto/json.h"
#include "protocol/events.h"

namespace starling::fields {

[[nodiscard]] Json PlaceJson(const Place& place);
[[nodiscard]] Result<Place> GetPlace(const Json& object, std::string_view member);
[[nodiscard]] Result<Digest> GetRoot(const Json& object, std::string_view member);
[[nodiscard]] Result<std::optional<Digest>> GetOptionalRoot(const Json& object,
                                                            std::string_view member);  // "" is none
[[nodiscard]] Result<NodeName> GetNode(const Json& object, std::string_view member);
[[nodiscard]] Result<std::vector<NodeName>> GetNodes(
    const Json& object, std::string_view member);  // sorted, no doubles
[[nodiscard]] Json NodesJson(const std::vector<NodeName>& names);
[[nodiscard]] Result<PublicKey> GetKey(const Json& object, std::string_view member);
[[nodiscard]] Result<RoundId> GetRound(const Json& object);
[[nodiscard]] Result<AttemptId> GetAttempt(const Json& object);
[[nodiscard]] std::string RootOrEmpty(const std::optional<Digest>& root);
[[nodiscard]] Result<std::string> GetUrl(const Json& object, std::string_view member);
// Texts of a list, each bounded.
[[nodiscard]] Result<std::vector<std::string>> GetTexts(const Json& object, std::string_view member,
                                                        std::size_t items_max);

}  // namespace starling::fields
