"""starling.Session against an SL scripted frame by frame: the order of a training, failures, waiting, and what is said at the
end of a program."""
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from bridge_peer import ROOT, SECONDS, Peer, encode, merged

from starling import Session, SwarmError, spec_of
from starling._merkle import root_of
from starling._session import socket_path

HOME = Path(__file__).resolve().parents[2]
W = np.arange(6, dtype=np.float32).reshape(2, 3)
SPECS = [spec_of("w", W)]


def session_at(peer, **options):
    return Session(peer.path, connect_seconds=SECONDS, **options)


def opened_at(peer, **options):
    session = session_at(peer, **options)
    session.open(SPECS, sync_interval=8, min_peers=2)
    return session


def test_a_training_from_open_to_goodbye():
    def script(peer):
        peer.open()
        peer.hear("sync")
        assert peer.bytes_of("w") == W.tobytes()
        peer.merge({"w": (W * 2).tobytes()})
        peer.say({"type": "waiting", "text": "waiting for 1 of 2: b"}, merged())
        peer.hear("finish")
        peer.merge({"w": (W * 3).tobytes()})
        peer.say(merged(round=4, over=True, root=root_of(peer.merged[: peer.size])))
        peer.hear("result")
        peer.say({"type": "ok"})
        peer.hear("goodbye")
        peer.hear(None)

    said = []
    with Peer(script) as peer:
        session = session_at(peer, say=said.append)
        opened = session.open(SPECS, sync_interval=8, min_peers=2, contract="c", weight=3, platform="KERAS", total_epochs=5)
        assert opened.node == "a"
        session.update["w"][...] = W
        answer = session.sync(batches=9, train_ms=70, epoch=1, loss=0.5, metric=float("nan"), base_loss=np.float32(0.25))
        assert answer.participants == ("a", "b") and answer.counted and answer.next_interval == 8 and not session.over
        assert session.merged["w"].tolist() == (W * 2).tolist()
        final = session.finish(batches=2, train_ms=30, epoch=1, mode="active")
        assert final.over and session.over and session.merged["w"].tolist() == (W * 3).tolist()
        assert session.merged_root() == final.root
        assert session.result(loss=0.1) is True
        session.goodbye()
    assert peer.heard[0] == {
        "type": "open", "bridge": 1, "client": "starling-python 0.1.0", "platform": "KERAS", "contract": "c", "weight": 3,
        "rules": {"sync_interval": 8, "min_peers": 2, "merge": "mean"}, "total_epochs": 5, "pid": os.getpid(),
        "tensors": [{"name": "w", "dtype": "F32", "shape": [2, 3]}]}
    assert peer.heard[1] == {"type": "sync", "batches": 9, "train_ms": 70, "epoch": 1, "loss": 0.5, "base_loss": 0.25}
    assert peer.heard[2] == {"type": "finish", "mode": "active", "batches": 2, "train_ms": 30, "epoch": 1}
    assert peer.heard[3:] == [{"type": "result", "loss": 0.1}, {"type": "goodbye", "reason": "done"}]
    assert said == ["waiting for 1 of 2: b"]
    assert session.merged["w"].tolist() == (W * 3).tolist()  # The views outlive the socket.


def test_a_word_while_open_waits_does_not_lose_the_descriptors():
    def script(peer):
        frames = []
        peer.say({"type": "waiting", "text": "waiting for the SN"})
        peer.open()
        assert not frames
        peer.hear(None)

    said = []
    with Peer(script) as peer:
        session = opened_at(peer, say=said.append)
        assert session.update["w"].shape == (2, 3) and said == ["waiting for the SN"]
        session.close()


@pytest.mark.parametrize("when", ["open", "sync"])
def test_an_error_of_the_sl_is_one_line_with_cause_and_next_step(when):
    error = {"type": "error", "code": "schema-differs", "cause": "the models differ:\nw", "component": "starling sl",
             "next": "give every node the same model"}

    def script(peer):
        if when == "open":
            peer.hear("open")
        else:
            peer.open()
            peer.hear("sync")
        peer.say(error)

    with Peer(script) as peer, pytest.raises(SwarmError) as caught:
        opened_at(peer).sync(batches=0, train_ms=0)
    assert str(caught.value) == ("starling sl: schema-differs: the models differ: w. Next: give every node the same model")
    assert caught.value.code == "schema-differs" and caught.value.from_sl


