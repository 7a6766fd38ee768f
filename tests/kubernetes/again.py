"""The same manifests over and over: a training that is run again keeps the history, everything deleted and applied again works without a
hand, and what is deleted is gone. And a network node with a tenth of a processor."""
import json
import unittest

import kube
from swarm import RoundsSwarm, moment

TIMES = 5
SLOW_SECONDS = 30  # in which a network node with a tenth of a processor is ready


class Again(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        cls.swarm = RoundsSwarm(cls.cluster, "again")
        cls.swarm.delete()  # of a run that was killed
        cls.addClassCleanup(cls.swarm.delete)

    def train(self):
        self.swarm.apply()
        self.swarm.wait_rounds(2, limit=240)
        self.swarm.finish()

    def left(self):
        """What there is of ours in the whole cluster."""
        kinds = [kind for kind in self.cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split() if not kind.startswith("events")]
        objects = json.loads(self.cluster.kubectl("get", ",".join(kinds), "-A", "-o", "json", "--ignore-not-found") or '{"items": []}')["items"]

        def ours(each):
            claim = each.get("spec", {}).get("claimRef", {}) if each["kind"] == "PersistentVolume" else {}
            labels = each["metadata"].get("labels") or {}
            if self.swarm.namespace in (each["metadata"].get("namespace"), claim.get("namespace")):
                return True
            elsewhere = "namespace" in each["metadata"] or each["kind"] == "Namespace"  # of the tests beside this one
            return labels.get("app.kubernetes.io/part-of") == "starling" and not elsewhere

        return [f"{each['kind']} {each['metadata']['name']}" for each in objects if ours(each)]

    def test_five_times(self):
        for time in range(TIMES):
            with self.subTest(time=time):
                self.train()
                self.swarm.delete()
                self.cluster.wait("everything to be gone", 60, lambda: not self.left())

    def test_run_again_it_is_another_training_and_the_old_one_stays(self):
        self.train()
        first, began = self.swarm.result("sl-node01"), self.swarm.rounds()[0]["sealed_unix_ms"]
        for node in self.swarm.nodes:
            self.swarm.kubectl("delete", "job", node, "--timeout=90s")
            (self.swarm.claim_folder(f"model-{node}") / "model" / "end").unlink()
        self.swarm.apply()

        def another():
            rounds = self.swarm.rounds()
            return len(rounds) > 2 and rounds[0]["sealed_unix_ms"] != began

        self.cluster.wait("rounds of the second training", 180, another)
        self.swarm.finish()
        second = self.swarm.result("sl-node01")
        self.assertNotEqual(first["instance"], second["instance"])
        verified = self.swarm.verify("state-network-node-sentinel-0")
        self.assertIn("0 ignored", verified)
        self.slow_network_node()

    def slow_network_node(self):
        limits = {"name": "network-node", "resources": {"limits": {"cpu": "100m"}, "requests": {"cpu": "50m"}}}
        patch = {"spec": {"template": {"spec": {"containers": [limits]}}}}
        self.swarm.kubectl("patch", "statefulset", "network-node01", "-p", json.dumps(patch))
        self.swarm.kubectl("rollout", "status", "statefulset/network-node01", "--timeout=120s")
        pod = self.cluster.json("pod/network-node01-0", self.swarm.namespace)
        self.assertEqual(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"], "100m")
        ready, = [c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready"]
        took = (moment(ready) - moment(pod["status"]["startTime"])).total_seconds()
        print(f"with 100m of CPU ready after {took:.0f} s", flush=True)
        self.assertLessEqual(took, SLOW_SECONDS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
