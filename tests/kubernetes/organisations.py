"""Two organisations, each in a namespace and a trust domain of its own behind one port: they exchange their CAs and train together."""
import unittest

import kube
from swarm import HOME, MODEST, Swarm

FOLDER = HOME / "deploy" / "kubernetes" / "two-organisations"
SERVER = "/opt/spire/bin/spire-server"


class Organisations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        cls.swarms = {name: Swarm(cls.cluster, FOLDER / name, f"swarm-{name}", MODEST) for name in ("a", "b")}
        for swarm in cls.swarms.values():
            swarm.delete()  # of a run that was killed
            cls.addClassCleanup(swarm.delete)
        for swarm in cls.swarms.values():
            swarm.apply()
        for swarm in cls.swarms.values():
            cls.cluster.wait("the SPIRE server", 120, lambda swarm=swarm: cls.spire(swarm, "healthcheck", check=False).returncode == 0)
        for name, other in (("a", "b"), ("b", "a")):  # The one step that two operators do, with what each has from the other.
            bundle = cls.spire(cls.swarms[other], "bundle", "show", "-format", "spiffe").stdout
            cls.spire(cls.swarms[name], "bundle", "set", "-format", "spiffe", "-id", f"spiffe://{other}.example", stdin=bundle)
        for name, swarm in cls.swarms.items():
            cls.cluster.wait(f"the training of {name}", 300, lambda name=name, swarm=swarm: swarm.complete(f"sl-node-{name}"))

    @classmethod
    def spire(cls, swarm, *arguments, stdin=None, check=True):
        return cls.cluster.script("k", "-n", swarm.namespace, "exec", "-i", "spire-server-0", "-c", "spire-server", "--", SERVER, *arguments,
                                  stdin=stdin or "", check=check)

    def test_both_have_the_same_model(self):
        results = {name: swarm.result(f"sl-node-{name}") for name, swarm in self.swarms.items()}
        self.assertEqual(results["a"]["root"], results["b"]["root"])
        self.assertEqual({result["same_on"] for result in results.values()}, {2})

    def test_both_hold_the_whole_ledger(self):
        def agreed():
            rounds = [swarm.rounds(f"network-node-{name}") for name, swarm in self.swarms.items()]
            return rounds[0] if rounds[0] == rounds[1] else None

        rounds = self.cluster.wait("both network nodes to hold the same rounds", 30, agreed)
        self.assertGreater(len(rounds), 2)
        for told in rounds[1:]:
            self.assertLessEqual({p["name"] for p in told["participants"]}, {"sl-node-a", "sl-node-b"})

    def test_nothing_is_reached_but_through_the_gateways(self):
        a, b = self.swarms["a"], self.swarms["b"]
        gateway = a.pods(name="gateway")[0]["metadata"]["name"]
        behind = [(a.address("network-node-a-0"), 30304), (a.address("spire-server-0"), 8081), (a.address("spire-server-0"), 8443)]
        self.assertTrue(b.reaches("network-node-b-0", "network-node", (a.address(gateway), 8443)))
        self.assertEqual([door for door in behind if b.reaches("network-node-b-0", "network-node", door)], [])
        self.assertEqual([door for door in behind if a.reaches(gateway, "gateway", door)], [behind[0], behind[2]])
        self.assertFalse(a.reaches(gateway, "gateway", (kube.API_IP, 443)))
        public = {s["metadata"]["name"] for s in self.cluster.json("services", "swarm-a")["items"] if s["spec"]["type"] != "ClusterIP"}
        self.assertEqual(public, {"gateway"})

    def test_the_other_organisation_is_named_in_the_log(self):
        log = "\n".join(self.swarms["a"].lines("network-node-a-0", "network-node"))
        self.assertIn("b.example", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