def test_an_sl_that_dies_in_a_wait_is_one_line():
    def script(peer):
        peer.open()
        peer.hear("sync")

    with Peer(script) as peer:
        session = opened_at(peer)
        with pytest.raises(SwarmError, match="the SL has closed the connection.*Next: read the SL's log") as caught:
            session.sync(batches=0, train_ms=0)
        assert caught.value.code == "sl-gone" and not caught.value.from_sl
        with pytest.raises(SwarmError, match="session with the SL is broken"):
            session.sync(batches=0, train_ms=0)


def test_an_end_in_the_middle_of_a_frame_is_told_apart():
    def script(peer):
        peer.open()
        peer.hear("sync")
        peer.say_raw(encode(merged())[:-5])

    with Peer(script) as peer, pytest.raises(SwarmError, match="in the middle of a frame"):
        opened_at(peer).sync(batches=0, train_ms=0)


def test_what_the_sl_said_last_is_heard_even_when_it_no_longer_listens():
    def script(peer):
        peer.open()
        peer.say({"type": "error", "code": "left", "cause": "the training was reset", "component": "starling sl", "next": ""})
        peer._socket.shutdown(socket.SHUT_RDWR)

    with Peer(script) as peer:
        session = opened_at(peer)
        peer.join()
        with pytest.raises(SwarmError, match="^starling sl: left: the training was reset$"):
            session.sync(batches=0, train_ms=0)


@pytest.mark.parametrize("answer", [
    b"{", {"type": "surprise"}, {"type": "ok"}, {"type": "waiting"}, {"type": "waiting", "text": 1},
    merged(round=-1), merged(round=1.5), merged(round=True), merged(root="sha256:12"), merged(root=None), merged(counted=1),
    merged(next_interval="8"), merged(over=None), merged(participants="a"), merged(participants=[1]), merged(same_on=None),
    merged(nodes=1 << 60),
])
def test_malformed_answers_are_refused(answer):
    def script(peer):
        peer.open()
        peer.hear("sync")
        peer.say(answer)
        peer.hear(None)

    with Peer(script) as peer:
        session = opened_at(peer)
        with pytest.raises(SwarmError) as caught:
            session.sync(batches=0, train_ms=0)
        assert caught.value.code == "bad-frame" and "\n" not in str(caught.value)
        session.close()


def test_frames_too_long_or_descriptors_too_many_end_the_session():
    def too_long(peer):
        peer.open()
        peer.hear("sync")
        peer.say_raw(b"\x7f\xff\xff\xff")
        peer.hear(None)

    def too_many(peer):
        peer.open(fds=3)
        peer.hear(None)

    def too_few(peer):
        peer.open(fds=1)
        peer.hear(None)

    def too_short(peer):
        peer.open(shorter=1)
        peer.hear(None)

    for script, why in ((too_long, "2,147,483,647 bytes"), (too_many, "more than two"), (too_few, "2 are needed"),
                        (too_short, "shorter than")):
        with Peer(script) as peer:
            session = session_at(peer)
            with pytest.raises(SwarmError, match=why):
                session.open(SPECS, sync_interval=8, min_peers=2)
                session.sync(batches=0, train_ms=0)
            session.close()


def test_finish_is_only_answered_with_the_final_model():
    def script(peer):
        peer.open()
        peer.hear("finish")
        peer.say(merged(over=False))
        peer.hear(None)

    with Peer(script) as peer:
        session = opened_at(peer)
        with pytest.raises(SwarmError, match="not final"):
            session.finish(batches=0, train_ms=0)
        session.close()


