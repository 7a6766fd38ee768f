// Objects beside the nodes: Services, volumes, what they are configured by, and all that is left
// out as a whole.
#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/text.h"
#include "kube/is_in.h"
#include "kube/node.h"

namespace starling::kube {
namespace {

constexpr std::string_view kAccess[] = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole",
                                        "ClusterRoleBinding"};
constexpr std::string_view kVolumes[] = {"PersistentVolume", "StorageClass"};
constexpr std::string_view kDomainKey = "trust_domain";
constexpr std::string_view kSpireServer = "spire-server";
constexpr int kSpirePort = 8081;

// The object as it is, but for its namespace and the cluster's own fields.
void Keep(Draft& draft, Document& document, Rule rule) {
  OrderedJson out = OrderedJson::object();
  for (Member& member : document.node->members) {
    if (member.key == "apiVersion" || member.key == "kind") {
      out[member.key] = member.value.text;
      Mark(member.value, Rule::kKind);
    } else if (member.key == "metadata") {
      out[member.key] = ReadMetadata(draft, member.value, Rule::kName);
    } else if (member.key == "status") {
      Mark(member.value, Rule::kClusterField);
    } else {
      out[member.key] = ToJson(member.value);
      Mark(member.value, rule);
    }
  }
  draft.shared.push_back(std::move(out));
}

// `trust_domain = "x"` of a server.conf in HCL, or the same in JSON or YAML.
std::string TrustDomainIn(std::string_view text) {
  const std::size_t at = text.find(kDomainKey);
  if (at == std::string_view::npos) return "";
  std::size_t i = at + kDomainKey.size();
  while (i < text.size() && (text[i] == ' ' || text[i] == '=' || text[i] == ':' || text[i] == '"'))
    ++i;
  const std::size_t start = i;
  while (i < text.size() && (std::islower(static_cast<unsigned char>(text[i])) != 0 ||
                             std::isdigit(static_cast<unsigned char>(text[i])) != 0 ||
                             text[i] == '.' || text[i] == '-' || text[i] == '_'))
    ++i;
  return std::string(text.substr(start, i - start));
}

bool IsDomainName(std::string_view name) { return name == "TRUST_DOMAIN" || name == kDomainKey; }

// Finds the trust domain in a server's pod or ConfigMap, and marks where it stood.
void FindDomain(Draft& draft, Node& node) {
  const std::string name = node.Text("name");
  if (Node* const value = node.Find("value"); value != nullptr && IsDomainName(name)) {
    draft.trust_domain = value->text;
    Mark(node, Rule::kSpireDomain, "", value->text);
  }
  for (Member& member : node.members) {
    if (member.value.kind != Node::Kind::kScalar) {
      FindDomain(draft, member.value);
      continue;
    }
    const std::string found =
        IsDomainName(member.key) ? member.value.text : TrustDomainIn(member.value.text);
    if (found.empty() || member.value.verdict) continue;
    draft.trust_domain = found;
    Mark(member.value, Rule::kSpireDomain, "", found);
  }
}

int Number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

bool IsPublic(const Node& spec) {
  const std::string type = spec.Text("type");
  return type == "NodePort" || type == "LoadBalancer";
}

// What a NodePort lets in comes from outside any pod; without a policy the base would refuse it.
OrderedJson PublicPolicy(Document& document, const std::string& instance, int port) {
  const std::string name = StrCat(document.name, "-public");
  document.added.push_back({Rule::kAddedPublic, StrCat("NetworkPolicy ", name), ""});
  const bool spire = document.component == Component::kSpireServer;
  const OrderedJson selector = {
      {spire ? "app.kubernetes.io/name" : "app.kubernetes.io/instance", instance}};
  const OrderedJson from = OrderedJson::array({{{"ipBlock", {{"cidr", "0.0.0.0/0"}}}}});
  const OrderedJson ingress =
      OrderedJson::array({{{"from", from}, {"ports", OrderedJson::array({{{"port", port}}})}}});
  return {{"apiVersion", "networking.k8s.io/v1"},
          {"kind", "NetworkPolicy"},
          {"metadata", {{"name", name}, {"labels", {{"app.kubernetes.io/part-of", "starling"}}}}},
          {"spec",
           {{"podSelector", {{"matchLabels", selector}}},
            {"policyTypes", OrderedJson::array({"Ingress"})},
            {"ingress", ingress}}}};
}

// A node's Service, port by port.
class ServiceReader {
 public:
  ServiceReader(Draft& draft, Document& document) : draft_(draft), document_(document) {
    learning_ = document.component == Component::kLearningNode;
    name_ = learning_ ? "blobs" : "api";
    Node* const container = document.workload->MainContainer();
    NodeDraft node;
    node.learning = learning_;
    if (const Node* const env = container->Find("env")) {
      for (const Member& member : env->members)
        node.env.push_back(
            {{"name", member.value.Text("name")}, {"value", member.value.Text("value")}});
    }
    port_ = NodePort(node);
  }

