"""Starling and go-spiffe at the two ends of a connection, in both directions, while certificates and the CA change. SPIRE_CA_TTL."""
import os
import unittest

import spire
from spire_swarm import SpireSwarm

CA_TTL = os.environ.get("SPIRE_CA_TTL", "80s")
CHANGE = 240  # seconds that a change of such a CA may take on a slow machine


class Interop(spire.Case):
    def setUp(self):
        self.spire = self.server(ca_ttl=CA_TTL)
        self.host = self.agent(self.spire)
        self.swarm = self.begin(SpireSwarm(self.folder / "swarm", self.host, nodes=2, min_peers=2, grace=None))
        self.sn_id = self.spire.id("/swarm/sn")

    def through_go(self, name):
        """Node `name` speaks with go-spiffe's server in the SN's place, and that with the SN, as go-spiffe's client in the node's place."""
        for path in ("/swarm/sn", f"/swarm/{name}/sl"):
            self.host.wait_issued(self.host.entry("between", path, program=spire.binary("peer")))
        node = self.spire.id(f"/swarm/{name}/sl")
        between = self.peer(self.host, "between", "serve", "--id", self.sn_id, "--allow", f"{node},{self.spire.id('/swarm/operator')}",
                            "--target", f"https://127.0.0.1:{self.swarm.sn_port}", "--target-id", self.sn_id, "--client-id", node)
        self.swarm.flags_of[name] = {"sn_url": f"https://{between.address()}"}
        return between

    def test_both_directions_across_a_change_of_the_ca(self):
        self.host.entry("asking", "/swarm/x/sl", program=spire.binary("peer"))
        between = self.through_go("a")
        self.swarm.start()
        asking = self.peer(self.host, "asking", "hammer", "--url", f"https://127.0.0.1:{self.swarm.sn_port}/is_up", "--allow", self.sn_id)

        def changed(events):
            return len({event["issuer"] for event in events}) >= 2 and len({event["serial"] for event in events}) >= 3

        def from_both_cas():
            return changed(asking.events("answer")) and changed(between.events("request")) and all(
                changed([event for event in between.events("identity") if event["id"] == own]) for own in (self.sn_id, self.spire.id("/swarm/a/sl")))

        self.swarm.wait(from_both_cas, "certificates of two CAs at both ends, in both directions", CHANGE)
        operator = self.swarm.starling("status", "--sn", f"https://{between.address()}", "--socket-path", self.host.socket)
        self.assertIn("chaos", operator)
        asked = {event["id"] for event in between.events("request")}
        self.assertEqual(asked, {self.spire.id("/swarm/a/sl"), self.spire.id("/swarm/operator")})
        for kept in (False, True):
            self.assertTrue(any(event["kept"] == kept and event["status"] == 200 for event in asking.events("answer")))
        sealed = self.swarm.sealed()
        self.swarm.wait_round(sealed + 3)
        self.swarm.wait_end()
        self.assertEqual({self.swarm.processes[name].child.returncode for name in self.swarm.names}, {0})
        self.assertEqual(asking.events("failed") + between.events("failed"), [])

    def test_each_side_refuses_a_stranger_of_the_other(self):
        """An identity of the right domain with another path."""
        self.host.entry("stranger", "/swarm/y/stranger", program=spire.binary("peer"))
        self.swarm.start_sn()
        stranger = self.peer(self.host, "stranger", "hammer", "--url", f"https://127.0.0.1:{self.swarm.sn_port}/is_up", "--allow", self.sn_id, "--count", "2")
        stranger.wait(lambda: len(stranger.events("failed")) == 4, "the stranger to be refused four times")
        self.assertEqual(stranger.events("answer"), [])
        refused = self.swarm.metrics("sn")
        self.assertGreaterEqual(refused.get('starling_refused_total{reason="wrong-path"}', 0), 4, refused)
        posing = self.peer(self.host, "stranger", "serve", "--allow", self.spire.id("/swarm/operator"))
        with self.assertRaisesRegex(AssertionError, "wrong-path|swarm/y/stranger"):
            self.swarm.starling("status", "--sn", f"https://{posing.address()}", "--socket-path", self.host.socket)
        self.assertEqual(posing.events("request"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
