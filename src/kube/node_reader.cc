// A node's Pod, field by field: each is taken over or not, and gets its verdict in the same place.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "kube/is_in.h"
#include "kube/node.h"

namespace starling::kube {
namespace {

constexpr std::string_view kPodKept[] = {"nodeSelector",
                                         "affinity",
                                         "tolerations",
                                         "priorityClassName",
                                         "hostAliases",
                                         "dnsPolicy",
                                         "dnsConfig",
                                         "nodeName",
                                         "runtimeClassName",
                                         "schedulerName",
                                         "topologySpreadConstraints",
                                         "terminationGracePeriodSeconds"};
constexpr std::string_view kHostAccess[] = {"hostNetwork",           "hostPID",  "hostIPC",
                                            "shareProcessNamespace", "hostname", "subdomain"};
// The volumes that restricted Pod Security allows.
constexpr std::string_view kVolumes[] = {"configMap", "csi",       "downwardAPI",
                                         "emptyDir",  "ephemeral", "persistentVolumeClaim",
                                         "projected", "secret",    "image"};
constexpr std::string_view kOurLabels[] = {"app.kubernetes.io/name", "app.kubernetes.io/instance",
                                           "app.kubernetes.io/component",
                                           "app.kubernetes.io/part-of"};
constexpr std::string_view kClusterFields[] = {
    "uid",        "resourceVersion", "creationTimestamp", "managedFields",
    "generation", "selfLink",        "ownerReferences"};
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

class NodeReader {
 public:
  NodeReader(Draft& draft, Document& document, NodeDraft* node)
      : draft_(draft), document_(document), node_(*node) {}

  void Read() {
    main_ = document_.MainContainer();
    ReadImage(*main_->Find("image"));
    ReadObject();
    Node& pod = *document_.PodSpec();
    if (Node* const volumes = pod.Find("volumes")) ReadVolumes(*volumes);
    for (Member& member : pod.members) ReadPodField(member.key, member.value);
  }

 private:
  void ReadImage(Node& image);
  void ReadObject();
  void ReadPodMetadata(Node& metadata, bool of_pod);
  void ReadVolumes(Node& volumes);
  void ReadPodField(const std::string& key, Node& value);
  void ReadContainer(Node& container);
  void ReadContainerField(const std::string& key, Node& value);
  void ReadResources(Node& resources);
  void ReadMounts(Node& mounts, OrderedJson* out);
  void ReadInit(Node& container, OrderedJson* out);
  void ReadOther(Node& container, Rule rule, OrderedJson* out);
  void MarkAccess(Node& value);
  static bool FetchesToken(const Node& container);

