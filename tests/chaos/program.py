"""The deterministic trainer of the chaos tests: an update is a function of (base, node, round), so that whoever reads the log can repeat it.

Environment: NODE, FLOATS, TRAIN_MS, END: a file; the round after it has appeared is this node's last, or the round that is written in it;
OWN_ROUNDS: so many are enough without it. It may be started anew at any time; it goes on from the model that the swarm has."""
import os
import sys
import threading
import time

import numpy as np
import starling
from updates import first_model, update_of


def ends(number):
    try:
        with open(os.environ["END"], encoding="ascii") as file:
            return number >= int(file.read() or number)
    except FileNotFoundError:
        return False


def main():
    node, floats = os.environ["NODE"], int(os.environ["FLOATS"])
    train_ms = float(os.environ["TRAIN_MS"])
    session = starling.Session(say=lambda text: print(text, flush=True))
    session.open([starling.TensorSpec("w", "F32", (floats,))], sync_interval=10, min_peers=int(os.environ["MIN_PEERS"]),
                 contract=os.environ["STARLING_CONTRACT"])
    np.copyto(session.update["w"], first_model(node, floats))
    merged = session.sync(batches=0, train_ms=0)
    pause = threading.Event()  # Training takes a while: nothing ever sets it.
    left = int(os.environ.get("OWN_ROUNDS", "0"))  # 0: no end but END
    while not merged.over:
        began = time.monotonic()
        pause.wait(train_ms / 1000)
        number = merged.round + 1
        np.copyto(session.update["w"], update_of(session.merged["w"], node, number))
        left -= 1
        last = left == 0 or ends(number)
        merged = (session.finish if last else session.sync)(batches=10, train_ms=round(1000 * (time.monotonic() - began)))
        if last:
            break
    session.result(loss=0.25)
    session.goodbye("done")


if __name__ == "__main__":
    sys.exit(main())
