"""The bridge as the client speaks it: frames, arenas, sessions, hostile peers."""
import ast
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import starling
from fake_sl import FakeSwarm, frame, threads
from starling import _farewell
from starling._frames import FrameReader, encode
from starling._layout import require_same
from starling._merkle import root_of
from starling._session import Session, socket_path

HOME = Path(__file__).resolve().parents[2]


def read(*sent):
    """The frame that a FrameReader puts together from the pieces `sent`."""
    reader = FrameReader()
    for data in sent:
        reader.feed(data)
    return reader.next()


def specs(model):
    return [starling.spec_of(name, array) for name, array in model.items()]


def opened_session(swarm, model, say=None):
    session = Session(swarm.sls[0].path, say=say)
    session.open(specs(model), 4, len(swarm.sls))
    return session


def write(session, model):
    for name, array in model.items():
        session.update[name][...] = array.words if isinstance(array, starling.Bfloat16Words) else array


def test_the_example_of_the_format_is_what_both_directions_speak():
    text = (HOME / "docs/formats/bridge.md").read_text()
    shown = bytes.fromhex(re.search(r"^((?:[0-9a-f]{2} ?)+)$", text, re.M).group(1))
    said = {"type": "waiting", "text": "x"}
    assert read(shown) == said
    assert read(*(shown[i:i + 1] for i in range(len(shown)))) == said
    assert encode(said) == shown


@pytest.mark.parametrize("sent, why", [
    (struct.pack(">I", (16 << 20) + 1), "16,777,217 bytes"), (struct.pack(">I", 0), "0 bytes"),
    (frame(b"{"), "no JSON"), (frame(b"[]"), "no object"), (frame(b'{"type":1}'), "no object"),
    (frame(b'{"type":"a","type":"b"}'), "twice"), (frame(b'{"type":"a","x":NaN}'), "NaN"),
    (frame(b'{"type":"\xff"}'), "no JSON"), (frame(b"[" * 200000), "no JSON")])
def test_what_is_no_frame_is_refused_in_one_line(sent, why):
    with pytest.raises(starling.SwarmError, match=why) as error:
        read(sent)
    assert error.value.code == "bad-frame" and "\n" not in str(error.value)


def test_a_part_of_a_frame_is_waited_for_and_two_are_told_apart():
    whole = frame({"type": "ok"})
    assert read(b"") is None and read(whole[:-1]) is None
    reader = FrameReader()
    reader.feed(whole + whole)
    assert [reader.next(), reader.next(), reader.next()] == [{"type": "ok"}, {"type": "ok"}, None]


def test_own_frames_are_bounded_and_hold_no_nan():
    with pytest.raises(starling.SwarmError, match="16,777,2"):
        encode({"type": "log", "x": "a" * (16 << 20)})
    with pytest.raises(ValueError):
        encode({"type": "sync", "loss": float("nan")})


def test_the_root_is_the_tree_of_the_format():
    import hashlib
    assert root_of(b"") == "sha256:" + hashlib.sha256(b"").hexdigest()
    chunks = [bytes([i]) * (1 << 20) for i in range(2)] + [b"end"]
    a, b, c = [hashlib.sha256(b"\0" + chunk).digest() for chunk in chunks]
    ab = hashlib.sha256(b"\1" + a + b).digest()
    assert root_of(b"".join(chunks)) == "sha256:" + hashlib.sha256(b"\1" + ab + c).hexdigest()


def test_the_socket_is_where_the_environment_says():
    assert socket_path({}) == "/tmp/channel/starling.sock"
    assert socket_path({"SL_REQUEST_CHANNEL": "/ch/req"}) == "/ch/starling.sock"
    assert socket_path({"SL_REQUEST_CHANNEL": "/ch/req", "STARLING_SOCKET": "/s"}) == "/s"


