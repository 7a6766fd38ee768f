"""One training program of the round benchmark: no training, K syncs of a float32 model of a given size.

Writes $MODEL_DIR/times.json: monotonic seconds of each call and return. Node 0 also notes, before the first measured round and after
the last, what all processes of the run have used.
"""
import json
import os
import time

import numpy as np
import starling


def swarm_processes(directory):
    """pid -> kind ("sn", "sl", "program") of the run in `directory`, from /proc."""
    kinds, parents = {}, {}
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                parents[pid] = file.read().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        if len(words) > 1 and words[1] in ("sn", "sl") and any(word.startswith(directory) for word in words):
            kinds[pid] = words[1]
    for pid, parent in parents.items():
        if kinds.get(parent) == "sl":
            kinds[pid] = "program"
    return kinds


def usage(directory):
    """CPU seconds by kind, peak RSS in bytes of each SL, bytes through the loopback device so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    cpu, peaks = {"sn": 0.0, "sl": 0.0, "program": 0.0}, []
    for pid, kind in swarm_processes(directory).items():
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            cpu[kind] += (int(fields[11]) + int(fields[12])) / ticks
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.split(":", 1) for line in file if ":" in line)
            if kind == "sl":
                peaks.append(int(status["VmHWM"].split()[0]) * 1024)
        except (OSError, IndexError, KeyError):
            continue
    with open("/proc/net/dev", encoding="utf-8") as file:
        loopback = next(int(line.split(":")[1].split()[0]) for line in file if line.strip().startswith("lo:"))
    return {"cpu": cpu, "peaks": sorted(peaks), "loopback": loopback}


def main():
    floats = int(os.environ["BENCH_BYTES"]) // 4
    rounds = int(os.environ["BENCH_ROUNDS"])
    index = int(os.environ["STARLING_NODE_INDEX"])
    model_dir = os.environ["MODEL_DIR"]
    directory = os.path.dirname(os.path.dirname(model_dir))
    model = np.random.default_rng(index).standard_normal(floats, dtype=np.float32)
    session = starling.Session()
    session.open([starling.spec_of("w", model)], sync_interval=1, min_peers=int(os.environ["MIN_PEERS"]))
    calls, returns = [], []
    before = None
    for number in range(rounds + 2):  # two to warm up
        np.copyto(session.update["w"], model)
        if number == 2 and index == 0:
            before = usage(directory)
        calls.append(time.monotonic())
        merged = session.sync(batches=0, train_ms=0)
        np.copyto(model, session.merged["w"])
        returns.append(time.monotonic())
        if not merged.counted and number > 0:
            raise SystemExit(f"round {merged.round}: this node's update took no part")
    after = usage(directory) if index == 0 else None
    np.copyto(session.update["w"], model)
    session.finish(batches=0, train_ms=0)
    session.goodbye("done")
    with open(os.path.join(model_dir, "times.json"), "w", encoding="utf-8") as file:
        json.dump({"calls": calls[2:], "returns": returns[2:], "before": before, "after": after}, file)


main()
