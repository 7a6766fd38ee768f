"""The round benchmark: seconds, CPU, bytes and memory of one round, for several numbers of nodes and sizes of model.

    ./dev bench [--nodes 2 4] [--mib 1 100 1024] [--rounds N]

A round counts from the last program's sync call to the last program's return, with every default on: Python client, mutual TLS,
fsync of the ledger, two witnesses, audits. Nothing is asserted; each figure stands beside its ratio to a floor of the same run
(memcpy, plain TCP on loopback), as machines differ and are noisy.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

HOME = Path(__file__).resolve().parent.parent
MIB = 1 << 20
GIB = 1 << 30


def memcpy_floor():
    """Seconds a GiB of a copy in memory."""
    source = np.ones(256 * MIB, dtype=np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    begin = time.monotonic()
    for _ in range(4):
        np.copyto(target, source)
    return time.monotonic() - begin


def tcp_floor():
    """(seconds, CPU-seconds) a GiB through one plain TCP connection on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    block = memoryview(bytes(MIB))

    def send():
        with socket.create_connection(listener.getsockname()) as line:
            for _ in range(1024):
                line.sendall(block)

    sender = threading.Thread(target=send)
    cpu, begin = time.process_time(), time.monotonic()
    sender.start()
    line, _address = listener.accept()
    buffer = bytearray(MIB)
    while line.recv_into(buffer):
        pass
    sender.join()
    listener.close()
    return time.monotonic() - begin, time.process_time() - cpu


def run(nodes, mib, rounds):
    """One swarm without training. Returns its figures."""
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as parent:
        directory = os.path.join(parent, "run")
        environment = dict(os.environ, BENCH_BYTES=str(mib * MIB), BENCH_ROUNDS=str(rounds))
        command = [os.environ["STARLING_BIN"], "run", "-n", str(nodes), "--dir", directory, "--quiet", "--", sys.executable,
                   str(HOME / "bench" / "program.py")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800, check=False)
        if done.returncode != 0:
            sys.exit(f"bench: {nodes} nodes, {mib} MiB: exit code {done.returncode}: {done.stderr.strip()}")
        notes = []
        for path in sorted(Path(directory).glob("node-*/model/times.json")):
            notes.append(json.loads(path.read_text(encoding="utf-8")))
    seconds = [max(note["returns"][i] for note in notes) - max(note["calls"][i] for note in notes) for i in range(rounds)]
    first = next(note for note in notes if note["before"])
    cpu = {kind: (first["after"]["cpu"][kind] - first["before"]["cpu"][kind]) / rounds for kind in first["before"]["cpu"]}
    moved = (first["after"]["loopback"] - first["before"]["loopback"]) / rounds
    return {"median": statistics.median(seconds), "low": min(seconds), "high": max(seconds), "cpu": cpu, "moved": moved,
            "peaks": first["after"]["peaks"]}


def main():
    parser = argparse.ArgumentParser(description="seconds, CPU, bytes and memory of a round")
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--mib", type=int, nargs="+", default=[1, 100, 1024])
    parser.add_argument("--rounds", type=int, help="measured rounds (default: 50 at 1 MiB, 8 at 100, 3 above)")
    options = parser.parse_args()
    os.environ.setdefault("STARLING_BIN", str(HOME / "build/release/bin/starling"))
    copy, (tcp_wall, tcp_cpu) = memcpy_floor(), tcp_floor()
    print(f"floors: memcpy {copy:.2f} s a GiB; plain TCP {tcp_wall:.2f} s and {tcp_cpu:.2f} CPU-s a GiB", flush=True)
    print(f"{'nodes':>5} {'MiB':>5} {'round ms: median (low - high)':>32} {'x TCP':>6} {'CPU-s':>7} {'x TCP':>6} {'MiB moved':>10} "
          f"{'x least':>7} {'peak RSS of SLs, MiB':>24} {'- 2 models':>10}")
    for mib in options.mib:
        for nodes in options.nodes:
            rounds = options.rounds or (50 if mib <= 10 else 8 if mib <= 100 else 3)
            figures = run(nodes, mib, rounds)
            cpu, moved = sum(figures["cpu"].values()), figures["moved"]
            least = 2 * (nodes - 1) * mib * MIB  # each other node's update to the leader, M back
            spread = f"{figures['median'] * 1e3:.1f} ({figures['low'] * 1e3:.1f} - {figures['high'] * 1e3:.1f})"
            peaks = "/".join(f"{peak / MIB:.0f}" for peak in figures["peaks"])
            over = max(figures["peaks"]) / MIB - 2 * mib
            print(f"{nodes:>5} {mib:>5} {spread:>32} {figures['median'] / (least / GIB * tcp_wall):>6.1f} {cpu:>7.3f} "
                  f"{cpu / (least / GIB * tcp_cpu):>6.1f} {moved / MIB:>10.1f} {moved / least:>7.2f} {peaks:>24} {over:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
