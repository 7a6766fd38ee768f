"""Frames of the bridge (docs/formats/bridge.md): u32 big-endian length, then so many bytes of JSON, one object with a
string member `type`. Pure: bytes in, objects out. What comes from outside is bounded before it is kept; a malformed frame
is a SwarmError with the code `bad-frame`. One thread.
"""
import json
import struct

from starling._errors import client_error

FRAME_BYTES_MAX = 16 << 20
BRIDGE_VERSION = 1
LOG_LINES_MAX = 20

_LENGTH = struct.Struct(">I")


def bad_frame(what):
    """The error for a frame that breaks the format."""
    return client_error("bad-frame", what, "use the starling package and the SL of one release")


def encode(frame):
    """The bytes of `frame` (a dict of JSON values; NaN and infinities have no JSON and raise ValueError)."""
    text = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    body = text.encode("utf-8", "replace")  # A lone surrogate, as in an odd file name, becomes "?".
    if len(body) > FRAME_BYTES_MAX:
        raise client_error("frame-too-large", "a frame of {:,} bytes; at most {:,} are allowed".format(
            len(body), FRAME_BYTES_MAX), "give the model fewer or shorter parameter names")
    return _LENGTH.pack(len(body)) + body


def _members(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _no_constant(name):
    raise ValueError(name + " is not JSON")


def decode(body):
    """The object that the bytes `body` (without the length) hold."""
    try:
        frame = json.loads(bytes(body).decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_frame("a frame that is no JSON: {}".format(error)) from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise bad_frame("a frame that is no object with a type")
    return frame


class FrameReader:
    """Puts frames together from the pieces in which a stream brings them. Holds at most one frame and what came after it."""

    def __init__(self):
        self._bytes = bytearray()

    def _length(self):
        length = _LENGTH.unpack_from(self._bytes)[0]
        if length == 0 or length > FRAME_BYTES_MAX:
            raise bad_frame("a frame of {:,} bytes; 1 to {:,} are allowed".format(length, FRAME_BYTES_MAX))
        return length

    def wanted(self):
        """How many bytes are missing at least, before `next` can answer a frame."""
        if len(self._bytes) < _LENGTH.size:
            return _LENGTH.size - len(self._bytes)
        return max(0, _LENGTH.size + self._length() - len(self._bytes))

    def feed(self, data):
        """Takes what the stream brought."""
        self._bytes += data

    def next(self):
        """The next whole frame, or None."""
        if self.wanted() > 0:
            return None
        end = _LENGTH.size + self._length()
        body = self._bytes[_LENGTH.size:end]
        del self._bytes[:end]
        return decode(body)

    def empty(self):
        """Whether the stream stands between two frames."""
        return not self._bytes
