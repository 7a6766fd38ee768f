// Objects beside the nodes, and what ties the overlay to the base.
#include <filesystem>
#include <map>
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
  EXPECT_THAT(import.files.at("settings.yaml"), HasSubstr("trust-domain: a.example\n"));
  EXPECT_EQ(VariableOf(ContainerOf(import), "STARLING_SPIRE_TRUST_DOMAIN"), "from elsewhere");
  EXPECT_THAT(import.files.at("kustomization.yaml"),
              HasSubstr("- ../deploy/kubernetes/identity/spire-standalone/server\n"));
}

TEST(KubeImport, FindsTheOtherPartsBesideTheBase) {
  const auto resources = [](const std::string& base) {
    return PodOf("sn", "tty: true", "", {.base = base}).files.at("kustomization.yaml");
  };
  EXPECT_THAT(resources("a/base/"),
              AllOf(HasSubstr("- a/base/policy\n"), HasSubstr("- a/ledger/embedded\n")));
  EXPECT_THAT(resources("example.org/r//k/base?ref=v1"),
              AllOf(HasSubstr("example.org/r//k/base/policy?ref=v1\""),
                    HasSubstr("example.org/r//k/ledger/embedded?ref=v1\"")));
}

// The two are written twice, since the one is a patch of the other.
TEST(KubeImport, MakesTheEntriesOfTheBase) {
  const std::string theirs =
      ReadFile("deploy/kubernetes/identity/spire-standalone/server/tokens.yaml").value_or("");
  const Import import = ImportOf(SixManifests());
  const YAML::Node patch = YAML::LoadAll(import.files.at("spire-server.yaml"))[0];
  const std::string ours = patch["data"]["tokens.yaml"].as<std::string>();
  ASSERT_NE(theirs.find("entries:"), std::string::npos);
  EXPECT_EQ(ours, theirs.substr(theirs.find("entries:")));
}

// As the base's, so that measurements hold for both.
TEST(KubeImport, AsksForWhatTheBaseAsksFor) {
  const auto base = [](const std::string& node) {
    const std::string path = StrCat("deploy/kubernetes/base/", node, "/", node, ".yaml");
    const std::vector<YAML::Node> objects = YAML::LoadAll(ReadFile(path).value_or(""));
    return objects.empty() ? YAML::Node() : objects.back()["spec"]["template"]["spec"];
  };
  const auto resources = [](const YAML::Node& container) {
    std::map<std::string, std::string> out;
    for (const auto& part : container["resources"]) {
      for (const auto& amount : part.second)
        out[StrCat(part.first.as<std::string>(), ".", amount.first.as<std::string>())] =
            amount.second.as<std::string>();
    }
    return out;
  };
  const auto network = resources(base("network-node")["containers"][0]);
  ASSERT_EQ(network.size(), 6U);
  EXPECT_EQ(resources(ContainerOf(PodOf("sn", "tty: true"))), network);
  const YAML::Node learning = base("learning-node");
  const Import import = PodOf("sl-pyt", "tty: true");
  EXPECT_EQ(resources(ContainerOf(import)), resources(learning["containers"][0]));
  for (const int i : {0, 1}) {
    EXPECT_EQ(resources(PodSpecOf(import)["initContainers"][i]),
              resources(learning["initContainers"][i]));
  }
}

TEST(KubeImport, OpensNodePortsThatTheBaseWouldClose) {
  const Import import = WithNode(
      "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: NodePort, selector: {app: "
      "n}, ports: [{port: 30304, nodePort: 31000}]}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {app: x}}\nspec: {containers: "
      "[{name: "
      "s, image: spire-server}]}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: spire-server}\nspec: {type: NodePort, "
      "selector: {app: x}, ports: [{port: 8081, nodePort: 31001}]}\n");
  EXPECT_THAT(import.files.at("n.yaml"), HasSubstr("name: s-public\n"));
  EXPECT_THAT(import.files.at("shared.yaml"),
              AllOf(HasSubstr("name: spire-server-public\n"), HasSubstr("nodePort: 31001\n")));
  const Import closed = WithNode(
      "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: n}, ports: "
      "[{port: 30304}]}\n");
  EXPECT_THAT(closed.files.at("n.yaml"), Not(HasSubstr("NetworkPolicy")));
}

TEST(KubeImport, LeavesNamespacesOfOthersAlone) {
  const std::string pod =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: n, namespace: default}\nspec: {containers: "
      "[{name: c, image: sn}]}\n";
  EXPECT_FALSE(ImportOf({{"a.yaml", pod}}).files.contains("namespace.yaml"));
  EXPECT_TRUE(PodOf("sn", "tty: true").files.contains("namespace.yaml"));
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

TEST(KubeImport, ReportsAFileWhoseNameIsNoText) {
  const ScratchDirectory scratch;
  const auto node = ReadFile(StrCat(kLegacy, "/network-node01.yaml"));
  ASSERT_TRUE(node.ok());
  KubeImportRequest request;
  request.files = {scratch.File("a\xff.yaml")};
  request.folder = scratch.File("overlay");
  request.json = true;
  ASSERT_TRUE(WriteFileDurably(request.files[0], *node).ok());
  std::ostringstream out;
  const Status done = RunKubeImport(request, out);
  EXPECT_TRUE(done.ok()) << done;
  EXPECT_THAT(out.str(), HasSubstr("a\xef\xbf\xbd.yaml"));
  EXPECT_TRUE(std::filesystem::exists(StrCat(request.folder, "/kustomization.yaml")));
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

}  // namespace
}  // namespace starling
