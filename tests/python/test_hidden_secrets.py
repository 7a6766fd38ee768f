"""A join token is hidden from /proc/<pid>/cmdline and /proc/<pid>/environ, and no message repeats it."""
import errno
import os
import subprocess

import pytest

BIN = os.environ["STARLING_BIN"]
FROM_FLAG, FROM_VARIABLE, FROM_OURS = "flag-5c2f7a9e", "variable-7d10b3c4", "ours-1f0e88aa"
TOKENS = (FROM_FLAG, FROM_VARIABLE, FROM_OURS)
PAUSE_S, LIMIT = 0.05, 1200  # a minute, for hanging


def open_once_read(path, process):
    """The write end of the pipe `path` once `process` has opened it to read."""
    for _ in range(LIMIT):
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        try:
            process.wait(timeout=PAUSE_S)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"it ended: {process.stderr.read()}")
    pytest.fail("it never read its settings")


def proc(process, name):
    with open(f"/proc/{process.pid}/{name}", "rb") as file:
        return file.read().decode()


@pytest.mark.parametrize("flag", (["-joinToken", FROM_FLAG], ["-JOINTOKEN=" + FROM_FLAG], ["--join-token", FROM_FLAG],
                                  ["--JoinToken=" + FROM_FLAG]))
def test_a_join_token_is_not_seen_in_proc(tmp_path, flag):
    settings = tmp_path / "starling.yaml"
    os.mkfifo(settings)
    process = subprocess.Popen([BIN, "sn", "--config", str(settings), *flag], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "SPIRE_JOIN_TOKEN": FROM_VARIABLE, "STARLING_JOIN_TOKEN": FROM_OURS})
    try:
        pipe = open_once_read(settings, process)  # It has begun to read its settings, and waits for us.
        arguments, environment = proc(process, "cmdline"), proc(process, "environ")
        os.close(pipe)
    finally:
        process.kill()
    _, said = process.communicate()
    assert flag[0].split("=")[0] in arguments and "SPIRE_JOIN_TOKEN" in environment  # It is that process.
    for token in TOKENS:
        assert token not in arguments and token not in environment and token not in said


def test_a_usage_error_does_not_repeat_a_join_token():
    done = subprocess.run([BIN, "verify", "--join-token", FROM_FLAG, "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and "usage" in done.stderr
    assert FROM_FLAG not in done.stdout + done.stderr
