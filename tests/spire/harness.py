"""The harness itself: SPIRE's server and agent, and two programs on go-spiffe that talk to each other while their certificates change."""
import unittest

import spire


class Harness(spire.Case):
    def test_peers_go_on_across_rotations_and_strangers_are_refused(self):
        server = self.server()
        agent = self.agent(server)
        for name, path in (("sn", "/swarm/sn"), ("sl-a", "/swarm/a/sl"), ("sl-b", "/swarm/b/sl")):
            agent.entry(name, path, program=spire.binary("peer"))
        serving = self.peer(agent, "sn", "serve", "--allow", server.id("/swarm/a/sl"))
        url = f"https://{serving.address()}/"
        asking = self.peer(agent, "sl-a", "hammer", "--url", url, "--allow", server.id("/swarm/sn"))
        stranger = self.peer(agent, "sl-b", "hammer", "--url", url, "--allow", server.id("/swarm/sn"), "--count", "1")
        stranger.wait(lambda: len(stranger.events("failed")) == 2, "the stranger to be refused on both its connections")
        self.assertEqual(stranger.events("answer"), [])
        refused = len(serving.events("failed"))

        def rotated(events):
            return len({event["serial"] for event in events}) >= 2

        asking.wait(lambda: rotated(asking.events("answer")) and rotated(serving.events("request")), "both certificates to change")
        self.assertEqual(asking.events("failed"), [])
        self.assertEqual(len(serving.events("failed")), refused, serving.tail())
        self.assertEqual({event["id"] for event in serving.events("request")}, {server.id("/swarm/a/sl")})
        self.assertTrue(any(event["reused"] for event in asking.events("answer")), "no connection was kept")


if __name__ == "__main__":
    unittest.main(verbosity=2)
