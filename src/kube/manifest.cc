#include "kube/manifest.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace starling::kube {
namespace {

std::string Place(std::string_view file, int line, int column) {
  return StrCat(file, ":", line, ":", column, ": ");
}

Status ErrorAt(std::string_view file, int line, int column, std::string_view what) {
  return WithNext(WithCode(absl::InvalidArgumentError(
                               StrCat(Place(Printable(file), line, column), Printable(what, 300))),
                           "bad-manifest"),
                  "correct the file; nothing was written");
}

// Builds the trees from yaml-cpp's events. What it refuses it throws as yaml-cpp throws its own
// errors: there is no other way to end a parse.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const ManifestLimits& limits) : limits_(limits) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > limits_.documents_max)
      throw YAML::ParserException(mark, StrCat("more than ", limits_.documents_max, " documents"));
    root_ = Node();
    anchors_.clear();
    open_.clear();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Put(Make(Node::Kind::kNull, mark), mark, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      throw YAML::ParserException(mark, "an alias of something that contains it");
    Count(found->second, mark);
    Put(found->second, mark, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseTag(mark, tag);
    Node node = Make(Node::Kind::kScalar, mark);
    node.text = value;
    node.plain = tag == "?";
    Put(std::move(node), mark, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    RefuseTag(mark, tag);
    Open(Make(Node::Kind::kList, mark), mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    RefuseTag(mark, tag);
    Open(Make(Node::Kind::kMap, mark), mark, anchor);
  }
  void OnMapEnd() override { Close(); }

  Node Take() { return std::move(root_); }

 private:
  struct Level {
    Node node;
    YAML::Mark mark;
    YAML::anchor_t anchor = 0;
    std::optional<std::string> key;  // kMap: of the value that comes next
    std::set<std::string> keys;
  };

  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      throw YAML::ParserException(mark, StrCat("the tag ", Printable(tag, 60)));
  }

  Node Make(Node::Kind kind, const YAML::Mark& mark) {
    if (++nodes_ > limits_.nodes_max)
      throw YAML::ParserException(mark, StrCat("more than ", limits_.nodes_max, " values"));
    Node node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }

  // An alias costs what it repeats: a bomb of them ends at the same limit as a long file.
  void Count(const Node& node, const YAML::Mark& mark) {
    if (++nodes_ > limits_.nodes_max)
      throw YAML::ParserException(mark, StrCat("anchors and aliases that make it more than ",
                                               limits_.nodes_max, " values"));
    for (const Member& member : node.members) Count(member.value, mark);
  }

  static int DepthOf(const Node& node) {
    int depth = 0;
    for (const Member& member : node.members) depth = std::max(depth, DepthOf(member.value));
    return depth + 1;
  }

  void Open(Node node, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (!open_.empty() && open_.back().node.kind == Node::Kind::kMap && !open_.back().key)
      throw YAML::ParserException(mark, "a key that is no text");
    if (static_cast<int>(open_.size()) >= limits_.depth_max)
      throw YAML::ParserException(mark, StrCat("deeper than ", limits_.depth_max, " levels"));
    open_.push_back({std::move(node), mark, anchor, std::nullopt, {}});
  }

  void Close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    Put(std::move(level.node), level.mark, level.anchor);
  }

  void Put(Node node, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (static_cast<int>(open_.size()) + DepthOf(node) - 1 > limits_.depth_max)
      throw YAML::ParserException(mark, StrCat("deeper than ", limits_.depth_max, " levels"));
    if (anchor != 0) {
      Count(node, mark);  // It is kept once more.
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = open_.back();
    if (level.node.kind == Node::Kind::kList) {
      level.node.members.push_back({"", std::move(node)});
      return;
    }
    if (level.key) {
      level.node.members.push_back({*std::exchange(level.key, std::nullopt), std::move(node)});
      return;
    }
    if (node.kind != Node::Kind::kScalar)
      throw YAML::ParserException(mark, "a key that is no text");
    if (node.text == "<<" && node.plain)
      throw YAML::ParserException(mark, "a merge key (<<): write its fields out");
    if (!level.keys.insert(node.text).second)
      throw YAML::ParserException(mark, StrCat("the key ", Printable(node.text, 60), " twice"));
    level.key = std::move(node.text);
  }

  const ManifestLimits limits_;
  std::size_t documents_ = 0;
  std::size_t nodes_ = 0;
  Node root_;
  std::vector<Level> open_;
  std::map<YAML::anchor_t, Node> anchors_;
};

// What yaml-cpp would read as something, and what has no place in a manifest.
Status CheckText(const std::string& file, const std::string& text, const ManifestLimits& limits) {
  if (text.size() > limits.bytes_max)
    return ErrorAt(file, 1, 1, StrCat("larger than ", limits.bytes_max, " bytes"));
  if (!IsUtf8(text)) return ErrorAt(file, 1, 1, "not UTF-8");
  int line = 1;
  int column = 1;
  for (const char c : text) {
    const bool control =
        (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f;
    if (control) return ErrorAt(file, line, column, "a control character");
    if (c == '\t' && column == 1) return ErrorAt(file, line, column, "a tab; indent with blanks");
    ++column;
    if (c != '\n') continue;
    ++line;
    column = 1;
  }
  return absl::OkStatus();
}

// What kubectl (sigs.k8s.io/yaml) takes for a truth: YAML 1.1's words, in three spellings each.
std::optional<bool> Truth(std::string_view text) {
  static const std::map<std::string_view, bool> kWords = {
      {"true", true}, {"True", true},   {"TRUE", true},   {"yes", true},    {"Yes", true},
      {"YES", true},  {"on", true},     {"On", true},     {"ON", true},     {"y", true},
      {"Y", true},    {"false", false}, {"False", false}, {"FALSE", false}, {"no", false},
      {"No", false},  {"NO", false},    {"off", false},   {"Off", false},   {"OFF", false},
      {"n", false},   {"N", false}};
  const auto found = kWords.find(text);
  return found == kWords.end() ? std::nullopt : std::optional(found->second);
}

bool IsNull(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

std::optional<std::int64_t> Number(std::string_view digits, int base) {
  std::int64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
  if (digits.empty() || digits[0] == '-' || error != std::errc() || stop != end)
    return std::nullopt;
  return value;
}

// As kubectl reads it: 0644, 0o644, 0x1a4 and 0b11 beside 420, with underscores between digits.
std::optional<std::int64_t> Integer(std::string_view text) {
  if (text.empty() || text[0] == '_') return std::nullopt;
  std::string digits(text);
  std::erase(digits, '_');
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.erase(0, 1);
  std::optional<std::int64_t> value;
  if (digits.size() > 1 && digits[0] == '0') {
    static const std::map<char, int> kBases = {{'b', 2}, {'B', 2},  {'o', 8},
                                               {'O', 8}, {'x', 16}, {'X', 16}};
    const auto base = kBases.find(digits[1]);
    if (base != kBases.end()) {
      value = Number(std::string_view(digits).substr(2), base->second);
    } else {
      value = Number(digits, 8);
      if (!value) value = Number(digits, 10);  // 08
    }
  } else {
    value = Number(digits, 10);
  }
  return value && negative ? std::optional(-*value) : value;
}

OrderedJson ScalarJson(const Node& node) {
  if (!node.plain) return node.text;
  if (IsNull(node.text)) return nullptr;
  if (const auto truth = Truth(node.text)) return *truth;
  if (const auto number = Integer(node.text)) return *number;
  return node.text;  // A quantity such as 0.5 is as good as a string.
}

}  // namespace

Node* Node::Find(std::string_view key) {
  if (kind != Kind::kMap) return nullptr;
  for (Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

const Node* Node::Find(std::string_view key) const {
  if (kind != Kind::kMap) return nullptr;
  for (const Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

std::string Node::Text(std::string_view key) const {
  const Node* const found = Find(key);
  return found == nullptr || found->kind != Kind::kScalar ? "" : found->text;
}

bool Node::IsLeaf() const { return members.empty(); }

Status ManifestError(std::string_view file, const Node& at, std::string_view what) {
  return ErrorAt(file, at.line, at.column, what);
}

Result<std::vector<Node>> ParseManifests(const std::string& file, const std::string& text,
                                         const ManifestLimits& limits) {
  RETURN_IF_ERROR(CheckText(file, text, limits));
  std::vector<Node> out;
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    TreeBuilder builder(limits);
    while (parser.HandleNextDocument(builder)) {
      Node root = builder.Take();
      if (root.kind != Node::Kind::kNull) out.push_back(std::move(root));
    }
  } catch (const YAML::Exception& error) {
    const bool known = !error.mark.is_null();
    return ErrorAt(file, known ? error.mark.line + 1 : 1, known ? error.mark.column + 1 : 1,
                   error.msg);
  }
  return out;
}

OrderedJson ToJson(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return nullptr;
    case Node::Kind::kScalar:
      return ScalarJson(node);
    case Node::Kind::kList: {
      OrderedJson out = OrderedJson::array();
      for (const Member& member : node.members) out.push_back(ToJson(member.value));
      return out;
    }
    case Node::Kind::kMap:
      break;
  }
  OrderedJson out = OrderedJson::object();
  for (const Member& member : node.members) out[member.key] = ToJson(member.value);
  return out;
}

void Mark(Node& node, Rule rule, std::string_view target, std::string_view detail) {
  if (node.IsLeaf()) {
    if (!node.verdict) node.verdict = Verdict{rule, std::string(target), std::string(detail)};
    return;
  }
  for (Member& member : node.members) Mark(member.value, rule, target, detail);
}

}  // namespace starling::kube
