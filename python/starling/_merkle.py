"""The root of a model: Merkle root of its blob (docs/formats/safetensors.md), RFC 6962 with SHA-256 over chunks of 1 MiB.
Pure; any thread."""
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

CHUNK_BYTES = 1 << 20
_IN_PARALLEL_FROM = 16


def _leaf(chunk):
    digest = hashlib.sha256(b"\0")
    digest.update(chunk)  # Lets other threads run meanwhile.
    return digest.digest()


def _root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1  # the largest power of two below
    return hashlib.sha256(b"\1" + _root(leaves[:left]) + _root(leaves[left:])).digest()


def root_of(blob):
    """`sha256:…` of `blob` (bytes-like, one dimension of bytes). Borrows it until it returns."""
    view = memoryview(blob)
    chunks = [view[at: at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES)]
    if not chunks:
        return "sha256:" + hashlib.sha256(b"").hexdigest()
    if len(chunks) < _IN_PARALLEL_FROM:
        leaves = [_leaf(chunk) for chunk in chunks]
    else:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            leaves = list(pool.map(_leaf, chunks))
    return "sha256:" + _root(leaves).hex()


def short(root):
    """The 8 digits that people see of a root."""
    return root.split(":", 1)[-1][:8]
