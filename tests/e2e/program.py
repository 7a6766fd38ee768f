"""A training program of the end-to-end tests: numpy only, its updates are a function of (node, round). FAULT makes it misbehave;
with UNTIL it trains until that file exists."""
import os
import sys

import numpy as np
import starling

INDEX = int(os.environ["STARLING_NODE_INDEX"])
WEIGHTS = (1, 3, 100)
ROUNDS = 4
FAULT = os.environ.get("FAULT", "")


def update_of(number):
    """Tensors of this node's update of a round: every kind of float, whole numbers beyond 2^53."""
    rng = np.random.default_rng([INDEX, number])
    f32 = rng.standard_normal(300_000, dtype=np.float32)
    f32[:4] = (np.nan, np.inf, -np.inf, -0.0)
    if INDEX != 0:
        f32[:2] = (1.5, -2.25)
    if FAULT == "shape" and INDEX == 1:
        f32 = f32[:100]
    f16 = rng.standard_normal(1000).astype(np.float16)
    f16[:3] = (np.nan, np.inf, -0.0)
    bf16 = (rng.standard_normal(1000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    bf16[:3] = (0x7FC0, 0x7F80, 0x8000)
    i64 = rng.integers(-(1 << 62), 1 << 62, 1000)
    return {"f32": f32, "f16": f16, "bf16": bf16, "i64": i64}


def main():
    if FAULT == "no-sync":
        print("the data set is empty")
        sys.exit(3)
    tensors = update_of(0)
    specs = [starling.TensorSpec("bf16", "BF16", (1000,)) if name == "bf16" else starling.spec_of(name, array) for name, array in tensors.items()]
    session = starling.Session(say=print)
    session.open(specs, sync_interval=10, min_peers=int(os.environ["MIN_PEERS"]), weight=WEIGHTS[INDEX])
    until = os.environ.get("UNTIL")
    rounds = 1_000_000 if FAULT == "endless" or until else ROUNDS
    for number in range(rounds):
        for name, array in update_of(number).items():
            np.copyto(session.update[name], array)
        if FAULT == "exit" and INDEX == 1 and number == 2:
            print("out of memory")
            os._exit(7)
        last = os.path.exists(until) if until else number == rounds - 1
        merged = session.finish(batches=10, train_ms=5) if last else session.sync(batches=10 if number else 0, train_ms=5)
        if not merged.counted and not until:
            sys.exit(f"round {merged.round}: this node's update took no part")
        if last:
            break
    session.result(loss=0.25, metric=0.75)
    session.goodbye("done")


main()
