"""Repeats a whole training from the log alone: who took part in each round, with which update, and what came of it. No file of any
node is read; updates come from updates.py, merges from numpy."""
import json
import struct

import numpy as np
from starling import _merkle
from updates import first_model, update_of

BACK = 6  # how many rounds old the base of an update may be


def root_of(floats):
    """The root of a model with the one tensor `w` (docs/formats/safetensors.md: header padded to 64 bytes)."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(floats)], "data_offsets": [0, 4 * len(floats)]}}, separators=(",", ":"))
    raw = header.encode()
    raw += b" " * (-(8 + len(raw)) % 64)
    return _merkle.root_of(struct.pack("<Q", len(raw)) + raw + floats.tobytes())


def mean(updates):
    """Every weight is 1: the sum in double in the order of names, one division, one rounding."""
    total = np.zeros(updates[0].shape)
    for update in updates:
        total += update.astype(np.float64)
    return (total / len(updates)).astype(np.float32)


class Oracle:
    """`check(rounds)` takes the rounds of `starling explain --json` and raises AssertionError where the log says another thing."""

    def __init__(self, floats):
        self.floats = floats
        self.models = {}  # sealed round -> model

    def _update(self, name, root, number):
        """The update with that root: what `name` trained from a base of late, or its first model."""
        for base in range(number - 1, max(-1, number - 1 - BACK), -1):
            candidate = update_of(self.models[base], name, base + 1)
            if root_of(candidate) == root:
                return candidate
        candidate = first_model(name, self.floats)
        assert root_of(candidate) == root, f"round {number}: {name} offered {root}, which no base of late gives"
        return candidate

    def check(self, rounds):
        for told in rounds:
            number = told["round"]
            assert number == len(self.models), f"round {number} comes after {len(self.models)} rounds"
            if number == 0:
                leader = told["leaders"][-1]
                model = first_model(leader, self.floats)
            else:
                model = mean([self._update(p["name"], p["update"], number) for p in told["participants"] if p.get("update")])
            assert root_of(model) == told["root"], f"round {number}: the oracle has {root_of(model)}, the log {told['root']}"
            self.models[number] = model