  void Read() {
    Node& spec = *document_.node->Find("spec");
    OrderedJson ports = OrderedJson::array();
    if (Node* const list = spec.Find("ports")) {
      for (Member& member : list->members) ReadPort(member.value, &ports);
    }
    if (ports.empty()) return Mark(*document_.node, Rule::kServiceUnneeded);
    OrderedJson out = {{"apiVersion", "v1"}, {"kind", "Service"}};
    Mark(*document_.node->Find("apiVersion"), Rule::kKind);
    Mark(*document_.node->Find("kind"), Rule::kKind);
    out["metadata"] = ReadMetadata(draft_, *document_.node->Find("metadata"), Rule::kName);
    out["spec"] = ReadSpec(spec);
    out["spec"]["ports"] = ports;
    if (Node* const status = document_.node->Find("status")) Mark(*status, Rule::kClusterField);
    std::vector<OrderedJson>& file = draft_.node_files[document_.workload->name];
    if (IsPublic(spec)) file.push_back(PublicPolicy(document_, document_.workload->name, port_));
    file.push_back(std::move(out));
  }

 private:
  [[nodiscard]] bool IsOurs(const Node& port) const {
    const std::string name = LowerCase(port.Text("name"));
    if (name.find(learning_ ? "fs" : "api") != std::string::npos) return true;
    const int number = Number(port.Text("port"));
    const int target =
        port.Find("targetPort") == nullptr ? number : Number(port.Text("targetPort"));
    return target == port_ || number == port_;
  }

  void ReadPort(Node& port, OrderedJson* out) {
    if (!IsOurs(port)) return Mark(port, Rule::kPortUnneeded);
    OrderedJson json = {{"name", name_}};
    for (const char* const key : {"port", "nodePort", "protocol", "appProtocol"}) {
      if (const Node* const value = port.Find(key)) json[key] = ToJson(*value);
    }
    json["targetPort"] = name_;
    out->push_back(std::move(json));
    Mark(port, learning_ ? Rule::kPortBlobs : Rule::kPortApi, name_);
  }

  OrderedJson ReadSpec(Node& spec) {
    OrderedJson out = OrderedJson::object();
    for (Member& member : spec.members) {
      const bool assigned = member.key == "clusterIPs" || member.key == "ipFamilies" ||
                            (member.key == "clusterIP" && member.value.text != "None");
      if (member.key == "ports") continue;
      if (member.key == "selector") {
        Mark(member.value, Rule::kServiceSelector, document_.workload->name);
      } else if (assigned) {
        Mark(member.value, Rule::kClusterField);
      } else {
        out[member.key] = ToJson(member.value);
        Mark(member.value, Rule::kService);
      }
    }
    out["selector"] = {{"app.kubernetes.io/instance", document_.workload->name}};
    if (!out.contains("publishNotReadyAddresses")) {
      out["publishNotReadyAddresses"] = true;
      document_.added.push_back(
          {Rule::kAddedService, "publishNotReadyAddresses", "also before it is ready"});
    }
    return out;
  }

