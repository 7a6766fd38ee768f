"""The Helm chart makes what kustomize makes, refuses values that make no sense, and its README lists them all. `chart.py --write` writes
that list. Needs no cluster."""
import difflib
import json
import re
import sys
import tempfile
import unittest

import rendering
import yaml

# What may differ between the chart's objects and kustomize's: nothing but what these functions take away, for the reason each gives.


def without_namespace_object(items):
    """Helm makes the namespace itself (--create-namespace); the README says which labels it needs."""
    return [item for item in items if item["kind"] != "Namespace"]


def in_namespace(items):
    """Helm puts what has no namespace into the release's when it installs. A ClusterSPIFFEID is in none: kustomize, which does not know
    the kind, gives it one, and the API server takes it away."""
    for item in items:
        if item["kind"] == "ClusterSPIFFEID":
            item["metadata"].pop("namespace", None)
        else:
            item["metadata"].setdefault("namespace", "swarm")
    return items


def without_helms_labels(items):
    """Helm's conventions ask for these two. They are on objects only: a pod's would make it start anew with each version of the chart."""
    for item in items:
        for label in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
            item["metadata"].get("labels", {}).pop(label, None)
    return items


def without_helms_keeping(items):
    """By this annotation `helm uninstall` leaves claims of data and models alone. `kubectl delete -k` knows no such thing."""
    for item in items:
        annotations = item["metadata"].get("annotations", {})
        if item["kind"] == "PersistentVolumeClaim" and annotations.pop("helm.sh/resource-policy", None) and not annotations:
            del item["metadata"]["annotations"]
    return items


def without_hashes(items):
    """Both put a hash of its content into the name of a generated ConfigMap, each its own."""
    text = json.dumps(items)
    for item in items:
        if item["kind"] == "ConfigMap" and (found := re.fullmatch(r"(.+)-[a-z0-9]{10}", item["metadata"]["name"])):
            text = text.replace(f'"{found[0]}"', f'"{found[1]}"')
    return json.loads(text)


def with_read_texts(items):
    """The chart writes the list of tokens from its values, in another layout: its readers read YAML. An indented block may end with an
    empty line more."""
    for item in items:
        if item["kind"] == "ConfigMap" and "tokens.yaml" in item["data"]:
            item["data"]["tokens.yaml"] = yaml.safe_load(item["data"]["tokens.yaml"])
            item["data"]["server.conf"] = [line.rstrip() for line in item["data"]["server.conf"].strip().splitlines()]
    return items


def with_sorted_lists(items):
    """The API server merges these lists by a key, so their order says nothing. That of containers does: init containers start in it. So
    does that of variables where one stands in another's value."""
    for _, template in rendering.pod_templates(items):
        for container in rendering.containers(template):
            for key, by in (("env", "name"), ("ports", "containerPort"), ("volumeMounts", "mountPath")):
                if any("$(" in str(entry.get("value")) for entry in container.get(key, [])):
                    continue
                container.get(key, []).sort(key=lambda entry, by=by: entry[by])
        template["spec"].get("volumes", []).sort(key=lambda entry: entry["name"])
    return items


def normal(items):
    """Text of each object by kind and name."""
    for step in (without_namespace_object, in_namespace, without_helms_labels, without_helms_keeping, without_hashes, with_read_texts,
                 with_sorted_lists):
        items = step(items)
    return {f"{item['kind']} {item['metadata']['name']}": yaml.safe_dump(item, sort_keys=True) for item in items}


def differences(chart, kustomize):
    """What differs, as text; empty where nothing does."""
    ours, theirs = normal(chart), normal(kustomize)
    lines = []
    for name in sorted(ours.keys() | theirs.keys()):
        lines += difflib.unified_diff(theirs.get(name, "").splitlines(), ours.get(name, "").splitlines(), f"kustomize: {name}",
                                      f"chart: {name}", lineterm="")
    return "\n".join(lines)


