// Objects as YAML that kubectl and people read: block style, members in their order, every text
// that could be taken for something else in double quotes. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "kube/manifest.h"

namespace starling::kube {

[[nodiscard]] std::string YamlText(const OrderedJson& value);
// Several documents with --- between them.
[[nodiscard]] std::string YamlText(const std::vector<OrderedJson>& documents);

}  // namespace starling::kube
