"""A fake SL, or several of one swarm, that speaks docs/formats/bridge.md and merges by plain means. Threads of a test."""
import fcntl
import json
import math
import mmap
import os
import socket
import struct
import tempfile
import threading

import numpy as np

from starling._layout import DTYPES
from starling._merkle import root_of

SECONDS = 60  # no wait of a test is longer


def frame(value):
    """The bytes of a frame."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack(">I", len(text)) + text


def layout(tensors):
    """(header bytes, [{name, dtype, shape, begin, end}]) of the canonical safetensors file."""
    order = sorted(tensors, key=lambda t: (-np.dtype(DTYPES[t["dtype"]]).itemsize, t["name"].encode()))
    at, places, header = 0, [], {}
    for tensor in order:
        end = at + math.prod(tensor["shape"]) * np.dtype(DTYPES[tensor["dtype"]]).itemsize
        header[tensor["name"]] = {"dtype": tensor["dtype"], "shape": tensor["shape"], "data_offsets": [at, end]}
        places.append(dict(tensor, begin=at, end=end))
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    start = 8 + len(text)
    for place in places:
        place["begin"] += start
        place["end"] += start
    return struct.pack("<Q", len(text)) + text, places


class Arena:
    """A sealed memfd with the header written."""

    def __init__(self, header, size):
        self.bytes = -(-size // 4096) * 4096 + 4096
        self.fd = os.memfd_create("arena", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.bytes)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.map = mmap.mmap(self.fd, self.bytes)
        self.map[:len(header)] = header

    def attention(self, value):
        """Sets the attention word."""
        struct.pack_into("<I", self.map, self.bytes - 4096, value)

    def view(self, place):
        """The tensor of `place`."""
        kind = np.dtype(DTYPES[place["dtype"]])
        return np.frombuffer(self.map, kind, math.prod(place["shape"]), place["begin"]).reshape(place["shape"])


class FakeSl:
    """One SL: `path` is its socket, `frames` what its program said, `failure` what went wrong in its thread."""

    def __init__(self, swarm, name):
        self.swarm, self.name = swarm, name
        self.path = os.path.join(swarm.folder, name + ".sock")
        self.frames, self.done, self.fin = [], threading.Event(), None
        self.update = self.merged = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(2)
        self._listener.settimeout(SECONDS)
        threading.Thread(target=self._serve, daemon=True).start()

    def of(self, kind):
        """The frames of one type."""
        return [f for f in self.frames if f["type"] == kind]

    def _serve(self):
        try:
            self.peer, _ = self._listener.accept()
            self.peer.settimeout(SECONDS)
            stream = self.peer.makefile("rb")
            with stream:
                while True:
                    head = stream.read(4)
                    if len(head) < 4:
                        break
                    self._take(json.loads(stream.read(struct.unpack(">I", head)[0])))
        except OSError:
            pass  # the test closed it
        finally:
            self._listener.close()
            if hasattr(self, "peer"):
                self.peer.close()
            self.swarm.left(self)
            self.done.set()

    def send(self, value):
        """Sends a frame, or raw JSON bytes as one."""
        self.peer.sendall(frame(value))

    def _take(self, said):
        self.frames.append(said)
        answer = self.swarm.script(self, said)
        if answer is not None:
            for one in answer:
                self.peer.close() if one is None else self.peer.sendall(one)
                if one is None:
                    self.peer.shutdown(socket.SHUT_RDWR)
        elif said["type"] == "open":
            self._open(said)
        elif said["type"] in ("sync", "finish"):
            self.swarm.offer(self, said)
        elif said["type"] == "result":
            self.send({"type": "ok"})

    def _open(self, said):
        header, self.places = layout(said["tensors"])
        size = max([len(header)] + [place["end"] for place in self.places])
        self.size = size
        self.update, self.merged = Arena(header, size), Arena(header, size)
        opened = {"type": "opened", "bridge": 1, "size": size, "data_start": len(header), "arena_bytes": self.update.bytes,
                  "tensors": self.places, "node": self.name, "contract": said["contract"], "round": 0}
        opened.update(self.swarm.opened)
        socket.send_fds(self.peer, [frame(opened)], [self.update.fd, self.merged.fd][:self.swarm.fds])


class FakeSwarm:
    """`count` SLs, whose programs must all offer before a round is merged; over when all have finished, or, with
    `rounds`, after that many. `merged` and `opened` overwrite members of those frames; `script(sl, frame)` may return
    raw answers (bytes, or None to hang up) instead of the normal ones. Use as a context manager."""

    def __init__(self, count=1, rounds=None, merged=None, opened=None, fds=2, script=None):
        self._temp = tempfile.TemporaryDirectory()
        self.folder = self._temp.name
        self.rounds, self.override, self.opened, self.fds = rounds, merged or {}, opened or {}, fds
        self.script = script or (lambda sl, said: None)
        self.round, self.roots, self._lock, self._offers = 0, [], threading.Lock(), {}
        self.before_merge = lambda: None
        self.sls = [FakeSl(self, "node%d" % i) for i in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sl in self.sls:
            sl._listener.close()
        self._temp.cleanup()

    def left(self, sl):
        """A program is gone: others do not wait for it."""
        with self._lock:
            self._offers.pop(sl, None)

    def offer(self, sl, said):
        """Takes an offer and merges when it was the last one."""
        with self._lock:
            self._offers[sl] = said
            if len(self._offers) < len(self.sls):
                return
            self.before_merge()
            over = all(o["type"] == "finish" for o in self._offers.values()) or self.round + 1 == self.rounds
            root, number = self._merge(), self.round
            self.roots.append(root)  # before any program hears of it
            self.round += 1
            asked = [o for o, s in self._offers.items() if s["type"] == "sync" or over]
            for one in asked:
                merged = {"type": "merged", "round": number, "root": root, "counted": True, "over": over,
                          "next_interval": one.frames[0]["rules"]["sync_interval"], "participants": [s.name for s in self.sls],
                          "same_on": len(self.sls), "nodes": len(self.sls)}
                if self._offers[one]["type"] == "sync":
                    del self._offers[one]
                one.send(dict(merged, **self.override))

    def _merge(self):
        for place in self.sls[0].places:
            values = [sl.update.view(place) for sl in self.sls]
            if len(values) == 1:
                mean = values[0].copy()
            elif place["dtype"] == "BF16":
                wide = np.mean([(v.astype(np.uint32) << 16).view(np.float32) for v in values], axis=0, dtype=np.float32)
                mean = (np.asarray(wide).view(np.uint32) >> 16).astype(np.uint16)
            elif values[0].dtype.kind == "f":
                mean = np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
            else:
                mean = values[0].copy()
            for sl in self.sls:
                sl.merged.view(place)[...] = mean
        return root_of(memoryview(self.sls[0].merged.map)[:self.sls[0].size])


def shows(lines, *texts):
    """Whether `lines` hold lines with these texts, in this order."""
    rest = iter(lines)
    return all(any(text in line for line in rest) for text in texts)


class Lines:
    """A logger that keeps `level: text`."""

    def __init__(self):
        self.lines = []
        for level in ("debug", "info", "warning", "error"):
            setattr(self, level, lambda text, level=level: self.lines.append(level + ": " + text))


def threads(*works):
    """Runs all at once; returns their results; raises the first failure."""
    results, failures = [None] * len(works), []

    def run(index):
        try:
            results[index] = works[index]()
        except BaseException as error:  # handed to the test
            failures.append(error)
    running = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(works))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(SECONDS)
        assert not thread.is_alive(), "it hangs"
    if failures:
        raise failures[0]
    return results
