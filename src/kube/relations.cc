#include <algorithm>
#include <cctype>
#include <functional>

#include "base/text.h"
#include "kube/draft.h"

namespace starling::kube {
namespace {

constexpr std::string_view kWorkloads[] = {"Pod",        "Deployment", "StatefulSet",
                                           "ReplicaSet", "DaemonSet",  "Job"};
constexpr std::pair<std::string_view, Component> kImages[] = {
    {"sn", Component::kNetworkNode},     {"sl", Component::kLearningNode},
    {"sl-tf", Component::kLearningNode}, {"sl-pyt", Component::kLearningNode},
    {"apls", Component::kLicence},       {"spire-server", Component::kSpireServer},
    {"swci", Component::kOperatorLine},  {"swop", Component::kOperatorLine},
};

// What a pod names: claims, ConfigMaps, Secrets.
struct Uses {
  std::set<std::string> claims, config_maps, secrets;
};

void Collect(const Node& node, Uses* uses) {
  const auto add = [&](const char* key, const char* name, std::set<std::string>* names) {
    const Node* const found = node.Find(key);
    if (found != nullptr && !found->Text(name).empty()) names->insert(found->Text(name));
  };
  add("persistentVolumeClaim", "claimName", &uses->claims);
  add("configMap", "name", &uses->config_maps);
  add("configMapRef", "name", &uses->config_maps);
  add("configMapKeyRef", "name", &uses->config_maps);
  add("secret", "secretName", &uses->secrets);
  add("secret", "name", &uses->secrets);
  add("secretRef", "name", &uses->secrets);
  add("secretKeyRef", "name", &uses->secrets);
  for (const Member& member : node.members) Collect(member.value, uses);
}

// One component where all users are of it; kNone without a user or with several.
class Users {
 public:
  void Add(const std::set<std::string>& names, Component component) {
    for (const std::string& name : names) {
      const auto [at, is_new] = of_.emplace(name, component);
      if (!is_new && at->second != component) at->second = Component::kNone;
    }
  }
  [[nodiscard]] Component Of(const std::string& name) const {
    const auto found = of_.find(name);
    return found == of_.end() ? Component::kNone : found->second;
  }

 private:
  std::map<std::string, Component> of_;
};

bool Selects(const Node* selector, const Node* labels) {
  if (selector == nullptr || labels == nullptr || selector->members.empty()) return false;
  return std::all_of(selector->members.begin(), selector->members.end(), [&](const Member& member) {
    return labels->Text(member.key) == member.value.text;
  });
}

void FindTokenSecrets(Draft& draft, Node& pod) {
  for (const char* const list : {"containers", "initContainers"}) {
    Node* const containers = pod.Find(list);
    if (containers == nullptr) continue;
    for (Member& container : containers->members) {
      Node* const env = container.value.Find("env");
      if (env == nullptr) continue;
      for (Member& item : env->members) {
        Node* const secret = item.value.Find("valueFrom", "secretKeyRef");
        if (item.value.Text("name") == "SPIRE_JOIN_TOKEN" && secret != nullptr)
          draft.token_secrets.insert(secret->Text("name"));
      }
    }
  }
}

void FindService(Draft& draft, Document& document) {
  for (const Document& workload : draft.documents) {
    if (!workload.IsWorkload()) continue;
    const Node* const metadata = workload.PodMetadata();
    if (metadata == nullptr) continue;
    if (!Selects(document.node->Find("spec", "selector"), metadata->Find("labels"))) continue;
    document.component = workload.component;
    document.workload = &workload;
    return;
  }
}

}  // namespace

std::string LowerCase(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool Document::IsWorkload() const {
  return std::find(std::begin(kWorkloads), std::end(kWorkloads), kind) != std::end(kWorkloads);
}

Node* Document::PodSpec() const {
  return kind == "Pod" ? node->Find("spec") : node->Find("spec", "template", "spec");
}

Node* Document::PodMetadata() const {
  return kind == "Pod" ? node->Find("metadata") : node->Find("spec", "template", "metadata");
}

Node* Document::MainContainer() const {
  Node* const pod = PodSpec();
  Node* const containers = pod == nullptr ? nullptr : pod->Find("containers");
  if (containers == nullptr || containers->members.empty()) return nullptr;
  for (Member& member : containers->members) {
    if (ComponentOf(member.value) != Component::kOther) return &member.value;
  }
  return &containers->members.front().value;
}

std::string ImageName(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const std::size_t slash = image.rfind('/');
  if (slash != std::string_view::npos) image.remove_prefix(slash + 1);
  return std::string(image.substr(0, image.find(':')));
}

std::string RegistryOf(std::string_view image) {
  const std::size_t slash = image.find('/');
  if (slash == std::string_view::npos) return "";
  const std::string_view host = image.substr(0, slash);
  const bool is_host = host.find_first_of(".:") != std::string_view::npos || host == "localhost";
  return is_host ? std::string(host) : "";
}

Component ComponentOf(const Node& container) {
  const std::string image = ImageName(container.Text("image"));
  for (const auto& [name, component] : kImages) {
    if (image == name) return component;
  }
  const Node* const env = container.Find("env");
  if (env == nullptr) return Component::kOther;
  const auto has = [&](std::string_view variable) {
    return std::any_of(env->members.begin(), env->members.end(),
                       [&](const Member& member) { return member.value.Text("name") == variable; });
  };
  if (has("MLCMD") || has("ML_FS_PORT")) return Component::kLearningNode;
  if (has("SENTINEL_NODE_IP") && has("THIS_NODE_IP")) return Component::kNetworkNode;
  return Component::kOther;
}

void FindRelations(Draft& draft) {
  Users claims;
  Users config_maps;
  Users secrets;
  for (Document& document : draft.documents) {
    if (!document.IsWorkload()) continue;
    const Node* const main = document.MainContainer();
    document.component = main == nullptr ? Component::kOther : ComponentOf(*main);
    const bool node = document.component == Component::kNetworkNode ||
                      document.component == Component::kLearningNode;
    if (node) FindTokenSecrets(draft, *document.PodSpec());
    Uses uses;
    Collect(*document.node, &uses);
    claims.Add(uses.claims, document.component);
    config_maps.Add(uses.config_maps, document.component);
    secrets.Add(uses.secrets, document.component);
    const Node* const metadata = document.node->Find("metadata");
    if (node && draft.name_space.empty() && metadata != nullptr)
      draft.name_space = metadata->Text("namespace");
  }
  Users volumes;
  for (Document& document : draft.documents) {
    if (document.kind == "Service") FindService(draft, document);
    if (document.kind == "ConfigMap") document.component = config_maps.Of(document.name);
    if (document.kind == "Secret") document.component = secrets.Of(document.name);
    if (document.kind != "PersistentVolumeClaim") continue;
    document.component = claims.Of(document.name);
    const Node* const spec = document.node->Find("spec");
    if (spec != nullptr && !spec->Text("volumeName").empty())
      volumes.Add({spec->Text("volumeName")}, document.component);
  }
  for (Document& document : draft.documents) {
    if (document.kind != "PersistentVolume") continue;
    const Node* const claim = document.node->Find("spec", "claimRef");
    document.component =
        claim == nullptr ? volumes.Of(document.name) : claims.Of(claim->Text("name"));
  }
}

}  // namespace starling::kube
