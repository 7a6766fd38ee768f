"""Real trainings whose parts are killed at random points; the log's rounds are repeated by an oracle. CHAOS_SEED, CHAOS_KILLS."""
import os
import random
import shutil
import signal
import statistics
import sys
import threading
import time
import unittest

from case import Case

SEED = int(os.environ.get("CHAOS_SEED", "1"))
KILLS = int(os.environ.get("CHAOS_KILLS", "4"))
MIB = 1 << 20


class Chaos(Case):
    def setUp(self):
        super().setUp()
        self.dice = random.Random(f"{SEED} {self.id()}")

    def strike(self, choose):
        """Kills whom `choose` names of the state, after a while that the dice give; answers (name, moment, round)."""
        threading.Event().wait(self.dice.uniform(0.0, 0.4))  # Any moment of a round, whatever happens in it.
        state = self.swarm.contract()
        name = choose(state)
        moment = time.time()
        self.swarm.processes[name].kill()
        return name, moment, state["round"]

    def kill_and_return(self, choose):
        """KILLS strikes; whoever was struck comes back once the swarm has gone on without it. Answers the hand-overs in seconds."""
        struck = []
        for _ in range(KILLS):
            name, moment, number = self.strike(choose)
            struck.append((moment, number))
            self.swarm.wait(lambda n=number: self.swarm.sealed() > n, f"the end of round {number} after {name} was killed")
            self.swarm.start_node(name)
            self.swarm.wait(lambda n=name, r=number: self.swarm.took_part(n, r), f"{name}'s return")
        return struck

    def report(self, what, struck, rounds):
        sealed = {told["round"]: told["sealed_unix_ms"] / 1000 for told in rounds}
        spans = sorted(sealed[number] - moment for moment, number in struck if sealed.get(number, 0) > moment)
        if spans:
            print(f"{what}: {len(struck)} kills, {len(spans)} before their round was sealed; hand-over median "
                  f"{statistics.median(spans):.2f} s, longest {spans[-1]:.2f} s; {len(rounds)} rounds, none lost", flush=True)

    def test_leaders_are_killed(self):
        self.begin(floats=10 * MIB // 4)
        struck = self.kill_and_return(lambda state: state["leader"] or self.dice.choice(self.swarm.names))
        self.report("leaders", struck, self.end())

    def test_participants_are_killed(self):
        self.begin()
        struck = self.kill_and_return(lambda state: self.dice.choice([n for n in self.swarm.names if n != state["leader"]]))
        self.report("participants", struck, self.end())

    def test_the_sn_is_killed(self):
        self.begin()
        for _ in range(KILLS):
            _, _, number = self.strike(lambda state: "sn")
            self.swarm.start_sn()
            self.swarm.wait_round(number + 2)
        self.end()

    def test_all_are_killed_at_once(self):
        self.begin()
        for _ in range(max(1, KILLS // 2)):
            _, _, number = self.strike(lambda state: "sn")
            for name in self.swarm.names:
                self.swarm.processes[name].kill()
            self.swarm.start_sn()
            again = self.swarm.contract()["round"]
            self.assertIn(again, (number, number + 1))
            for name in self.swarm.names:
                self.swarm.start_node(name)
            self.swarm.wait_round(again + 2)
        self.end()

    def test_a_wiped_node_enrols_again_and_contributes(self):
        swarm = self.begin()
        number = swarm.sealed()
        swarm.processes["b"].kill()
        swarm.wait(lambda: swarm.sealed() > number + 1, "rounds without b")
        shutil.rmtree(swarm.directory / "node-b")  # Its ledger key, too.
        number = swarm.sealed()
        swarm.start_node("b")
        swarm.wait(lambda: swarm.took_part("b", number), "b's return")
        rounds = self.end()
        came = [one for told in rounds for one in told["presence"] if one["name"] == "b" and not one["gone"]]
        self.assertEqual([one["new_key"] for one in came], [True], came)
        self.assertIn("b", [p["name"] for p in rounds[-1]["participants"]])
        self.assertIn("b enrolled again, with a new key.", swarm.story())

    def test_a_stopped_node_comes_back(self):
        swarm = self.begin()
        swarm.processes["b"].signal(signal.SIGSTOP)
        number = swarm.sealed()
        swarm.wait_round(number + 4)
        swarm.processes["b"].signal(signal.SIGCONT)
        number = swarm.sealed()
        swarm.wait(lambda: swarm.took_part("b", number), "b's return")
        rounds = self.end()
        self.assertIn("b", [p["name"] for p in rounds[-1]["participants"]])


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
