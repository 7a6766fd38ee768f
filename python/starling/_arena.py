"""The two shared-memory arenas (docs/formats/bridge.md), as numpy views. No byte is copied here.

Ownership of the *bytes* is the bridge's rule, which Session keeps: between `sync` or `finish` and its answer they are the
SL's. The views keep the mapping alive; it ends when the last of them is gone. One thread.
"""
import array
import mmap
import os
import socket
import struct

import numpy as np

from starling._errors import client_error
from starling._layout import CONTROL_BYTES, DTYPES

_WORD = struct.Struct("<I")
_FDS_MAX = 2  # [update, merged]


def receive(sock, count):
    """(bytes, file descriptors): at most `count` bytes from the Unix socket `sock`, b"" at its end, and the descriptors that
    came with them, close-on-exec, which the caller owns. Raises OSError, socket.timeout. More than two descriptors: all are
    closed, SwarmError."""
    space = socket.CMSG_SPACE((_FDS_MAX + 1) * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(count, space, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if len(fds) > _FDS_MAX or flags & socket.MSG_CTRUNC:
        close_all(fds)
        raise client_error("bad-frame", "the SL sent more than two file descriptors")
    return data, list(fds)


def close_all(fds):
    """Closes descriptors that are not needed."""
    for fd in fds:
        os.close(fd)


def _map(fd, length, protection):
    # A mapping beyond the end of its file would be a SIGBUS later; an SL seals the size before it passes the descriptor.
    if os.fstat(fd).st_size < length:
        raise client_error("bad-frame", "an arena is shorter than the SL said")
    return mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=protection)


def _views(memory, places):
    return {place.spec.name: np.ndarray(place.spec.shape, DTYPES[place.spec.dtype], memory, place.begin) for place in places}


class Arenas:
    """`update`: name -> writable array over the update arena. `merged`: name -> read-only array over the merged arena.
    Shapes and dtypes are those of `opened.places` (bfloat16: uint16 words), names in the order of the blob."""

    def __init__(self, opened, fds):
        """Maps what `fds` ([update, merged]) name, and closes them in any case."""
        try:
            if len(fds) != _FDS_MAX:
                raise client_error("bad-frame", "the SL sent {} file descriptors with opened; 2 are needed".format(len(fds)))
            update = _map(fds[0], opened.arena_bytes, mmap.PROT_READ | mmap.PROT_WRITE)
            merged = _map(fds[1], opened.arena_bytes, mmap.PROT_READ)
        finally:
            close_all(fds)
        self.update = _views(update, opened.places)
        self.merged = _views(merged, opened.places)
        self.merged_blob = memoryview(merged)[: opened.size]
        self._merged = merged
        self._attention_at = opened.arena_bytes - CONTROL_BYTES

    def attention(self):
        """Whether the swarm has gone on or is over, so that the program should sync at this batch's end. One read."""
        return _WORD.unpack_from(self._merged, self._attention_at)[0] != 0
