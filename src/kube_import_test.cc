#include "kube_import.h"

#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/scratch_testing.h"
#include "command_line.h"
#include "gmock/gmock.h"
#include "kube_import_testing.h"

namespace starling {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// --- what the six manifests become

// To make the expected files again, in tests/kubernetes/legacy:
//   starling kube import *.yaml -o expected --base ../../../../deploy/kubernetes/base > report.txt
TEST(KubeImport, MakesTheExpectedOverlayOfTheSixManifests) {
  const Import import = ImportOf(SixManifests(), {.base = std::string(kBase)});
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
              AllOf(HasSubstr("namespace: swarm\n"),
                    HasSubstr("spec.template.spec.containers.[name=c].image")));
  EXPECT_THAT(import.files.at("settings.yaml"), HasSubstr("registry: r.example\n"));
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

// The base's policies know the usual ports alone.
TEST(KubeImport, TellsOfAPortThatTheBaseDoesNotLetThrough) {
  const auto report = [](const std::string& port) {
    return ReportText(PodOf("sn", StrCat("env: [{name: API_SERVER_PORT, value: '", port,
                                         "'}], ports: [{containerPort: ", port, "}]")));
  };
  EXPECT_THAT(report("40304"),
              HasSubstr("base/policy lets other ports than this through: allow 40304"));
  EXPECT_THAT(report("30304"), Not(HasSubstr("base/policy")));
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
  EXPECT_THAT(import.files.at("n.yaml"), HasSubstr("identity-n"));
  const Import legacy = PodOf("sn", "tty: true", pod, {.legacy_token = true});
  EXPECT_EQ(RuleOf(legacy, "spec.initContainers[0].command[2]"), "token-init-kept");
  EXPECT_EQ(PodSpecOf(legacy)["initContainers"].size(), 2U);
  EXPECT_EQ(PodSpecOf(legacy)["serviceAccountName"].as<std::string>(), "a");
  EXPECT_TRUE(PodSpecOf(legacy)["automountServiceAccountToken"].as<bool>());
  EXPECT_THAT(legacy.files.at("n.yaml"), Not(HasSubstr("identity-n")));
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

// Each name once, in order: of two, Kubernetes takes the last.
std::vector<std::string> NamesOf(const YAML::Node& container) {
  std::vector<std::string> out;
  for (const auto& item : container["env"]) out.push_back(item["name"].as<std::string>());
  return out;
}

TEST(KubeImport, LeavesTheProgramItsOwnVariables) {
  const Import import = PodOf("sl-pyt:0.3.0",
                              "env: [{name: HOME, value: /h}, {name: PYTHONPATH, value: "
                              "'/m/lib:/x'}, {name: PYTHONUNBUFFERED, value: '0'}]");
  const YAML::Node program = ContainerOf(import);
  EXPECT_EQ(NamesOf(program), (std::vector<std::string>{"HOME", "PYTHONPATH", "PYTHONUNBUFFERED",
                                                        "STARLING_SOCKET"}));
  EXPECT_EQ(VariableOf(program, "HOME"), "/h");
  EXPECT_EQ(VariableOf(program, "PYTHONPATH"), "/opt/starling:/m/lib:/x");
  EXPECT_EQ(VariableOf(program, "PYTHONUNBUFFERED"), "0");
  EXPECT_EQ(RuleOf(import, "spec.containers[0].env[1].value"), "env-path");
  const std::string report = ReportText(import);
  for (const int i : {0, 2})
    EXPECT_THAT(report, HasSubstr(StrCat("env[", i,
                                         "].value: kept: the training program inherits it (the "
                                         "overlay's own is left out)")));
  EXPECT_THAT(report, HasSubstr("env[1].value: changed: the client's folder stands before it"));
}

TEST(KubeImport, JoinsAPythonPathThatComesFromElsewhereOrIsEmpty) {
  const Import elsewhere = PodOf("sl-pyt",
                                 "env: [{name: PYTHONPATH, valueFrom: {configMapKeyRef: {name: m, "
                                 "key: k}}}]");
  EXPECT_EQ(NamesOf(ContainerOf(elsewhere)),
            (std::vector<std::string>{"PROGRAM_PYTHONPATH", "PYTHONPATH", "STARLING_SOCKET",
                                      "PYTHONUNBUFFERED", "HOME"}));
  EXPECT_EQ(VariableOf(ContainerOf(elsewhere), "PROGRAM_PYTHONPATH"), "from elsewhere");
  EXPECT_EQ(VariableOf(ContainerOf(elsewhere), "PYTHONPATH"),
            "/opt/starling:$(PROGRAM_PYTHONPATH)");
  // A colon at the end would be the working directory.
  EXPECT_EQ(VariableOf(ContainerOf(PodOf("sl-pyt", "env: [{name: PYTHONPATH, value: ''}]")),
                       "PYTHONPATH"),
            "/opt/starling");
  EXPECT_EQ(VariableOf(ContainerOf(PodOf("sl-tf",
                                         "env: [{name: MLCMD, value: run a.py}, {name: "
                                         "PYTHONPATH, value: /m}]")),
                       "PYTHONPATH"),
            "/usr/share/starling/python:/m");  // as the image has it
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
