#include "kube_import.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "command_line.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kube/manifest.h"
#include "yaml-cpp/yaml.h"

namespace starling {
namespace {

using kube::Import;
using kube::ImportManifests;
using kube::ImportOptions;
using kube::InputFile;
using kube::ReportLine;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kLegacy = "tests/kubernetes/legacy";
constexpr std::string_view kNames[] = {
    "apls", "network-node-sentinel", "network-node01", "sl-node01", "sl-node02", "spire-server"};

std::vector<InputFile> SixManifests() {
  std::vector<InputFile> out;
  for (const std::string_view name : kNames) {
    const auto text = ReadFile(StrCat(kLegacy, "/", name, ".yaml"));
    EXPECT_TRUE(text.ok()) << text.status();
    out.push_back({StrCat(name, ".yaml"), text.value_or("")});
  }
  return out;
}

Import ImportOf(const std::vector<InputFile>& inputs, const ImportOptions& options = {}) {
  auto import = ImportManifests(inputs, options, SettingsForImport());
  EXPECT_TRUE(import.ok()) << import.status();
  return import.ok() ? *std::move(import) : Import();
}

// A node's Pod with `container` and `pod` as further fields, in flow style.
Import PodOf(const std::string& image, const std::string& container, const std::string& pod = "",
             const ImportOptions& options = {}) {
  return ImportOf({{"a.yaml", StrCat("apiVersion: v1\nkind: Pod\nmetadata: {name: n}\nspec: {",
                                     "containers: [{name: c, image: ", image, ", ", container,
                                     "}], ", pod, "}\n")}},
                  options);
}

// The rule of the line of `path`; "" where there is none.
std::string RuleOf(const Import& import, std::string_view path) {
  for (const ReportLine& line : import.lines) {
    if (line.path == path) return std::string(kube::TextOf(line.rule).id);
  }
  return "";
}

YAML::Node WorkloadOf(const Import& import) { return YAML::LoadAll(import.files.at("n.yaml"))[0]; }
YAML::Node PodSpecOf(const Import& import) {
  return WorkloadOf(import)["spec"]["template"]["spec"];
}
YAML::Node ContainerOf(const Import& import) { return PodSpecOf(import)["containers"][0]; }

std::string VariableOf(const YAML::Node& container, const std::string& name) {
  for (const auto& item : container["env"]) {
    if (item["name"].as<std::string>() == name)
      return item["value"] ? item["value"].as<std::string>() : "from elsewhere";
  }
  return "absent";
}

std::vector<std::string> TextsOf(const YAML::Node& list) {
  std::vector<std::string> out;
  for (const auto& item : list) out.push_back(item.as<std::string>());
  return out;
}

// --- what the six manifests become

// To make the expected files again, in tests/kubernetes/legacy:
//   starling kube import *.yaml -o expected --base ../deploy/kubernetes/base > report.txt
TEST(KubeImport, MakesTheExpectedOverlayOfTheSixManifests) {
  const Import import = ImportOf(SixManifests());
  const std::string expected = StrCat(kLegacy, "/expected");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(expected)) {
    if (entry.path().extension() == ".yaml") names.insert(entry.path().filename().string());
  }
  std::set<std::string> made;
  for (const auto& [name, text] : import.files) {
    made.insert(name);
    EXPECT_EQ(text, ReadFile(StrCat(expected, "/", name)).value_or("")) << name;
  }
  EXPECT_EQ(made, names);
}

TEST(KubeImport, PrintsTheExpectedReportOfTheSixManifests) {
  const std::string report = ReadFile(StrCat(kLegacy, "/report.txt")).value_or("");
  // Its last line names the folder.
  EXPECT_EQ(ReportText(ImportOf(SixManifests())), report.substr(0, report.find("overlay: ")));
}

// Leaves as yaml-cpp itself sees them: file, line and path within the document.
void CountLeaves(const YAML::Node& node, const std::string& file, const std::string& path,
                 std::map<std::string, int>* leaves) {
  if ((node.IsMap() || node.IsSequence()) && node.size() > 0) {
    std::size_t index = 0;
    for (const auto& item : node) {
      if (node.IsMap()) {
        const std::string key = item.first.as<std::string>();
        CountLeaves(item.second, file, path.empty() ? key : StrCat(path, ".", key), leaves);
      } else {
        CountLeaves(item, file, StrCat(path, "[", index++, "]"), leaves);
      }
    }
    return;
  }
  ++(*leaves)[StrCat(file, ":", node.Mark().line + 1, ": ", path)];
}

std::map<std::string, int> LinesOf(const Import& import) {
  std::map<std::string, int> out;
  for (const ReportLine& line : import.lines) {
    if (line.line > 0) ++out[StrCat(line.file, ":", line.line, ": ", line.path)];
  }
  return out;
}

TEST(KubeImport, TellsOfEveryLeafOnce) {
  const std::vector<InputFile> inputs = SixManifests();
  std::map<std::string, int> leaves;
  for (const InputFile& input : inputs) {
    for (const YAML::Node& root : YAML::LoadAll(input.text))
      CountLeaves(root, input.name, "", &leaves);
  }
  EXPECT_GT(leaves.size(), 400U);
  for (const auto& [leaf, count] : leaves) EXPECT_EQ(count, 1) << leaf;
  EXPECT_EQ(LinesOf(ImportOf(inputs)), leaves);
  EXPECT_EQ(LinesOf(ImportOf(inputs, {.legacy_token = true})), leaves);
}

TEST(KubeImport, TellsOfALeafThatNoRuleKnows) {
  const Import import = PodOf("x/sn:0.3.0", "brandNew: {a: [1, {}]}", "other: x, volumes: none");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].brandNew.a[0]"), "field-unknown");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].brandNew.a[1]"), "field-unknown");
  EXPECT_EQ(RuleOf(import, "spec.other"), "field-unknown");
  EXPECT_EQ(RuleOf(import, "spec.volumes"), "field-unknown");
}

