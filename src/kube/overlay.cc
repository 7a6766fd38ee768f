// The files of the overlay, once everything was read. The nodes are whole objects, since a base's
// names could not be made theirs; policies, the SPIRE server and the ledger's component are the
// base's.
#include "base/text.h"
#include "kube/draft.h"
#include "kube/yaml_text.h"

namespace starling::kube {
namespace {

constexpr std::string_view kDefaultDomain = "swarm.learning";
constexpr std::string_view kDefaultRegistry = "docker.io";
// As in deploy/kubernetes/identity/spire-standalone/server/tokens.yaml, which a test compares.
constexpr std::string_view kEntries =
    R"(entries:
- {path: /swarm/sn, parent: /swarm/sn-agent, dns_names: [swarm-network-node], selectors: ["unix:uid:65532"]}
- {path: /swarm/sl, parent: /swarm/sl-agent, dns_names: [swarm-learning-node], selectors: ["unix:uid:65532"]}
- {path: /swarm/swci, parent: /swarm/swci-agent, dns_names: [swci-node], selectors: ["unix:uid:65532"]}
)";

// "../deploy/kubernetes/identity" beside the base "../deploy/kubernetes/base"; a remote base keeps
// its "?ref=…".
std::string Beside(std::string_view base, std::string_view what) {
  const std::size_t question = base.find('?');
  const std::string_view query = question == std::string_view::npos ? "" : base.substr(question);
  base = base.substr(0, question);
  while (base.size() > 1 && base.back() == '/') base.remove_suffix(1);
  const std::size_t slash = base.rfind('/');
  const std::string_view above = slash == std::string_view::npos ? ".." : base.substr(0, slash);
  return StrCat(above, "/", what, query);
}

std::string Below(std::string_view base, std::string_view what) {
  const std::size_t question = base.find('?');
  const std::string_view query = question == std::string_view::npos ? "" : base.substr(question);
  base = base.substr(0, question);
  while (base.size() > 1 && base.back() == '/') base.remove_suffix(1);
  return StrCat(base, "/", what, query);
}

// A namespace that others may live in is left as it is.
bool OwnsNamespace(const Draft& draft) {
  return draft.name_space != "default" && !draft.name_space.starts_with("kube-");
}

OrderedJson Namespace(const Draft& draft) {
  return {{"apiVersion", "v1"},
          {"kind", "Namespace"},
          {"metadata",
           {{"name", draft.name_space},
            {"labels",
             {{"app.kubernetes.io/part-of", "starling"},
              {"pod-security.kubernetes.io/enforce", "restricted"},
              {"pod-security.kubernetes.io/enforce-version", "latest"},
              {"pod-security.kubernetes.io/warn", "restricted"}}}}}};
}

OrderedJson SettingsObject(const Draft& draft) {
  const std::string domain(draft.trust_domain.empty() ? kDefaultDomain
                                                      : std::string_view(draft.trust_domain));
  const std::string registry(draft.registry.empty() ? kDefaultRegistry
                                                    : std::string_view(draft.registry));
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata", {{"name", "swarm-settings"}}},
          {"data",
           {{"registry", registry}, {"trust-domain", domain}, {"kubernetes-api", "0.0.0.0/0"}}}};
}

// Which Secrets starling spire-tokens fills; with --legacy-token it makes the entries alone.
OrderedJson TokensPatch(const Draft& draft) {
  std::string text(kEntries);
  if (draft.options.legacy_token) {
    StrAppend(&text, "tokens: []\n");
  } else {
    StrAppend(&text, "tokens:\n");
    for (const auto& [name, component] : draft.nodes) {
      StrAppend(&text, "- {agent: /swarm/",
                component == Component::kLearningNode ? "sl-agent" : "sn-agent",
                ", secret: identity-", name, "}\n");
    }
  }
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata", {{"name", "spire-server"}}},
          {"data", {{"tokens.yaml", text}}}};
}

OrderedJson RolePatch(const Draft& draft) {
  OrderedJson names = OrderedJson::array();
  for (const auto& [name, component] : draft.nodes) names.push_back(StrCat("identity-", name));
  const OrderedJson rule = {{"apiGroups", OrderedJson::array({""})},
                            {"resources", OrderedJson::array({"secrets"})},
                            {"resourceNames", names},
                            {"verbs", OrderedJson::array({"patch"})}};
  return {{"apiVersion", "rbac.authorization.k8s.io/v1"},
          {"kind", "Role"},
          {"metadata", {{"name", "spire-tokens"}}},
          {"rules", OrderedJson::array({rule})}};
}

OrderedJson Deletion(std::string_view kind) {
  return {{"$patch", "delete"},
          {"apiVersion", "rbac.authorization.k8s.io/v1"},
          {"kind", std::string(kind)},
          {"metadata", {{"name", "spire-tokens"}}}};
}

