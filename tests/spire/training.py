"""A training of four nodes on live SVIDs, all of them in every round, across rotations and changes of the CA: nothing fails, nothing starts
again, and the model is the one that the same training gives on PEM files. SPIRE_SECONDS, SPIRE_SVID_TTL, SPIRE_CA_TTL."""
import os
import re
import time
import unittest

import spire
from oracle import Oracle
from spire_swarm import SpireSwarm
from swarm import Swarm

SECONDS = int(os.environ.get("SPIRE_SECONDS", "75"))
SVID_TTL = os.environ.get("SPIRE_SVID_TTL", "20s")
CA_TTL = os.environ.get("SPIRE_CA_TTL", "80s")
TRAIN_MS = int(os.environ.get("SPIRE_TRAIN_MS", "200"))
# What the base of the first round gave halves in every round: after so many no bit of it is left, whoever led that round.
ROUNDS_MIN = 60
# A node that is held up by the machine is no fault: no round begins again because one was slow for some seconds.
SETTINGS = {"nodes": 4, "min_peers": 4, "grace": None, "stall_timeout": "20s"}
# Of who was held up, not of who may not come in.
HELD_UP = ("handshake-broken", "too-slow")
COMPLAINT = re.compile(r" : (WARNING|ERROR|CRITICAL) : ")


class Training(spire.Case):
    maxDiff = None

    def complaints(self, swarm):
        lines = [line for process in swarm.processes.values() for line in process.log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if COMPLAINT.search(line)]

    def end(self, swarm, number):
        """All nodes end with that round; answers the rounds, which the oracle has repeated."""
        swarm.end_file.write_text(str(number), encoding="ascii")
        swarm.wait(lambda: all(not swarm.processes[name].running() for name in swarm.names), "the end of all nodes", 60 + number)
        self.assertEqual({swarm.processes[name].child.returncode for name in swarm.names}, {0})
        rounds = swarm.rounds()
        Oracle(int(swarm.settings["FLOATS"])).check(rounds)
        self.assertEqual([told["round"] for told in rounds], list(range(number + 1)))
        for told in rounds:
            self.assertEqual(sorted(p["name"] for p in told["participants"]), swarm.names)
        again = [told["round"] for told in rounds if len(told["attempts"]) != 1]
        self.assertEqual(again, [], again and swarm.story())
        return rounds

    def test_the_same_model_as_on_pem_files(self):
        agent = self.agent(self.server(ca_ttl=CA_TTL, svid_ttl=SVID_TTL))
        swarm = self.begin(SpireSwarm(self.folder / "live", agent, train_ms=TRAIN_MS, **SETTINGS))
        swarm.start()
        swarm.wait_round(1)
        began = time.monotonic()
        everyone = ["sn", *swarm.names]

        def enough():
            if time.monotonic() - began < SECONDS or swarm.sealed() < ROUNDS_MIN:
                return False
            counts = [swarm.metrics(name) for name in everyone]
            return all(count.get("starling_identity_rotations_total", 0) > 3 and count.get("starling_identity_bundle_changes_total", 0) > 1
                       for count in counts)  # Each counts its first, too.

        swarm.wait(enough, "rotations and another CA at every node", SECONDS + 120)
        counts = {name: swarm.counts(name) for name in everyone}
        rounds = self.end(swarm, swarm.sealed() + 10)
        self.assertEqual(self.complaints(swarm), [])
        for name, count in counts.items():
            refused = {what: value for what, value in count.items() if what.startswith("starling_refused_total{") and value
                       and not any(f'"{reason}"' in what for reason in HELD_UP)}
            self.assertEqual(refused, {}, name)
            self.assertEqual(count["starling_identity_trouble"], 0, name)
            log = swarm.processes[name].log.read_text(encoding="utf-8")
            path = "/swarm/sn" if name == "sn" else f"/swarm/{name}/sl"
            news = re.findall(rf"identity: (?:first|new) certificate of spiffe://swarm\.test{path}\b", log)
            self.assertGreaterEqual(len(news), count["starling_identity_rotations_total"], name)
            self.assertRegex(log, r"identity: trust domain swarm\.test has [2-9]\d* CA certificates")
            print(f"{name}: {count['starling_identity_rotations_total']:.0f} rotations, "
                  f"{count['starling_identity_bundle_changes_total']:.0f} changes of the bundle", flush=True)
        still = self.begin(Swarm(self.folder / "still", train_ms=0, **SETTINGS))
        still.start()
        self.assertEqual(self.end(still, len(rounds) - 1)[-1]["root"], rounds[-1]["root"])
        print(f"{len(rounds)} rounds, the same final model", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
