"""Real swarms on networks that fail: nodes that are cut off and come back, links that are slow, far or lossy. CUT_SECONDS: how long."""
import os
import sys
import time
import unittest
from pathlib import Path

from case import Case
from namespaces import Net, NetSwarm, pause

CUT_SECONDS = float(os.environ.get("CUT_SECONDS", "30"))
CUTS = int(os.environ.get("CUTS", "1"))


class Networks(Case):
    def setUp(self):
        super().setUp()
        self.net = None

    def tearDown(self):
        super().tearDown()
        if self.net is not None:
            self.net.close()

    def make(self, forwarded=(), nodes=4, **settings):
        self.net = Net([chr(ord("a") + i) for i in range(nodes)], forwarded)
        return NetSwarm(Path(self.temporary.name) / "swarm", self.net, nodes=nodes, **settings)

    def all_took_part(self, after):
        return all(self.swarm.took_part(name, after) for name in self.swarm.names)

    def test_nodes_that_are_cut_off_come_back_by_themselves(self):
        """d hears that there is no way, e nothing at all."""
        swarm = self.begin(forwarded="e", nodes=5, min_peers=3)
        swarm.wait(lambda: self.all_took_part(0), "a round of all")
        for _ in range(CUTS):
            for name in "de":
                self.net.hosts[name].cut()
            end = time.monotonic() + CUT_SECONDS
            number = swarm.sealed()
            swarm.wait_round(number + 3)  # One may have been merged before the cut: the others go on without d and e.
            pause(max(0.0, end - time.monotonic()))
            for name in "de":
                self.net.hosts[name].mend()
            number = swarm.sealed()
            for name in "de":
                swarm.wait(lambda n=name, after=number: swarm.took_part(n, after), f"{name}'s return")
        rounds = self.end()
        shares = [{p["name"] for p in told["participants"]} for told in rounds]
        self.assertIn({"a", "b", "c"}, shares)
        self.assertEqual(shares[-1], set("abcde"))
        gone = {one["name"] for told in rounds for one in told["presence"] if one["gone"]}
        blamed = {name for told in rounds for attempt in told["attempts"] for name in attempt["removed"]}
        self.assertEqual(gone | blamed, {"d", "e"})

    def test_slow_far_and_lossy_links_lose_nobody(self):
        swarm = self.make(forwarded="c", floats=200_000)
        self.swarm = swarm
        self.net.hosts["c"].tell("delay 40")
        self.net.hosts["c"].tell("loss 2")
        self.net.hosts["d"].slow(16_000_000)
        swarm.start()
        swarm.wait(lambda: self.all_took_part(2), "three rounds of all")
        number = swarm.sealed()
        swarm.wait(lambda: self.all_took_part(number + 1), "more rounds of all")
        rounds = self.end()
        self.assertEqual({p["name"] for p in rounds[-1]["participants"]}, set("abcd"))


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
