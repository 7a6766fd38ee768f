"""What the chaos tests' trainer computes, for the trainer and for the oracle that repeats it."""
import zlib

import numpy as np


def first_model(node, floats):
    return np.random.default_rng([zlib.crc32(node.encode()), 0xF125]).standard_normal(floats, dtype=np.float32)


def update_of(base, node, number):
    """float32 in, float32 out: the same bits wherever it is computed."""
    noise = np.random.default_rng([zlib.crc32(node.encode()), number]).standard_normal(base.shape[0], dtype=np.float32)
    return (base * np.float32(0.5) + noise).astype(np.float32)
