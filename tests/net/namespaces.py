"""Networks of the test's own: the process leaves for a fresh network namespace, the hub, in which the SN runs; every learning node gets a
namespace behind the hub, at the end of a veth pair or of a forwarder. All of it ends with the processes that live in it. Needs root."""
import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

from swarm import WITHIN, Swarm

HERE = Path(__file__).resolve().parent
CLONE_NEWNET = 0x40000000
HUB = "10.77.0.1"


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}")


def _said(process, what):
    line = process.stdout.readline().strip()
    if line != "ready":
        raise RuntimeError(f"{what}: {line or process.stderr.read().strip() or 'it ended'}")


class Host:
    """A namespace behind the hub, kept by a process that does nothing."""

    def __init__(self, number, forwarded):
        self.outside, self.inside, self.address = f"hub{number}", f"eth{number}", f"10.77.{number}.2"
        gateway = f"10.77.{number}.1"
        self.keeper = _start(["unshare", "--net", "sh", "-c", "echo ready; read -r _"], "a network namespace")
        self.forwarder = None
        if forwarded:
            self.forwarder = _start([sys.executable, str(HERE / "forwarder.py"), self.outside, self.inside], "the forwarder")
            run("ip", "link", "set", self.inside, "netns", str(self.keeper.pid))
        else:
            run("ip", "link", "add", self.outside, "type", "veth", "peer", "name", self.inside, "netns", str(self.keeper.pid))
        run("ip", "address", "add", f"{gateway}/30", "dev", self.outside)
        run("ip", "link", "set", self.outside, "up")
        self.run("ip", "address", "add", f"{self.address}/30", "dev", self.inside)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", self.inside, "up")
        self.run("ip", "route", "add", "default", "via", gateway)

    def command(self, argv):
        """`argv` in this namespace; nsenter becomes it."""
        return ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net", *argv]

    def run(self, *argv):
        run(*self.command(argv))

    def cut(self):
        """Of a forwarder: silence. Of a veth pair: no carrier, and the hub says that there is no way."""
        self._link("cut", "down")

    def mend(self):
        self._link("mend", "up")

    def _link(self, word, state):
        if self.forwarder is None:
            run("ip", "link", "set", self.outside, state)
        else:
            self.tell(word)

    def tell(self, words):
        """To the forwarder (see there), which obeys before this returns."""
        self.forwarder.stdin.write(words + "\n")
        self.forwarder.stdin.flush()
        _said(self.forwarder, f"the forwarder, told to {words}")

    def slow(self, bits_per_second):
        """Both ways, of a veth pair."""
        shape = ["tbf", "rate", f"{bits_per_second}bit", "burst", "32kb", "latency", "400ms"]
        run("tc", "qdisc", "add", "dev", self.outside, "root", *shape)
        self.run("tc", "qdisc", "add", "dev", self.inside, "root", *shape)

    def close(self):
        for process in (self.forwarder, self.keeper):
            if process is not None:
                process.kill()
                process.communicate()


def _start(argv, what):
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _said(process, what)
    except RuntimeError:
        process.kill()
        process.communicate()
        raise
    return process


class Net:
    def __init__(self, names, forwarded=()):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise RuntimeError(f"no network namespace can be made ({os.strerror(ctypes.get_errno())}): these tests need root and CONFIG_NET_NS")
        run("ip", "link", "set", "lo", "up")
        run("ip", "address", "add", f"{HUB}/32", "dev", "lo")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        self.hosts = {}
        try:
            for number, name in enumerate(names, 1):
                self.hosts[name] = Host(number, name in forwarded)
        except RuntimeError:
            self.close()
            raise

    def close(self):
        for host in self.hosts.values():
            host.close()


class NetSwarm(Swarm):
    """A swarm whose learning nodes run behind the hub of `net`, which it closes."""

    def __init__(self, directory, net, **settings):
        self.net = net
        super().__init__(directory, **settings)
        assert set(self.names) == set(net.hosts)

    def host(self, name):
        return HUB if name == "sn" else self.net.hosts[name].address

    def command(self, name, argv):
        return argv if name == "sn" else self.net.hosts[name].command(argv)


def pause(seconds):
    """What the tests are about takes this long."""
    threading.Event().wait(seconds)
