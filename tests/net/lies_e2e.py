"""Real swarms with one node that lies: it costs at most one attempt a round, is named in `starling explain`, and the others go on. When it
tells the truth again it takes part again. LIES_ROUNDS: in how many rounds a slow liar must have been caught; fast ones in twice as many."""
import os
import sys
import unittest

from case import Case
from liar import OTHER_ROOT, LyingSource, LyingVoter

ROUNDS = int(os.environ.get("LIES_ROUNDS", "1"))
LIAR = "d"
SETTINGS = {"nodes": 4, "min_peers": 2, "floats": 300_000}  # two chunks
PATIENCE = 60  # seconds for each round that a liar is to be caught in


def blamed(attempt):
    return {name for blame in attempt["blames"] if blame["by"] != LIAR for name in blame["on"]}


class Lies(Case):
    """What all of them do."""

    def setUp(self):
        super().setUp()
        self.liar = None

    def tearDown(self):
        if self.liar is not None:
            self.liar.close()
        super().tearDown()

    def begin_with(self, kind, **flags):
        self.swarm = self.make(**SETTINGS, **flags)
        self.liar = kind(self.swarm, LIAR)
        self.swarm.start()
        self.swarm.wait(lambda: self.swarm.took_part(LIAR, -1), f"a round with {LIAR}")
        return self.swarm

    def caught(self, after):
        """The attempts that were opened again, of rounds beyond `after` that the others have merged all the same."""
        return [(told["round"], attempt) for told in self.swarm.rounds() if told["round"] > after and told["root"] for attempt in
                told["attempts"] if attempt["removed"]]

    def the_truth_again(self):
        """The liar turns honest and is taken back; the training ends well. Answers its rounds."""
        self.liar.lie = None
        number = self.swarm.sealed()
        self.swarm.wait(lambda: self.swarm.took_part(LIAR, number), f"{LIAR}'s return")
        rounds = self.end()
        for told in rounds:
            lost = sum(bool(attempt["removed"]) for attempt in told["attempts"])
            self.assertLessEqual(lost, 1, f"round {told['round']} lost two attempts:\n{self.swarm.story()}")
        return rounds

    def lies(self, lie, words, rounds, **flags):
        swarm = self.begin_with(LyingSource, **flags)
        before = swarm.sealed()
        self.liar.lie = lie
        swarm.wait(lambda: len(self.caught(before)) >= rounds, f"{rounds} rounds in which {LIAR} is caught", PATIENCE * rounds)
        self.the_truth_again()
        for number, attempt in self.caught(-1):
            self.assertEqual(attempt["removed"], [LIAR], f"round {number}: {attempt}")
            self.assertEqual(blamed(attempt), {LIAR}, f"round {number}: {attempt}")
        self.assertRegex(swarm.story(), rf"[abc] blames {LIAR}: {words}.*without {LIAR}\.")


class QuickLies(Lies):
    def lies_at_once(self, lie, words):
        """Silence is not what catches these: however slow the machine, nobody else is blamed, in no attempt."""
        self.lies(lie, words, 2 * ROUNDS, stall_timeout="60s")
        for told in self.swarm.rounds():
            for attempt in told["attempts"]:
                self.assertLessEqual(blamed(attempt), {LIAR}, f"round {told['round']}: {attempt}")

    def test_wrong_bytes(self):
        self.lies_at_once("wrong bytes", "sent wrong bytes")

    def test_each_transfer_breaks_off_half_way(self):
        self.lies_at_once("breaks off", "refused or broke off")

    def test_votes_for_another_root(self):
        swarm = self.begin_with(LyingVoter)
        before = swarm.sealed()
        self.liar.lie = "other root"

        def lied():
            return [told["round"] for told in swarm.rounds() if told["round"] > before and told["root"] and any(
                attempt["votes"].get(LIAR) == OTHER_ROOT for attempt in told["attempts"])]

        swarm.wait(lambda: len(lied()) >= 2 * ROUNDS, f"{2 * ROUNDS} rounds in which {LIAR} votes for another root", PATIENCE * ROUNDS)
        rounds = self.the_truth_again()
        self.assertNotIn(OTHER_ROOT, [told["root"] for told in rounds])
        for number, attempt in self.caught(-1):
            self.assertEqual(attempt["removed"], [LIAR], f"round {number}: {attempt}")
        self.assertRegex(swarm.story(), rf"{LIAR} voted for another model, 55555555")


class SlowLies(Lies):
    def test_each_transfer_falls_silent_half_way(self):
        self.lies("falls silent", "sent too little for too long", ROUNDS)

    def test_a_byte_a_second(self):
        self.lies("a byte a second", "sent too little for too long", ROUNDS)


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
