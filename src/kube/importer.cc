#include "kube/importer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "kube/draft.h"
#include "kube/is_in.h"

namespace starling::kube {
namespace {

constexpr std::size_t kNameBytesMax = 253;
constexpr std::size_t kNodeNameBytesMax = 50;  // leaves room for what a controller appends
constexpr std::string_view kNamespace = "swarm";
// Of the overlay, beside one for each node.
constexpr std::string_view kOwnFiles[] = {"kustomization", "namespace", "settings", "shared",
                                          "spire-server"};

// RFC 1123: what an object may be called. Names become files, so nothing else gets through.
bool IsObjectName(std::string_view name) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > kNameBytesMax) return false;
  if (!alnum(name.front()) || !alnum(name.back())) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return alnum(c) || c == '-' || c == '.'; });
}

// A Role may be called by more; it becomes no file.
bool MayHaveOtherName(std::string_view kind) {
  return kind == "Role" || kind == "RoleBinding" || kind == "ClusterRole" ||
         kind == "ClusterRoleBinding";
}

Status AddDocument(Draft& draft, const std::string& file, Node& node, const std::string& prefix) {
  Document document;
  document.file = file;
  document.node = &node;
  document.prefix = prefix;
  document.kind = node.Text("kind");
  if (document.kind.empty() || node.Text("apiVersion").empty())
    return ManifestError(file, node, "no Kubernetes object: apiVersion or kind is missing");
  if (!prefix.empty() && document.kind == "List")
    return ManifestError(file, node, "a List in a List");
  if (document.kind == "List") {
    draft.documents.push_back(document);
    Node* const items = node.Find("items");
    if (items == nullptr) return absl::OkStatus();
    for (std::size_t i = 0; i < items->members.size(); ++i) {
      Node& item = items->members[i].value;
      RETURN_IF_ERROR(AddDocument(draft, file, item, StrCat("items[", i, "].")));
    }
    return absl::OkStatus();
  }
  const Node* const metadata = node.Find("metadata");
  if (metadata == nullptr) return ManifestError(file, node, "metadata is missing");
  document.name = metadata->Text("name");
  if (!IsObjectName(document.name) && (document.name.empty() || !MayHaveOtherName(document.kind)))
    return ManifestError(file, *metadata, "metadata.name is no name of an object");
  draft.documents.push_back(std::move(document));
  return absl::OkStatus();
}

bool IsNode(const Document& document) {
  return document.IsWorkload() && (document.component == Component::kNetworkNode ||
                                   document.component == Component::kLearningNode);
}

Status CheckDocuments(const Draft& draft) {
  std::set<std::pair<std::string, std::string>> seen;
  std::set<std::string> nodes;
  for (const Document& document : draft.documents) {
    if (document.kind == "List") continue;
    if (!seen.emplace(document.kind, document.name).second)
      return ManifestError(document.file, *document.node,
                           StrCat(document.kind, " ", document.name, " a second time"));
    if (!IsNode(document)) continue;
    const bool fits =
        document.name.size() <= kNodeNameBytesMax && document.name.find('.') == std::string::npos;
    if (!fits || IsIn(kOwnFiles, document.name))
      return ManifestError(
          document.file, *document.node,
          StrCat("a node's name: at most ", kNodeNameBytesMax,
                 " letters, digits and dashes, not \"", Printable(document.name, 60), "\""));
    if (!nodes.insert(document.name).second)
      return ManifestError(document.file, *document.node,
                           StrCat("a second node of the name ", document.name));
    const Node* const main = document.MainContainer();
    if (main->Text("image").empty() || main->Text("name").empty())
      return ManifestError(document.file, *main, "a container without a name or an image");
  }
  if (nodes.empty()) {
    return WithNext(
        WithCode(
            absl::InvalidArgumentError(
                "no Pod of a network node (image sn) or a learning node (image sl-tf, sl-pyt)"),
            "bad-manifest"),
        "name the files of the nodes too");
  }
  return absl::OkStatus();
}

void ImportDocuments(Draft& draft) {
  // The SPIRE server first: the nodes get its trust domain. Nodes before their Services.
  for (Document& document : draft.documents) {
    if (document.component == Component::kSpireServer && document.kind != "Service")
      ImportObject(draft, document);
  }
  for (Document& document : draft.documents) {
    if (IsNode(document)) ImportNode(draft, document);
  }
  for (Document& document : draft.documents) {
    if (document.kind == "Service") {
      ImportService(draft, document);
    } else if (!IsNode(document) && document.component != Component::kSpireServer) {
      ImportObject(draft, document);
    }
  }
}