def test_the_result_is_not_owed_to_an_sl_that_has_left():
    def script(peer):
        peer.open()
        peer.hear("finish")
        peer.say(merged(over=True))

    with Peer(script) as peer:
        session = opened_at(peer)
        session.finish(batches=0, train_ms=0)
        peer.join()
        assert session.result(loss=1.0) is False
        session.goodbye()
        session.goodbye()  # Twice is once.


def test_requests_out_of_order_say_what_is_missing():
    session = Session("/nowhere", connect_seconds=0)
    for request in (lambda: session.sync(batches=0, train_ms=0), lambda: session.result(), lambda: session.update,
                    lambda: session.merged_root(), lambda: session.log(["x"])):
        with pytest.raises(SwarmError) as caught:
            request()
        assert "\n" not in str(caught.value)
    with pytest.raises(SwarmError, match="1 to 100,000 parameters"):
        session.open([], sync_interval=1, min_peers=1)
    with pytest.raises(SwarmError, match="name of its own"):
        session.open(SPECS + SPECS, sync_interval=1, min_peers=1)


def test_silence_gets_a_word_and_the_wait_goes_on():
    heard = []

    def script(peer):
        peer.open()
        peer.hear("sync")
        peer.hear("log")  # The client spoke up in its wait: that was the silence.
        peer.say(merged())
        peer.hear(None)

    with Peer(script) as peer:
        session = session_at(peer, silence_seconds=0.01, say=lambda text: heard or (heard.append(text), session.log(["silent"])))
        session.open(SPECS, sync_interval=8, min_peers=2)
        heard.clear()
        session.sync(batches=0, train_ms=0)
        session.close()
    assert "no word from the SL" in heard[0]


class Time:
    """A clock that goes on only when somebody pauses."""

    def __init__(self, then=None):
        self.now, self.pauses, self._then = 0.0, 0, then

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds
        self.pauses += 1
        if self._then is not None:
            self._then(self)


