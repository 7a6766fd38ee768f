"""What happens to a swarm when its SPIRE agent is away or gives it nothing: each node says so in /readyz, goes on as long as its certificate
lasts, and recovers by itself."""
import unittest

import spire
from spire_swarm import SpireSwarm

SVID_SECONDS = 40


class Trouble(spire.Case):
    def begin_training(self, **settings):
        self.host = self.agent(self.server(ca_ttl="1h", svid_ttl=f"{SVID_SECONDS}s"))
        self.swarm = self.begin(SpireSwarm(self.folder / "swarm", self.host, **settings))
        self.swarm.start()
        self.swarm.wait_round(2)
        return self.swarm

    def wait_named(self, names, words):
        """Until /readyz of all of them has the words in its line about the identity, and is as it was otherwise."""
        def named(name):
            return any(line.startswith("identity: ") and words in line for line in self.swarm.page(name, "/readyz")[1].splitlines())
        self.swarm.wait(lambda: all(named(name) for name in names), f"{words!r} in /readyz of {', '.join(names)}")

    def wait_well(self, names):
        """Until their source gives what it should, and the training goes on."""
        def well(name):
            return self.swarm.page(name, "/readyz")[0] == 200 and self.swarm.metrics(name).get("starling_identity_trouble") == 0
        self.swarm.wait(lambda: all(well(name) for name in names), f"{', '.join(names)} to be well")

    def wait_rotated(self, names):
        before = {name: self.swarm.counts(name)["starling_identity_rotations_total"] for name in names}
        self.swarm.wait(lambda: all(self.swarm.metrics(name).get("starling_identity_rotations_total", 0) > before[name] for name in names), "new certificates")

    def end(self):
        """All rounds had all nodes at the first attempt."""
        self.swarm.wait_end()
        self.assertEqual({self.swarm.processes[name].child.returncode for name in self.swarm.names}, {0})
        bad = [told["round"] for told in self.swarm.rounds() if len(told["participants"]) != len(self.swarm.names) or len(told["attempts"]) != 1]
        self.assertEqual(bad, [], bad and self.swarm.story())

    def test_the_agent_is_killed_and_comes_back(self):
        swarm = self.begin_training(nodes=3, min_peers=3, grace=None, stall_timeout="20s")
        everyone = ["sn", *swarm.names]
        self.host.kill()
        number = swarm.sealed()
        self.wait_named(everyone, self.host.socket)
        swarm.wait_round(number + 3)
        self.host.start()
        self.wait_well(everyone)
        self.wait_rotated(everyone)
        self.end()

    def test_the_socket_is_removed_and_replaced(self):
        swarm = self.begin_training(nodes=3, min_peers=3, grace=None, stall_timeout="20s")
        everyone = ["sn", *swarm.names]
        socket = self.host.directory / "api.sock"
        socket.unlink()
        self.wait_rotated(everyone)  # Who is connected stays connected.
        self.host.kill()
        self.wait_named(everyone, self.host.socket)
        self.assertFalse(socket.exists())
        self.host.start()
        self.wait_well(everyone)
        self.wait_rotated(everyone)
        self.end()

    def test_an_entry_is_deleted_and_created_again(self):
        swarm = self.begin_training(nodes=4, min_peers=2)
        swarm.wait(lambda: swarm.took_part("b", -1), "a round with b")
        self.host.server.delete_entry(swarm.entries["b"])
        # The agent says that b has no identity any more: what it had is withdrawn, with its certificate still good.
        self.wait_named(["b"], "no registration entry matches")
        self.assertEqual(swarm.page("b", "/readyz")[0], 503)
        self.assertEqual(swarm.metrics("b")["starling_identity_trouble"], 1)
        number = swarm.sealed()
        swarm.wait_round(number + 3)  # The others go on.
        swarm.entries["b"] = self.host.entry("b", "/swarm/b/sl")
        self.wait_well(["b"])
        number = swarm.sealed()
        swarm.wait(lambda: swarm.took_part("b", number), "b's return")
        swarm.wait_end()
        self.assertEqual({swarm.processes[name].child.returncode for name in swarm.names}, {0})


if __name__ == "__main__":
    unittest.main(verbosity=2)