// Every leaf in the order of the text, each once: a leaf that no rule looked at says so itself.
class Reporter {
 public:
  Reporter(const Document& document, std::vector<ReportLine>* lines)
      : document_(document), lines_(*lines) {
    object_ = document.name.empty() ? document.kind : StrCat(document.kind, " ", document.name);
  }

  void Walk(const Node& node, const std::string& path) {
    if (node.IsLeaf()) {
      const Verdict verdict = node.verdict.value_or(Verdict());
      lines_.push_back({document_.file, node.line, object_, StrCat(document_.prefix, path),
                        verdict.rule, verdict.target, verdict.detail});
      return;
    }
    for (std::size_t i = 0; i < node.members.size(); ++i) {
      const Member& member = node.members[i];
      // The items of a List are documents of their own.
      if (document_.kind == "List" && path.empty() && member.key == "items" &&
          !member.value.IsLeaf())
        continue;
      const std::string key = node.kind == Node::Kind::kList ? StrCat("[", i, "]") : member.key;
      const bool dot = node.kind == Node::Kind::kMap && !path.empty();
      Walk(member.value, StrCat(path, dot ? "." : "", key));
    }
  }

  void Added() {
    for (const Addition& addition : document_.added)
      lines_.push_back(
          {document_.file, 0, object_, addition.what, addition.rule, "", addition.detail});
  }

 private:
  const Document& document_;
  std::vector<ReportLine>& lines_;
  std::string object_;
};

std::string LineText(const ReportLine& line) {
  const RuleText& rule = TextOf(line.rule);
  std::string out = line.file;
  if (line.line > 0) StrAppend(&out, ":", line.line);
  StrAppend(&out, ": ", Printable(line.object), ": ", Printable(line.path), ": ",
            ActionName(rule.action));
  if (!line.target.empty()) StrAppend(&out, " as ", Printable(line.target));
  StrAppend(&out, ": ", rule.why);
  if (!line.detail.empty()) StrAppend(&out, " (", Printable(line.detail), ")");
  if (!rule.next.empty()) StrAppend(&out, ". Next: ", rule.next);
  return out;
}

}  // namespace

Result<Import> ImportManifests(const std::vector<InputFile>& inputs, const ImportOptions& options,
                               const SettingsLookup& settings) {
  Draft draft{.options = options, .settings = settings};
  for (const InputFile& input : inputs) {
    ASSIGN_OR_RETURN(std::vector<Node> trees, ParseManifests(input.name, input.text));
    draft.trees.push_back(std::move(trees));
    for (Node& root : draft.trees.back()) RETURN_IF_ERROR(AddDocument(draft, input.name, root, ""));
  }
  FindRelations(draft);
  RETURN_IF_ERROR(CheckDocuments(draft));
  if (draft.name_space.empty()) draft.name_space = kNamespace;
  ImportDocuments(draft);
  Import out;
  out.files = OverlayFiles(draft);
  for (const Document& document : draft.documents) {
    Reporter reporter(document, &out.lines);
    reporter.Walk(*document.node, "");
    reporter.Added();
  }
  out.lines.push_back({"kustomization.yaml", 0, StrCat("Namespace ", draft.name_space),
                       "ConfigMap swarm-settings", Rule::kAddedSettings, "", ""});
  return out;
}

std::string ReportText(const Import& import) {
  std::string out;
  std::map<Action, std::size_t> counts;
  std::size_t leaves = 0;
  for (const ReportLine& line : import.lines) {
    StrAppend(&out, LineText(line), "\n");
    const Action action = TextOf(line.rule).action;
    ++counts[action];
    if (action != Action::kAdded) ++leaves;
  }
  StrAppend(&out, leaves, " fields: ", counts[Action::kKept], " kept, ", counts[Action::kRenamed],
            " renamed, ", counts[Action::kChanged], " changed, ", counts[Action::kDropped],
            " dropped; ", counts[Action::kAdded], " added\n");
  return out;
}

Json ReportJson(const Import& import) {
  Json lines = Json::array();
  for (const ReportLine& line : import.lines) {
    const RuleText& rule = TextOf(line.rule);
    Json item = {{"file", line.file},
                 {"object", line.object},
                 {"path", line.path},
                 {"rule", std::string(rule.id)},
                 {"action", std::string(ActionName(rule.action))},
                 {"why", std::string(rule.why)}};
    if (line.line > 0) item["line"] = line.line;
    if (!line.target.empty()) item["target"] = line.target;
    if (!line.detail.empty()) item["detail"] = line.detail;
    if (!rule.next.empty()) item["next"] = std::string(rule.next);
    lines.push_back(std::move(item));
  }
  Json files = Json::array();
  for (const auto& [name, text] : import.files) files.push_back(name);
  return {{"lines", std::move(lines)}, {"files", std::move(files)}};
}

}  // namespace starling::kube