class Equality(unittest.TestCase):
    maxDiff = None

    def check(self, chart, kustomize):
        self.assertGreater(len(kustomize), 15)
        self.assertEqual(differences(chart, kustomize), "")

    def test_the_defaults_are_the_scenario(self):
        self.check(rendering.chart(), rendering.overlay("scenario"))

    def test_each_identity_is_that_of_kustomize(self):
        for identity in ("pem", "spire-csi"):
            with self.subTest(identity):
                self.check(rendering.chart("--set", f"identity={identity}"), rendering.scenario(identity))

    def test_each_switch_is_a_component_of_kustomize(self):
        for switch, component in (("nodePort", "nodeport"), ("gpu", "gpu"), ("monitoring", "monitoring")):
            with self.subTest(switch):
                self.check(rendering.chart("--set", f"{switch}.enabled=true"), rendering.scenario(components=[component]))

    def test_all_switches_at_once_are_all_components(self):
        switches = "gpu.enabled=true,monitoring.enabled=true,nodePort.enabled=true"
        self.check(rendering.chart("--set", switches), rendering.scenario(components=rendering.COMPONENTS))

    def test_a_difference_is_seen(self):
        scenario = rendering.overlay("scenario")
        for value in ("minPeers=3", 'trustDomain="other"', 'learningNode.resources.limits.memory="2Gi"',
                      'networkNodes=[{"name":"network-node-sentinel"},{"name":"network-node02"}]'):
            with self.subTest(value):
                self.assertNotEqual(differences(rendering.chart("--set-json", value), scenario), "")

    def test_the_packed_chart_needs_no_other_files(self):
        with tempfile.TemporaryDirectory() as folder:
            rendering.tool("helm", "package", rendering.CHART, "-d", folder)
            packed = rendering.chart(path=f"{folder}/starling-{self.version()}.tgz")
        self.check(packed, rendering.overlay("scenario"))

    @staticmethod
    def version():
        return re.search(r"project\(starling VERSION (\S+)", (rendering.HOME / "CMakeLists.txt").read_text(encoding="utf-8"))[1]

    def test_versions_are_the_projects(self):
        about = yaml.safe_load((rendering.CHART / "Chart.yaml").read_text(encoding="utf-8"))
        self.assertEqual((about["version"], about["appVersion"]), (self.version(), self.version()))


# (value, where the complaint must point): all by values.schema.json.
REFUSED = (
    ('colour="red"', ""),
    ('networkNode.colour="red"', "/networkNode"),
    ('networkNodes=[{"name":"a","colour":"red"}]', "/networkNodes/0"),
    ('registry="https://registry.example"', "/registry"),
    ('registry="registry.example/"', "/registry"),
    ('registry=""', "/registry"),
    ('imagePullSecrets=["Not a name"]', "/imagePullSecrets/0"),
    ('trustDomain="Swarm.Learning"', "/trustDomain"),
    ('trustDomain="spiffe://swarm.learning"', "/trustDomain"),
    ('trustDomain=""', "/trustDomain"),
    ('otherTrustDomains=["a,b"]', "/otherTrustDomains/0"),
    ('kubernetesApi="10.20.0.2"', "/kubernetesApi"),
    ('kubernetesApi="10.20.0.2/33"', "/kubernetesApi"),
    ('kubernetesApi="kubernetes.default"', "/kubernetesApi"),
    ("minPeers=0", "/minPeers"),
    ('minPeers="2"', "/minPeers"),
    ("minPeers=null", ""),
    ("networkNodes=[]", "/networkNodes"),
    ('networkNodes=[{"name":"Node"}]', "/networkNodes/0/name"),
    ('networkNodes=[{"name":"node_1"}]', "/networkNodes/0/name"),
    (f'networkNodes=[{{"name":"{"n" * 53}"}}]', "/networkNodes/0/name"),
    ('networkNode.storage.size="much"', "/networkNode/storage/size"),
    ('networkNode.storage.storageClassName="Fast!"', "/networkNode/storage/storageClassName"),
    ("networkNode.resources.limits=null", "/networkNode/resources"),
    ('networkNode.resources.limits.memory="256 MiB"', "/networkNode/resources/limits/memory"),
    ('learningNodes=[{"image":"keras"}]', "/learningNodes/0"),
    ('learningNodes=[{"name":"a","image":"ker as"}]', "/learningNodes/0/image"),
    ('learningNodes=[{"name":"a","command":"python3 train.py"}]', "/learningNodes/0/command"),
    ('learningNodes=[{"name":"a","env":[{"name":"SITE","value":1}]}]', "/learningNodes/0/env/0/value"),
    ('learningNodes=[{"name":"a","env":[{"name":"DATA_DIR","value":"/data"}]}]', "/learningNodes/0/env/0/name"),
    ('learningNodes=[{"name":"a","env":{"SITE":"1"}}]', "/learningNodes/0/env"),
    ('learningNodes=[{"name":"a","dataClaim":"My_Data"}]', "/learningNodes/0/dataClaim"),
    ('learningNodes=[{"name":"a","nodeSelector":["disk"]}]', "/learningNodes/0/nodeSelector"),
    ('learningNode.trainingResources.requests.cpu="-1"', "/learningNode/trainingResources/requests/cpu"),
    ('identity="spire-legacy-token"', "/identity"),
    ('identity=""', "/identity"),
    ('nodePort.enabled="yes"', "/nodePort/enabled"),
    ("nodePort.networkNode=8081", "/nodePort/networkNode"),
    ('nodePort.from="everywhere"', "/nodePort/from"),
    ("gpu.count=0", "/gpu/count"),
    ('monitoring.namespace="Monitoring"', "/monitoring/namespace"),
)
# (value, what the chart says): by templates/check.yaml, for what a schema cannot say.
FAILING = (
    ('sentinel="network-node9"', "sentinel: network-node9 is none of networkNodes"),
    ('networkNodes=[{"name":"network-node-sentinel"},{"name":"network-node-sentinel"}]', "two nodes of one name"),
    ('learningNodes=[{"name":"network-node01"}]', "two nodes of one name"),
    ('learningNodes=[{"name":"spire-server"}]', "spire-server is no name for a node"),
)
TAKEN = (
    'registry="registry.example:5000/swarm/images"',
    'imagePullSecrets=["pull"]',
    'otherTrustDomains=["b.example","c_1.example"]',
    'kubernetesApi="fd00::2/128"',
    "learningNodes=[]",
    'learningNodes=[{"name":"a","args":["--epochs","3"],"env":[{"name":"KEY","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}]',
    'networkNode.storage={"size":"10Gi","storageClassName":"fast.local"}',
    'networkNode.resources.limits={"cpu":2,"memory":"0.5Gi","example.com/chip":1}',
    'global={"other":1}',
)


