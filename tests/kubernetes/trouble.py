"""What befalls a swarm in a cluster, during one training on certificates of a minute: pods deleted, containers killed, the machine drained,
network nodes rolled. Rounds go on, no sealed round is lost, and all nodes end with the model that the log gives."""
import time
import unittest

import kube
from oracle import Oracle
from swarm import RoundsSwarm

FLOATS = 2000
BACK_SECONDS = 30  # until a deleted network node is ready again
SHORT_LIVES = [('default_x509_svid_ttl = "1h"', 'default_x509_svid_ttl = "60s"'), ('ca_ttl = "168h"', 'ca_ttl = "3m"')]
NETWORK_NODES = ("network-node-sentinel", "network-node01")


class Trouble(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        cls.swarm = RoundsSwarm(cls.cluster, "trouble", SHORT_LIVES)
        cls.swarm.delete()  # of a run that was killed
        cls.addClassCleanup(cls.swarm.delete)
        cls.swarm.apply()
        cls.swarm.wait_rounds(3, limit=300)

    def around(self, what, act):
        """Does it; rounds that were sealed before are still so after it, and more come."""
        with self.subTest(what):
            before = self.swarm.rounds()
            began = time.monotonic()
            act()
            self.swarm.wait_rounds(3, limit=240)
            after = self.swarm.rounds()
            self.assertGreater(len(after), len(before))
            self.assertEqual([was["round"] for was, told in zip(before, after) if was["root"] != told["root"]], [])
            print(f"{what}: {len(before)} rounds before, going on after {time.monotonic() - began:.0f} s", flush=True)

    def delete_pod(self, pod):
        self.swarm.kubectl("delete", "pod", pod, "--timeout=90s")

    def delete_network_node(self, name):
        before = self.cluster.json(f"pod/{name}-0", self.swarm.namespace)["metadata"]["uid"]
        self.swarm.kubectl("delete", "pod", f"{name}-0", "--wait=false")

        def back():
            pod = self.cluster.json(f"pod/{name}-0", self.swarm.namespace)
            return pod and pod["metadata"]["uid"] != before and self.cluster.ready(f"statefulset/{name}", self.swarm.namespace)

        self.cluster.wait(f"{name} to be back", BACK_SECONDS, back)

    def kill_container(self, pod, container):
        self.swarm.kill(pod, container)

    def newest(self, job):
        return self.swarm.pods_of(job)[-1]

    def drain(self):
        self.cluster.drain()
        self.cluster.uncordon()

    def roll(self):
        for name in NETWORK_NODES:
            self.swarm.kubectl("rollout", "restart", f"statefulset/{name}")
            self.swarm.kubectl("rollout", "status", f"statefulset/{name}", "--timeout=90s")

    def test_a_training_survives_it_all(self):
        self.addCleanup(self.cluster.uncordon)
        for name in NETWORK_NODES:
            self.around(f"deleted {name}", lambda name=name: self.delete_network_node(name))
        self.around("deleted spire-server", lambda: self.delete_pod("spire-server-0"))
        for job in self.swarm.nodes:
            self.around(f"deleted {job}", lambda job=job: self.delete_pod(self.newest(job)))
        for pod, container in (("network-node-sentinel-0", "network-node"), ("network-node01-0", "network-node"),
                               ("spire-server-0", "spire-server"), ("spire-server-0", "tokens")):
            self.around(f"killed {container} of {pod}", lambda pod=pod, container=container: self.kill_container(pod, container))
        for container in ("training", "sl"):
            self.around(f"killed {container} of sl-node01",
                        lambda container=container: self.kill_container(self.newest("sl-node01"), container))
        self.around("drained the machine", self.drain)
        self.around("rolled the network nodes", self.roll)
        self.swarm.finish()

        rounds = self.swarm.rounds()
        self.assertEqual([told["round"] for told in rounds], list(range(len(rounds))))
        Oracle(FLOATS).check(rounds)
        self.cluster.wait("both network nodes to hold the same rounds", 30, lambda: self.swarm.rounds("network-node01") == rounds)
        self.assertEqual({self.swarm.result(node)["root"] for node in self.swarm.nodes}, {rounds[-1]["root"]})
        self.assertIn("0 ignored", self.swarm.verify("state-network-node-sentinel-0", "state-network-node01-0"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
