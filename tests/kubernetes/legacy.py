"""The scenario as HPE's manifests have it: init containers that make join tokens by `kubectl exec`, and HPE's arguments of an agent."""
import re
import shutil
import tempfile
import unittest
from pathlib import Path

import kube
from swarm import ENTRIES, HOME, Swarm, moved

JOBS = ("sl-node01", "sl-node02")
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SPIRE = "/spire/bin/spire-server"


class Legacy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        copy = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="starling_legacy_"))) / "kubernetes"
        shutil.copytree(HOME / "deploy" / "kubernetes", copy)
        overlay = copy / "scenario" / "kustomization.yaml"  # One line says where identities come from.
        overlay.write_text(overlay.read_text(encoding="utf-8").replace("spire-standalone", "spire-legacy-token"), encoding="utf-8")
        cls.swarm = Swarm(cls.cluster, copy / "scenario", "legacy", [*moved("legacy"), ("localhost/kubectl:0.1.0", "localhost/kube:1")])
        cls.swarm.delete()  # of a run that was killed
        cls.addClassCleanup(cls.swarm.delete)
        cls.swarm.apply()
        for job in JOBS:
            cls.cluster.wait(f"{job} to be complete", 300, lambda job=job: cls.swarm.complete(job))

    def test_both_have_the_same_model(self):
        results = [self.swarm.result(node) for node in JOBS]
        self.assertEqual(results[0]["root"], results[1]["root"])

    def test_the_entries_are_those_of_the_scenario(self):
        self.assertEqual(self.swarm.entries(), ENTRIES)

    def test_a_token_is_made_by_the_same_command(self):
        done = self.cluster.exec("spire-server-0", SPIRE, "token", "generate", "-spiffeID", "spiffe://swarm.learning/swarm/sn-agent",
                                 container="spire-server", namespace=self.swarm.namespace)
        self.assertRegex(done.stdout, rf"^Token: {UUID}\n$")

    def test_nodes_take_the_agents_arguments_and_say_no_token(self):
        pod, = self.swarm.pods(instance="network-node-sentinel")
        self.assertEqual(pod["spec"]["containers"][0]["args"], ["sn", "-serverAddress", "spire-server", "-serverPort", "8081",
                                                               "-insecureBootstrap", "true", "-logLevel", "INFO"])
        log = "\n".join(self.swarm.lines("network-node-sentinel-0", "network-node"))
        self.assertIn("first certificate of spiffe://swarm.learning/swarm/sn", log)
        self.assertIsNone(re.search(UUID, log))

    def test_a_node_whose_token_is_spent_comes_back(self):
        self.swarm.kubectl("delete", "pod", "network-node01-0", "--timeout=90s")
        self.cluster.wait("network-node01 to be back", 60,
                          lambda: self.cluster.ready("statefulset/network-node01", self.swarm.namespace))


if __name__ == "__main__":
    unittest.main(verbosity=2)