def complaint(*arguments):
    """What Helm says where it must fail."""
    done = rendering.tool("helm", "template", "starling", rendering.CHART, "--kube-version", rendering.KUBE_VERSION, *arguments, check=False)
    if done.returncode == 0:
        raise AssertionError(f"{arguments} is taken")
    return done.stderr


class Values(unittest.TestCase):
    def test_bad_values_are_refused_with_their_place(self):
        for value, place in REFUSED:
            with self.subTest(value):
                self.assertIn(f"- at '{place}': ", complaint("--set-json", value))

    def test_what_a_schema_cannot_say_is_refused_too(self):
        for value, text in FAILING:
            with self.subTest(value):
                self.assertIn(text, complaint("--set-json", value))

    def test_good_values_are_taken(self):
        for value in TAKEN:
            with self.subTest(value):
                self.assertGreater(len(rendering.chart("--set-json", value)), 10)

    def test_clusters_without_native_sidecars_are_refused(self):
        done = rendering.tool("helm", "template", rendering.CHART, "--generate-name", "--kube-version", "1.28.15", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("1.29", done.stderr)

    def test_a_sites_own_training_gets_where_it_belongs(self):
        node = {"name": "clinic", "image": "registry.example/torch:2", "command": ["python3"], "args": ["train.py"],
                "env": [{"name": "EPOCHS", "value": "3"}], "dataClaim": "images", "nodeSelector": {"disk": "here"}}
        items = rendering.chart("--set-json", f"learningNodes={json.dumps([node])}", "--set-json", 'imagePullSecrets=["pull"]')
        names = {f"{item['kind']} {item['metadata']['name']}": item for item in items}
        pod = names["Job clinic"]["spec"]["template"]["spec"]
        training = pod["containers"][0]
        self.assertEqual((training["image"], training["command"], training["args"]), (node["image"], ["python3"], ["train.py"]))
        self.assertIn(node["env"][0], training["env"])
        self.assertEqual((pod["nodeSelector"], pod["imagePullSecrets"]), ({"disk": "here"}, [{"name": "pull"}]))
        self.assertIn({"name": "data", "persistentVolumeClaim": {"claimName": "images", "readOnly": True}}, pod["volumes"])
        claim, = [item for item in items if item["kind"] == "PersistentVolumeClaim"]
        self.assertEqual(claim["metadata"]["name"], "model-clinic")
        self.assertEqual(claim["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})
        self.assertEqual(names["Role spire-tokens"]["rules"][0]["resourceNames"],
                         ["identity-network-node-sentinel", "identity-network-node01", "identity-clinic"])

    def test_lint_has_nothing_to_say(self):
        lint = rendering.tool("helm", "lint", "--strict", "--quiet", rendering.CHART)
        self.assertEqual(lint.stdout.strip(), "")


START, END = "<!-- values, by tests/kubernetes/chart.py --write -->\n", "<!-- end of values -->"
README = rendering.CHART / "README.md"


def rows(schema, default, path=""):
    """Lines of the list of values: those of a schema's properties, and of the properties in them."""
    for name, part in schema["properties"].items():
        here, value = path + name, default.get(name)
        if name == "global":
            continue
        if "properties" in part:
            yield from rows(part, value, f"{here}.")
            continue
        shown = "" if value is None else f"`{json.dumps(value)}`"
        yield f"| `{here}` | {shown if len(shown) < 60 else 'values.yaml'} | {part['description']} |"
        if not path and "properties" in part.get("items", {}):
            yield from rows(part["items"], {}, f"{here}[].")


def table():
    """The list of values, from values.schema.json and values.yaml."""
    schema = json.loads((rendering.CHART / "values.schema.json").read_text(encoding="utf-8"))
    default = yaml.safe_load((rendering.CHART / "values.yaml").read_text(encoding="utf-8"))
    return "\n".join(["| value | default | what |", "| --- | --- | --- |", *rows(schema, default), ""])


def readme():
    """The README in its parts: before the list of values, the list, after it."""
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    listed, _, after = rest.partition(END)
    return before, listed, after


class Readme(unittest.TestCase):
    def test_it_lists_the_values(self):
        self.assertEqual(readme()[1], table(), "tests/kubernetes/chart.py --write writes it")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        head, _old, tail = readme()
        README.write_text(head + START + table() + END + tail, encoding="utf-8")
    else:
        unittest.main(verbosity=2)
