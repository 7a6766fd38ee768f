#include "protocol/ids.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {

Status CheckName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kNameBytesMax || name == "." || name == ".." ||
      !std::all_of(name.begin(), name.end(), allowed)) {
    return WithNext(
        WithCode(absl::InvalidArgumentError(StrCat("\"", Printable(name, 64), "\" is not a name")),
                 "bad-name"),
        "use 1 to 128 of A-Z a-z 0-9 . _ -");
  }
  return absl::OkStatus();
}

Result<NodeName> ParseNodeName(std::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  return NodeName{std::string(name)};
}

Result<ContractName> ParseContractName(std::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  return ContractName{std::string(name)};
}

}  // namespace starling
