"""Whole swarms of real processes: `starling run`, explain and verify, against an oracle in numpy. Run by ctest (label e2e)."""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

HOME = Path(__file__).resolve().parents[2]
STARLING = os.environ.get("STARLING_BIN", str(HOME / "build/release/bin/starling"))
PROGRAM = str(HOME / "tests/e2e/program.py")
WEIGHTS = {"a": 1, "b": 3, "c": 100}


def starling(*arguments, **environment):
    full = dict(os.environ, PYTHONPATH=str(HOME / "python"), **environment)
    return subprocess.run([STARLING, *arguments], capture_output=True, text=True, timeout=120, env=full, check=False)


def run(directory, *flags, **environment):
    return starling("run", "-n", "3", *flags, "--dir", directory, "--keep-updates", "--", sys.executable, PROGRAM, **environment)


def tensors_of(path):
    """A model or update from disk, by the safetensors format alone."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}
    out = {}
    for name, place in json.loads(data[8:8 + length]).items():
        begin, end = (8 + length + offset for offset in place["data_offsets"])
        out[name] = np.frombuffer(data[begin:end], dtype=kinds[place["dtype"]])
    return out


def float_mean(arrays, weights, round_once):
    """PROTOCOL's mean: in double, in order, non-finite terms skipped, one division, one rounding."""
    total, weight = np.zeros(arrays[0].shape), np.zeros(arrays[0].shape)
    for array, w in zip(arrays, weights):
        finite = np.isfinite(array)
        total[finite] += w * array[finite]
        weight[finite] += w
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / weight
    return round_once(mean), weight > 0


def bf16_of(mean):
    """double to bfloat16 in one rounding, ties to even: by exact search among the two neighbours."""
    low = (np.abs(mean).astype(np.float32).view(np.uint32) >> 16).astype(np.uint32)
    value = lambda bits: (bits << 16).view(np.float32).astype(np.float64)  # noqa: E731
    low = np.where(value(low) > np.abs(mean), low - 1, low).astype(np.uint32)
    below, above = np.abs(mean) - value(low), value(low + np.uint32(1)) - np.abs(mean)
    up = (above < below) | ((above == below) & (low % 2 == 1))
    return ((low + up) | np.where(np.signbit(mean), 0x8000, 0)).astype(np.uint16)