@pytest.mark.parametrize("bad", ["x", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(bad, monkeypatch):
    monkeypatch.setenv("STARLING_CONNECT_SECONDS", bad)
    with pytest.raises(starling.SwarmError, match="STARLING_CONNECT_SECONDS"):
        Session("/nowhere")


def test_connecting_retries_says_so_every_five_seconds_and_gives_up(tmp_path):
    now, said = [0.0], []

    def pause(seconds):
        now[0] += seconds
    session = Session(str(tmp_path / "nobody.sock"), 12, said.append, lambda: now[0], pause)
    with pytest.raises(starling.SwarmError, match="no SL at .*nobody.sock after 12 s.*STARLING_SOCKET"):
        session.open(specs({"w": np.zeros(1)}), 4, 2)
    assert len(said) == 3 and "waiting for the SL" in said[0]


DTYPES = ["f8", "i8", "u8", "f4", "i4", "u4", "f2", "i2", "u2", "i1", "u1", "?"]


def test_every_dtype_and_shape_comes_back_bit_for_bit():
    rng = np.random.default_rng(1)
    model = {"t/%s" % code: rng.integers(0, 2, (3, 2)).astype(code) for code in DTYPES}
    model.update({"scalar": np.float32(2.5), "empty": np.zeros((0, 4), np.float32), "turned": np.arange(6.0).reshape(2, 3).T,
                  "nan": np.array([np.nan, -0.0, np.inf], np.float32),
                  "words": starling.Bfloat16Words(np.array([1, 65535], np.uint16))})
    with FakeSwarm() as swarm:
        session = opened_session(swarm, model)
        write(session, model)
        merged = session.sync(0, 0)
        for name in model:
            if name != "words":
                value = np.asarray(model[name])
                assert session.merged[name].dtype == value.dtype and session.merged[name].tobytes() == value.tobytes(), name
        assert session.merged_root() == merged.root == swarm.roots[0]
        session.goodbye()


def test_what_is_written_lands_in_the_arena_and_merged_is_read_only():
    with FakeSwarm() as swarm:
        session = opened_session(swarm, {"w": np.zeros(4, np.float32)})
        session.update["w"][1] = 9
        sl = swarm.sls[0]
        assert sl.update.view(sl.places[0]).tolist() == [0, 9, 0, 0]
        with pytest.raises(ValueError):
            session.merged["w"][0] = 1
        session.goodbye()


def test_attention_is_the_word_of_the_merged_arena():
    with FakeSwarm() as swarm:
        session = opened_session(swarm, {"w": np.zeros(1)})
        assert not session.attention()
        swarm.sls[0].merged.attention(1)
        assert session.attention()
        session.goodbye()


@pytest.mark.parametrize("value", [np.zeros(1, complex), np.array(["x"]), np.array([None])])
def test_a_dtype_that_cannot_be_shared_is_named(value):
    with pytest.raises(starling.SwarmError, match="parameter bad"):
        starling.spec_of("bad", value)


def test_a_difference_names_what_is_missing_unknown_and_differing():
    want = {name: starling.TensorSpec(name, "F64", (2,)) for name in "abc"}
    have = {"b": want["b"]._replace(shape=(3,)), "c": want["c"]._replace(dtype="F32"), "d": want["a"]}
    with pytest.raises(starling.SwarmError, match=r"missing: a; unknown: d; differing: b \(F64 \[3\].*c \(F32"):
        require_same(have, want, "the model")
    many = {"n%d" % i: want["a"] for i in range(9)}
    with pytest.raises(starling.SwarmError, match="missing: n0, n1, n2, n3, n4 and 4 more"):
        require_same({}, many, "the model")


def place(dtype="F64", begin=64, end=80):
    return [{"name": "w", "dtype": dtype, "shape": [2], "begin": begin, "end": end}]


@pytest.mark.parametrize("opened, fds", [
    ({}, 1), ({}, 0), ({"arena_bytes": 4096}, 2), ({"arena_bytes": 1 << 40, "size": (1 << 40) - 4096}, 2), ({"tensors": []}, 2),
    ({"size": -1}, 2), ({"size": True}, 2), ({"tensors": place(begin=4, end=20)}, 2), ({"tensors": place(begin=4096, end=4112)}, 2),
    ({"tensors": place("F7")}, 2), ({"tensors": [1]}, 2), ({"bridge": 2}, 2), ({"node": 3}, 2)])
def test_an_opened_that_lies_is_refused_and_leaks_nothing(opened, fds):
    with FakeSwarm(opened=opened, fds=fds) as swarm:
        session = Session(swarm.sls[0].path)
        with pytest.raises(starling.SwarmError) as error:
            session.open(specs({"w": np.zeros(2)}), 4, 1)
        assert "\n" not in str(error.value)
        session.close()
        assert session._fds == [] and swarm.sls[0].done.wait(60)


@pytest.mark.parametrize("answer, why", [
    ([frame({"type": "error", "code": "schema-differs", "cause": "w is F32 elsewhere", "component": "starling sl",
             "next": "use one model"})], r"starling sl: schema-differs: w is F32 elsewhere\. Next: use one model"),
    ([None], "clos"), ([frame({"type": "opened"})], "opened where merged"),
    ([frame({"type": "merged"})], "member is missing"), ([b"\xff\xff\xff\xff"], "4,294,967,295 bytes")])
def test_a_round_that_fails_ends_the_session_in_one_line(answer, why):
    with FakeSwarm(script=lambda sl, said: answer if said["type"] == "sync" else None) as swarm:
        session = opened_session(swarm, {"w": np.zeros(2)})
        with pytest.raises(starling.SwarmError, match=why) as error:
            session.sync(0, 0)
        assert "\n" not in str(error.value)
        with pytest.raises(starling.SwarmError, match="session with the SL is"):
            session.sync(0, 0)
        session.close()


def test_waiting_texts_are_passed_on():
    said = []
    with FakeSwarm() as swarm:
        session = opened_session(swarm, {"w": np.zeros(2)}, said.append)
        swarm.before_merge = lambda: swarm.sls[0].send({"type": "waiting", "text": "waiting for 1 of 2: b"})
        session.sync(0, 0)
        session.goodbye()
    assert said == ["waiting for 1 of 2: b"]


def test_ctrl_c_interrupts_the_wait_and_the_session_says_goodbye():
    def interrupt(sl, said):
        if said["type"] != "sync":
            return None
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return []
    with FakeSwarm(script=interrupt) as swarm:
        session = opened_session(swarm, {"w": np.zeros(2)})
        with pytest.raises(KeyboardInterrupt):
            session.sync(0, 0)
        with pytest.raises(starling.SwarmError, match="session with the SL is"):
            session.sync(0, 0)
        session.goodbye("exception", "KeyboardInterrupt")
        assert swarm.sls[0].done.wait(60)
        assert swarm.sls[0].of("goodbye") == [{"type": "goodbye", "reason": "exception", "exception": "KeyboardInterrupt"}]


def test_two_programs_merge_and_finish_with_one_model():
    with FakeSwarm(2) as swarm:
        def program(index):
            session = Session(swarm.sls[index].path)
            weights = {"w": np.full(3, float(index))}
            session.open(specs(weights), 4, 2)
            write(session, weights)
            assert not session.sync(0, 0).over
            assert session.merged["w"].tolist() == [0.5] * 3
            write(session, {"w": session.merged["w"] + index})
            merged = session.finish(4, 1, loss=0.5, metric=float("inf"))
            assert session.result(loss=1.0)
            session.goodbye()
            return merged.root, session.merged["w"].tolist()
        first, second = threads(lambda: program(0), lambda: program(1))
        assert first == second and first[1] == [1.0] * 3
        finish = swarm.sls[0].of("finish")[0]
        assert finish["loss"] == 0.5 and "metric" not in finish and finish["batches"] == 4 and finish["mode"] == "snapshot"
        assert swarm.sls[0].of("result") == [{"type": "result", "loss": 1.0}]


def test_a_result_that_nobody_hears_is_no_failure():
    with FakeSwarm(script=lambda sl, said: [None] if said["type"] == "result" else None) as swarm:
        session = opened_session(swarm, {"w": np.zeros(2)})
        session.finish(0, 0)
        assert session.result() is False


NEWER = re.compile(r"\b(match\s+\w+:|removeprefix_|zip\([^)]*strict=|pairwise|StrEnum|tomllib|ExceptionGroup|itertools\.batched"
                   r"|datetime\.UTC|dataclass\([^)]*(slots|kw_only)=|bit_count\(|aiter\(|anext\(|add_note\(|TaskGroup)")


def test_all_of_the_client_is_python_3_9():
    files = sorted((HOME / "python").rglob("*.py"))
    assert len(files) > 10
    for file in files:
        text = file.read_text()
        tree = ast.parse(text, str(file), feature_version=(3, 9))
        assert not any(type(node).__name__ in ("Match", "TryStar") for node in ast.walk(tree)), file
        assert not NEWER.search(text), (file, NEWER.search(text))
        for node in ast.walk(tree):  # `X | Y` as a type is 3.10
            for note in (getattr(node, "annotation", None), getattr(node, "returns", None)):
                assert not (note and any(isinstance(part, ast.BinOp) for part in ast.walk(note))), file


@pytest.mark.parametrize("pid, own, ends", [(1, signal.SIG_DFL, True), (1, signal.SIG_IGN, False), (7, signal.SIG_DFL, False)])
def test_the_first_process_of_a_container_ends_when_it_is_told(monkeypatch, pid, own, ends):
    monkeypatch.setattr(os, "getpid", lambda: pid)
    before = signal.signal(signal.SIGTERM, own)
    try:
        _farewell.obey_term()
        assert (signal.getsignal(signal.SIGTERM) is not own) == ends
        if ends:
            with pytest.raises(SystemExit) as ended:
                signal.raise_signal(signal.SIGTERM)
            assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_its_children_are_ended_as_ever():
    code = ("import os, signal\n"
            "from starling import _farewell\n"
            "os.getpid = lambda: 1\n"
            "_farewell.obey_term()\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    signal.raise_signal(signal.SIGTERM)\n"
            "    os._exit(0)\n"
            "print(os.waitpid(child, 0)[1])\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME / "python")
    assert int(done.stdout) == signal.SIGTERM
