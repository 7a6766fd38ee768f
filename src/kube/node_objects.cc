// A node's objects in the overlay: a StatefulSet or a Job under restricted Pod Security, and what
// it needs beside it.
#include <utility>

#include "base/text.h"
#include "kube/node.h"

namespace starling::kube {
namespace {

constexpr int kUser = 65532;
constexpr int kHealthPort = 9464;
constexpr int kNetworkGraceSeconds = 30;
constexpr int kLearningGraceSeconds = 60;
constexpr int kJobRetries = 20;
constexpr std::string_view kStateVolume = "/var/lib/starling";
constexpr std::string_view kState = "/var/lib/starling/state";  // Beside it stands lost+found.
constexpr std::string_view kIdentity = "/run/starling/identity";
constexpr std::string_view kSocket = "/run/starling/bridge";
constexpr std::string_view kTag = ":" STARLING_VERSION;

OrderedJson Variable(std::string_view name, std::string_view value) {
  return {{"name", std::string(name)}, {"value", std::string(value)}};
}

OrderedJson Mount(std::string_view name, std::string_view path, bool read_only = false) {
  OrderedJson out = {{"name", std::string(name)}, {"mountPath", std::string(path)}};
  if (read_only) out["readOnly"] = true;
  return out;
}

OrderedJson EmptyDir(std::string_view name) {
  return {{"name", std::string(name)}, {"emptyDir", OrderedJson::object()}};
}

std::string Image(std::string_view name) { return StrCat("registry/", name, kTag); }

OrderedJson PodSecurity() {
  return {{"runAsNonRoot", true},
          {"runAsUser", kUser},
          {"runAsGroup", kUser},
          {"fsGroup", kUser},
          {"fsGroupChangePolicy", "OnRootMismatch"},
          {"seccompProfile", {{"type", "RuntimeDefault"}}}};
}

OrderedJson Probe(std::string_view path, int period_seconds, int failures) {
  return {{"httpGet", {{"path", std::string(path)}, {"port", "health"}}},
          {"periodSeconds", period_seconds},
          {"timeoutSeconds", 5},
          {"failureThreshold", failures}};
}

struct Amount {
  std::string cpu, memory, storage;
};
OrderedJson AmountJson(const Amount& amount) {
  return {{"cpu", amount.cpu}, {"memory", amount.memory}, {"ephemeral-storage", amount.storage}};
}
OrderedJson Resources(const Amount& requests, const Amount& limits) {
  return {{"requests", AmountJson(requests)}, {"limits", AmountJson(limits)}};
}
// As in deploy/kubernetes/base, which a test compares them with.
OrderedJson NetworkNodeResources() {
  return Resources({"100m", "128Mi", "16Mi"}, {"1", "256Mi", "64Mi"});
}
OrderedJson SidecarResources() {
  return Resources({"100m", "256Mi", "16Mi"}, {"2", "1Gi", "64Mi"});
}
OrderedJson ClientResources() {
  return Resources({"50m", "32Mi", "16Mi"}, {"500m", "64Mi", "64Mi"});
}
OrderedJson ProgramResources() { return Resources({"500m", "1Gi", "64Mi"}, {"4", "4Gi", "1Gi"}); }

class Builder {
 public:
  Builder(const NodeDraft& node, std::vector<Addition>* added) : node_(node), added_(*added) {}

  std::vector<OrderedJson> Objects() {
    std::vector<OrderedJson> out;
    out.push_back(node_.learning ? Job() : StatefulSet());
    if (!node_.has_service) out.push_back(Service());
    if (node_.learning) {
      out.push_back(Claim(StrCat("state-", node_.name)));
    } else {
      out.push_back(Budget());
    }
    if (node_.legacy_token) {
      out.push_back(Access());
    } else {
      out.push_back(Identity());
    }
    return out;
  }

 private:
  void Add(Rule rule, std::string what, std::string detail = "") {
    added_.push_back({rule, std::move(what), std::move(detail)});
  }

  OrderedJson Metadata(const std::string& name) const {
    return {{"name", name}, {"labels", NodeLabels(node_)}};
  }
  OrderedJson Selector() const {
    return {{"matchLabels",
             {{"app.kubernetes.io/name", "starling"},
              {"app.kubernetes.io/instance", node_.name},
              {"app.kubernetes.io/component", node_.learning ? "learning-node" : "network-node"}}}};
  }