class Swarm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="starling-e2e-")
        cls.directory = os.path.join(cls.temporary.name, "good")
        cls.done = run(cls.directory, "--min-peers", "3")  # Nobody is left out for being slow.

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def fresh(self, name):
        return os.path.join(self.temporary.name, name)

    def node_file(self, node, folder, number):
        return next(Path(self.directory, f"node-{node}", folder).glob(f"{number}-*.safetensors"))

    def test_three_nodes_finish_with_the_same_bytes(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr + self.done.stdout)
        self.assertIn("same final model on 3 of 3 nodes", self.done.stdout)
        files = {self.node_file(node, "models", 3).read_bytes() for node in "abc"}
        self.assertEqual(len(files), 1)

    def test_every_merge_equals_numpys_bit_for_bit(self):
        for number in (1, 2, 3):
            updates = {node: tensors_of(self.node_file(node, "updates", number)) for node in "abc"}
            base = tensors_of(self.node_file("a", "models", number - 1))
            merged = tensors_of(self.node_file("a", "models", number))
            weights = [WEIGHTS[node] for node in "abc"]
            for name, kind in (("f32", np.float32), ("f16", np.float16)):
                mean, known = float_mean([updates[node][name].astype(np.float64) for node in "abc"], weights, lambda m, k=kind: m.astype(k))
                expected = np.where(known, mean, base[name])
                nan = np.isnan(expected)
                self.assertTrue(np.array_equal(expected[~nan].view(np.uint8), merged[name][~nan].view(np.uint8)), name)
                self.assertTrue(np.isnan(merged[name][nan]).all())
            wide = [(updates[node]["bf16"].astype(np.uint32) << 16).view(np.float32).astype(np.float64) for node in "abc"]
            mean, known = float_mean(wide, weights, bf16_of)
            self.assertTrue(np.array_equal(np.where(known, mean, base["bf16"])[known], merged["bf16"][known]))
            for i in range(0, 1000, 37):
                total = sum(w * int(updates[node]["i64"][i]) for node, w in WEIGHTS.items())
                quotient, rest = divmod(total, sum(weights))
                quotient += 2 * rest > sum(weights) or (2 * rest == sum(weights) and quotient % 2)
                self.assertEqual(int(merged["i64"][i]), quotient)

    def test_explain_tells_each_round(self):
        text = starling("explain", self.directory).stdout
        for part in ("Round 3: 3 of 3 nodes took part", "weight 100", "moved by", "led", "same final model on 3 of 3 nodes", "MiB moved"):
            self.assertIn(part, text)

    def test_verify_repeats_every_merge_and_names_an_altered_chunk(self):
        good = starling("verify", self.directory)
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertIn("4 merges repeated, 0 not", good.stdout)
        victim = self.node_file("b", "updates", 2)
        original = victim.read_bytes()
        changed = bytearray(original)
        changed[(1 << 20) + 5] ^= 1
        victim.write_bytes(changed)
        bad = starling("verify", self.directory)
        victim.write_bytes(original)
        self.assertEqual(bad.returncode, 1)
        self.assertIn(f"{victim}: chunk 1 of 2 differs", bad.stderr)

    def test_a_program_without_a_sync_is_an_error_with_its_last_lines(self):
        done = run(self.fresh("no-sync"), FAULT="no-sync")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertRegex(done.stderr, r"without a single sync; it said last: .*the data set is empty")
        logs = "".join(path.read_text(encoding="utf-8") for path in Path(self.fresh("no-sync")).glob("node-*/log.txt"))
        self.assertRegex(logs, r"(?s)the data set is empty.*without a single sync")

    def test_a_program_that_dies_ends_the_run_with_one_line(self):
        done = run(self.fresh("exit"), FAULT="exit")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn("node b ended with exit code 7", done.stderr)

    def test_another_model_shape_is_refused_with_the_difference(self):
        done = run(self.fresh("shape"), FAULT="shape")
        self.assertEqual(done.returncode, 1)
        logs = "".join(path.read_text(encoding="utf-8") for path in Path(self.fresh("shape")).glob("node-*/log.txt"))
        self.assertRegex(logs, r"f32: F32 \[(100|300000)\] here, F32 \[(100|300000)\] there")

    def test_killing_any_part_ends_the_run_with_one_line(self):
        for part, words in (("sn", "network node was killed by signal 9"), ("sl", "node b was killed by signal 9"), ("program", "node b ended with exit code")):
            with self.subTest(part):
                directory = self.fresh("kill-" + part)
                environment = dict(os.environ, PYTHONPATH=str(HOME / "python"), FAULT="endless")
                child = subprocess.Popen([STARLING, "run", "-n", "3", "--dir", directory, "--", sys.executable, PROGRAM], env=environment,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                while "round 2" not in child.stdout.readline().lower():
                    self.assertIsNone(child.poll())
                os.kill(self.pid_of(part, directory), signal.SIGKILL)
                _out, err = child.communicate(timeout=60)
                self.assertEqual(child.returncode, 1, err)
                self.assertEqual(len(err.strip().splitlines()), 1, err)
                self.assertIn(words, err)
                self.assertEqual(_processes_of(directory), [])

    def test_a_killed_leader_is_started_again_and_no_round_is_lost(self):
        directory, until = self.fresh("kill-leader"), self.fresh("kill-leader-until")
        environment = dict(os.environ, PYTHONPATH=str(HOME / "python"), UNTIL=until)
        child = subprocess.Popen([STARLING, "run", "-n", "3", "--kill-leader", "--dir", directory, "--", sys.executable, PROGRAM], env=environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen, back = [], False
        for line in child.stdout:
            seen.append(line)
            back = back or "is started again" in line
            if back and re.match(r"round +\d+ +a b c ", line):
                Path(until).touch()
        child.stdout.close()
        error = child.stderr.read()
        child.stderr.close()
        self.assertEqual(child.wait(timeout=60), 0, error)
        text = "".join(seen)
        self.assertRegex(text, r"node (\w) was killed while it led round \d+")
        self.assertIn("same final model on 3 of 3 nodes", text)
        killed = re.search(r"node (\w) was killed while it led round (\d+)", text)
        rounds = json.loads(starling("explain", "--json", directory).stdout)["rounds"]
        self.assertEqual([told["round"] for told in rounds], list(range(len(rounds))))
        struck = rounds[int(killed[2])]
        self.assertEqual(struck["leaders"][0], killed[1])
        self.assertNotEqual(struck["leaders"][-1], killed[1])
        self.assertEqual(starling("verify", directory).returncode, 0)
        self.assertEqual(_processes_of(directory), [])

    def pid_of(self, part, directory):
        """The SN, the SL of node b, or its program: the child of that SL."""
        folder = os.path.join(directory, "sn" if part == "sn" else "node-b")
        daemon = next(pid for pid in _processes_of(folder) if f"--state-dir\0{folder}\0" in _proc_file(pid, "cmdline"))
        if part != "program":
            return int(daemon)
        return int(Path("/proc", daemon, "task", daemon, "children").read_text(encoding="ascii").split()[0])

    def test_ctrl_c_leaves_no_process_behind(self):
        directory = self.fresh("interrupt")
        environment = dict(os.environ, PYTHONPATH=str(HOME / "python"))
        child = subprocess.Popen([STARLING, "run", "-n", "2", "--dir", directory, "--", sys.executable, "-c", "print('here', flush=True); input()"], env=environment,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        child.stdout.readline()  # the nodes are about to start
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        self.assertNotEqual(child.returncode, 0)
        self.assertEqual(_processes_of(directory), [])


def _processes_of(directory):
    """Daemons have the directory in their arguments, programs in their environment."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and directory in _proc_file(pid, "cmdline") + _proc_file(pid, "environ")]


def _proc_file(pid, name):
    try:
        return Path("/proc", pid, name).read_bytes().decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    unittest.main(verbosity=2)
