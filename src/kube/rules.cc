#include "kube/rules.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/text.h"

namespace starling::kube {
namespace {

// In the order of the enum, which a test holds it to.
constexpr RuleText kRules[] = {
    {Rule::kKind, "kind", Action::kKept, "apiVersion, kind", "the object stays what it is", ""},
    {Rule::kName, "name", Action::kKept, "metadata.name", "others refer to it", ""},
    {Rule::kLabels, "labels", Action::kKept, "labels, annotations",
     "Services and people select by them; ours come beside them", ""},
    {Rule::kLabelOurs, "label-ours", Action::kChanged,
     "labels app.kubernetes.io/name, instance, component and part-of of a node",
     "the overlay's own objects select by them", ""},
    {Rule::kNamespace, "namespace", Action::kKept, "metadata.namespace",
     "kustomization.yaml sets it for every object", ""},
    {Rule::kNamespaceOther, "namespace-other", Action::kChanged,
     "metadata.namespace that differs from the first Pod's",
     "one overlay makes one namespace, the first Pod's",
     "import the files of each namespace by themselves if they must stay apart"},
    {Rule::kClusterField, "cluster-field", Action::kDropped,
     "status, uid, resourceVersion, creationTimestamp, managedFields, last-applied-configuration",
     "the cluster's own record of an object, not part of it", ""},
    {Rule::kList, "list", Action::kDropped, "apiVersion, kind, metadata of a List",
     "its items are read one by one", ""},
    {Rule::kFieldUnknown, "field-unknown", Action::kDropped, "any other field",
     "the import has no rule for it", "carry it over by hand if it is needed"},

    {Rule::kWorkloadKind, "workload-kind", Action::kChanged, "apiVersion, kind of a node's Pod",
     "a bare Pod is gone when its machine is: a controller brings it back", ""},
    {Rule::kWorkloadField, "workload-field", Action::kDropped,
     "replicas, selector, strategy, … of a Deployment, StatefulSet or Job",
     "a node is exactly one pod, with a controller of the overlay's own", ""},
    {Rule::kContainerName, "container-name", Action::kKept, "containers[].name",
     "kubectl logs -c finds it as before", ""},
    {Rule::kImage, "image", Action::kRenamed, "containers[].image of a node",
     "Starling's image, from the same registry: settings.yaml says which", ""},
    {Rule::kImageProgram, "image-program", Action::kChanged,
     "containers[].image of a learning node without an all-in-one image",
     "the program runs in a framework image beside the sidecar sl",
     "name your framework's image under images in kustomization.yaml"},
    {Rule::kPull, "pull", Action::kKept, "imagePullPolicy, imagePullSecrets",
     "the registry is the same", ""},
    {Rule::kCommand, "command", Action::kDropped, "containers[].command, workingDir of a node",
     "the image's own entry point starts the node", ""},
    {Rule::kCommandKept, "command-kept", Action::kKept,
     "containers[].workingDir of a learning node", "the training program may rely on it", ""},
    {Rule::kTerminal, "terminal", Action::kDropped, "stdin, stdinOnce, tty, lifecycle",
     "a node reads no terminal, and drains by itself when it is asked to end", ""},
    {Rule::kPodKept, "pod-kept", Action::kKept,
     "nodeSelector, affinity, tolerations, priorityClassName, hostAliases, dnsPolicy, dnsConfig, "
     "nodeName, runtimeClassName, schedulerName, topologySpreadConstraints, "
     "terminationGracePeriodSeconds, terminationMessagePath, terminationMessagePolicy",
     "it says where and how the pod runs", ""},
    {Rule::kRestart, "restart", Action::kChanged, "restartPolicy",
     "a StatefulSet always restarts; a Job's pod never does, the Job makes a new one", ""},
    {Rule::kHostAccess, "host-access", Action::kDropped,
     "hostNetwork, hostPID, hostIPC, shareProcessNamespace, hostname, subdomain",
     "restricted Pod Security forbids the host's, and the controller names the pod", ""},
    {Rule::kSecurity, "security", Action::kChanged, "securityContext",
     "restricted Pod Security: user and group 65532, no privilege, no capability",
     "folders on hostPath and NFS volumes must be writable by 65532"},
    {Rule::kResources, "resources", Action::kChanged, "resources of a node",
     "a network node needs tenths of a CPU and 128Mi, a learning node what its program needs; "
     "neither 12 CPUs and 32Gi",
     "raise the Job's if its program needs more"},
    {Rule::kDevice, "device", Action::kKept, "resources of a device (nvidia.com/gpu, …)",
     "the training program needs it", "use an image whose framework knows the device"},
    {Rule::kProbe, "probe", Action::kChanged, "startupProbe, livenessProbe, readinessProbe",
     "the node's own health port answers", ""},
    {Rule::kInit, "init", Action::kKept, "other containers and init containers",
     "kept as it is, but for what restricted Pod Security forbids",
     "see that it runs as user 65532"},

    {Rule::kEnvSetting, "env-setting", Action::kKept, "env that is a setting of starling",
     "read under this name", ""},
    {Rule::kEnvAccepted, "env-accepted", Action::kKept,
     "env that starling accepts without effect (licences, file servers, Ethereum's ports)",
     "accepted without effect", ""},
    {Rule::kEnvProgram, "env-program", Action::kKept, "other env of a learning node",
     "the training program inherits it", ""},
    {Rule::kEnvPath, "env-path", Action::kChanged, "PYTHONPATH of a learning node",
     "the client's folder stands before it", ""},
    {Rule::kEnvRenamed, "env-renamed", Action::kRenamed,
     "TRUST_DOMAIN, SPIRE_TRUST_DOMAIN, LOG_LEVEL, SPIRE_SERVER_ADDRESS, SENTINEL_IP, SN_IP",
     "starling has the setting under another name", ""},
    {Rule::kEnvToken, "env-token", Action::kRenamed, "SPIRE_JOIN_TOKEN",
     "the token comes as a file of the node's identity Secret, which starling spire-tokens keeps "
     "fresh; a variable would be seen by whoever may look at the pod",
     ""},
    {Rule::kEnvTokenKept, "env-token-kept", Action::kKept, "SPIRE_JOIN_TOKEN with --legacy-token",
     "read under this name, once: the state volume keeps what it brings", ""},
    {Rule::kEnvUnknown, "env-unknown", Action::kDropped, "other env of a network node",
     "no setting of starling sn, and it runs nothing else", ""},
    {Rule::kEnvFrom, "env-from", Action::kKept, "envFrom", "it may hold any of the above", ""},
    {Rule::kProgramCommand, "program-command", Action::kRenamed,
     "MLCMD of a learning node with a sidecar", "the command of the program's own container", ""},
    {Rule::kArgument, "argument", Action::kKept, "args that starling takes", "the same option", ""},
    {Rule::kArgumentToken, "argument-token", Action::kDropped,
     "-joinToken, -genJoinToken, -insecureBootstrap, -config",
     "the identity Secret brings the token and the server's CA, so that no node has to believe "
     "any server and none may make tokens",
     ""},
    {Rule::kArgumentTokenKept, "argument-token-kept", Action::kKept,
     "-joinToken, -insecureBootstrap with --legacy-token", "the same option", ""},
    {Rule::kArgumentUnknown, "argument-unknown", Action::kDropped, "other args",
     "starling has no such option", "starling sn --help and starling sl --help list them"},

    {Rule::kPortApi, "port-api", Action::kRenamed, "the API port of a network node",
     "same number, named api", ""},
    {Rule::kPortBlobs, "port-blobs", Action::kRenamed, "the file-server port of a learning node",
     "same number, named blobs", ""},
    {Rule::kPortUnneeded, "port-unneeded", Action::kDropped,
     "other ports: a network node's file server (30305) and Ethereum (30303)",
     "nothing listens there", ""},
    {Rule::kHostPort, "host-port", Action::kDropped, "hostPort, hostIP",
     "restricted Pod Security forbids it", "reach the node by its Service"},
    {Rule::kService, "service", Action::kKept, "a node's Service: type, nodePort, …",
     "others reach the node as before", ""},
    {Rule::kServiceSelector, "service-selector", Action::kChanged, "a node's Service: selector",
     "by app.kubernetes.io/instance, as every object of the overlay", ""},
    {Rule::kServiceUnneeded, "service-unneeded", Action::kDropped,
     "a Service none of whose ports is needed", "nothing listens there", ""},

    {Rule::kVolume, "volume", Action::kKept, "volumes, volumeMounts",
     "restricted Pod Security allows it", ""},
    {Rule::kVolumeRefused, "volume-refused", Action::kDropped,
     "hostPath and other host volumes, nfs and other in-line volumes, with their mounts",
     "restricted Pod Security forbids it in a pod",
     "make it a PersistentVolume of its own, and claim it"},
    {Rule::kVolumeToken, "volume-token", Action::kDropped,
     "volumes and mounts of the token's Secret", "the identity Secret is mounted instead", ""},
    {Rule::kClaim, "claim", Action::kKept, "PersistentVolumeClaim",
     "data and models stay where they are; ReadWriteMany is kept, ReadWriteOnce is enough", ""},
    {Rule::kPersistentVolume, "persistent-volume", Action::kKept, "PersistentVolume, StorageClass",
     "data and models stay where they are",
     "hostPath and NFS ignore fsGroup: make the folder writable by 65532"},

    {Rule::kTokenInit, "token-init", Action::kDropped, "the init container that fetches a token",
     "starling spire-tokens beside the SPIRE server puts tokens into the nodes' identity Secrets, "
     "so no node may exec into the server",
     ""},
    {Rule::kTokenInitKept, "token-init-kept", Action::kKept,
     "the init container that fetches a token with --legacy-token",
     "--legacy-token; its right to exec into the SPIRE server is control of the authority", ""},
    {Rule::kTokenAccess, "token-access", Action::kDropped,
     "serviceAccountName, ServiceAccount, Role, RoleBinding, the token's Secret",
     "no node talks to the API server", ""},
    {Rule::kTokenAccessKept, "token-access-kept", Action::kKept,
     "serviceAccountName, ServiceAccount, Role, RoleBinding, the token's Secret with "
     "--legacy-token",
     "--legacy-token: the init container needs it", ""},

    {Rule::kObjectKept, "object-kept", Action::kKept, "ConfigMap, Secret",
     "a pod of the overlay may use it", ""},
    {Rule::kLicence, "licence", Action::kDropped, "the license server (apls), its Service and PVCs",
     "nothing needs a licence; a license server comes in a later release", ""},
    {Rule::kSpireWorkload, "spire-workload", Action::kChanged, "the SPIRE server's Pod",
     "identity/spire-standalone: SPIRE's own server with starling spire-tokens "
     "beside it",
     ""},
    {Rule::kSpireDomain, "spire-domain", Action::kKept,
     "the trust domain in the SPIRE server's configuration", "settings.yaml takes it over", ""},
    {Rule::kSpireConfig, "spire-config", Action::kDropped,
     "other configuration, accounts and volumes of the SPIRE server",
     "the component brings its own", "compare them if yours differs from HPE's"},
    {Rule::kSpireService, "spire-service", Action::kChanged, "the SPIRE server's Service",
     "the component brings the Service spire-server; one that is open to the outside comes beside "
     "it",
     ""},
    {Rule::kOperatorLine, "operator-line", Action::kDropped, "swci and swop",
     "starling swci runs from any machine that reaches a network node", ""},
    {Rule::kOtherWorkload, "other-workload", Action::kDropped,
     "workloads that are no part of Swarm Learning, and their Services",
     "the import leaves it alone", "apply it as before"},
    {Rule::kOtherKind, "other-kind", Action::kDropped, "objects of any other kind",
     "the import leaves it alone", "apply it as before if it is needed"},

    {Rule::kAddedProbes, "added-probes", Action::kAdded, "probes",
     "a node that hangs is restarted, one that is not ready gets no callers", ""},
    {Rule::kAddedHealth, "added-health", Action::kAdded, "the port health (9464)",
     "probes and metrics, no secrets", ""},
    {Rule::kAddedState, "added-state", Action::kAdded, "a claim for the node's state",
     "key, ledger and certificate outlive the pod: a join token is good for one start only", ""},
    {Rule::kAddedName, "added-name", Action::kAdded, "STARLING_NODE_NAME, STARLING_STATE_DIR",
     "the node is called as its object, wherever the pod runs", ""},
    {Rule::kAddedIdentity, "added-identity", Action::kAdded,
     "the Secret identity-<node> and its settings",
     "join token and the SPIRE server's CA, put there by starling spire-tokens", ""},
    {Rule::kAddedService, "added-service", Action::kAdded, "a Service for a node without one",
     "others find the node by its name", ""},
    {Rule::kAddedSecurity, "added-security", Action::kAdded, "securityContext",
     "restricted Pod Security", ""},
    {Rule::kAddedResources, "added-resources", Action::kAdded, "resources",
     "the scheduler has to know", ""},
    {Rule::kAddedSidecar, "added-sidecar", Action::kAdded, "the sidecar sl and the client",
     "the learning node stands beside a framework image of any kind", ""},
    {Rule::kAddedTemporary, "added-temporary", Action::kAdded, "/tmp as an emptyDir",
     "the root file system is read-only", ""},
    {Rule::kAddedAccess, "added-access", Action::kAdded, "a NetworkPolicy with --legacy-token",
     "the init container has to reach the API server", ""},
    {Rule::kAddedRestart, "added-restart", Action::kAdded, "backoffLimit, podFailurePolicy",
     "a drained machine is no failure of the training program", ""},
    {Rule::kAddedBudget, "added-budget", Action::kAdded, "a PodDisruptionBudget of a network node",
     "a drain takes one node after the other", ""},
    {Rule::kAddedPublic, "added-public", Action::kAdded,
     "a NetworkPolicy for a NodePort or a LoadBalancer",
     "the base lets nobody in from outside, and this Service is for them",
     "narrow its address to your sites"},
    {Rule::kAddedSettings, "added-settings", Action::kAdded,
     "namespace.yaml and settings.yaml: registry, trust domain, the API server's address",
     "one place for what differs between installations",
     "narrow kubernetes-api to what kubectl get endpoints kubernetes shows"},
};

}  // namespace

std::string_view ActionName(Action action) {
  switch (action) {
    case Action::kKept:
      return "kept";
    case Action::kRenamed:
      return "renamed";
    case Action::kChanged:
      return "changed";
    case Action::kDropped:
      return "dropped";
    case Action::kAdded:
      return "added";
  }
  return "";
}

std::span<const RuleText> Rules() { return kRules; }

const RuleText& TextOf(Rule rule) {
  const RuleText& text = kRules[static_cast<std::size_t>(rule)];
  CHECK(text.rule == rule);
  return text;
}

std::string RulesMarkdown() {
  std::string out =
      "| rule | fields | what happens | why | what to do |\n| --- | --- | --- | --- | --- |\n";
  for (const RuleText& text : kRules) {
    StrAppend(&out, "| `", text.id, "` | ", text.fields, " | ", ActionName(text.action), " | ",
              text.why, " | ", text.next, " |\n");
  }
  return out;
}

}  // namespace starling::kube
