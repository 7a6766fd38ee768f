"""One SN and a hundred SLs, all real processes; their hundred programs are threads of this one. MANY_NODES, MANY_ROUNDS;
MANY_AUDIT: chunks that each node audits in each round (each audit is a request to each other node)."""
import os
import re
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import numpy as np
import starling
from oracle import Oracle
from swarm import Swarm
from updates import first_model, update_of

NODES = int(os.environ.get("MANY_NODES", "100"))
ROUNDS = int(os.environ.get("MANY_ROUNDS", "10"))
SN_MIB = 128  # what docs/formats/http.md promises of an SN with a hundred SLs
FLOATS = 1000


class Many(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="starling-many-")
        self.swarm = Swarm(Path(self.temporary.name) / "swarm", nodes=NODES, floats=FLOATS, min_peers=NODES, grace=None)
        self.swarm.rules = {"audit": os.environ.get("MANY_AUDIT", "0")}
        self.swarm.program = []  # each node waits at its socket
        self.ends = {}  # by node: the root of its last model, or what went wrong

    def tearDown(self):
        self.swarm.close()
        self.temporary.cleanup()

    def play(self, name):
        try:
            self.ends[name] = self.train(name)
        except Exception as error:  # noqa: BLE001: it is shown by the assertion
            self.ends[name] = error

    def train(self, name):
        session = starling.Session(path=str(self.swarm.directory / f"node-{name}" / "starling.sock"), connect_seconds=120)
        session.open([starling.TensorSpec("w", "F32", (FLOATS,))], sync_interval=10, min_peers=NODES, contract=self.swarm.training)
        np.copyto(session.update["w"], first_model(name, FLOATS))
        merged = session.sync(batches=0, train_ms=0)
        for number in range(1, ROUNDS + 1):
            np.copyto(session.update["w"], update_of(session.merged["w"], name, number))
            merged = (session.finish if number == ROUNDS else session.sync)(batches=10, train_ms=1)
        session.result(loss=0.25)
        session.goodbye("done")
        return merged.root

    def test_a_hundred_nodes_train_ten_rounds_on_one_sn(self):
        self.swarm.start()
        programs = [threading.Thread(target=self.play, args=(name,)) for name in self.swarm.names]
        for program in programs:
            program.start()
        for program in programs:
            program.join()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc", str(self.swarm.processes["sn"].child.pid), "status").read_text())[1]) / 1024
        self.assertEqual([type(end) for end in self.ends.values() if not isinstance(end, str)], [], self.ends)
        self.swarm.wait(lambda: all(not self.swarm.processes[name].running() for name in self.swarm.names), "the end of all nodes")
        self.assertEqual({self.swarm.processes[name].child.returncode for name in self.swarm.names}, {0})
        rounds = self.swarm.rounds()
        Oracle(FLOATS).check(rounds)
        self.assertEqual(set(self.ends.values()), {rounds[-1]["root"]})
        for told in rounds:
            self.assertEqual(sorted(p["name"] for p in told["participants"]), self.swarm.names)
        spans = [told["sealed_unix_ms"] - told["opened_unix_ms"] for told in rounds[1:]]
        print(f"{NODES} nodes, {len(rounds)} rounds, median {sorted(spans)[len(spans) // 2]} ms a round, SN's peak {peak:.0f} MiB", flush=True)
        self.assertLess(peak, SN_MIB)


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
