"""Who may do what in the scenario's namespace: pods by restricted Pod Security, the API by RBAC, the network by policies. The cluster has
no network plugin that enforces policies: cluster/netpol.py writes them into the node's firewall, by this project's reading of the API."""
import json
import unittest

import kube
from swarm import RoundsSwarm, Swarm

IMAGE = "localhost/busybox:1"
OUTSIDE_PORT = 18080
API = (kube.API_IP, 443)
OUTSIDE = (kube.OUTSIDE_IP, OUTSIDE_PORT)
LISTEN = f"""
import os, socket, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server = socket.create_server(("{kube.OUTSIDE_IP}", {OUTSIDE_PORT}))
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""
OURS = {"network-node-sentinel-0": "network-node", "network-node01-0": "network-node", "spire-server-0": "spire-server"}


class Policy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        cls.swarm = RoundsSwarm(cls.cluster, "policy")
        cls.space = cls.swarm.namespace
        cls.swarm.delete()  # of a run that was killed
        cls.addClassCleanup(cls.swarm.delete)
        cls.swarm.apply()
        cls.swarm.wait_rounds(2, limit=300)
        cls.ours = dict(OURS) | {cls.swarm.pods_of(job)[-1]: "training" for job in cls.swarm.nodes}
        listener = cls.cluster.start_outside(["/usr/bin/python3", "-c", LISTEN])
        cls.addClassCleanup(listener.communicate)
        assert listener.stdout.readline() == "listening\n"

    def reaches(self, pod, address):
        return self.swarm.reaches(pod, self.ours[pod], address)

    def stranger(self, name, namespace, labels):
        """Starts a pod; answers what tells whether it gets a connection to (address, port)."""
        self.addCleanup(self.cluster.kubectl, "-n", namespace, "delete", "pod", name, "--grace-period=0", "--force")
        self.cluster.apply([kube.restricted_pod(name, [{"name": name, "image": IMAGE, "command": ["/bin/sleep", "100000"]}], labels)], namespace)
        self.cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")

        return lambda address: Swarm(self.cluster, namespace=namespace).reaches(name, name, address)

    def can(self, *question):
        account = f"system:serviceaccount:{self.space}:spire-server"
        return self.swarm.kubectl("auth", "can-i", *question, f"--as={account}", check=False).split()[0] == "yes"

    def test_only_restricted_pods_are_let_in(self):
        labels = self.cluster.json(f"namespace/{self.space}")["metadata"]["labels"]
        self.assertEqual(labels["pod-security.kubernetes.io/enforce"], "restricted")
        root = kube.restricted_pod("root", [{"name": "root", "image": IMAGE, "securityContext": {"runAsUser": 0}}])
        with self.assertRaisesRegex(kube.Failed, "violates PodSecurity"):
            self.cluster.apply([root], self.space)

    def test_the_spire_servers_pod_alone_reaches_the_kubernetes_api(self):
        self.assertEqual({pod for pod in self.ours if self.reaches(pod, API)}, {"spire-server-0"})

    def test_nobody_reaches_the_outside(self):
        self.assertEqual({pod for pod in self.ours if self.reaches(pod, OUTSIDE)}, set())
        free = "policy-free"  # Where no policy is, the same address is open: the test can fail.
        self.cluster.make_namespace(free)
        self.addCleanup(self.cluster.delete_namespace, free)
        self.assertTrue(self.stranger("anybody", free, {"app": "anybody"})(OUTSIDE))

    def test_ports_of_nodes_are_for_nodes_and_operators(self):
        learning = self.swarm.pods_of("sl-node01")[-1]
        doors = [(self.swarm.address(pod), port) for pod, port in (("network-node-sentinel-0", 30304), ("network-node01-0", 30304),
                                                             (learning, 30305), ("spire-server-0", 8081))]
        other = "policy-other"
        self.cluster.make_namespace(other)
        self.addCleanup(self.cluster.delete_namespace, other)
        for namespace, labels in ((self.space, {"app": "stranger"}), (other, {"app.kubernetes.io/component": "learning-node"})):
            connects = self.stranger("stranger", namespace, labels)
            self.assertEqual([door for door in doors if connects(door)], [], namespace)
        connects = self.stranger("operator", self.space, {"app.kubernetes.io/component": "operator"})
        self.assertEqual([door for door in doors if connects(door)], doors)

    def test_nodes_reach_each_other_and_no_other_port(self):
        sentinel, learning = self.swarm.address("network-node-sentinel-0"), self.swarm.pods_of("sl-node01")[-1]
        self.assertTrue(self.reaches(learning, (sentinel, 30304)))
        self.assertTrue(self.reaches("network-node-sentinel-0", (self.swarm.address(learning), 30305)))
        self.assertFalse(self.reaches(learning, (sentinel, 9464)))
        self.assertFalse(self.reaches(learning, (self.swarm.address("spire-server-0"), 9464)))

    def test_only_the_tokens_sidecar_holds_a_token_of_the_api(self):
        holders = set()
        for pod in self.swarm.pods():
            volumes = {v["name"] for v in pod["spec"]["volumes"]
                       if any("serviceAccountToken" in s for s in v.get("projected", {}).get("sources", []))}
            for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
                if volumes & {mount["name"] for mount in container.get("volumeMounts", [])}:
                    holders.add((pod["metadata"]["name"], container["name"]))
        self.assertEqual(holders, {("spire-server-0", "tokens")})

    def test_it_may_patch_the_named_secrets_and_nothing_else(self):
        secrets = [f"identity-{node}" for node in ("network-node-sentinel", "network-node01", "sl-node01", "sl-node02")]
        for secret in secrets:
            self.assertTrue(self.can("patch", f"secrets/{secret}"), secret)
            for verb in ("get", "update", "delete"):
                self.assertFalse(self.can(verb, f"secrets/{secret}"), (verb, secret))
        for question in (("patch", "secrets/other"), ("patch", "secrets"), ("list", "secrets"), ("create", "secrets"), ("create", "pods/exec"),
                         ("get", "pods"), ("get", "configmaps"), ("create", "pods")):
            self.assertFalse(self.can(*question), question)
        for kind in ("roles", "clusterroles"):
            for role in json.loads(self.cluster.kubectl("get", kind, "-A", "-o", "json", "-l", "app.kubernetes.io/part-of=starling"))["items"]:
                for rule in role["rules"]:
                    self.assertEqual((role["metadata"]["name"], rule["verbs"], rule["resources"]), ("spire-tokens", ["patch"], ["secrets"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
