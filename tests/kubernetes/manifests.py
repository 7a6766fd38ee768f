"""All manifests of deploy/: the API server takes them into a restricted namespace without a warning, kube-score finds nothing, and they hold
the rules of this project. Applies nothing."""
import json
import unittest

import kube
import rendering

NAMESPACE = "manifests"
RESOURCES = ("cpu", "memory", "ephemeral-storage")
# Kinds that the test cluster does not know, and why that is no fault of the manifests.
UNKNOWN = {"ClusterSPIFFEID": "of the SPIRE controller manager, which is not to be had here"}
# Checks of kube-score that are not ours, and why.
NOT_SCORED = {"container-image-pull-policy": "it wants Always; our tags are versions, which never move, and a site may be offline",
              "service-type": "it warns of NodePort, which is what that component is; test_only_who_asks_for_node_ports_gets_them"}
LEGACY = "scenario with spire-legacy-token"
OPTIONS = {"imagePullSecrets": ["pull"], "otherTrustDomains": ["b.example"], "learningNode": {"data": {"storageClassName": "slow"}},
           "nodePort": {"enabled": True}, "gpu": {"enabled": True}, "monitoring": {"enabled": True},
           "learningNodes": [{"name": "clinic", "image": "localhost/keras:0.1.0", "dataClaim": "images", "nodeSelector": {"disk": "here"}}]}


def overlays():
    """The objects of everything that can be applied, by name."""
    chart = [argument for key, value in OPTIONS.items() for argument in ("--set-json", f"{key}={json.dumps(value)}")]
    return {
        "scenario": rendering.overlay("scenario"),
        "two-organisations/a": rendering.overlay("two-organisations/a"),
        "two-organisations/b": rendering.overlay("two-organisations/b"),
        **{f"scenario with {name}": rendering.scenario(components=[name]) for name in rendering.COMPONENTS},
        **{f"scenario with {name}": rendering.scenario(name) for name in rendering.IDENTITIES},
        "chart with all options": rendering.chart(*chart),
    }


def moved(items):
    """The objects as they are in NAMESPACE."""
    items = json.loads(json.dumps([item for item in items if item["kind"] not in UNKNOWN]))
    for item in items:
        if item["kind"] == "Namespace":
            item["metadata"]["name"] = NAMESPACE
        else:
            item["metadata"]["namespace"] = NAMESPACE
        for subject in item.get("subjects", []):
            subject["namespace"] = NAMESPACE
    return items


