"""What `starling kube import` makes of manifests in HPE's style is what kustomize renders, what the API server takes, and what may run
in a namespace of restricted pods."""
import json
import os
import shutil
import unittest
from pathlib import Path

import kube

HERE = Path(__file__).resolve().parent
BASE = HERE.parent.parent / "deploy" / "kubernetes" / "base"
SPACE = "imported"


class ImportedOverlay(kube.Case):
    namespaces = {SPACE: None}

    def make(self, name, *options):
        """The overlay of the six manifests, moved into a namespace of our own. Answers its folder and the import's report."""
        folder = self.cluster.state / "import" / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "old").mkdir(parents=True)
        files = sorted((HERE / "legacy").glob("*.yaml"))
        self.assertEqual(len(files), 6)
        for file in files:
            (folder / "old" / file.name).write_text(file.read_text().replace("namespace: swarm", f"namespace: {SPACE}"))
        base = os.path.relpath(BASE, folder / "new")
        done = kube.run([os.environ["STARLING_BIN"], "kube", "import", *sorted((folder / "old").glob("*.yaml")), "-o", folder / "new",
                         "--base", base, *options])
        return folder / "new", done.stdout

    def rendered(self, folder):
        """The objects as the API server would keep them. It says nothing against any of them."""
        done = self.cluster.script("k", "apply", "--dry-run=server", "--validate=strict", "-o", "json", "-k", folder)
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)["items"]

    def runs_restricted(self, objects):
        """Every pod that the objects would make is admitted to the namespace."""
        self.cluster.apply([item for item in objects if item["kind"] == "ServiceAccount"], SPACE)
        pods = []
        for item in objects:
            if item["kind"] in ("StatefulSet", "Job"):
                template, claims = item["spec"]["template"], item["spec"].get("volumeClaimTemplates", [])
                volumes = [{"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "any"}} for claim in claims]
                spec = {**template["spec"], "volumes": template["spec"].get("volumes", []) + volumes}
                pods.append({"apiVersion": "v1", "kind": "Pod", "spec": spec,
                             "metadata": {"name": item["metadata"]["name"], "labels": template["metadata"]["labels"]}})
        self.assertEqual(len(pods), 5)
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
        done = self.cluster.script("k", "-n", SPACE, "create", "--dry-run=server", "-f", "-", stdin=text)
        self.assertEqual(done.stdout.count("created (server dry run)"), 5)
        self.assertEqual(done.stderr, "")

    def images(self, objects):
        return {container["image"] for item in objects if item["kind"] in ("StatefulSet", "Job")
                for kind in ("initContainers", "containers") for container in item["spec"]["template"]["spec"].get(kind, [])}

    def named(self, objects, kind, name):
        return next(item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))

    def test_the_overlay_is_taken_and_its_pods_are_restricted(self):
        folder, report = self.make("standalone")
        self.assertIn(" dropped; ", report)
        objects = self.rendered(folder)
        self.assertEqual({item["metadata"].get("namespace", SPACE) for item in objects}, {SPACE})
        self.assertEqual(sorted(item["metadata"]["name"] for item in objects if item["kind"] in ("StatefulSet", "Job")),
                         ["network-node-sentinel", "network-node01", "sl-node01", "sl-node02", "spire-server"])
        self.assertEqual(self.images(objects), {f"registry.example/{image}" for image in
                                                ("starling:0.1.0", "sl-keras:0.1.0", "spire-server:1.13.3")})
        self.runs_restricted(objects)
        # The only right anywhere is to write into the nodes' own Secrets, which are there.
        roles = [item for item in objects if item["kind"] == "Role"]
        self.assertEqual([(rule["resources"], rule["verbs"]) for role in roles for rule in role["rules"]], [(["secrets"], ["patch"])])
        secrets = {item["metadata"]["name"] for item in objects if item["kind"] == "Secret"}
        self.assertEqual(set(roles[0]["rules"][0]["resourceNames"]), secrets)
        config = next(item for item in objects if item["kind"] == "ConfigMap" and "tokens.yaml" in item["data"])
        for secret in secrets:
            self.assertIn(f"secret: {secret}}}", config["data"]["tokens.yaml"])

    def test_every_service_leads_to_the_pods_of_its_node(self):
        folder, _ = self.make("services")
        objects = self.rendered(folder)
        templates = {item["metadata"]["name"]: item["spec"]["template"] for item in objects if item["kind"] in ("StatefulSet", "Job")}
        services = [item for item in objects if item["kind"] == "Service"]
        self.assertEqual(len(services), 6)
        for service in services:
            selector = service["spec"]["selector"].items()
            node = service["metadata"]["name"].removesuffix("-public")
            chosen = [name for name, template in templates.items() if selector <= template["metadata"]["labels"].items()]
            self.assertEqual(chosen, [node])
            ports = {port["name"] for container in templates[node]["spec"]["containers"] for port in container["ports"]}
            self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports)

    def test_the_legacy_token_overlay_is_taken_with_its_init_containers(self):
        folder, _ = self.make("legacy", "--legacy-token")
        objects = self.rendered(folder)
        self.runs_restricted(objects)
        sentinel = self.named(objects, "StatefulSet", "network-node-sentinel")["spec"]["template"]["spec"]
        self.assertIn("token generate", sentinel["initContainers"][0]["command"][2])
        self.assertEqual(sentinel["serviceAccountName"], "network-node-sentinel")
        # Its image comes from where it came from, and it finds the server's pod by the old label.
        self.assertEqual(sentinel["initContainers"][0]["image"], "registry.example/tools/kubectl:1.21")
        server = self.named(objects, "StatefulSet", "spire-server")["spec"]["template"]
        self.assertEqual(server["metadata"]["labels"]["app"], "spire-server")
        self.assertNotIn("spire-tokens", [item["metadata"]["name"] for item in objects if item["kind"] == "Role"])

    def test_the_expected_overlay_of_the_unit_tests_renders(self):
        self.assertIn("kind: StatefulSet", self.cluster.kustomize(HERE / "legacy" / "expected"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