TEST(KubeImport, ReadsTheItemsOfAList) {
  const std::string text =
      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: "
      "n\n"
      "    uid: u\n  spec:\n    containers:\n    - name: c\n      image: sn\n  status:\n    phase: "
      "Running\nmetadata:\n  resourceVersion: \"\"\n";
  const Import import = ImportOf({{"a.yaml", text}});
  std::map<std::string, int> leaves;
  CountLeaves(YAML::Load(text), "a.yaml", "", &leaves);
  EXPECT_EQ(LinesOf(import), leaves);
  EXPECT_EQ(RuleOf(import, "metadata.resourceVersion"), "list");
  EXPECT_EQ(RuleOf(import, "items[0].metadata.uid"), "cluster-field");
  EXPECT_EQ(RuleOf(import, "items[0].status.phase"), "cluster-field");
}

TEST(KubeImport, PrintsNoSecret) {
  const std::string secret =
      "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {token: c2VjcmV0}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: n}\nspec: {containers: [{name: c, image: sn, "
      "args: [-joinToken, c2VjcmV0], env: [{name: SPIRE_JOIN_TOKEN, value: c2VjcmV0}]}]}\n";
  const Import import = ImportOf({{"a.yaml", secret}});
  EXPECT_THAT(ReportText(import), Not(HasSubstr("c2VjcmV0")));
  EXPECT_THAT(ReportJson(import).dump(), Not(HasSubstr("c2VjcmV0")));
  EXPECT_THAT(import.files.at("n.yaml"), Not(HasSubstr("c2VjcmV0")));
  EXPECT_THAT(import.files.at("shared.yaml"), HasSubstr("c2VjcmV0"));
}

// --- a network node

TEST(KubeImport, MakesAStatefulSetOfANetworkNode) {
  const Import import = PodOf("r.example/x/sn:0.3.0", "command: [/run]", "restartPolicy: Never");
  EXPECT_EQ(WorkloadOf(import)["kind"].as<std::string>(), "StatefulSet");
  EXPECT_EQ(WorkloadOf(import)["metadata"]["name"].as<std::string>(), "n");
  EXPECT_EQ(ContainerOf(import)["image"].as<std::string>(),
            StrCat("registry/starling:", STARLING_VERSION));
  EXPECT_EQ(TextsOf(ContainerOf(import)["args"]), std::vector<std::string>{"sn"});
  EXPECT_TRUE(ContainerOf(import)["startupProbe"]);
  EXPECT_EQ(WorkloadOf(import)["spec"]["volumeClaimTemplates"].size(), 1U);
  EXPECT_EQ(RuleOf(import, "spec.containers[0].image"), "image");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].command[0]"), "command");
  EXPECT_EQ(RuleOf(import, "spec.restartPolicy"), "restart");
  EXPECT_THAT(import.files.at("kustomization.yaml"),
              AllOf(HasSubstr("- name: registry/starling\n  newName: r.example/starling\n"),
                    HasSubstr("namespace: swarm\n")));
}

