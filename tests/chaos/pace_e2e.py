"""Real trainings in which one node is slower than the others: it takes part in every round that it can, and nobody ends without it."""
import sys
import tempfile
import unittest
from pathlib import Path

from oracle import Oracle
from swarm import Swarm

QUICK_MS, SLOW_MS = 100, 400


class Pace(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="starling-pace-")
        self.swarm = Swarm(Path(self.temporary.name) / "swarm", train_ms=QUICK_MS, grace=None)

    def tearDown(self):
        self.swarm.close()
        self.temporary.cleanup()

    def repeated_rounds(self):
        """All rounds, after all nodes have ended well and the oracle has come to the same models."""
        codes = {name: self.swarm.processes[name].child.returncode for name in self.swarm.names}
        self.assertEqual(set(codes.values()), {0}, codes)
        rounds = self.swarm.rounds()
        Oracle(int(self.swarm.settings["FLOATS"])).check(rounds)
        return rounds

    @staticmethod
    def trained_in(told, name):
        """What the log says of the node's part in this round; None where it brought nothing new."""
        return next((p for p in told["participants"] if p["name"] == name and p.get("train_ms") is not None), None)

    def test_a_site_four_times_slower_takes_part_in_nine_of_ten_rounds_that_it_can(self):
        self.swarm.own_settings["d"] = {"TRAIN_MS": str(SLOW_MS)}
        self.swarm.start()
        self.swarm.wait_round(25)
        self.swarm.wait_end()
        rounds = self.repeated_rounds()
        parts = [part for told in rounds[1:] if (part := self.trained_in(told, "d"))]
        mean = lambda values: sum(values) / len(values)  # noqa: E731
        interval = mean([part["train_ms"] for part in parts])
        merge = mean([told["sealed_unix_ms"] - told["closed_unix_ms"] for told in rounds[1:]])
        # It may come just too late for a round of the others, not for two of them.
        own = interval + merge + 1.5 * (QUICK_MS + merge)
        ends = [told["sealed_unix_ms"] for told in (rounds[0], *(r for r in rounds[1:] if self.trained_in(r, "d")), rounds[-1])]
        gaps = [later - earlier for earlier, later in zip(ends, ends[1:])]
        possible = sum(max(1, int(gap / own)) for gap in gaps[:-1]) + int(gaps[-1] / own)
        in_time = [gap for gap in gaps[:-1] if gap <= own]
        steady = int(sum(in_time) / (interval + merge))  # what it could have done while nothing was held up
        print(f"slow site: {len(parts)} of {possible} possible rounds ({len(rounds) - 1} in all), {len(in_time)} of {steady} at the first "
              f"chance; interval {interval:.0f} ms, merge {merge:.0f} ms", flush=True)
        self.assertGreaterEqual(len(parts), 0.9 * possible)
        self.assertGreaterEqual(len(in_time), 0.9 * len(parts))
        self.assertGreaterEqual(len(in_time), 0.9 * steady)

    def test_finished_nodes_wait_for_the_one_that_still_trains(self):
        for name in "abc":
            self.swarm.own_settings[name] = {"OWN_ROUNDS": "3"}
        self.swarm.own_settings["d"] = {"TRAIN_MS": str(SLOW_MS), "OWN_ROUNDS": "8"}
        self.swarm.start()
        self.swarm.wait(lambda: all(not self.swarm.processes[name].running() for name in self.swarm.names), "the end of all nodes")
        rounds = self.repeated_rounds()
        alone = [told for told in rounds[1:] if not any(self.trained_in(told, name) for name in "abc")]
        self.assertEqual(sum(self.trained_in(told, "d") is not None for told in rounds[1:]), 8)
        self.assertGreaterEqual(len(alone), 4)
        for told in alone:
            self.assertIsNotNone(self.trained_in(told, "d"), told)


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
