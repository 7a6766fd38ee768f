"""starling._frames and starling._merkle: bytes from outside become objects once, or one line that says why not."""
import hashlib
import re
import struct
from pathlib import Path

import pytest

from starling import SwarmError
from starling._frames import FRAME_BYTES_MAX, FrameReader, decode, encode
from starling._merkle import root_of, short

ROOT = Path(__file__).resolve().parents[2]


def example_of_the_format():
    text = (ROOT / "docs/formats/bridge.md").read_text()
    return bytes.fromhex(re.search(r"## Example\n.*?```\n(.*?)```", text, re.S).group(1))


def read(*pieces):
    reader = FrameReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.next()


def test_the_example_in_the_format_document_is_read_and_written():
    assert read(example_of_the_format()) == {"type": "waiting", "text": "x"}
    assert encode({"type": "waiting", "text": "x"}) == example_of_the_format()


def test_a_frame_may_come_byte_by_byte_and_two_at_once():
    reader, data = FrameReader(), example_of_the_format()
    for at in range(len(data)):
        assert reader.next() is None and 0 < reader.wanted() <= len(data) - at
        reader.feed(data[at: at + 1])
    assert reader.next() == {"type": "waiting", "text": "x"} and reader.empty()
    reader.feed(data + data + data[:7])
    assert reader.next() is not None and reader.next() is not None and reader.next() is None
    assert not reader.empty()


@pytest.mark.parametrize("data, why", [
    (struct.pack(">I", 0), "0 bytes"),
    (struct.pack(">I", FRAME_BYTES_MAX + 1), "16,777,217 bytes"),
    (b"\xff\xff\xff\xff", "4,294,967,295 bytes"),
])
def test_a_length_out_of_bounds_is_refused_before_its_bytes_are_kept(data, why):
    with pytest.raises(SwarmError, match=why) as caught:
        read(data)
    assert caught.value.code == "bad-frame"


@pytest.mark.parametrize("body", [
    b"{", b'{"type":"ok"}x', b"[1]", b"null", b'"ok"', b"{}", b'{"type":1}', b'{"type":null}', b'{"type":"ok","type":"no"}',
    b'{"type":"ok","x":NaN}', b'{"type":"ok","x":-Infinity}', b'{"type":"\xff"}', b"\xef\xbb\xbf{}", b"[" * 200_000,
    b'{"type":"ok","x":' + b"9" * 20_000 + b"}", b'{"type":"a\nb"}',
])
def test_malformed_frames_are_refused_in_one_line(body):
    with pytest.raises(SwarmError) as caught:
        decode(body)
    assert caught.value.code == "bad-frame" and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_own_frames_are_bounded_and_always_json():
    with pytest.raises(SwarmError, match="16,777,"):
        encode({"type": "log", "lines": ["x" * FRAME_BYTES_MAX]})
    with pytest.raises(ValueError):
        encode({"type": "result", "loss": float("nan")})
    assert decode(encode({"type": "log", "lines": ["caf\u00e9 \udcff"]})[4:])["lines"] == ["caf\u00e9 ?"]


def test_the_largest_frame_is_read():
    frame = {"type": "log", "x": "a" * (FRAME_BYTES_MAX - len('{"type":"log","x":""}'))}
    data = encode(frame)
    assert len(data) == FRAME_BYTES_MAX + 4 and read(data[:9], data[9:]) == frame


def reference_root(blob):
    """RFC 6962, written from its text."""
    def tree(leaves):
        if len(leaves) == 1:
            return leaves[0]
        k = 1
        while k * 2 < len(leaves):
            k *= 2
        return hashlib.sha256(b"\x01" + tree(leaves[:k]) + tree(leaves[k:])).digest()
    leaves = [hashlib.sha256(b"\x00" + blob[at: at + 1048576]).digest() for at in range(0, len(blob), 1048576)]
    return "sha256:" + (tree(leaves) if leaves else hashlib.sha256(b"").digest()).hex()


@pytest.mark.parametrize("size", [0, 1, 1048576, 1048577, 3 * 1048576, 7 * 1048576 + 5, 21 * 1048576 + 1])
def test_the_root_of_a_model_is_its_rfc_6962_tree(size):
    blob = (b"starling" * (size // 8 + 1))[:size]
    assert root_of(blob) == root_of(memoryview(bytearray(blob))) == reference_root(blob)


def test_people_see_eight_digits_of_a_root():
    assert short("sha256:" + "0123456789abcdef" * 4) == "01234567"
