"""Two trust domains that believe each other: each by its own bundle only, and only as long as the operators of both want it."""
import unittest

import spire
from spire_swarm import SpireSwarm


class FederatedSwarm(SpireSwarm):
    """The SN and the operator are in the trust domain of `agent`, the learning nodes in that of `other`."""

    def __init__(self, directory, agent, other, **settings):
        self.other = other
        super().__init__(directory, agent, **settings)

    def agent_of(self, name):
        return self.agent if name in ("sn", "operator") else self.other

    def entry_options(self, name):
        return ("-federatesWith", f"spiffe://{(self.other if name in ('sn', 'operator') else self.agent).server.trust_domain}")


class Federation(spire.Case):
    def knock(self, issuer):
        """What a peer of go-spiffe gets that has a certificate of that SPIRE server, on two connections to the SN: answer or failed."""
        self.knocks += 1
        name = f"knock-{self.knocks}"
        files = dict(issuer.mint("/swarm/x/sl", self.folder / name), cacert=self.bundle)
        url = f"https://127.0.0.1:{self.swarm.sn_port}/is_up"
        peer = self.begin(spire.Peer(self.home, name, "hammer", "--url", url, "--allow", "spiffe://one.test/swarm/sn", "--count", "1",
                                     "--bundle-of", "one.test", files=files))
        peer.wait(lambda: len(peer.events("answer", "failed")) == 2, f"two answers for {name}")
        return {event["event"] for event in peer.events("answer", "failed")}

    def refused(self, reason):
        return self.swarm.counts("sn").get(f'starling_refused_total{{reason="{reason}"}}', 0)

    def test_by_its_own_bundle_only(self):
        one, two = self.server("one.test", ca_ttl="1h"), self.server("two.test", ca_ttl="1h")
        impostor = self.server("one.test", ca_ttl="1h", folder="impostor")
        self.home, away = self.agent(one), self.agent(two)
        one.trust(two)
        two.trust(one)
        self.swarm = self.begin(FederatedSwarm(self.folder / "swarm", self.home, away, nodes=2, min_peers=2, grace=None))
        self.swarm.start()
        self.swarm.wait_round(3)
        self.bundle, self.knocks = one.file("bundle.pem", one.bundle()), 0
        self.assertEqual(self.knock(two), {"answer"})
        # The impostor's CA is believed for two.test from here on; it is not thereby one for one.test.
        changes = self.swarm.counts("sn")["starling_identity_bundle_changes_total"]
        self.swarm.wait_end()
        one.trust(impostor, "two.test")
        spire.until(lambda: self.swarm.counts("sn")["starling_identity_bundle_changes_total"] > changes, "another bundle", also=self.home.tail)
        before = self.refused("unknown-authority")
        self.assertEqual(self.knock(impostor), {"failed"})
        self.assertEqual(self.refused("unknown-authority") - before, 2)
        self.assertEqual(self.knock(two), {"failed"})
        self.assertEqual(self.refused("unknown-authority") - before, 4)
        # And without a bundle, nobody of two.test.
        one.do("bundle", "delete", "-id", "spiffe://two.test", "-mode", "dissociate")
        spire.until(lambda: self.knock(two) == {"failed"} and self.refused("unknown-trust-domain") > 0, "two.test to be unknown", also=self.swarm.tail)


if __name__ == "__main__":
    unittest.main(verbosity=2)
