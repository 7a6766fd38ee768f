"""Session: the client's end of the bridge to the SL beside this program (docs/formats/bridge.md).

    session = Session()
    session.open(specs, sync_interval=128, min_peers=2)
    session.update["w"][...] = w                # numpy views of shared memory
    merged = session.sync(batches=0, train_ms=0)
    w[...] = session.merged["w"]

Order: `open`, `sync` any number of times, `finish`, `result`, `goodbye`. Every failure is a SwarmError of one line; after one
the session is of no more use than `log`, `goodbye` and `close`. One thread at a time. Waiting can be interrupted with Ctrl-C.
"""
import errno
import math
import os
import re
import socket
import time
from typing import NamedTuple, Tuple

from starling import _arena, _farewell
from starling._errors import SwarmError, client_error, one_line
from starling._frames import BRIDGE_VERSION, LOG_LINES_MAX, FrameReader, bad_frame, encode
from starling._layout import TENSORS_MAX, parse_opened
from starling._merkle import root_of
from starling._version import VERSION

CLIENT = "starling-python " + VERSION
DEFAULT_CONTRACT = "defaultbb.cqdb.sml.hpe"
DEFAULT_SOCKET = "/tmp/channel/starling.sock"
CONNECT_SECONDS = 600.0
SAY_SECONDS = 5.0        # between two words on what is waited for
SILENCE_SECONDS = 30.0   # an SL that says nothing for so long is worth a word
SEND_SECONDS = 60.0      # an SL reads a frame at once, or after hashing an update
FAREWELL_SECONDS = 2.0   # neither a slow nor a dead SL holds up the end of a program
RETRY_SECONDS = 0.1
MODES = ("snapshot", "active", "inactive")

_RECEIVE_BYTES = 1 << 16
_WHOLE_BYTES = 1 << 14
_ROOT = re.compile(r"sha256:[0-9a-f]{64}")
_RETRY = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN)


class Merged(NamedTuple):
    """A round that has been merged. `counted`: False when this node's update took no part, so that its interval must be
    trained again. `next_interval`: batches until the next sync, 0 when the SL leaves it open. `over`: the training is done and
    this is the final model. `same_on` of `nodes` are known so far to hold this root."""

    round: int
    root: str
    counted: bool
    next_interval: int
    over: bool
    participants: Tuple[str, ...]
    same_on: int
    nodes: int


def socket_path(environ):
    """Where the SL listens, by the environment: STARLING_SOCKET, else beside HPE's SL_REQUEST_CHANNEL, else the default."""
    if environ.get("STARLING_SOCKET"):
        return environ["STARLING_SOCKET"]
    if environ.get("SL_REQUEST_CHANNEL"):
        return os.path.join(os.path.dirname(environ["SL_REQUEST_CHANNEL"]), "starling.sock")
    return DEFAULT_SOCKET


def _connect_seconds(environ):
    text = environ.get("STARLING_CONNECT_SECONDS") or str(CONNECT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e6:
        raise client_error("bad-setting", "STARLING_CONNECT_SECONDS={}: a number of seconds is expected".format(text))
    return seconds


def _parse_merged(frame):
    count = {name: frame.get(name) for name in ("round", "next_interval", "same_on", "nodes")}
    names = frame.get("participants")
    good = all(type(n) is int and 0 <= n < 1 << 53 for n in count.values()) and all(
        isinstance(frame.get(name), bool) for name in ("counted", "over"))
    if not good or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad_frame("merged: a member is missing or of another type")
    if not isinstance(frame.get("root"), str) or not _ROOT.fullmatch(frame["root"]):
        raise bad_frame("merged: root is sha256: and 64 hexadecimal digits")
    return Merged(count["round"], frame["root"], frame["counted"], count["next_interval"], frame["over"],
                  tuple(one_line(name, 128) for name in names), count["same_on"], count["nodes"])


def _measures(**values):
    """Those values that were measured and are finite: "no metric" is not 0."""
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(float(value))}


def _said(frame):
    parts = [str(frame.get(name, "")) for name in ("cause", "code", "component", "next")]
    return SwarmError(*parts, from_sl=True)