// Labels by which others than our own objects look for the server's pod.
OrderedJson ServerPatch(const Draft& draft) {
  return {{"apiVersion", "apps/v1"},
          {"kind", "StatefulSet"},
          {"metadata", {{"name", "spire-server"}}},
          {"spec", {{"template", {{"metadata", {{"labels", draft.spire_labels}}}}}}}};
}

std::vector<OrderedJson> Patches(const Draft& draft) {
  std::vector<OrderedJson> out;
  if (!draft.spire_server) return out;
  out.push_back(TokensPatch(draft));
  if (draft.options.legacy_token) {
    out.push_back(Deletion("Role"));
    out.push_back(Deletion("RoleBinding"));
  } else {
    out.push_back(RolePatch(draft));
  }
  if (!draft.spire_labels.empty()) out.push_back(ServerPatch(draft));
  return out;
}

OrderedJson Target(std::string_view kind, std::string_view name, const OrderedJson& paths) {
  return {{"select", {{"kind", std::string(kind)}, {"name", std::string(name)}}},
          {"fieldPaths", paths},
          {"options", {{"delimiter", "/"}, {"index", 0}}}};
}

OrderedJson Source(std::string_view key) {
  return {{"kind", "ConfigMap"}, {"name", "swarm-settings"}, {"fieldPath", StrCat("data.", key)}};
}

// Of our own images alone: other containers that were kept come from where they came from.
OrderedJson RegistryTargets(const Draft& draft) {
  OrderedJson out = OrderedJson::array();
  for (const Draft::Images& images : draft.registry_targets) {
    OrderedJson paths = OrderedJson::array();
    for (const std::string& name : images.containers)
      paths.push_back(StrCat("spec.template.spec.containers.[name=", name, "].image"));
    for (const std::string& name : images.init_containers)
      paths.push_back(StrCat("spec.template.spec.initContainers.[name=", name, "].image"));
    out.push_back(Target(images.kind, images.name, paths));
  }
  if (draft.spire_server) {
    out.push_back(Target("StatefulSet", "spire-server",
                         OrderedJson::array({"spec.template.spec.containers.*.image"})));
  }
  return out;
}

OrderedJson ApiTargets(const Draft& draft) {
  OrderedJson out = OrderedJson::array();
  const auto add = [&](const std::string& name) {
    out.push_back({{"select", {{"kind", "NetworkPolicy"}, {"name", name}}},
                   {"fieldPaths", OrderedJson::array({"spec.egress.0.to.0.ipBlock.cidr"})}});
  };
  if (draft.spire_server) add("spire-server");
  for (const auto& [name, component] : draft.nodes) {
    if (draft.options.legacy_token) add(StrCat(name, "-legacy-token"));
  }
  return out;
}

OrderedJson Kustomization(const Draft& draft) {
  const std::string& base = draft.options.base;
  OrderedJson out = {{"apiVersion", "kustomize.config.k8s.io/v1beta1"},
                     {"kind", "Kustomization"},
                     {"namespace", draft.name_space}};
  OrderedJson resources = OrderedJson::array();
  if (OwnsNamespace(draft)) resources.push_back("namespace.yaml");
  resources.push_back("settings.yaml");
  resources.push_back(Below(base, "policy"));
  if (draft.spire_server) resources.push_back(Beside(base, "identity/spire-standalone/server"));
  if (!draft.shared.empty()) resources.push_back("shared.yaml");
  for (const auto& [name, objects] : draft.node_files) resources.push_back(StrCat(name, ".yaml"));
  out["resources"] = resources;
  out["components"] = OrderedJson::array({Beside(base, "ledger/embedded")});
  if (draft.spire_server) out["patches"] = OrderedJson::array({{{"path", "spire-server.yaml"}}});
  OrderedJson replacements =
      OrderedJson::array({{{"source", Source("registry")}, {"targets", RegistryTargets(draft)}}});
  OrderedJson api = ApiTargets(draft);
  if (!api.empty())
    replacements.push_back({{"source", Source("kubernetes-api")}, {"targets", std::move(api)}});
  out["replacements"] = replacements;
  return out;
}

}  // namespace

std::map<std::string, std::string> OverlayFiles(const Draft& draft) {
  std::map<std::string, std::string> out;
  out["kustomization.yaml"] = YamlText(Kustomization(draft));
  if (OwnsNamespace(draft)) out["namespace.yaml"] = YamlText(Namespace(draft));
  out["settings.yaml"] = YamlText(SettingsObject(draft));
  if (draft.spire_server) out["spire-server.yaml"] = YamlText(Patches(draft));
  if (!draft.shared.empty()) out["shared.yaml"] = YamlText(draft.shared);
  for (const auto& [name, objects] : draft.node_files)
    out[StrCat(name, ".yaml")] = YamlText(objects);
  return out;
}

}  // namespace starling::kube