TEST(KubeImport, KnowsADerivedImageByItsVariables) {
  const Import node = PodOf("mine:1",
                            "env: [{name: THIS_NODE_IP, value: n}, {name: "
                            "SENTINEL_NODE_IP, value: n}]");
  EXPECT_EQ(WorkloadOf(node)["kind"].as<std::string>(), "StatefulSet");
  const Import learning = PodOf("mine@sha256:00", "env: [{name: MLCMD, value: run a.py}]");
  EXPECT_EQ(WorkloadOf(learning)["kind"].as<std::string>(), "Job");
}

TEST(KubeImport, KeepsRenamesAndDropsVariables) {
  const Import import = PodOf(
      "sn",
      "env: [{name: THIS_NODE_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: "
      "ETH_PORT, value: '30303'}, {name: LOG_LEVEL, value: DEBUG}, {name: SPIRE_JOIN_TOKEN, value: "
      "t}, {name: NOBODYS, value: x}, {name: API_SERVER_PORT, value: 40304}]");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"),
            "env-setting");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[1].value"), "env-accepted");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[2].name"), "env-renamed");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[3].value"), "env-token");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[4].name"), "env-unknown");
  const YAML::Node container = ContainerOf(import);
  EXPECT_EQ(VariableOf(container, "THIS_NODE_IP"), "from elsewhere");
  EXPECT_EQ(VariableOf(container, "ETH_PORT"), "30303");
  EXPECT_EQ(VariableOf(container, "STARLING_LOG_LEVEL"), "DEBUG");
  EXPECT_EQ(VariableOf(container, "LOG_LEVEL"), "absent");
  EXPECT_EQ(VariableOf(container, "SPIRE_JOIN_TOKEN"), "absent");
  EXPECT_EQ(VariableOf(container, "STARLING_JOIN_TOKEN_FILE"), "/run/starling/identity/token");
  EXPECT_EQ(VariableOf(container, "NOBODYS"), "absent");
  EXPECT_EQ(container["ports"][0]["containerPort"].as<int>(), 40304);
}

TEST(KubeImport, KeepsTheArgumentsThatStarlingTakes) {
  const std::string arguments =
      "args: [-joinToken, $(T), -serverAddress, spire, --SERVERPORT=8081, -insecureBootstrap, "
      "'true',"
      " -logLevel, debug, -what, 1, --no-such, stray]";
  const Import import = PodOf("sn", arguments);
  EXPECT_EQ(TextsOf(ContainerOf(import)["args"]),
            (std::vector<std::string>{"sn", "-serverAddress", "spire", "--SERVERPORT=8081",
                                      "-logLevel", "debug"}));
  EXPECT_EQ(RuleOf(import, "spec.containers[0].args[1]"), "argument-token");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].args[6]"), "argument-token");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].args[8]"), "argument");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].args[10]"), "argument-unknown");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].args[12]"), "argument-unknown");
  // What is kept is a command line that starling takes.
  EXPECT_TRUE(ParseCommandLine(TextsOf(ContainerOf(import)["args"])).ok());
  const Import legacy = PodOf("sn", arguments, "", {.legacy_token = true});
  EXPECT_EQ(TextsOf(ContainerOf(legacy)["args"]),
            (std::vector<std::string>{"sn", "-joinToken", "$(T)", "-serverAddress", "spire",
                                      "--SERVERPORT=8081", "-insecureBootstrap", "true",
                                      "-logLevel", "debug"}));
  EXPECT_TRUE(ParseCommandLine(TextsOf(ContainerOf(legacy)["args"])).ok());
}

