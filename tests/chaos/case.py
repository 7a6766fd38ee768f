"""What the tests of hurt swarms share: a directory, one swarm, and an end at which an oracle repeats all its rounds."""
import tempfile
import unittest
from pathlib import Path

from oracle import Oracle
from swarm import Swarm


class Case(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="starling-chaos-")
        self.swarm = None

    def tearDown(self):
        if self.swarm is not None:
            self.swarm.close()
        self.temporary.cleanup()

    def make(self, **settings):
        """The swarm, before anything of it runs."""
        return Swarm(Path(self.temporary.name) / "swarm", **settings)

    def begin(self, **settings):
        self.swarm = self.make(**settings)
        self.swarm.start()
        self.swarm.wait_round(1)
        return self.swarm

    def end(self):
        """All nodes end well, and the oracle comes to the same models from the log alone."""
        self.swarm.wait_end()
        codes = {name: self.swarm.processes[name].child.returncode for name in self.swarm.names}
        self.assertEqual(set(codes.values()), {0}, codes)
        rounds = self.swarm.rounds()
        Oracle(int(self.swarm.settings["FLOATS"])).check(rounds)
        self.assertEqual([told["round"] for told in rounds], list(range(len(rounds))))
        return rounds
