"""The Helm chart in the cluster: installed until the training is done, upgraded, taken away, installed again."""
import json
import re
import tempfile
import unittest
from pathlib import Path

import kube
import rendering
from swarm import HOME, Swarm

NAMESPACE = "chart"
OWN_ROUNDS = 6
ROUNDS = 1 + OWN_ROUNDS  # the first one agrees on a model to begin with


def program():
    """The deterministic trainer of the chaos tests as one text, so that a command can hold it."""
    updates, trainer = ((HOME / "tests" / "chaos" / name).read_text(encoding="utf-8") for name in ("updates.py", "program.py"))
    return updates + trainer.replace("from updates import first_model, update_of\n", "")


def learning_node(name):
    variables = {"FLOATS": "2000", "TRAIN_MS": "100", "OWN_ROUNDS": str(OWN_ROUNDS), "END": "/platform/swarmml/model/end",
                 "STARLING_CONTRACT": "defaultbb.cqdb.sml.hpe", "NODE": name}
    return {"name": name, "command": ["python3", "-c", program()], "env": [{"name": key, "value": value} for key, value in variables.items()]}


VALUES = {"learningNodes": [learning_node("sl-node01"), learning_node("sl-node02")]}


class Install(kube.Case):
    namespaces = {NAMESPACE: {"app.kubernetes.io/part-of": "starling"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(dir=cls.cluster.state))
        cls.values = Path(folder, "values.json")
        cls.values.write_text(json.dumps(VALUES), encoding="utf-8")
        cls.swarm = Swarm(cls.cluster, namespace=NAMESPACE)

    def helm(self, command, *arguments):
        """What Helm prints. It returns when all is ready and the jobs are complete."""
        done = self.cluster.enter(["helm", "-n", NAMESPACE, command, "starling", *arguments], limit=400, check=False)
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{self.cluster.picture()}" if done.returncode else "")
        return done.stdout

    def apply(self, command, *values):
        return self.helm(command, rendering.CHART, "-f", self.values, "--wait", "--wait-for-jobs", "--timeout", "5m", *values)

    def data(self, node):
        return self.cluster.json(f"secret/identity-{node}", NAMESPACE)["data"]

    def state(self, node):
        """(UID of the pod, container's limits)."""
        pod = self.cluster.json(f"pod/{node}-0", NAMESPACE)
        return pod["metadata"]["uid"], pod["spec"]["containers"][0]["resources"]["limits"]

    def test_installed_upgraded_gone_and_back(self):
        notes = self.apply("install")
        for node in VALUES["learningNodes"]:
            self.assertTrue(self.swarm.complete(node["name"]))
            self.assertEqual(self.swarm.result(node["name"])["rounds"], ROUNDS)
        self.assertIn("0 ignored", self.swarm.verify("state-network-node-sentinel-0", "state-network-node01-0"))
        self.commands_of_the_notes_work(notes)
        self.an_upgrade_changes_what_it_says_and_keeps_the_rest()
        self.helm("uninstall", "--wait")
        claims = [f"persistentvolumeclaim/{kind}-{node['name']}" for kind in ("data", "model") for node in VALUES["learningNodes"]]
        claims += [f"persistentvolumeclaim/state-{name}-0" for name in ("network-node-sentinel", "network-node01", "spire-server")]
        self.cluster.wait("all but the claims to be gone", 60, lambda: self.left() == claims)
        self.installed_again_it_learns_anew_and_knows_the_old()

    def installed_again_it_learns_anew_and_knows_the_old(self):
        first = self.swarm.result("sl-node01")
        self.apply("install")
        second = self.swarm.result("sl-node01")
        self.assertNotEqual(second["instance"], first["instance"])
        self.assertEqual(second["rounds"], ROUNDS)
        verified = self.swarm.verify("state-network-node-sentinel-0")
        self.assertIn("0 ignored", verified)
        self.assertEqual(len(re.findall(rf" round {ROUNDS - 1} ", verified)), 2, "not both trainings are in the ledger")

    def left(self):
        """What is in the namespace, but for what is in each."""
        kinds = "all,secrets,configmaps,persistentvolumeclaims,networkpolicies,roles,rolebindings,serviceaccounts,poddisruptionbudgets"
        names = self.cluster.kubectl("-n", NAMESPACE, "get", kinds, "-o", "name").split()
        return sorted(name for name in names if name not in ("configmap/kube-root-ca.crt", "serviceaccount/default"))

    def commands_of_the_notes_work(self, notes):
        commands = [line.split()[1:] for line in notes.splitlines() if line.startswith("  kubectl ")]
        said = {"wait": "", "logs": "", "exec": ""}
        for command in commands:
            if "-w" not in command:  # ends only by hand
                said[command[2]] += self.cluster.kubectl(*command)
        self.assertIn("sl-node02 condition met", said["wait"])
        self.assertIn("same on 2 of 2", said["logs"])
        self.assertIn(f"Round {ROUNDS - 1}: 2 of 2", said["exec"])

    def an_upgrade_changes_what_it_says_and_keeps_the_rest(self):
        secret, server = self.data("network-node01"), self.state("spire-server")
        self.assertEqual(set(secret), {"token", "bundle.pem"})
        pod, _ = self.state("network-node01")
        self.apply("upgrade", "--set", "networkNode.resources.limits.memory=300Mi")
        changed, limits = self.state("network-node01")
        self.assertNotEqual(changed, pod)
        self.assertEqual(limits["memory"], "300Mi")
        self.assertEqual(self.state("spire-server"), server)
        self.assertEqual(self.data("network-node01")["bundle.pem"], secret["bundle.pem"])
        self.assertIn("0 ignored", self.swarm.verify("state-network-node-sentinel-0", "state-network-node01-0"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