  OrderedJson Template() {
    OrderedJson labels = NodeLabels(node_);
    for (const auto& [key, value] : node_.labels.items()) labels[key] = value;
    OrderedJson metadata = {{"labels", labels}};
    if (!node_.annotations.empty()) metadata["annotations"] = node_.annotations;
    return {{"metadata", metadata}, {"spec", Pod()}};
  }

  OrderedJson StatefulSet() {
    OrderedJson claim = Claim("starling-state");
    OrderedJson spec = {{"serviceName", node_.service},
                        {"replicas", 1},
                        {"selector", Selector()},
                        {"template", Template()}};
    spec["volumeClaimTemplates"] =
        OrderedJson::array({{{"metadata", {{"name", "starling-state"}}}, {"spec", claim["spec"]}}});
    return {{"apiVersion", "apps/v1"},
            {"kind", "StatefulSet"},
            {"metadata", Metadata(node_.name)},
            {"spec", spec}};
  }

  OrderedJson Job() {
    Add(Rule::kAddedRestart, StrCat("backoffLimit ", kJobRetries, ", podFailurePolicy"));
    const OrderedJson ignore = {
        {"action", "Ignore"},
        {"onPodConditions", OrderedJson::array({{{"type", "DisruptionTarget"}}})}};
    return {{"apiVersion", "batch/v1"},
            {"kind", "Job"},
            {"metadata", Metadata(node_.name)},
            {"spec",
             {{"backoffLimit", kJobRetries},
              {"podReplacementPolicy", "Failed"},  // Two pods would be one node twice.
              {"podFailurePolicy", {{"rules", OrderedJson::array({ignore})}}},
              {"template", Template()}}}};
  }

  OrderedJson Pod() {
    OrderedJson pod = OrderedJson::object();
    if (node_.learning) pod["restartPolicy"] = "Never";
    pod["automountServiceAccountToken"] = node_.legacy_token;
    pod["enableServiceLinks"] = false;
    pod["terminationGracePeriodSeconds"] =
        node_.learning ? kLearningGraceSeconds : kNetworkGraceSeconds;
    for (const auto& [key, value] : node_.pod.items()) pod[key] = value;
    pod["securityContext"] = PodSecurity();
    Add(Rule::kAddedSecurity, "securityContext of the pod and its containers");
    OrderedJson init = node_.init_containers;
    OrderedJson containers = OrderedJson::array();
    if (node_.sidecar) {
      init.push_back(ClientContainer());
      init.push_back(NodeContainer("sl"));
      containers.push_back(ProgramContainer());
      Add(Rule::kAddedSidecar, "init containers starling-client and sl, their volumes");
    } else {
      containers.push_back(NodeContainer(node_.container_name));
    }
    for (const OrderedJson& other : node_.containers) containers.push_back(other);
    if (!init.empty()) pod["initContainers"] = init;
    pod["containers"] = containers;
    pod["volumes"] = Volumes();
    return pod;
  }

  OrderedJson Volumes() {
    OrderedJson out = node_.volumes;
    if (node_.learning) {
      out.push_back({{"name", "starling-state"},
                     {"persistentVolumeClaim", {{"claimName", StrCat("state-", node_.name)}}}});
    }
    Add(Rule::kAddedState, StrCat("PersistentVolumeClaim of 1Gi at ", kStateVolume));
    if (!node_.legacy_token) {
      // Named one by one: a pod whose Secret is still empty waits for it with its start.
      const OrderedJson items = OrderedJson::array(
          {{{"key", "token"}, {"path", "token"}}, {{"key", "bundle.pem"}, {"path", "bundle.pem"}}});
      out.push_back({{"name", "starling-identity"},
                     {"secret",
                      {{"secretName", StrCat("identity-", node_.name)},
                       {"defaultMode", 0440},
                       {"items", items}}}});
    }
    if (AllInOne()) return out;
    out.push_back(EmptyDir("starling-tmp"));
    if (!node_.sidecar) return out;
    out.push_back(EmptyDir("starling-client"));
    out.push_back(EmptyDir("starling-socket"));
    return out;
  }

  [[nodiscard]] bool AllInOne() const { return node_.learning && !node_.sidecar; }

