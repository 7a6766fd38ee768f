"""Swarms of real processes that are there to be hurt: one SN, N learning nodes with the deterministic trainer, on loopback and free ports
unless host() and command() say otherwise. Everything is started, signalled and waited for by process id."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1]
STARLING = os.environ.get("STARLING_BIN", str(HOME / "build/release/bin/starling"))
TRAINING = "chaos"
MERGED = re.compile(r" round (\d+): merged ([^;]*);")
WITHIN = 60  # seconds: more than any wait of the protocol in these tests; a test that needs them has failed


class Process:
    """A child in a process group of its own, with its output in a file."""

    def __init__(self, argv, log, environment):
        self.log = Path(log)
        with open(log, "ab") as out:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment,
                                          start_new_session=True)

    def signal(self, number):
        """To the process alone; what it has started sees how it ends."""
        os.kill(self.child.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.wait()

    def running(self):
        return self.child.poll() is None

    def tail(self, lines=15):
        return "".join(self.log.read_text(errors="replace").splitlines(True)[-lines:])


class Swarm:
    """See above. `close()` ends all that still runs."""

    def __init__(self, directory, nodes=4, floats=2000, train_ms=100, min_peers=None, grace="1s", **flags):
        self.directory = Path(directory)
        self.names = [chr(ord("a") + i) for i in range(nodes)] if nodes <= 26 else [f"n{i:03}" for i in range(nodes)]
        self.grace = grace  # None: the SN follows what it measures, as it does without the option
        self.min_peers = min_peers or nodes - 1
        self.end_file = self.directory / "end"
        self.settings = {"END": str(self.end_file), "FLOATS": str(floats), "TRAIN_MS": str(train_ms), "MIN_PEERS": str(self.min_peers)}
        self.training = TRAINING
        self.rules = {}  # of the training, as flags of `training create`
        self.program = ["--", sys.executable, str(HERE / "program.py")]  # that a node starts; []: it waits at its socket
        self.own_settings = {}  # of single nodes: name -> settings of its program
        self.flags = flags  # of the learning nodes
        self.flags_of = {}  # of single nodes, in place of those and of all that is usual: name -> flags
        self.environment_of = {}  # of single nodes, beside ours: name -> variables
        self.identity = self.directory / "identity"
        self.tool = STARLING  # as which the operator's commands are started
        self.issue()
        self.sn_port = free_port()
        self.processes = {}
        self.gap = threading.Event()  # Never set: a bounded pause between two attempts.

    # --- where they run ---

    def host(self, _name):
        """The address by which others reach the node or `sn`."""
        return "127.0.0.1"

    def command(self, _name, argv):
        """What is started for `argv`. It must become that program, not its parent: signals go to its process."""
        return argv

    # --- who they are ---

    def issue(self):
        """Makes what flags_of_identity() names."""
        issue = [f"--issue=/swarm/{name}/sl:{name}" for name in self.names] + ["--issue=/swarm/sn:sn", "--issue=/swarm/operator:operator"]
        self.starling("identity", "dev-ca", str(self.identity), "--trust-domain", "chaos.local", *issue)

    def flags_of_identity(self, stem):
        """Of a node, `sn` or `operator`."""
        return {"cert": self.identity / f"{stem}-cert.pem", "key": self.identity / f"{stem}-key.pem", "cacert": self.identity / "ca-cert.pem"}

    def operator_files(self):
        """What ask() shows and trusts, by the names of the flags."""
        return self.flags_of_identity("operator")

    # --- tools ---

    def starling(self, *arguments):
        done = subprocess.run([self.tool, *arguments], capture_output=True, text=True, timeout=WITHIN, check=False)
        if done.returncode != 0:
            raise AssertionError(f"starling {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _url(self):
        return f"https://{self.host('sn')}:{self.sn_port}"

    def ask(self, target):
        """A GET at the SN, as the operator. OSError when it gives no good answer."""
        files = self.operator_files()
        context = ssl.create_default_context(cafile=str(files["cacert"]))
        context.check_hostname = False
        context.load_cert_chain(files["cert"], files["key"])
        connection = http.client.HTTPSConnection(self.host("sn"), self.sn_port, context=context, timeout=WITHIN)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            if answer.status != 200:
                raise ConnectionError(f"{target}: {answer.status}: {answer.read().decode(errors='replace')}")
            return json.loads(answer.read())
        finally:
            connection.close()

    def page(self, name, target):
        """A page of the health port of a node or `sn` as (status, text), or (0, "") while it cannot be had."""
        folder = self.directory / ("sn" if name == "sn" else f"node-{name}")
        try:
            port = json.loads((folder / "ready.json").read_text())["health_port"]
            with contextlib.closing(http.client.HTTPConnection(self.host(name), port, timeout=5)) as connection:
                connection.request("GET", target)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
        except (OSError, ValueError, http.client.HTTPException):
            return 0, ""

    def metrics(self, name):
        """Its metrics as name{labels} -> value; {} while they cannot be had."""
        lines = self.page(name, "/metrics")[1].splitlines()
        return {what: float(value) for what, value in (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}

    def counts(self, name):
        """The same, once they can be had."""
        got = {}

        def had():
            got.update(self.metrics(name))
            return got

        self.wait(had, f"the metrics of {name}")
        return got

    # --- life ---

    def start_sn(self):
        folder = self.directory / "sn"
        folder.mkdir(parents=True, exist_ok=True)
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        host = self.host("sn")
        argv = [STARLING, "sn", "--sentinel", "--name", "sn", "--state-dir", str(folder), "--host-ip", host, "--listen-address", host,
                "--sn-api-port", str(self.sn_port), "--health-port", "0", "--ready-file", str(ready), "--allow-loopback",
                *(["--quorum-grace", self.grace] if self.grace else []), *words(self.flags_of_identity("sn"))]
        self.processes["sn"] = Process(self.command("sn", argv), folder / "log.txt", dict(os.environ))
        self.wait(ready.exists, "the SN's ready file")

    def create(self):
        self.starling("training", "create", TRAINING, "--sn", self._url(), *words(self.rules), *words(self.flags_of_identity("operator")))

    def start_node(self, name):
        folder = self.directory / f"node-{name}"
        folder.mkdir(exist_ok=True)
        settings = dict(self.settings, NODE=name, **self.own_settings.get(name, {}))
        environment = dict(os.environ, PYTHONPATH=f"{HOME / 'python'}:{HERE}", PYTHONUNBUFFERED="1", **settings, **self.environment_of.get(name, {}))
        (folder / "ready.json").unlink(missing_ok=True)
        argv = [STARLING, "sl", "--name", name, "--allow-loopback", "--may-lead", *words(self._flags(name, folder)), *self.program]
        self.processes[name] = Process(self.command(name, argv), folder / "log.txt", environment)

    def _flags(self, name, folder):
        return {"state_dir": folder, "ready_file": folder / "ready.json", "host_ip": self.host(name), "listen_address": self.host(name), "health_port": 0,
                "contract": TRAINING, "sn_url": self._url(), "sl_fs_port": 0, **self.flags_of_identity(name), **self.flags, **self.flags_of.get(name, {})}

    def start(self):
        self.start_sn()
        self.create()
        for name in self.names:
            self.start_node(name)

    def close(self):
        for process in self.processes.values():
            if process.running():
                process.kill()

    def tail(self):
        """The last lines of every process."""
        return "\n".join(f"--- {name}\n{process.tail()}" for name, process in self.processes.items())

    # --- what happens ---

    def wait(self, ready, what, within=WITHIN):
        """Until `ready()`; a process that ended badly meanwhile ends the wait."""
        until = time.monotonic() + within
        while not ready():
            for name, process in self.processes.items():
                if not process.running() and process.child.returncode not in (0, -signal.SIGKILL):
                    raise AssertionError(f"{name} ended with {process.child.returncode} while {what} was waited for:\n{process.tail()}")
            if time.monotonic() > until:
                raise AssertionError(f"{what}: not within {within} s\n{self.tail()}")
            self._await_news(until)

    def _await_news(self, until):
        """Until the log grows, or half a second: what is waited for may also happen beside it. An SN that is down is asked again."""
        try:
            end = self.ask("/v1/status")["end"]["position"]
            self.ask(f"/v1/entries?from={end + 1}&wait=500")
        except (OSError, http.client.HTTPException):
            self.gap.wait(min(0.05, max(0.0, until - time.monotonic())))

    def contract(self):
        return self.ask(f"/v1/contracts/{TRAINING}")

    def sealed(self):
        return self.contract()["rounds_sealed"]

    def wait_round(self, number):
        """Until `number` rounds are sealed."""
        self.wait(lambda: self.sealed() >= number, f"{number} sealed rounds")

    def took_part(self, name, after):
        """Whether a round beyond `after` was merged with `name` in it, by what this node has logged."""
        for line in reversed(self.processes[name].tail(50).splitlines()):
            told = MERGED.search(line)
            if told and int(told[1]) > after and name in told[2].split(", "):
                return True
        return False

    def wait_end(self):
        """Tells the programs to finish, and waits until all nodes have ended."""
        self.end_file.touch()
        self.wait(lambda: all(not self.processes[name].running() for name in self.names), "the end of all nodes")

    def rounds(self):
        """The rounds as `starling explain` tells them, from the ledger's file."""
        return json.loads(self.starling("explain", "--json", str(self.directory)))["rounds"]

    def story(self):
        """The same in words."""
        return self.starling("explain", str(self.directory))


def words(flags):
    """As a command line has them."""
    return [word for flag, value in flags.items() for word in (f"--{flag.replace('_', '-')}", str(value))]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