  Draft& draft_;
  Document& document_;
  bool learning_ = false;
  std::string name_;
  int port_ = 0;
};

// The server's own Service is the component's. One of another name, or one that is open to the
// outside, comes beside it.
void ImportSpireService(Draft& draft, Document& document) {
  Node& node = *document.node;
  Node& spec = *node.Find("spec");
  const bool is_public = IsPublic(spec);
  const bool same = document.name == kSpireServer;
  if (same && !is_public) return Mark(node, Rule::kSpireService, "Service spire-server");
  const std::string name = same ? "spire-server-public" : document.name;
  OrderedJson ports = OrderedJson::array();
  Node* const list = spec.Find("ports");
  for (Member& member : list == nullptr ? node.members : list->members) {
    const Node* const port = member.value.Find("port");
    if (port == nullptr || !ports.empty()) continue;  // The server has one port.
    OrderedJson json = {{"name", "grpc"}, {"port", ToJson(*port)}, {"targetPort", "grpc"}};
    if (const Node* const outside = member.value.Find("nodePort"))
      json["nodePort"] = ToJson(*outside);
    ports.push_back(std::move(json));
  }
  if (ports.empty()) return Mark(node, Rule::kSpireService, "Service spire-server");
  draft.shared.push_back(
      {{"apiVersion", "v1"},
       {"kind", "Service"},
       {"metadata", {{"name", name}, {"labels", {{"app.kubernetes.io/part-of", "starling"}}}}},
       {"spec",
        {{"type", is_public ? spec.Text("type") : "ClusterIP"},
         {"selector", {{"app.kubernetes.io/name", std::string(kSpireServer)}}},
         {"ports", ports}}}});
  if (is_public)
    draft.shared.push_back(PublicPolicy(document, std::string(kSpireServer), kSpirePort));
  Mark(node, Rule::kSpireService, StrCat("Service ", name));
}

Rule RuleOfWhole(Component component) {
  switch (component) {
    case Component::kLicence:
      return Rule::kLicence;
    case Component::kOperatorLine:
      return Rule::kOperatorLine;
    case Component::kSpireServer:
      return Rule::kSpireConfig;
    default:
      return Rule::kOtherWorkload;
  }
}

bool IsLeftOut(Component component) {
  return component == Component::kLicence || component == Component::kSpireServer ||
         component == Component::kOperatorLine;
}

}  // namespace

void ImportService(Draft& draft, Document& document) {
  if (document.component == Component::kSpireServer) return ImportSpireService(draft, document);
  const bool node = document.component == Component::kNetworkNode ||
                    document.component == Component::kLearningNode;
  if (!node) return Mark(*document.node, RuleOfWhole(document.component));
  ServiceReader(draft, document).Read();
}

void ImportObject(Draft& draft, Document& document) {
  Node& node = *document.node;
  if (document.kind == "List") return Mark(node, Rule::kList);
  if (IsIn(kAccess, document.kind)) {
    if (!draft.options.legacy_token) return Mark(node, Rule::kTokenAccess);
    return Keep(draft, document, Rule::kTokenAccessKept);
  }
  if (document.kind == "Secret" && draft.token_secrets.contains(document.name)) {
    if (!draft.options.legacy_token) return Mark(node, Rule::kTokenAccess);
    return Keep(draft, document, Rule::kTokenAccessKept);
  }
  if (document.component == Component::kSpireServer) {
    FindDomain(draft, node);
    if (!document.IsWorkload()) return Mark(node, Rule::kSpireConfig);
    draft.spire_server = true;
    const Node* const metadata = document.PodMetadata();
    const Node* const labels = metadata == nullptr ? nullptr : metadata->Find("labels");
    if (labels != nullptr) {
      for (const Member& label : labels->members) {
        if (!label.key.starts_with("app.kubernetes.io/"))
          draft.spire_labels[label.key] = label.value.text;
      }
    }
    return Mark(node, Rule::kSpireWorkload, "identity/spire-standalone");
  }
  if (document.IsWorkload() || IsLeftOut(document.component))
    return Mark(node, RuleOfWhole(document.component));
  if (document.kind == "PersistentVolumeClaim") return Keep(draft, document, Rule::kClaim);
  if (IsIn(kVolumes, document.kind)) return Keep(draft, document, Rule::kPersistentVolume);
  if (document.kind == "ConfigMap" || document.kind == "Secret")
    return Keep(draft, document, Rule::kObjectKept);
  Mark(node, Rule::kOtherKind);
}

}  // namespace starling::kube