TEST(KubeImport, TakesAwayWhatRestrictedPodSecurityForbids) {
  const Import import = PodOf(
      "sn",
      "securityContext: {privileged: true}, ports: [{containerPort: 30304, hostPort: 30304}, "
      "{containerPort: 30303}], volumeMounts: [{name: h, mountPath: /h}, {name: e, mountPath: /e}]",
      "hostNetwork: true, securityContext: {runAsUser: 0}, volumes: [{name: h, hostPath: {path: "
      "/h}}, {name: e, emptyDir: {}}]");
  EXPECT_EQ(RuleOf(import, "spec.volumes[0].hostPath.path"), "volume-refused");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].volumeMounts[0].mountPath"), "volume-refused");
  EXPECT_EQ(RuleOf(import, "spec.volumes[1].emptyDir"), "volume");
  EXPECT_EQ(RuleOf(import, "spec.hostNetwork"), "host-access");
  EXPECT_EQ(RuleOf(import, "spec.securityContext.runAsUser"), "security");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].securityContext.privileged"), "security");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].ports[0].hostPort"), "host-port");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].ports[0].containerPort"), "port-api");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].ports[1].containerPort"), "port-unneeded");
  const std::string& text = import.files.at("n.yaml");
  for (const char* const forbidden : {"hostPath", "hostNetwork", "hostPort", "privileged: true"})
    EXPECT_THAT(text, Not(HasSubstr(forbidden)));
  EXPECT_EQ(PodSpecOf(import)["securityContext"]["runAsUser"].as<int>(), 65532);
  EXPECT_FALSE(PodSpecOf(import)["automountServiceAccountToken"].as<bool>());
}

TEST(KubeImport, KeepsTheTokenInitContainerOnlyWhenAsked) {
  const std::string pod =
      "serviceAccountName: a, initContainers: [{name: i, image: k, command: [sh, -c, kubectl exec "
      "p "
      "-- spire-server token generate]}, {name: w, image: b, command: [until, nc]}]";
  const Import import = PodOf("sn", "tty: true", pod);
  EXPECT_EQ(RuleOf(import, "spec.initContainers[0].command[2]"), "token-init");
  EXPECT_EQ(RuleOf(import, "spec.initContainers[1].command[0]"), "init");
  EXPECT_EQ(RuleOf(import, "spec.serviceAccountName"), "token-access");
  EXPECT_EQ(PodSpecOf(import)["initContainers"].size(), 1U);
  EXPECT_THAT(import.files.at("n.yaml"), HasSubstr("n-identity"));
  const Import legacy = PodOf("sn", "tty: true", pod, {.legacy_token = true});
  EXPECT_EQ(RuleOf(legacy, "spec.initContainers[0].command[2]"), "token-init-kept");
  EXPECT_EQ(PodSpecOf(legacy)["initContainers"].size(), 2U);
  EXPECT_EQ(PodSpecOf(legacy)["serviceAccountName"].as<std::string>(), "a");
  EXPECT_TRUE(PodSpecOf(legacy)["automountServiceAccountToken"].as<bool>());
  EXPECT_THAT(legacy.files.at("n.yaml"), Not(HasSubstr("n-identity")));
}

// --- a learning node

TEST(KubeImport, TakesTheAllInOneImageWhereHpesWas) {
  const Import import = PodOf("sl-tf:0.3.0",
                              "env: [{name: MLCMD, value: run a.py}, {name: DATA_DIR, value: /d}, "
                              "{name: MAX_EPOCHS, value: "
                              "'2'}], resources: {limits: {cpu: 12, nvidia.com/gpu: 1}}");
  EXPECT_EQ(WorkloadOf(import)["kind"].as<std::string>(), "Job");
  EXPECT_EQ(PodSpecOf(import)["restartPolicy"].as<std::string>(), "Never");
  EXPECT_FALSE(PodSpecOf(import)["initContainers"]);
  const YAML::Node container = ContainerOf(import);
  EXPECT_EQ(container["image"].as<std::string>(), StrCat("registry/sl-keras:", STARLING_VERSION));
  EXPECT_EQ(VariableOf(container, "MLCMD"), "run a.py");
  EXPECT_EQ(VariableOf(container, "MAX_EPOCHS"), "2");
  EXPECT_EQ(container["resources"]["limits"]["nvidia.com/gpu"].as<int>(), 1);
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[2].value"), "env-program");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].resources.limits.cpu"), "resources");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].resources.limits.nvidia.com/gpu"), "device");
}

