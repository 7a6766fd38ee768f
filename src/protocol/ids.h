// The protocol's ids; no two share a type. Values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"
#include "base/strong.h"
#include "crypto/running_head.h"

namespace starling {

using Position = Strong<struct PositionTag, std::int64_t>;  // of an entry; −1 is before the first
using RoundId = Strong<struct RoundIdTag, std::uint64_t>;
using AttemptId = Strong<struct AttemptIdTag, std::uint64_t>;
using NodeName = Strong<struct NodeNameTag, std::string>;
using ContractName = Strong<struct ContractNameTag, std::string>;

// 1–128 of [A-Za-z0-9._-], not "." or "..": safe in paths, URLs and log lines.
[[nodiscard]] Status CheckName(std::string_view name);
[[nodiscard]] Result<NodeName> ParseNodeName(std::string_view name);
[[nodiscard]] Result<ContractName> ParseContractName(std::string_view name);

// A place in the log: a position and the running head there.
struct Place {
  Position position{-1};
  Digest head{};
  friend bool operator==(const Place&, const Place&) = default;
};

}  // namespace starling
