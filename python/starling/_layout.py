"""What the tensors of a model are called, and where each stands in the arenas (docs/formats/safetensors.md). Offsets come
from the SL and are checked here, never computed. Pure; any thread.
"""
from typing import NamedTuple, Tuple

import numpy as np

from starling._errors import client_error, one_line
from starling._frames import BRIDGE_VERSION, bad_frame

TENSORS_MAX = 100_000
NAME_BYTES_MAX = 512
DIMENSIONS_MAX = 8
BLOB_BYTES_MAX = 1 << 42
CONTROL_BYTES = 4096  # the control page at the end of an arena
PAGE_BYTES = 4096
DIFFERENCES_MAX = 5

# safetensors name -> how numpy reads the bytes; bfloat16 is handled as raw words, as numpy knows no such type.
DTYPES = {
    "F64": "<f8", "I64": "<i8", "U64": "<u8", "F32": "<f4", "I32": "<i4", "U32": "<u4", "F16": "<f2", "BF16": "<u2",
    "I16": "<i2", "U16": "<u2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}
_NAMES = {np.dtype(code).newbyteorder("="): name for name, code in DTYPES.items() if name != "BF16"}


class Bfloat16Words(NamedTuple):
    """A bfloat16 tensor as its raw 16-bit words: `words` has the tensor's shape and dtype uint16. Borrows `words`."""

    words: np.ndarray


class TensorSpec(NamedTuple):
    """One tensor: `name`, `dtype` (a key of DTYPES), `shape`."""

    name: str
    dtype: str
    shape: Tuple[int, ...]

    def __str__(self):
        return "{} [{}]".format(self.dtype, ",".join(map(str, self.shape)))


class Place(NamedTuple):
    """Where a tensor's bytes stand: [begin, end) from the start of the blob."""

    spec: TensorSpec
    begin: int
    end: int


class Opened(NamedTuple):
    """The SL's answer to `open`. `size`: bytes of the blob; `places`: every tensor, in the order of the blob."""

    size: int
    data_start: int
    arena_bytes: int
    places: Tuple[Place, ...]
    node: str
    contract: str
    round: int


def as_words(array):
    """(dtype name or None, array of the numpy type that an arena view has). Never copies."""
    if isinstance(array, Bfloat16Words):
        return "BF16", array.words
    array = np.asarray(array)
    if array.dtype.name == "bfloat16":  # ml_dtypes, as JAX and TensorFlow use it
        return "BF16", array.view(np.uint16)
    return _NAMES.get(array.dtype.newbyteorder("=")), array


def spec_of(name, array):
    """The TensorSpec of `array` (a numpy array or Bfloat16Words); SwarmError for what a model file cannot hold."""
    dtype, words = as_words(array)
    if not isinstance(name, str) or not 1 <= len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
        raise client_error("bad-tensor", "a parameter's name has 1 to {} bytes, not {!r}".format(NAME_BYTES_MAX, name))
    if dtype is None:
        raise client_error("bad-tensor", "parameter {}: the type {} cannot be exchanged".format(name, words.dtype),
                           "use one of " + ", ".join(DTYPES))
    if words.ndim > DIMENSIONS_MAX:
        raise client_error("bad-tensor", "parameter {}: {} dimensions; at most {} are allowed".format(
            name, words.ndim, DIMENSIONS_MAX))
    return TensorSpec(name, dtype, tuple(int(extent) for extent in words.shape))


def byte_count(spec):
    """Bytes of a tensor."""
    count = np.dtype(DTYPES[spec.dtype]).itemsize
    for extent in spec.shape:
        count *= extent
    return count


def difference(have, want):
    """How the TensorSpecs `have` differ from `want`, by name: "missing: a; unknown: b; differing: c (F32 [2] instead of
    F32 [3])"; "" when they do not. Both are dicts name -> TensorSpec."""
    differing = ["{} ({} instead of {})".format(name, have[name], spec) for name, spec in want.items()
                 if name in have and have[name] != spec]
    parts = (("missing", [name for name in want if name not in have]),
             ("unknown", [name for name in have if name not in want]), ("differing", differing))
    texts = []
    for title, names in parts:
        if names:
            more = " and {} more".format(len(names) - DIFFERENCES_MAX) if len(names) > DIFFERENCES_MAX else ""
            texts.append("{}: {}{}".format(title, ", ".join(names[:DIFFERENCES_MAX]), more))
    return "; ".join(texts)


def require_same(have, want, what):
    """SwarmError that names every missing, unknown and differing tensor, unless `have` equals `want`."""
    text = difference(have, want)
    if text:
        raise client_error("schema-differs", "{}: {}".format(what, text),
                           "give every node the same model, and do not change its parameters during a training")


def _count(frame, member, most):
    value = frame.get(member)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise bad_frame("{}: {} is a whole number up to {:,}".format(frame["type"], member, most))
    return value


def _text(frame, member):
    value = frame.get(member)
    if not isinstance(value, str):
        raise bad_frame("{}: {} is a text".format(frame["type"], member))
    return one_line(value, 256)


def _place(entry, data_start, size):
    if not isinstance(entry, dict):
        raise bad_frame("opened: a tensor is an object")
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    begin, end = entry.get("begin"), entry.get("end")
    whole = isinstance(shape, list) and len(shape) <= DIMENSIONS_MAX
    if not (isinstance(name, str) and isinstance(dtype, str) and dtype in DTYPES and whole) or not all(
            type(n) is int and 0 <= n <= BLOB_BYTES_MAX for n in shape + [begin, end]):
        raise bad_frame("opened: a tensor has name, dtype, shape, begin and end")
    spec = TensorSpec(name, dtype, tuple(shape))
    aligned = begin % np.dtype(DTYPES[dtype]).itemsize == 0
    if not (data_start <= begin <= end <= size) or end - begin != byte_count(spec) or not aligned:
        raise bad_frame("opened: tensor {} is said to stand where it cannot".format(one_line(name, 128)))
    return Place(spec, begin, end)


def parse_opened(frame, specs):
    """The Opened that `frame` describes, for a model whose tensors are `specs` (dict name -> TensorSpec). SwarmError when it
    names other tensors, overlaps them, or points outside the blob."""
    if _count(frame, "bridge", 1 << 32) != BRIDGE_VERSION:
        raise client_error("bridge-version", "Mismatch in the Swarm API version between ML and SL containers. Expected version "
                           "{}, but the version received from the header is {}".format(BRIDGE_VERSION, frame["bridge"]),
                           "install the starling Python package of the SL's release")
    size = _count(frame, "size", BLOB_BYTES_MAX)
    data_start = _count(frame, "data_start", size)
    arena_bytes = _count(frame, "arena_bytes", BLOB_BYTES_MAX + PAGE_BYTES + CONTROL_BYTES)
    if arena_bytes != -(-size // PAGE_BYTES) * PAGE_BYTES + CONTROL_BYTES:
        raise bad_frame("opened: an arena of {} bytes for a blob of {}".format(arena_bytes, size))
    tensors = frame.get("tensors")
    if not isinstance(tensors, list) or len(tensors) > TENSORS_MAX:
        raise bad_frame("opened: tensors is a list of at most {:,}".format(TENSORS_MAX))
    places = tuple(_place(entry, data_start, size) for entry in tensors)
    at = data_start
    for place in places:
        if place.begin != at:
            raise bad_frame("opened: tensor {} overlaps another or leaves a gap".format(one_line(place.spec.name, 128)))
        at = place.end
    if at != size:
        raise bad_frame("opened: the tensors do not fill the blob")
    require_same({place.spec.name: place.spec for place in places}, specs, "the SL opened another model")
    if len(places) != len(specs):
        raise bad_frame("opened: a tensor occurs twice")
    return Opened(size, data_start, arena_bytes, places, _text(frame, "node"), _text(frame, "contract"),
                  _count(frame, "round", 1 << 53))