def text(items):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def of_kind(items, *kinds):
    return [item for item in items if item["kind"] in kinds]


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.overlays = overlays()

    def each_container(self):
        """(where, container) of each."""
        return [(f"{name}: {where}: {container['name']}", container) for name, items in self.overlays.items()
                for where, template in rendering.pod_templates(items) for container in rendering.containers(template)]

    def test_kube_score_finds_nothing(self):
        ignored = [argument for check in NOT_SCORED for argument in ("--ignore-test", check)]
        for name, items in self.overlays.items():
            with self.subTest(name):
                score = rendering.tool("kube-score", "score", "--kubernetes-version", "v1.30", "--exit-one-on-warning", "-o", "ci", *ignored,
                                       "-", stdin="\n---\n".join(json.dumps(item) for item in items), check=False)
                bad = [line for line in score.stdout.splitlines() if not line.startswith(("[OK]", "[SKIPPED]"))]
                self.assertEqual((score.returncode, bad), (0, []), score.stderr)
                self.assertIn("[OK]", score.stdout)

    def test_only_who_asks_for_node_ports_gets_them(self):
        asked = {name for name, items in self.overlays.items() if any(item["spec"].get("type") == "NodePort" for item in of_kind(items, "Service"))}
        self.assertEqual(asked, {"scenario with nodeport", "chart with all options"})

    def test_each_container_says_what_it_needs_and_may_take(self):
        for where, container in self.each_container():
            with self.subTest(where):
                for part in ("requests", "limits"):
                    self.assertLessEqual(set(RESOURCES), set(container["resources"][part]), part)

    def test_each_container_that_serves_is_probed(self):
        serving = 0
        for where, container in self.each_container():
            with self.subTest(where):
                if container.get("ports"):
                    serving += 1
                    self.assertIn("readinessProbe", container)
                    self.assertIn("livenessProbe", container)
        self.assertGreater(serving, 10)

    def test_no_container_can_change_its_image_or_gain_rights(self):
        for where, container in self.each_container():
            with self.subTest(where):
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})

    def test_no_pod_has_anything_of_its_machine(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                for where, template in rendering.pod_templates(items):
                    spec = template["spec"]
                    self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(spec), where)
                    self.assertFalse([volume for volume in spec.get("volumes", []) if "hostPath" in volume], where)
                    self.assertFalse([port for c in rendering.containers(template) for port in c.get("ports", []) if "hostPort" in port], where)
                    user = spec["securityContext"]
                    self.assertEqual((user["runAsNonRoot"], user["runAsUser"], user["runAsGroup"]), (True, 65532, 65532), where)

    def test_no_pod_gets_a_token_of_the_cluster_unasked(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                for where, template in rendering.pod_templates(items):
                    self.assertIs(template["spec"]["automountServiceAccountToken"], False, where)
                for account in of_kind(items, "ServiceAccount"):
                    self.assertIs(account["automountServiceAccountToken"], False, account["metadata"]["name"])

    def test_who_gets_a_token_is_one_container(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                holders = []
                for where, template in rendering.pod_templates(items):
                    tokens = {volume["name"] for volume in template["spec"].get("volumes", [])
                              if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))}
                    holders += [f"{where}: {container['name']}" for container in rendering.containers(template)
                                if tokens & {mount["name"] for mount in container.get("volumeMounts", [])}]
                expected = ["StatefulSet spire-server: tokens"] if of_kind(items, "Role") else []
                if name == LEGACY:
                    expected += [f"{where}: get-token" for where, _ in rendering.pod_templates(items) if not where.endswith(" spire-server")]
                self.assertEqual(sorted(holders), sorted(expected))

    def test_every_budget_lets_a_machine_be_drained_and_each_set_has_one(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                budgets = of_kind(items, "PodDisruptionBudget")
                for budget in budgets:
                    self.assertEqual(set(budget["spec"]), {"maxUnavailable", "selector"})
                    self.assertEqual(budget["spec"]["maxUnavailable"], 1)
                for owner in of_kind(items, "StatefulSet", "Deployment"):
                    labels = owner["spec"]["template"]["metadata"]["labels"].items()
                    covering = [budget for budget in budgets if budget["spec"]["selector"]["matchLabels"].items() <= labels]
                    self.assertEqual(len(covering), 1, owner["metadata"]["name"])

    def test_rights_are_exact(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                self.assertEqual(of_kind(items, "ClusterRole", "ClusterRoleBinding"), [])
                rules = [rule for role in of_kind(items, "Role") for rule in role["rules"]]
                if name == LEGACY:  # Names of pods are not known before, and `list` knows no names.
                    self.assertIn({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]}, rules)
                    self.assertIn({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}, rules)
                    rules = [rule for rule in rules if rule["resources"] not in (["pods"], ["pods/exec"])]
                for rule in rules:
                    self.assertEqual((rule["apiGroups"], rule["resources"]), ([""], ["secrets"]))
                    self.assertLessEqual(set(rule["verbs"]), {"get", "patch"} if name == LEGACY else {"patch"})
                    self.assertTrue(rule["resourceNames"])
                    secrets = {secret["metadata"]["name"] for secret in of_kind(items, "Secret")}
                    self.assertEqual(set(rule["resourceNames"]), secrets, "not the Secrets that are there")

    def test_no_policy_opens_more_than_ports_that_are_served(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(items, "NetworkPolicy")}
                self.assertEqual(policies["default-deny"], {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
                for name, policy in policies.items():
                    for rule in policy.get("ingress", []) + policy.get("egress", []):
                        self.assertTrue(rule.get("ports"), name)

    def test_all_images_come_from_one_registry(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                settings = next(item for item in of_kind(items, "ConfigMap") if item["metadata"]["name"] == "swarm-settings")
                for where, template in rendering.pod_templates(items):
                    for container in rendering.containers(template):
                        registry, _, image = container["image"].rpartition("/")
                        self.assertEqual(registry, settings["data"]["registry"], where)
                        self.assertRegex(image, r"^[a-z-]+:[0-9]+\.[0-9]+\.[0-9]+$", where)

    def test_claims_of_sets_have_no_label_that_a_new_version_changes(self):
        for name, items in self.overlays.items():
            with self.subTest(name):
                for owner in of_kind(items, "StatefulSet"):
                    for claim in owner["spec"]["volumeClaimTemplates"]:
                        self.assertNotIn("app.kubernetes.io/version", claim["metadata"].get("labels", {}))


class ServerSide(kube.Case):
    """What the API server says of them, where only restricted pods may be."""

    namespaces = {NAMESPACE: {}}

    def dry_run(self, items):
        """What kubectl says (its complaints, and warnings of the server) of applying them, without doing it."""
        return self.cluster.script("k", "-n", NAMESPACE, "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text(items),
                                   check=False)

    def test_the_server_takes_all_without_a_warning(self):
        for name, items in overlays().items():
            with self.subTest(name):
                objects = moved(items)
                self.assertGreaterEqual(len(objects), 15)
                done = self.dry_run(objects)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(len(done.stdout.splitlines()), len(objects))

    def test_it_would_warn_of_a_pod_with_too_many_rights(self):
        items = moved(rendering.overlay("scenario"))
        for _, template in rendering.pod_templates(items):
            template["spec"]["hostNetwork"] = True
        self.assertIn("would violate PodSecurity", self.dry_run(items).stderr)

    def test_it_would_refuse_a_field_that_it_does_not_know(self):
        items = moved(rendering.overlay("scenario"))
        for _, template in rendering.pod_templates(items):
            template["spec"]["colour"] = "red"
        done = self.dry_run(items)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('unknown field "colour"', done.stderr)

    def test_what_is_left_out_is_left_out_for_its_kind_alone(self):
        known = set(self.cluster.kubectl("api-resources", "-o", "name").split())
        self.assertNotIn("clusterspiffeids.spire.spiffe.io", known, "it could be checked now")
        kinds = {item["kind"] for items in overlays().values() for item in items}
        self.assertLessEqual(set(UNKNOWN), kinds, "nothing to leave out")


if __name__ == "__main__":
    unittest.main(verbosity=2)