  OrderedJson Environment() {
    OrderedJson out = node_.env;
    const auto add = [&](std::string_view name, std::string_view value) {
      if (!node_.HasVariable(name)) out.push_back(Variable(name, value));
    };
    add("STARLING_NODE_NAME", node_.name);
    add("STARLING_STATE_DIR", kState);
    Add(Rule::kAddedName, StrCat("STARLING_NODE_NAME ", node_.name));
    if (node_.sidecar) {
      add("STARLING_SOCKET", StrCat(kSocket, "/starling.sock"));
      add("STARLING_STAY", "true");  // It would be started again.
    }
    if (!node_.HasVariable("STARLING_SPIRE_TRUST_DOMAIN")) {
      out.push_back(
          {{"name", "STARLING_SPIRE_TRUST_DOMAIN"},
           {"valueFrom",
            {{"configMapKeyRef", {{"name", "swarm-settings"}, {"key", "trust-domain"}}}}}});
    }
    if (node_.legacy_token) return out;
    add("STARLING_JOIN_TOKEN_FILE", StrCat(kIdentity, "/token"));
    add("STARLING_SPIRE_BUNDLE", StrCat(kIdentity, "/bundle.pem"));
    if (!HasArgument("serveraddress") && !HasArgument("server-address"))
      add("SPIRE_SERVER_IP", "spire-server");
    Add(Rule::kAddedIdentity, StrCat("Secret identity-", node_.name, " at ", kIdentity),
        node_.spire_server
            ? ""
            : "no SPIRE server among the files: put token and bundle.pem into it, and "
              "let the node's traffic to your server through");
    return out;
  }

  [[nodiscard]] bool HasArgument(std::string_view option) const {
    for (const std::string& word : node_.arguments) {
      const std::string lower = LowerCase(word);
      if (lower.find(option) != std::string::npos && lower[0] == '-') return true;
    }
    return false;
  }

  OrderedJson NodeContainer(const std::string& name) {
    OrderedJson out = {{"name", name}, {"image", Image(node_.image)}};
    if (node_.sidecar) out["restartPolicy"] = "Always";
    for (const auto& [key, value] : node_.container.items()) {
      if (!node_.sidecar || key == "imagePullPolicy") out[key] = value;
    }
    OrderedJson arguments = OrderedJson::array();
    if (!AllInOne()) arguments.push_back(node_.learning ? "sl" : "sn");
    for (const std::string& word : node_.arguments) arguments.push_back(word);
    if (!arguments.empty()) out["args"] = arguments;
    out["env"] = Environment();
    if (!node_.env_from.empty()) out["envFrom"] = node_.env_from;
    out["ports"] = OrderedJson::array({{{"name", node_.PortName()}, {"containerPort", node_.port}},
                                       {{"name", "health"}, {"containerPort", kHealthPort}}});
    Add(Rule::kAddedHealth, StrCat("port health ", kHealthPort));
    if (AllInOne()) {
      out["resources"] = WithDevices(ProgramResources());
    } else {
      out["resources"] = node_.learning ? SidecarResources() : NetworkNodeResources();
    }
    Add(Rule::kAddedResources, StrCat("resources of ", name));
    out["securityContext"] = ContainerSecurity(!AllInOne());
    out["startupProbe"] = Probe("/startupz", 1, 600);
    out["livenessProbe"] = Probe("/livez", 10, 6);
    out["readinessProbe"] = Probe("/readyz", 5, 3);
    Add(Rule::kAddedProbes, "startupProbe, livenessProbe, readinessProbe");
    out["volumeMounts"] = NodeMounts();
    return out;
  }

  OrderedJson NodeMounts() {
    OrderedJson out = node_.sidecar ? OrderedJson::array() : node_.mounts;
    out.push_back(Mount("starling-state", kStateVolume));
    if (!node_.legacy_token) out.push_back(Mount("starling-identity", kIdentity, true));
    if (AllInOne()) return out;
    out.push_back(Mount("starling-tmp", "/tmp"));
    Add(Rule::kAddedTemporary, "emptyDir at /tmp");
    if (node_.sidecar) out.push_back(Mount("starling-socket", kSocket));
    return out;
  }

  OrderedJson WithDevices(OrderedJson resources) const {
    for (const auto& [key, value] : node_.devices.items()) resources["limits"][key] = value;
    return resources;
  }

  OrderedJson ClientContainer() const {
    return {{"name", "starling-client"},
            {"image", Image("starling-client")},
            {"args", OrderedJson::array({std::string(kClientFolder)})},
            {"resources", ClientResources()},
            {"securityContext", ContainerSecurity(true)},
            {"volumeMounts", OrderedJson::array({Mount("starling-client", kClientFolder)})}};
  }

