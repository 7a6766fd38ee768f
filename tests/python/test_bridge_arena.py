"""starling._layout and starling._arena: names, dtypes and places of tensors, and views of shared memory without copies."""
import os
import socket

import bridge_peer
import numpy as np
import pytest

from starling import Bfloat16Words, SwarmError, TensorSpec, spec_of
from starling._arena import Arenas, receive
from starling._layout import DTYPES, as_words, parse_opened, require_same

TENSORS = [{"name": "w", "dtype": "F32", "shape": [2, 3]}, {"name": "step", "dtype": "I64", "shape": []},
           {"name": "half", "dtype": "BF16", "shape": [5]}, {"name": "mask", "dtype": "BOOL", "shape": [3]},
           {"name": "none", "dtype": "F32", "shape": [0, 4]}]
SPECS = {t["name"]: TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in TENSORS}


def opened(**changes):
    return dict(bridge_peer.opened_for(TENSORS)[1], **changes)


def with_tensor(index, **changes):
    frame = opened()
    frame["tensors"][index] = dict(frame["tensors"][index], **changes)
    return frame


@pytest.mark.parametrize("dtype", sorted(set(DTYPES) - {"BF16"}))
def test_every_numpy_type_has_its_name(dtype):
    array = np.zeros((2, 1), DTYPES[dtype])
    assert spec_of("a", array) == ("a", dtype, (2, 1))
    assert as_words(array)[1] is array


def test_big_endian_arrays_have_the_same_name():
    assert spec_of("a", np.zeros(2, ">f4")).dtype == "F32"


def test_bfloat16_is_its_words():
    words = np.array([0x3F80, 0x7FC0], np.uint16)
    assert spec_of("a", Bfloat16Words(words)) == ("a", "BF16", (2,))
    assert as_words(Bfloat16Words(words))[1] is words


@pytest.mark.parametrize("name, array, why", [
    ("a", np.zeros(2, np.complex64), "parameter a: the type complex64 cannot be exchanged"),
    ("a", np.array(["x"]), "parameter a: the type <U1"),
    ("a", np.array([object()]), "parameter a: the type object"),
    ("a", np.zeros((1,) * 9), "parameter a: 9 dimensions"),
    ("", np.zeros(1), "name has 1 to 512 bytes"),
    ("\u00e9" * 257, np.zeros(1), "name has 1 to 512 bytes"),
    (3, np.zeros(1), "name has 1 to 512 bytes"),
])
def test_what_a_model_file_cannot_hold_is_refused_by_name(name, array, why):
    with pytest.raises(SwarmError, match=why):
        spec_of(name, array)


def test_every_difference_is_named():
    want = {n: TensorSpec(n, "F32", (2,)) for n in ("a", "b", "c", "d")}
    have = {n: TensorSpec(n, "F32", (2,)) for n in ("a", "x")}
    have["c"], have["d"] = TensorSpec("c", "F64", (2,)), TensorSpec("d", "F32", (2, 1))
    with pytest.raises(SwarmError) as caught:
        require_same(have, want, "the model has changed")
    assert caught.value.code == "schema-differs"
    assert caught.value.cause == ("the model has changed: missing: b; unknown: x; differing: c (F64 [2] instead of F32 [2]), "
                                  "d (F32 [2,1] instead of F32 [2])")
    require_same(dict(want), want, "nothing has")


def test_many_differences_stay_one_line():
    want = {str(n): TensorSpec(str(n), "F32", ()) for n in range(1000)}
    with pytest.raises(SwarmError, match="0, 1, 2, 3, 4 and 995 more"):
        require_same({}, want, "model")


def test_opened_gives_the_places_in_the_order_of_the_blob():
    result = parse_opened(opened(), SPECS)
    assert [place.spec.name for place in result.places] == ["step", "none", "w", "half", "mask"]
    assert result.places[0].begin == result.data_start and result.places[-1].end == result.size
    assert (result.node, result.contract, result.round) == ("a", "c", 0)