TEST(KubeImport, PutsASidecarBesideAnyOtherFramework) {
  const Import import = PodOf(
      "sl-pyt:0.3.0",
      "env: [{name: MLCMD, value: run a.py -x 1}, {name: MODEL_DIR, value: /m}, {name: "
      "SENTINEL_NODE_IP, value: s}, {name: MINE, value: y}], volumeMounts: [{name: d, mountPath: "
      "/m}], workingDir: /m",
      "volumes: [{name: d, emptyDir: {}}]");
  const YAML::Node pod = PodSpecOf(import);
  ASSERT_EQ(pod["initContainers"].size(), 2U);
  const YAML::Node sl = pod["initContainers"][1];
  EXPECT_EQ(sl["name"].as<std::string>(), "sl");
  EXPECT_EQ(sl["restartPolicy"].as<std::string>(), "Always");
  EXPECT_EQ(VariableOf(sl, "SENTINEL_NODE_IP"), "s");
  EXPECT_EQ(VariableOf(sl, "MINE"), "absent");
  EXPECT_EQ(VariableOf(sl, "STARLING_STAY"), "true");
  const YAML::Node program = ContainerOf(import);
  EXPECT_EQ(TextsOf(program["command"]),
            (std::vector<std::string>{"python3", "/m/a.py", "-x", "1"}));
  EXPECT_EQ(VariableOf(program, "MODEL_DIR"), "/m");
  EXPECT_EQ(VariableOf(program, "MINE"), "y");
  EXPECT_EQ(VariableOf(program, "STARLING_SOCKET"), VariableOf(sl, "STARLING_SOCKET"));
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[0].value"), "program-command");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].image"), "image-program");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].workingDir"), "command-kept");
}

// --- other objects

Import WithNode(const std::string& objects, const ImportOptions& options = {}) {
  return ImportOf({{"a.yaml", StrCat("apiVersion: v1\nkind: Pod\nmetadata: {name: n, namespace: x, "
                                     "labels: {app: n}}\nspec: {containers: [{name: c, image: "
                                     "sn}]}\n---\n",
                                     objects)}},
                  options);
}

TEST(KubeImport, KeepsWhatANodesServiceIsReachedBy) {
  const Import import = WithNode(
      "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: NodePort, clusterIP: "
      "10.0.0.1, selector: {app: n}, ports: [{name: api, port: 80, targetPort: 30304, nodePort: "
      "31000}, {name: p2p, port: 30303}]}\n");
  const std::vector<YAML::Node> objects = YAML::LoadAll(import.files.at("n.yaml"));
  const YAML::Node& service = objects.back();
  EXPECT_EQ(service["metadata"]["name"].as<std::string>(), "s");
  EXPECT_EQ(service["spec"]["type"].as<std::string>(), "NodePort");
  ASSERT_EQ(service["spec"]["ports"].size(), 1U);
  EXPECT_EQ(service["spec"]["ports"][0]["nodePort"].as<int>(), 31000);
  EXPECT_EQ(service["spec"]["ports"][0]["targetPort"].as<std::string>(), "api");
  EXPECT_EQ(objects[0]["spec"]["serviceName"].as<std::string>(), "s");
  EXPECT_EQ(RuleOf(import, "spec.ports[1].port"), "port-unneeded");
  EXPECT_EQ(RuleOf(import, "spec.selector.app"), "service-selector");
  EXPECT_EQ(RuleOf(import, "spec.clusterIP"), "cluster-field");
  EXPECT_EQ(RuleOf(import, "spec.type"), "service");
}

TEST(KubeImport, KeepsVolumesAndSaysWhatItLeavesAlone) {
  const Import import = WithNode(
      "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p, namespace: y}\nspec: "
      "{accessModes: [ReadWriteMany]}\n---\n"
      "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: v}\nspec: {hostPath: {path: "
      "/d}}\n---\n"
      "apiVersion: example/v1\nkind: Strange\nmetadata: {name: z}\ndata: 1\n---\n"
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: "
      "{containers: [{name: c, image: nginx}]}}}\n");
  EXPECT_THAT(import.files.at("shared.yaml"),
              AllOf(HasSubstr("ReadWriteMany"), HasSubstr("hostPath"), Not(HasSubstr("Strange"))));
  EXPECT_EQ(RuleOf(import, "spec.accessModes[0]"), "claim");
  EXPECT_EQ(RuleOf(import, "spec.hostPath.path"), "persistent-volume");
  EXPECT_EQ(RuleOf(import, "data"), "other-kind");
  EXPECT_EQ(RuleOf(import, "spec.template.spec.containers[0].image"), "other-workload");
  EXPECT_THAT(import.files.at("kustomization.yaml"), HasSubstr("namespace: x\n"));
  EXPECT_THAT(ReportText(import), HasSubstr("metadata.namespace: changed as x"));
}