  OrderedJson ProgramContainer() const {
    OrderedJson out = {{"name", node_.container_name}, {"image", Image(node_.program_image)}};
    for (const auto& [key, value] : node_.container.items()) out[key] = value;
    if (!node_.program_command.empty()) out["command"] = node_.program_command;
    OrderedJson env = node_.program_env;
    env.push_back(Variable("STARLING_SOCKET", StrCat(kSocket, "/starling.sock")));
    const auto add = [&](std::string_view name, std::string_view value) {
      if (!node_.ProgramHasVariable(name)) env.push_back(Variable(name, value));
    };
    add(kPythonPath, kClientFolder);  // Theirs holds it already.
    add("PYTHONUNBUFFERED", "1");
    add("HOME", "/tmp");
    out["env"] = env;
    if (!node_.env_from.empty()) out["envFrom"] = node_.env_from;
    out["resources"] = WithDevices(ProgramResources());
    out["securityContext"] = ContainerSecurity(false);
    OrderedJson mounts = node_.mounts;
    mounts.push_back(Mount("starling-client", kClientFolder, true));
    mounts.push_back(Mount("starling-socket", kSocket));
    out["volumeMounts"] = mounts;
    return out;
  }

  OrderedJson Service() {
    Add(Rule::kAddedService, StrCat("Service ", node_.service, ", headless"));
    const OrderedJson port = {
        {"name", node_.PortName()}, {"port", node_.port}, {"targetPort", node_.PortName()}};
    return {{"apiVersion", "v1"},
            {"kind", "Service"},
            {"metadata", Metadata(node_.service)},
            {"spec",
             {{"clusterIP", "None"},
              {"publishNotReadyAddresses", true},
              {"selector", {{"app.kubernetes.io/instance", node_.name}}},
              {"ports", OrderedJson::array({port})}}}};
  }

  OrderedJson Claim(const std::string& name) const {
    return {{"apiVersion", "v1"},
            {"kind", "PersistentVolumeClaim"},
            {"metadata", Metadata(name)},
            {"spec",
             {{"accessModes", OrderedJson::array({"ReadWriteOnce"})},
              {"resources", {{"requests", {{"storage", "1Gi"}}}}}}}};
  }

  // Filled by starling spire-tokens, which may only patch it.
  OrderedJson Identity() const {
    return {{"apiVersion", "v1"},
            {"kind", "Secret"},
            {"metadata", Metadata(StrCat("identity-", node_.name))},
            {"type", "Opaque"}};
  }

  OrderedJson Budget() {
    Add(Rule::kAddedBudget, StrCat("PodDisruptionBudget ", node_.name));
    return {{"apiVersion", "policy/v1"},
            {"kind", "PodDisruptionBudget"},
            {"metadata", Metadata(node_.name)},
            {"spec", {{"maxUnavailable", 1}, {"selector", Selector()}}}};
  }

  // The address is put there by a replacement, from swarm-settings.
  OrderedJson Access() {
    const std::string name = StrCat(node_.name, "-legacy-token");
    Add(Rule::kAddedAccess, StrCat("NetworkPolicy ", name));
    const OrderedJson to = OrderedJson::array({{{"ipBlock", {{"cidr", "0.0.0.0/32"}}}}});
    const OrderedJson ports = OrderedJson::array(
        {{{"protocol", "TCP"}, {"port", 443}}, {{"protocol", "TCP"}, {"port", 6443}}});
    return {{"apiVersion", "networking.k8s.io/v1"},
            {"kind", "NetworkPolicy"},
            {"metadata", Metadata(name)},
            {"spec",
             {{"podSelector", Selector()},
              {"policyTypes", OrderedJson::array({"Egress"})},
              {"egress", OrderedJson::array({{{"to", to}, {"ports", ports}}})}}}};
  }

  const NodeDraft& node_;
  std::vector<Addition>& added_;
};

}  // namespace

OrderedJson NodeLabels(const NodeDraft& node) {
  return {{"app.kubernetes.io/name", "starling"},
          {"app.kubernetes.io/instance", node.name},
          {"app.kubernetes.io/component", node.learning ? "learning-node" : "network-node"},
          {"app.kubernetes.io/part-of", "starling"}};
}

OrderedJson ContainerSecurity(bool read_only_root) {
  OrderedJson out = {{"allowPrivilegeEscalation", false},
                     {"capabilities", {{"drop", OrderedJson::array({"ALL"})}}}};
  if (read_only_root) out["readOnlyRootFilesystem"] = true;
  return out;
}

std::vector<OrderedJson> NodeObjects(const NodeDraft& node, std::vector<Addition>* added) {
  return Builder(node, added).Objects();
}

}  // namespace starling::kube