@pytest.mark.parametrize("frame", [
    opened(size=-1), opened(size=True), opened(size="9"), opened(data_start=1 << 60), opened(arena_bytes=4096),
    opened(arena_bytes=1 << 62), opened(tensors=None), opened(tensors=[1]), opened(node=3), opened(round=None),
    with_tensor(0, begin=0), with_tensor(0, begin=None), with_tensor(0, end=1 << 50), with_tensor(0, shape=[1 << 50]),
    with_tensor(0, shape=[-1]), with_tensor(0, dtype="F8"), with_tensor(0, dtype=[]), with_tensor(0, shape=None),
    with_tensor(4, name=7), dict(opened(), tensors=opened()["tensors"] + opened()["tensors"][-1:]),
    dict(opened(), tensors=opened()["tensors"][::-1]),
])
def test_places_that_cannot_be_are_refused(frame):
    with pytest.raises(SwarmError) as caught:
        parse_opened(frame, SPECS)
    assert caught.value.code == "bad-frame"


def test_an_sl_that_opens_another_model_is_refused_with_the_difference():
    frame = with_tensor(2, shape=[3, 2])
    with pytest.raises(SwarmError, match=r"w \(F32 \[3,2\] instead of F32 \[2,3\]\)"):
        parse_opened(frame, SPECS)
    with pytest.raises(SwarmError, match="missing: extra"):
        parse_opened(opened(), dict(SPECS, extra=TensorSpec("extra", "F32", ())))


def test_an_sl_of_another_release_is_told_apart():
    with pytest.raises(SwarmError, match="Expected version 1, but the version received from the header is 2") as caught:
        parse_opened(opened(bridge=2), SPECS)
    assert caught.value.code == "bridge-version"


@pytest.fixture
def arenas():
    """(Arenas, mapping of update, mapping of merged)"""
    layout = parse_opened(opened(), SPECS)
    fds = [bridge_peer.memory(layout.arena_bytes) for _ in range(2)]
    return Arenas(layout, [fd for fd, _ in fds]), fds[0][1], fds[1][1]


def test_views_are_the_arenas_themselves(arenas):
    mapped, update, merged = arenas
    begin = parse_opened(opened(), SPECS).places[2].begin
    mapped.update["w"][...] = [[1, 2, 3], [4, 5, 6]]
    assert np.frombuffer(update, "<f4", 6, begin).tolist() == [1, 2, 3, 4, 5, 6]
    merged[begin: begin + 4] = np.float32(7).tobytes()
    assert mapped.merged["w"][0, 0] == 7
    assert mapped.update["step"].shape == () and mapped.update["none"].shape == (0, 4)
    assert mapped.update["half"].dtype == np.uint16 and mapped.update["mask"].dtype == bool


def test_the_merged_arena_cannot_be_written(arenas):
    with pytest.raises(ValueError):
        arenas[0].merged["w"][0, 0] = 1
    with pytest.raises(ValueError):
        arenas[0].merged["w"].flags.writeable = True


def test_the_attention_word_is_seen(arenas):
    mapped, update, merged = arenas
    assert not mapped.attention()
    update[len(update) - 4096] = 1  # of the wrong arena
    assert not mapped.attention()
    merged[len(merged) - 4096] = 1
    assert mapped.attention()


def test_an_arena_shorter_than_said_is_refused_and_nothing_stays_open():
    layout = parse_opened(opened(), SPECS)
    good, bad = bridge_peer.memory(layout.arena_bytes)[0], bridge_peer.memory(layout.arena_bytes - 4096)[0]
    for fds in ([good, bad], [os.dup(0)], []):
        with pytest.raises(SwarmError):
            Arenas(layout, fds)
        for fd in fds:
            with pytest.raises(OSError):
                os.fstat(fd)


def test_descriptors_are_received_close_on_exec_and_at_most_two():
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        socket.send_fds(left, [b"x"], [0, 0])
        data, fds = receive(right, 10)
        assert data == b"x" and len(fds) == 2 and not any(os.get_inheritable(fd) for fd in fds)
        for fd in fds:
            os.close(fd)
        before = len(os.listdir("/proc/self/fd"))
        for count in (3, 8):
            socket.send_fds(left, [b"x"], [0] * count)
            with pytest.raises(SwarmError, match="more than two"):
                receive(right, 10)
        assert len(os.listdir("/proc/self/fd")) == before