def test_an_sl_that_is_late_is_waited_for_with_a_word_every_five_seconds(tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path, said = str(tmp_path / "s"), []

    def begin_to_listen(time):
        if time.now > 12 and not os.path.exists(path):
            listener.bind(path)
            listener.listen(1)

    time = Time(begin_to_listen)
    session = Session(path, connect_seconds=60, say=said.append, clock=time.clock, pause=time.pause)
    session._connect()
    session.close()
    listener.close()
    assert said == ["waiting for the SL at {}: No such file or directory".format(path)] * 3 and 12 < time.now < 13


def test_waiting_for_an_sl_ends_and_says_what_to_do(tmp_path):
    time = Time()
    session = Session(str(tmp_path / "s"), connect_seconds=60, clock=time.clock, pause=time.pause)
    with pytest.raises(SwarmError, match="no SL at .* after 60 s.*Next: start the program with `starling sl") as caught:
        session.open(SPECS, sync_interval=1, min_peers=1)
    assert caught.value.code == "no-sl" and 60 <= time.now < 61


@pytest.mark.parametrize("path", ["/dev/null/s", "/" + "x" * 300])
def test_a_path_that_can_never_be_a_socket_is_not_waited_for(path):
    with pytest.raises(SwarmError, match="Next: set STARLING_SOCKET"):
        Session(path, connect_seconds=600).open(SPECS, sync_interval=1, min_peers=1)


def test_where_the_socket_is():
    assert socket_path({}) == "/tmp/channel/starling.sock"
    assert socket_path({"SL_REQUEST_CHANNEL": "/x/request.channel"}) == "/x/starling.sock"
    assert socket_path({"SL_REQUEST_CHANNEL": "/x/y", "STARLING_SOCKET": "/z"}) == "/z"
    assert socket_path({"SL_REQUEST_CHANNEL": "", "STARLING_SOCKET": ""}) == "/tmp/channel/starling.sock"


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_wrong_time_limit_is_refused(monkeypatch, text):
    monkeypatch.setenv("STARLING_CONNECT_SECONDS", text)
    with pytest.raises(SwarmError, match="STARLING_CONNECT_SECONDS={}".format(text)):
        Session("/x")


# --- the end of a program ---

BEGIN = """
import os, sys
import numpy as np
import starling
session = starling.Session()
session.open([starling.spec_of("w", np.zeros((2, 3), np.float32))], sync_interval=8, min_peers=2)
"""


def run(peer, program):
    """Runs `program` as a process of its own; answers (exit code, standard error)."""
    environment = dict(os.environ, STARLING_SOCKET=peer.path, PYTHONPATH=str(HOME / "python"))
    done = subprocess.run([sys.executable, "-c", BEGIN + textwrap.dedent(program)], env=environment, timeout=SECONDS,
                          capture_output=True, text=True)
    return done.returncode, done.stderr


def test_a_program_that_raises_sends_its_last_lines_and_its_exception():
    def script(peer):
        peer.open()
        log, goodbye = peer.hear("log"), peer.hear("goodbye")
        assert len(log["lines"]) <= 20 and log["lines"][-1] == "ValueError: no such column: 'age'"
        assert any("in load_data" in line for line in log["lines"])
        assert goodbye == {"type": "goodbye", "reason": "exception", "exception": "ValueError: no such column: 'age'"}
        peer.hear(None)

    with Peer(script) as peer:
        code, error = run(peer, """
            seen = []
            sys.excepthook = (lambda before: lambda *a: (print("mine too"), before(*a)))(sys.excepthook)
            def load_data():
                raise ValueError("no such column: 'age'")
            load_data()
            """)
        assert code == 1 and error.count("Traceback") == 1  # The program's own output is as it would be without us.


def test_a_program_that_ends_early_says_so():
    def script(peer):
        peer.open()
        assert peer.hear("goodbye") == {"type": "goodbye", "reason": "exception",
                                        "exception": "the program ended before its training was over"}
        peer.hear(None)

    with Peer(script) as peer:
        assert run(peer, "sys.exit(3)")[0] == 3


def test_a_program_that_ends_after_its_training_says_goodbye():
    def script(peer):
        peer.open()
        peer.hear("finish")
        peer.say(merged(over=True))
        assert peer.hear("goodbye") == {"type": "goodbye", "reason": "done"}
        peer.hear(None)

    with Peer(script) as peer:
        assert run(peer, "session.finish(batches=0, train_ms=0)")[0] == 0


def test_a_wait_can_be_interrupted_and_the_sl_hears_of_it():
    def script(peer):
        peer.open()
        peer.hear("sync")
        os.kill(peer.heard[0]["pid"], signal.SIGINT)
        peer.hear("log")
        assert peer.hear("goodbye")["exception"] == "KeyboardInterrupt"
        peer.hear(None)

    with Peer(script) as peer:
        code, error = run(peer, "session.sync(batches=0, train_ms=0)")
        assert code in (-signal.SIGINT, 130) and re.search("KeyboardInterrupt", error)


def test_a_forked_child_neither_speaks_nor_keeps_the_connection():
    def script(peer):
        peer.open()
        peer.hear("sync")
        peer.say(merged())
        peer.hear("goodbye")
        peer.hear(None)

    with Peer(script) as peer:
        code, _ = run(peer, """
            child = os.fork()
            if child == 0:
                sys.exit(0)  # Runs the exit handlers of the child.
            assert os.waitpid(child, 0)[1] == 0
            session.sync(batches=0, train_ms=0)
            session.goodbye()
            """)
        assert code == 0


def test_nothing_is_installed_before_a_session_opens():
    code = "import sys; before = sys.excepthook; import starling; assert sys.excepthook is before; starling.Session('/x')"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ, PYTHONPATH=str(HOME / "python")), timeout=SECONDS)


def test_only_the_standard_library_and_numpy_are_imported():
    code = ("import sys, starling; third = {m.split('.')[0] for m in sys.modules} & {'torch', 'keras', 'tensorflow', 'jax', "
            "'ml_dtypes', 'scipy'}; assert not third, third")
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ, PYTHONPATH=str(HOME / "python")), timeout=SECONDS)


def test_the_root_in_these_tests_is_a_root():
    assert re.fullmatch("sha256:[0-9a-f]{64}", ROOT)
