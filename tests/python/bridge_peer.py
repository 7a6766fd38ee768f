"""The SL's end of the bridge, for one program and scripted frame by frame. It knows the format only from
docs/formats/bridge.md and safetensors.md and shares no code with the client."""
import fcntl
import json
import math
import mmap
import os
import shutil
import socket
import struct
import tempfile
import threading

SECONDS = 60  # no wait of a test is longer
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1,
         "BOOL": 1}
ROOT = "sha256:" + "ab" * 32


def encode(frame):
    """The bytes of a frame; bytes are taken as its JSON."""
    body = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
    return struct.pack(">I", len(body)) + body


def opened_for(tensors, **changes):
    """(header of the model file, the frame `opened`) for the tensors of an `open` frame."""
    order = sorted(tensors, key=lambda tensor: (-BYTES[tensor["dtype"]], tensor["name"].encode()))
    entries, places, at = {}, [], 0
    for tensor in order:
        end = at + BYTES[tensor["dtype"]] * math.prod(tensor["shape"])
        entries[tensor["name"]] = {"dtype": tensor["dtype"], "shape": tensor["shape"], "data_offsets": [at, end]}
        places.append(dict(tensor, begin=at, end=end))
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    header = struct.pack("<Q", len(text)) + text
    for place in places:
        place["begin"] += len(header)
        place["end"] += len(header)
    size = len(header) + at
    return header, dict({"type": "opened", "bridge": 1, "size": size, "data_start": len(header),
                         "arena_bytes": -(-size // 4096) * 4096 + 4096, "tensors": places, "node": "a", "contract": "c",
                         "round": 0}, **changes)


def merged(**changes):
    """A frame `merged` of a round that went well."""
    return dict({"type": "merged", "round": 3, "root": ROOT, "counted": True, "next_interval": 8, "over": False,
                 "participants": ["a", "b"], "same_on": 1, "nodes": 2}, **changes)


def memory(size):
    """(descriptor, mapping) of a memfd whose size is sealed."""
    fd = os.memfd_create("arena", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd, mmap.mmap(fd, size)


class Peer:
    """Listens at `path` and runs `script(peer)` on a thread for the program that connects. `join` waits for the script's end
    and raises what it raised. A context manager."""

    def __init__(self, script):
        self._folder = tempfile.mkdtemp()
        self.path = os.path.join(self._folder, "s")
        self.heard = []
        self._script, self._failure, self._socket, self._fds = script, None, None, []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(4)
        self._listener.settimeout(SECONDS)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._socket, _ = self._listener.accept()
            self._socket.settimeout(SECONDS)
            self._stream = self._socket.makefile("rb")
            self._script(self)
        except BaseException as error:  # handed to the test by join
            self._failure = error
        finally:
            if self._socket is not None:
                self._stream.close()
                self._socket.close()

    def hear(self, kind):
        """The next frame, which must be of the type `kind`; None: the program closes the connection without another word."""
        head = self._stream.read(4)
        if kind is None:
            assert head == b""
            return None
        assert len(head) == 4, "the connection ended where {} was due".format(kind)
        frame = json.loads(self._stream.read(struct.unpack(">I", head)[0]))
        self.heard.append(frame)
        assert frame["type"] == kind
        return frame

    def say(self, *frames):
        """Sends frames, or bytes as the JSON of one."""
        for frame in frames:
            self._socket.sendall(encode(frame))

    def say_raw(self, data, fds=()):
        """Sends bytes as they are, with descriptors."""
        socket.send_fds(self._socket, [data], list(fds))

    def open(self, fds=2, shorter=0, **changes):
        """Answers `open`; `fds`: how many descriptors go with it; `shorter`: pages that the arenas lack; `changes`: members
        of `opened`."""
        header, frame = opened_for(self.hear("open")["tensors"], **changes)
        size = frame["arena_bytes"]
        made = [memory(max(4096, size - 4096 * shorter)) for _ in range(max(2, fds))]
        self._fds += [fd for fd, _ in made]
        self.update, self.merged = made[0][1], made[1][1]
        self.places = {place["name"]: place for place in frame["tensors"]}
        for mapping in (self.update, self.merged):
            mapping[: len(header)] = header
        self.size = frame["size"]
        self.say_raw(encode(frame), self._fds[:fds])

    def bytes_of(self, name):
        """What the update arena holds for the tensor `name`."""
        return self.update[self.places[name]["begin"]: self.places[name]["end"]]

    def merge(self, data_of):
        """Writes the merged model: `data_of` is a dict name -> bytes."""
        for name, data in data_of.items():
            self.merged[self.places[name]["begin"]: self.places[name]["end"]] = data

    def attention(self, word):
        """Sets the attention word."""
        struct.pack_into("<I", self.merged, len(self.merged) - 4096, word)

    def join(self):
        """Waits until the script has ended well."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the script of the SL hangs"
        if self._failure is not None:
            raise self._failure

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.join()
        finally:
            self._listener.close()
            for fd in self._fds:
                os.close(fd)
            shutil.rmtree(self._folder, ignore_errors=True)
