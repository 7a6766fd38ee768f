// Kubernetes manifests as trees that know where each value stood. ParseManifests() is the only way
// to make one from text: bounded in bytes, depth, nodes and documents; what is ambiguous (duplicate
// keys, merge keys, tags) is refused, never repaired. Values; one thread at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kube/rules.h"
#include "nlohmann/json.hpp"

namespace starling::kube {

// Members in the order in which they were put in: objects are written as people write them.
using OrderedJson = nlohmann::ordered_json;

struct ManifestLimits {
  std::size_t bytes_max = std::size_t{1} << 20;
  int depth_max = 64;
  std::size_t nodes_max = 50'000;  // of a file; what an alias repeats counts each time
  std::size_t documents_max = 200;
};

struct Member;

// What became of a leaf.
struct Verdict {
  Rule rule = Rule::kFieldUnknown;
  std::string target;  // what it is now, where that is another thing
  std::string detail;  // what the rule's own words do not say
};

struct Node {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;    // kScalar
  bool plain = false;  // kScalar: it stood without quotes, so that 1 is a number and true a truth
  int line = 0;        // from 1
  int column = 0;      // from 1
  std::vector<Member> members;  // kMap, and kList with empty keys; in the order of the text
  std::optional<Verdict> verdict;

  [[nodiscard]] Node* Find(std::string_view key);  // null where there is none
  [[nodiscard]] const Node* Find(std::string_view key) const;
  // Through several maps: Find("metadata", "name").
  template <typename... Keys>
  [[nodiscard]] Node* Find(std::string_view first, Keys... rest) {
    Node* const inner = Find(first);
    return inner == nullptr ? nullptr : inner->Find(rest...);
  }
  [[nodiscard]] std::string Text(std::string_view key) const;  // "" where no scalar is there
  // A scalar, null, or an empty list or map: what a report has one line for.
  [[nodiscard]] bool IsLeaf() const;
};

struct Member {
  std::string key;
  Node value;
};

// The documents of a file, empty ones left out. Errors are InvalidArgument: "FILE:line:column:
// what".
[[nodiscard]] Result<std::vector<Node>> ParseManifests(const std::string& file,
                                                       const std::string& text,
                                                       const ManifestLimits& limits = {});
[[nodiscard]] Status ManifestError(std::string_view file, const Node& at, std::string_view what);

// The value as kubectl reads it: plain scalars by YAML 1.1's rules (yes and 0644) and 1.2's 0o644,
// but for fractions, which stay text.
[[nodiscard]] OrderedJson ToJson(const Node& node);

// Gives every leaf at and below `node` that has no verdict yet this one.
void Mark(Node& node, Rule rule, std::string_view target = "", std::string_view detail = "");

}  // namespace starling::kube