  Draft& draft_;
  Document& document_;
  NodeDraft& node_;
  Node* main_ = nullptr;
  std::set<std::string> refused_volumes_, token_volumes_;
};

void NodeReader::ReadImage(Node& image) {
  const std::string name = ImageName(image.text);
  const std::string registry = RegistryOf(image.text);
  const Node* const env = main_->Find("env");
  const bool command = env != nullptr &&
                       std::any_of(env->members.begin(), env->members.end(),
                                   [](const Member& m) { return m.value.Text("name") == "MLCMD"; });
  node_.sidecar = node_.learning && (name == "sl-pyt" || !command);
  node_.image = node_.learning && !node_.sidecar ? "sl-keras" : "starling";
  std::string detail;
  if (draft_.registry.empty()) draft_.registry = registry;
  if (draft_.registry != registry)
    detail = StrCat("from ", draft_.registry, ", as that of another node");
  if (!node_.sidecar) {
    const bool derived = node_.learning && name != "sl-tf" && name != "sl";
    if (derived) detail = "what you added to HPE's image goes into an image FROM sl-keras";
    if (node_.learning && !derived && detail.empty())
      detail = "Keras 3 on JAX; for TensorFlow build sl-keras FROM your own image";
    return Mark(image, Rule::kImage, node_.image, detail);
  }
  node_.program_image = name == "sl-pyt" ? "pytorch" : "keras";
  Mark(image, Rule::kImageProgram, node_.program_image, detail);
}

void NodeReader::ReadPodMetadata(Node& metadata, bool of_pod) {
  for (const char* const kind : {"labels", "annotations"}) {
    Node* const entries = metadata.Find(kind);
    if (entries == nullptr) continue;
    OrderedJson& out = kind == std::string_view("labels") ? node_.labels : node_.annotations;
    for (Member& entry : entries->members) {
      if (entry.key == kLastApplied) {
        Mark(entry.value, Rule::kClusterField);
      } else if (IsIn(kOurLabels, entry.key)) {
        Mark(entry.value, Rule::kLabelOurs);
      } else {
        if (of_pod) out[entry.key] = entry.value.text;
        Mark(entry.value, Rule::kLabels);
      }
    }
  }
}

// What stands around the pod's own part.
void NodeReader::ReadObject() {
  const std::string workload = node_.learning ? "Job" : "StatefulSet";
  for (Member& member : document_.node->members) {
    if (member.key == "apiVersion" || member.key == "kind")
      Mark(member.value, Rule::kWorkloadKind, StrCat(workload, " ", node_.name));
    if (member.key == "metadata") {
      ReadPodMetadata(member.value, document_.kind == "Pod");
      static_cast<void>(ReadMetadata(draft_, member.value, Rule::kName));
    }
    if (member.key == "status") Mark(member.value, Rule::kClusterField);
  }
  if (document_.kind == "Pod") return;
  if (Node* const metadata = document_.PodMetadata()) {
    ReadPodMetadata(*metadata, true);
    static_cast<void>(ReadMetadata(draft_, *metadata, Rule::kWorkloadField));
  }
  for (Member& member : document_.node->Find("spec")->members) {
    if (member.key != "template") Mark(member.value, Rule::kWorkloadField);
  }
}

void NodeReader::ReadVolumes(Node& volumes) {
  for (Member& member : volumes.members) {
    Node& volume = member.value;
    const std::string name = volume.Text("name");
    const bool allowed = std::all_of(
        volume.members.begin(), volume.members.end(),
        [](const Member& field) { return field.key == "name" || IsIn(kVolumes, field.key); });
    const Node* const secret = volume.Find("secret");
    if (!allowed) {
      refused_volumes_.insert(name);
      Mark(volume, Rule::kVolumeRefused);
    } else if (secret != nullptr && !node_.legacy_token &&
               draft_.token_secrets.contains(secret->Text("secretName"))) {
      token_volumes_.insert(name);
      Mark(volume, Rule::kVolumeToken, StrCat("Secret identity-", node_.name));
    } else {
      node_.volumes.push_back(ToJson(volume));
      Mark(volume, Rule::kVolume);
    }
  }
}

void NodeReader::MarkAccess(Node& value) {
  Mark(value, node_.legacy_token ? Rule::kTokenAccessKept : Rule::kTokenAccess);
}

void NodeReader::ReadPodField(const std::string& key, Node& value) {
  if (IsIn(kPodKept, key) || key == "enableServiceLinks") {
    node_.pod[key] = ToJson(value);
    Mark(value, Rule::kPodKept);
  } else if (key == "imagePullSecrets") {
    node_.pod[key] = ToJson(value);
    Mark(value, Rule::kPull);
  } else if (IsIn(kHostAccess, key)) {
    Mark(value, Rule::kHostAccess);
  } else if (key == "securityContext") {
    Mark(value, Rule::kSecurity);
  } else if (key == "restartPolicy") {
    Mark(value, Rule::kRestart, node_.learning ? "Never" : "Always");
  } else if (key == "serviceAccountName" || key == "serviceAccount" ||
             key == "automountServiceAccountToken") {
    if (node_.legacy_token && key == "serviceAccountName") node_.pod[key] = value.text;
    MarkAccess(value);
  } else if (key == "containers") {
    for (Member& member : value.members) {
      if (&member.value == main_) {
        ReadContainer(member.value);
      } else {
        ReadOther(member.value, Rule::kInit, &node_.containers);
      }
    }
  } else if (key == "initContainers") {
    for (Member& member : value.members) ReadInit(member.value, &node_.init_containers);
  } else {
    Mark(value, Rule::kFieldUnknown);  // but for volumes, which have their verdicts
  }
}

void NodeReader::ReadContainer(Node& container) {
  node_.container_name = container.Text("name");
  if (Node* const env = container.Find("env")) ReadEnvironment(draft_, *env, &node_);
  node_.port = NodePort(node_);
  for (Member& member : container.members) ReadContainerField(member.key, member.value);
}

void NodeReader::ReadContainerField(const std::string& key, Node& value) {
  if (key == "name") {
    Mark(value, Rule::kContainerName);
  } else if (key == "imagePullPolicy") {
    node_.container[key] = value.text;
    Mark(value, Rule::kPull);
  } else if (key == "terminationMessagePath" || key == "terminationMessagePolicy") {
    node_.container[key] = value.text;
    Mark(value, Rule::kPodKept);
  } else if (key == "workingDir" && node_.learning) {
    node_.container[key] = value.text;
    Mark(value, Rule::kCommandKept);
  } else if (key == "command" || key == "workingDir") {
    Mark(value, Rule::kCommand);
  } else if (key == "stdin" || key == "stdinOnce" || key == "tty" || key == "lifecycle") {
    Mark(value, Rule::kTerminal);
  } else if (key == "securityContext") {
    Mark(value, Rule::kSecurity);
  } else if (key == "startupProbe" || key == "livenessProbe" || key == "readinessProbe") {
    Mark(value, Rule::kProbe);
  } else if (key == "resources") {
    ReadResources(value);
  } else if (key == "args") {
    ReadArguments(draft_, value, &node_);
  } else if (key == "envFrom") {
    node_.env_from = ToJson(value);
    Mark(value, Rule::kEnvFrom);
  } else if (key == "ports") {
    ReadPorts(value, &node_);
  } else if (key == "volumeMounts") {
    ReadMounts(value, &node_.mounts);
  } else if (key != "image" && key != "env") {
    Mark(value, Rule::kFieldUnknown);
  }
}

void NodeReader::ReadResources(Node& resources) {
  Node* const limits = resources.Find("limits");
  for (Node* const part : {limits, resources.Find("requests")}) {
    if (part == nullptr || !node_.learning) continue;
    for (Member& amount : part->members) {
      if (amount.key.find('/') == std::string::npos) continue;
      node_.devices[amount.key] = ToJson(amount.value);
      Mark(amount.value, Rule::kDevice);
    }
  }
  Mark(resources, Rule::kResources);
}

void NodeReader::ReadMounts(Node& mounts, OrderedJson* out) {
  for (Member& member : mounts.members) {
    const std::string name = member.value.Text("name");
    if (refused_volumes_.contains(name)) {
      Mark(member.value, Rule::kVolumeRefused);
    } else if (token_volumes_.contains(name)) {
      Mark(member.value, Rule::kVolumeToken, StrCat("Secret identity-", node_.name));
    } else {
      out->push_back(ToJson(member.value));
      Mark(member.value, Rule::kVolume);
    }
  }
}

bool NodeReader::FetchesToken(const Node& container) {
  std::string text;
  for (const char* const list : {"command", "args"}) {
    const Node* const words = container.Find(list);
    if (words == nullptr) continue;
    for (const Member& word : words->members) StrAppend(&text, word.value.text, " ");
  }
  const auto has = [&](std::string_view what) { return text.find(what) != std::string::npos; };
  return has("token generate") || (has("kubectl") && has("exec")) || has("spire-server");
}

void NodeReader::ReadInit(Node& container, OrderedJson* out) {
  if (!FetchesToken(container)) return ReadOther(container, Rule::kInit, out);
  if (node_.legacy_token) return ReadOther(container, Rule::kTokenInitKept, out);
  Mark(container, Rule::kTokenInit, StrCat("Secret identity-", node_.name));
}

// Taken over whole, but for what restricted Pod Security forbids.
void NodeReader::ReadOther(Node& container, Rule rule, OrderedJson* out) {
  OrderedJson json = OrderedJson::object();
  for (Member& member : container.members) {
    if (member.key == "securityContext") {
      Mark(member.value, Rule::kSecurity);
    } else if (member.key == "volumeMounts") {
      json[member.key] = OrderedJson::array();
      ReadMounts(member.value, &json[member.key]);
    } else {
      json[member.key] = ToJson(member.value);
      Mark(member.value, rule);
    }
  }
  json["securityContext"] = ContainerSecurity(false);
  out->push_back(std::move(json));
}

}  // namespace

OrderedJson ReadMetadata(Draft& draft, Node& metadata, Rule name_rule) {
  OrderedJson out = OrderedJson::object();
  for (Member& member : metadata.members) {
    if (member.key == "name") {
      out["name"] = member.value.text;
      Mark(member.value, name_rule);
    } else if (member.key == "namespace") {
      const bool same = member.value.text == draft.name_space;
      Mark(member.value, same ? Rule::kNamespace : Rule::kNamespaceOther, draft.name_space);
    } else if (member.key == "labels" || member.key == "annotations") {
      OrderedJson kept = OrderedJson::object();
      for (Member& entry : member.value.members) {
        if (entry.key == kLastApplied) {
          Mark(entry.value, Rule::kClusterField);
          continue;
        }
        kept[entry.key] = entry.value.text;
        Mark(entry.value, Rule::kLabels);
      }
      Mark(member.value, Rule::kLabels);  // an empty one
      if (!kept.empty()) out[member.key] = std::move(kept);
    } else {
      Mark(member.value,
           IsIn(kClusterFields, member.key) ? Rule::kClusterField : Rule::kFieldUnknown);
    }
  }
  return out;
}

void ImportNode(Draft& draft, Document& document) {
  NodeDraft node;
  node.name = document.name;
  node.learning = document.component == Component::kLearningNode;
  node.legacy_token = draft.options.legacy_token;
  node.spire_server = draft.spire_server;
  node.service = node.name;
  for (const Document& other : draft.documents) {
    if (other.kind == "Service" && other.name == node.name) node.has_service = true;
    if (other.kind != "Service" || other.workload != &document || node.has_service) continue;
    node.service = other.name;
    node.has_service = true;
  }
  NodeReader(draft, document, &node).Read();
  draft.nodes[node.name] = document.component;
  Draft::Images images{node.learning ? "Job" : "StatefulSet", node.name, {}, {}};
  images.containers.push_back(node.container_name);
  if (node.sidecar) images.init_containers = {"starling-client", "sl"};
  draft.registry_targets.push_back(std::move(images));
  std::vector<OrderedJson>& file = draft.node_files[node.name];
  for (OrderedJson& object : NodeObjects(node, &document.added)) file.push_back(std::move(object));
}

}  // namespace starling::kube