TEST(KubeImport, CarriesTheTrustDomainOver) {
  const Import import = WithNode(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {server.conf: 'server { "
      "trust_domain = \"a.example\" }'}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: spire}\nspec: {containers: [{name: s, image: "
      "h/spire-server:0.3.0}], volumes: [{name: v, configMap: {name: conf}}]}\n");
  EXPECT_EQ(RuleOf(import, "data.server.conf"), "spire-domain");
  EXPECT_EQ(VariableOf(ContainerOf(import), "STARLING_SPIRE_TRUST_DOMAIN"), "a.example");
  EXPECT_THAT(import.files.at("kustomization.yaml"), HasSubstr("spire-standalone"));
}

TEST(KubeImport, RefusesWhatIsNoManifestOfASwarm) {
  const auto error = [](const std::string& text) {
    return std::string(
        ImportManifests({{"a.yaml", text}}, {}, SettingsForImport()).status().message());
  };
  EXPECT_THAT(error("a: 1\n"), HasSubstr("a.yaml:1:1: no Kubernetes object"));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\n"), HasSubstr("metadata is missing"));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}\n"), HasSubstr("no name"));
  EXPECT_THAT(error("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
              HasSubstr("no Pod of a network node"));
  const std::string node =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: n}\nspec: {containers: [{name: c, image: "
      "sn}]}\n";
  EXPECT_EQ(error(node), "");
  EXPECT_THAT(error(StrCat(node, "---\n", node)), HasSubstr("a.yaml:6:1: Pod n a second time"));
  EXPECT_THAT(
      error("apiVersion: v1\nkind: Pod\nmetadata: {name: kustomization}\nspec: {containers: "
            "[{name: c, image: sn}]}\n"),
      HasSubstr("a node's name"));
}

TEST(KubeImport, WritesNothingWhenOneFileIsBad) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteFileDurably(scratch.File("bad.yaml"), "a: [\n").ok());
  KubeImportRequest request;
  request.files = {StrCat(kLegacy, "/network-node01.yaml"), scratch.File("bad.yaml")};
  request.folder = scratch.File("overlay");
  std::ostringstream out;
  EXPECT_THAT(std::string(RunKubeImport(request, out).message()), HasSubstr("bad.yaml:"));
  EXPECT_FALSE(std::filesystem::exists(request.folder));
  EXPECT_EQ(out.str(), "");
}

TEST(KubeImport, HasACommandLine) {
  const auto line = ParseCommandLine(
      {"kube", "import", "a.yaml", "b.yaml", "-o", "dir", "--base", "../b", "--legacy-token"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->command, CommandLine::Command::kKubeImport);
  EXPECT_EQ(line->kube_import.files, (std::vector<std::string>{"a.yaml", "b.yaml"}));
  EXPECT_EQ(line->kube_import.folder, "dir");
  EXPECT_EQ(line->kube_import.options.base, "../b");
  EXPECT_TRUE(line->kube_import.options.legacy_token);
  EXPECT_FALSE(ParseCommandLine({"kube", "import", "a.yaml"}).ok());
  EXPECT_FALSE(ParseCommandLine({"kube", "import", "-o", "dir"}).ok());
}

// --- the rules

TEST(KubeImport, HasItsRulesInOrderWithNamesOfTheirOwn) {
  std::set<std::string_view> ids;
  for (const kube::RuleText& text : kube::Rules()) {
    EXPECT_TRUE(ids.insert(text.id).second) << text.id;
    EXPECT_EQ(kube::TextOf(text.rule).id, text.id);
    EXPECT_FALSE(text.fields.empty() || text.why.empty()) << text.id;
  }
  const auto first = static_cast<std::size_t>(kube::Rules().front().rule);
  EXPECT_EQ(first, 0U);
}

TEST(KubeImport, DocumentsEveryRule) {
  const std::string page = ReadFile("docs/kubernetes-import.md").value_or("");
  EXPECT_THAT(page, HasSubstr(kube::RulesMarkdown()));
}

}  // namespace
}  // namespace starling