class Session:
    """See above. Owns the socket and, from `open` on, the two mappings (the views keep them alive).

    `path`: of the SL's socket, default by the environment. `say(text)`: hears what is waited for, default silence.
    `clock`, `pause`: seconds, for tests.
    """

    def __init__(self, path=None, connect_seconds=None, say=None, clock=time.monotonic, pause=time.sleep,
                 silence_seconds=SILENCE_SECONDS):
        self._path = path or socket_path(os.environ)
        self._connect_seconds = _connect_seconds(os.environ) if connect_seconds is None else connect_seconds
        self._say = say or (lambda text: None)
        self._clock = clock
        self._pause = pause
        self._silence_seconds = silence_seconds
        self._socket = None
        self._reader = FrameReader()
        self._arenas = None
        self._state = "new"  # then open, over, closed; or broken
        self._torn = False   # a frame was sent in part: nothing can follow it
        self._fds = []

    # --- what the program sees ---

    @property
    def update(self):
        """name -> writable array: where the parameters go before `sync` and `finish`. The SL's between those and their
        answer, and for good after `finish`."""
        return self._require_arenas().update

    @property
    def merged(self):
        """name -> read-only array: the model merged last. It is overwritten by the next `sync`: copy out of it."""
        return self._require_arenas().merged

    @property
    def over(self):
        """Whether the training is done."""
        return self._state == "over"

    def attention(self):
        """Whether the swarm waits for this program, or has gone on without it: sync at this batch's end."""
        return self._arenas.attention()

    def merged_root(self):
        """The root of the bytes in the merged arena, computed here (about a second a GiB)."""
        return root_of(self._require_arenas().merged_blob)

    def _require_arenas(self):
        if self._arenas is None:
            raise client_error("not-open", "the session is not open", "call open() first")
        return self._arenas

    # --- requests ---

    def open(self, specs, sync_interval, min_peers, merge="mean", contract=DEFAULT_CONTRACT, weight=1, platform="NUMPY",
             total_epochs=0):
        """Connects (waits for the SL), states the model and the rules, and maps the arenas. `specs`: TensorSpec of each
        parameter, in any order. Answers Opened. The swarm refuses another model or other rules than its own."""
        specs = list(specs)
        by_name = {spec.name: spec for spec in specs}
        if not specs or len(specs) > TENSORS_MAX or len(by_name) != len(specs):
            raise client_error("bad-model", "a model has 1 to {:,} parameters, each with a name of its own".format(TENSORS_MAX))
        if self._state != "new":
            raise client_error("session-used", "a session is opened once", "make a new Session")
        frame = {"type": "open", "bridge": BRIDGE_VERSION, "client": CLIENT, "platform": platform, "contract": contract,
                 "weight": weight, "rules": {"sync_interval": sync_interval, "min_peers": min_peers, "merge": merge},
                 "tensors": [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in specs],
                 "total_epochs": total_epochs, "pid": os.getpid()}
        data = encode(frame)
        self._state = "broken"
        _farewell.obey_term()
        self._connect()
        _farewell.watch(self)
        self._send(data)
        opened = parse_opened(self._answer("opened"), by_name)
        fds, self._fds = self._fds, []
        self._arenas = _arena.Arenas(opened, fds)
        self._state = "open"
        return opened

    def sync(self, batches, train_ms, epoch=0, loss=None, metric=None, base_loss=None, base_metric=None):
        """Offers the update arena to the round and waits until it is merged. `batches` were trained since the last merge,
        in `train_ms`; `loss`, `metric`: of the offered model; `base_…`: of the model merged last. Answers Merged."""
        return self._exchange({"type": "sync", "batches": batches, "train_ms": train_ms, "epoch": epoch, **_measures(
            loss=loss, metric=metric, base_loss=base_loss, base_metric=base_metric)})

    def finish(self, batches, train_ms, epoch=0, mode="snapshot", loss=None, metric=None, base_loss=None, base_metric=None):
        """As `sync`, for the last time: waits until the whole swarm has finished, and answers the final model."""
        if mode not in MODES:
            raise client_error("bad-setting", "mode is one of " + ", ".join(MODES))
        merged = self._exchange({"type": "finish", "mode": mode, "batches": batches, "train_ms": train_ms, "epoch": epoch,
                                 **_measures(loss=loss, metric=metric, base_loss=base_loss, base_metric=base_metric)})
        if not merged.over:
            self._state = "broken"
            raise bad_frame("the SL answered finish with a model that is not final")
        return merged

    def result(self, loss=None, metric=None):
        """Tells what the final model is worth. False when the SL has left meanwhile: nothing is owed to anyone any more."""
        if self._state != "over":
            raise client_error("not-over", "result is for the final model", "call finish() first")
        try:
            self._socket.settimeout(FAREWELL_SECONDS)
            self._send(encode({"type": "result", **_measures(loss=loss, metric=metric)}))
            self._answer("ok", patience=1)
        except SwarmError:
            return False
        return True

    def log(self, lines, level="ERROR"):
        """Hands over the last lines (20 are kept) of a program that fails."""
        self._send(encode({"type": "log", "level": level, "lines": [one_line(line, 500) for line in lines][-LOG_LINES_MAX:]}))

    def goodbye(self, reason="done", exception=None):
        """Ends the session. `reason`: done or exception. Never raises: there may be nobody left to hear it."""
        frame = {"type": "goodbye", "reason": reason}
        if exception is not None:
            frame["exception"] = one_line(exception, 500)
        self._last_word([frame])

    def fail(self, exception, lines):
        """The program raises: hands over its last lines and ends the session. Never raises."""
        if self._state == "over":
            return self.goodbye()
        return self._last_word([{"type": "log", "level": "ERROR", "lines": [one_line(line, 500) for line in lines]},
                                {"type": "goodbye", "reason": "exception", "exception": one_line(exception, 500)}])

    def leave(self, why):
        """The program ends: well if its training is over, else with `why`."""
        if self._state == "over":
            self.goodbye()
        else:
            self.goodbye("exception", why)

    def close(self):
        """Closes the socket without a word. The views stay valid."""
        _farewell.forget(self)
        if self._state != "over":
            self._state = "closed"
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        _arena.close_all(self._fds)
        self._fds = []

    # --- the socket ---

    def _last_word(self, frames):
        try:
            if self._socket is not None and not self._torn:
                self._socket.settimeout(FAREWELL_SECONDS)
                for frame in frames:
                    self._socket.sendall(encode(frame))
        except (OSError, SwarmError):
            pass  # The SL is gone; it sees the same from its side.
        finally:
            self.close()

    def _connect(self):
        began = self._clock()
        said = -math.inf
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(SEND_SECONDS)
                sock.connect(self._path)
                self._socket = sock
                return
            except OSError as error:
                sock.close()
                why = error.strerror or str(error)
                if error.errno not in _RETRY:
                    raise client_error("no-sl", "{}: {}".format(self._path, why),
                                       "set STARLING_SOCKET to the socket of this program's SL") from None
            except BaseException:
                sock.close()
                raise
            now = self._clock()
            if now - began >= self._connect_seconds:
                raise client_error("no-sl", "no SL at {} after {:.0f} s: {}".format(self._path, now - began, why),
                                   "start the program with `starling sl -- PROGRAM`, set STARLING_SOCKET, or train alone "
                                   "with SWARM_LOOPBACK=true")
            if now - said >= SAY_SECONDS:
                said = now
                self._say("waiting for the SL at {}: {}".format(self._path, why))
            self._pause(RETRY_SECONDS)

    def _exchange(self, frame):
        if self._state != "open":
            raise client_error("session-" + self._state, "the session with the SL is {}".format(self._state),
                               "start the program and its SL again")
        data = encode(frame)
        self._state = "broken"  # unless the answer comes
        self._socket.settimeout(SEND_SECONDS)
        self._send(data)
        merged = _parse_merged(self._answer("merged"))
        self._state = "over" if merged.over else "open"
        return merged

    def _send(self, data):
        if self._socket is None or self._torn:
            raise client_error("session-closed", "the session with the SL is closed")
        # Ctrl-C may come after the last byte. A small frame is sent whole or not at all: the socket's buffer is empty then.
        self._torn = len(data) > _WHOLE_BYTES
        try:
            self._socket.sendall(data)
        except socket.timeout:
            self._torn = True
            raise client_error("sl-silent", "the SL does not read what it is sent", "read the SL's log") from None
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None
        self._torn = False

    def _gone(self, why):
        """The error for a connection that ended: what the SL said last, if it did."""
        self._torn = True
        try:
            self._socket.settimeout(FAREWELL_SECONDS)
            while True:
                frame = self._reader.next()
                if frame is None:
                    data = self._socket.recv(_RECEIVE_BYTES)
                    if not data:
                        break
                    self._reader.feed(data)
                elif frame["type"] == "error":
                    return _said(frame)
        except (OSError, SwarmError):
            pass
        return client_error("sl-gone", "the SL has closed the connection ({})".format(why),
                            "read the SL's log for the reason, then start it and this program again")

    def _answer(self, wanted, patience=None):
        """The next frame of the type `wanted`; what the SL says while it waits is passed on. `patience`: how many silences
        are borne."""
        self._socket.settimeout(self._silence_seconds if patience is None else FAREWELL_SECONDS)
        silent = 0
        while True:
            frame = self._reader.next()
            if frame is None:
                if self._receive():
                    silent = 0
                    continue
                silent += 1
                if patience is not None and silent >= patience:
                    raise client_error("sl-silent", "the SL does not answer")
                self._say("no word from the SL for {:.0f} s; waiting for its {}".format(
                    silent * self._silence_seconds, wanted))
            elif frame["type"] == wanted:
                return frame
            elif frame["type"] == "waiting" and isinstance(frame.get("text"), str):
                self._say(one_line(frame["text"], 500))
            elif frame["type"] == "error":
                raise _said(frame)
            else:
                raise bad_frame("the SL said {} where {} was due".format(one_line(frame["type"], 32), wanted))

    def _receive(self):
        """Feeds the reader; False after a silence."""
        try:
            data, fds = _arena.receive(self._socket, max(_RECEIVE_BYTES, min(self._reader.wanted(), 1 << 20)))
        except socket.timeout:
            return False
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None
        if fds and (self._arenas is not None or self._fds):
            _arena.close_all(fds)
            raise bad_frame("the SL sent file descriptors twice")
        self._fds += fds
        if not data:
            raise self._gone("without a word" if self._reader.empty() else "in the middle of a frame")
        self._reader.feed(data)
        return True
