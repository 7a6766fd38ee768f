"""Twelve planted stalls of real swarms. Each is named by /readyz and by `starling status` within ten seconds: who, why, and the next step.

In one swarm six nodes have something wrong from their start; another is a good one, is hurt again and again, and goes on each time. Run as root: a full disk is a small file system of our own, in a mount namespace of our own."""
import concurrent.futures
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "chaos"))
import swarm as swarms  # noqa: E402

NAMED_WITHIN = 10  # seconds: what the product promises
CLOCK = os.environ.get("STALLS_CLOCK", "")
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18


class Lateness:
    """How much time this machine took away from whoever wanted to run: a promise of ten seconds is not broken by it."""

    STEP = 0.05

    def __init__(self):
        self.lost = 0.0
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._measure, daemon=True)
        self.thread.start()

    def _measure(self):
        before = time.monotonic()
        while not self.end.wait(self.STEP):
            now = time.monotonic()
            self.lost += max(0.0, now - before - 2 * self.STEP)
            before = now


LATENESS = Lateness()


def own_mounts():
    """A mount namespace of this process; what it mounts goes with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "a mount namespace: run this test as root")


def small_disk(folder, kib):
    folder.mkdir(parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={kib}k".encode()) != 0:
        raise OSError(ctypes.get_errno(), f"tmpfs on {folder}")


def fill(folder):
    """A file that leaves no room on the disk of `folder`."""
    path = folder / "ballast"
    with open(path, "wb", buffering=0) as ballast:
        try:
            while ballast.write(b"\0" * 4096) > 0:
                pass
        except OSError:
            pass
    return path


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr}")


class Swarm(swarms.Swarm):
    def readyz(self, name):
        return self.page(name, "/readyz")

    def status(self):
        """What `starling status` prints, whatever its exit code."""
        done = subprocess.run([swarms.STARLING, "status", "--sn", self._url(), *swarms.words(self.flags_of_identity("operator"))], capture_output=True,
                              text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def child_of(self, name):
        """The training program of a node."""
        pid = self.processes[name].child.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def expiring(self, name, seconds):
        """Another certificate of a node, by the same authority, that is good for so long."""
        folder = self.directory / f"expiring-{name}-{seconds}"
        folder.mkdir()
        end = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))
        config = folder / "ca.cnf"
        config.write_text(f"""[ca]
default_ca = own
[own]
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectAltName = URI:spiffe://chaos.local/swarm/{name}/sl
""")
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        openssl("req", "-new", "-key", str(self.identity / f"{name}-key.pem"), "-subj", "/CN=x", "-out", str(folder / "csr.pem"))
        openssl("ca", "-batch", "-config", str(config), "-extensions", "leaf", "-cert", str(self.identity / "ca-cert.pem"), "-keyfile",
                str(self.identity / "ca-key.pem"), "-in", str(folder / "csr.pem"), "-out", str(folder / "cert.pem"), "-notext", "-startdate",
                time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() - 60)), "-enddate", end)
        return {"cert": folder / "cert.pem"}

    def stranger(self, name):
        """An identity of an authority that nobody here holds; it holds ours."""
        folder = self.directory / f"stranger-{name}"
        self.starling("identity", "dev-ca", str(folder), "--trust-domain", "chaos.local", f"--issue=/swarm/{name}/sl:{name}")
        both = folder / "both.pem"
        both.write_text((folder / "ca-cert.pem").read_text() + (self.identity / "ca-cert.pem").read_text())
        return {"cert": folder / f"{name}-cert.pem", "key": folder / f"{name}-key.pem", "cacert": both}


def since(planted):
    return time.monotonic() - planted[0], LATENESS.lost - planted[1]


def plant():
    return time.monotonic(), LATENESS.lost


class Stalls(unittest.TestCase):
    """Requirements are texts with all of which one line must agree."""

    swarm = None

    def is_named(self, what, look, patterns, planted):
        """Until a line of `look()` has all patterns; within ten seconds of `planted`, beside what the machine took."""
        text = ""
        while since(planted)[0] < swarms.WITHIN:
            text = look()
            for line in text.splitlines():
                if all(re.search(pattern, line) for pattern in patterns):
                    took, lost = since(planted)
                    print(f"{self.id().rsplit('.', 1)[1]}: {what} after {took:.1f} s: {line.strip()}", flush=True)
                    self.assertIn("next: ", line.lower(), "without the next step")
                    self.assertLessEqual(took, NAMED_WITHIN + lost, f"{what} is late")
                    return
            self.swarm.gap.wait(0.1)
        self.fail(f"{what} does not name {patterns}:\n{text}")

    def all_named(self, planted, *looks):
        """Side by side, so that none is late because of another. Each look: what it is, the function, the patterns."""
        with concurrent.futures.ThreadPoolExecutor(len(looks)) as pool:
            for done in [pool.submit(self.is_named, *look, planted) for look in looks]:
                done.result()

    def ready(self, name):
        return f"/readyz of {name}", lambda: self.swarm.readyz(name)[1]

    def are_named(self, patterns, planted, own=None):
        """In /readyz of the SN and in `starling status`; and in /readyz of the node itself: `own` is its name and the patterns."""
        looks = [(*self.ready("sn"), patterns), ("status", self.swarm.status, patterns)]
        if own:
            looks.append((*self.ready(own[0]), own[1]))
        self.all_named(planted, *looks)


class FromTheStart(Stalls):
    """c: closed port, d: a name that does not resolve, e: certificate expires, f: unknown authority, g: clock an hour ahead, h: full disk."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="starling-stalls-")
        swarm = cls.swarm = Swarm(cls.directory, nodes=8, min_peers=8, floats=2000)
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.addClassCleanup(swarm.close)
        swarm.start_sn()
        swarm.create()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            cls.closed_port = listener.getsockname()[1]  # Closed as soon as this block ends.
        cls.disk = Path(cls.directory) / "disk-h"
        small_disk(cls.disk, 256)
        cls.planted = plant()
        swarm.start_node("a")
        swarm.flags_of = {"c": {"sl_fs_service": f"127.0.0.1:{cls.closed_port}"}, "d": {"host_ip": "sl-d.invalid"}, "f": swarm.stranger("f"),
                          "h": {"state_dir": cls.disk}}
        swarm.environment_of = {"g": {"LD_PRELOAD": CLOCK, "STALLS_CLOCK_SHIFT_S": "3600"}}
        for name in "cdfgh":
            swarm.start_node(name)
        cls.start_expiring()
        swarm.wait(lambda: {"c", "d", "g", "h"} <= cls.enrolled(), "their enrolment")
        cls.planted = plant()

    @classmethod
    def enrolled(cls):
        return {node["name"] for node in cls.swarm.contract()["nodes"]}

    @classmethod
    def start_expiring(cls):
        """e, with a certificate that expires soon, but not before it is in: a slow machine needs a longer one."""
        for seconds in (10, 20, 40):
            cls.expires_at = time.monotonic() + seconds
            cls.swarm.flags_of["e"] = cls.swarm.expiring("e", seconds)
            cls.swarm.start_node("e")
            cls.swarm.wait(lambda: "e" in cls.enrolled() or time.monotonic() > cls.expires_at - 2, "e's enrolment or its certificate's end")
            if "e" in cls.enrolled():
                return
            cls.swarm.processes["e"].kill()
        raise AssertionError("e does not enrol in 40 s")

    def test_a_port_that_is_closed(self):
        self.are_named([r"\bc: its port is closed", f":{self.closed_port}", "open its port"], self.planted)

    def test_b_name_that_does_not_resolve(self):
        self.are_named([r"\bd: its name does not resolve", "sl-d.invalid", "DNS"], self.planted)

    def test_c_unknown_authority(self):
        self.are_named(["127.0.0.1 cannot get in: its certificate is of an unknown authority", "/swarm/f/sl", "--cacert"], self.planted,
                       own=("f", ["^sn: no answer from the SN", "refuses this side's certificate", "its log"]))

    def test_d_clock_off_by_an_hour(self):
        self.are_named([r"\bg: its clock is (3600|3599|3601) s ahead of this SN's", "set the clocks"], self.planted,
                       own=("g", ["^clock: the clock here is (3600|3599|3601) s ahead", "set the clocks"]))

    def test_e_disk_full(self):
        # It has its key; its first check-in waits for home.json.
        swarm = self.swarm
        folder = self.disk
        swarm.wait((folder / "home.json").exists, "home.json")
        swarm.processes["h"].kill()
        (folder / "home.json").unlink()
        ballast = fill(folder)
        planted = plant()
        swarm.start_node("h")
        self.are_named([r"\bh: the disk refuses what is to be kept", "No space left", "make room"], planted,
                       own=("h", ["^disk: the disk refuses", "home.json", "No space left", "make room"]))
        ballast.unlink()
        swarm.wait((folder / "home.json").exists, "home.json once there is room")
        self.assertTrue(swarm.processes["h"].running())

    def test_f_expired_certificate(self):
        self.swarm.wait(lambda: time.monotonic() >= self.expires_at, "the certificate's end")
        planted = plant()
        self.are_named([r"\be: its certificate has expired", "/swarm/e/sl expired at", "new certificate"], planted,
                       own=("e", ["^identity: the certificate of this node has expired", "new certificate"]))


class Hurt(Stalls):
    """Three good nodes, all of them needed."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="starling-stalls-")
        swarm = cls.swarm = Swarm(cls.directory, nodes=3, min_peers=3, floats=2000, train_ms=200)
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.addClassCleanup(swarm.close)
        swarm.start()
        swarm.wait_round(1)

    def goes_on(self):
        self.swarm.wait_round(self.swarm.sealed() + 2)

    def test_a_program_stopped(self):
        pid = self.swarm.child_of("c")
        os.kill(pid, signal.SIGSTOP)
        self.are_named([r"\bc: the training program \(process " + str(pid) + r"\) is stopped", f"kill -CONT {pid}"], plant(),
                       own=("c", [r"^program: the training program \(process " + str(pid) + r"\) is stopped", f"kill -CONT {pid}"]))
        os.kill(pid, signal.SIGCONT)
        self.goes_on()

    def test_b_peer_that_accepts_and_is_silent(self):
        self.swarm.processes["c"].signal(signal.SIGSTOP)
        self.addCleanup(self.swarm.processes["c"].signal, signal.SIGCONT)
        # Away at once, where the round was just being merged.
        self.are_named([r"\bc(: | is away: .*)it takes connections and says nothing", "kill -CONT"], plant())
        self.swarm.processes["c"].signal(signal.SIGCONT)
        self.goes_on()

    def test_c_ledger_file_locked(self):
        ledger = self.swarm.directory / "sn" / "ledger.db"
        other = sqlite3.connect(ledger, isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        planted = plant()
        self.are_named([r"ledger: .*locked", "another process holds a lock", "fuser"], planted)
        self.assertEqual(self.swarm.readyz("sn")[0], 503)
        other.execute("ROLLBACK")
        other.close()
        self.goes_on()
        self.swarm.wait(lambda: self.swarm.readyz("sn")[0] == 200, "a ready SN")

    def test_d_sn_away(self):
        self.swarm.processes["sn"].kill()
        patterns = ["SN", str(self.swarm.sn_port), "its port is closed", "start it"]
        self.all_named(plant(), (*self.ready("a"), ["^sn: no answer from the SN", "since", *patterns]), ("status", self.swarm.status, patterns))
        self.swarm.start_sn()
        self.goes_on()

    def test_e_sn_silent(self):
        self.swarm.processes["sn"].signal(signal.SIGSTOP)
        patterns = ["SN", str(self.swarm.sn_port), "says nothing", "kill -CONT"]
        self.all_named(plant(), (*self.ready("a"), ["^sn: no answer from the SN", *patterns]), ("status", self.swarm.status, patterns))
        self.swarm.processes["sn"].signal(signal.SIGCONT)
        self.goes_on()

    def test_f_program_dead(self):
        os.kill(self.swarm.child_of("c"), signal.SIGKILL)
        self.are_named([r"\bc is away: the program was killed by signal 9", "start it again"], plant())
        self.swarm.processes["c"].child.wait(swarms.WITHIN)
        self.swarm.start_node("c")
        self.goes_on()

    def test_g_no_quorum(self):
        self.swarm.processes["c"].kill()
        planted = plant()
        self.are_named([r"round \d+ waits for check-ins: 2 here, quorum 3", "waits for c", "min_peers"], planted)
        self.are_named([r"\bc(: | is away: .*)its port is closed", "start it"], planted)
        self.swarm.start_node("c")
        self.goes_on()


def load_tests(loader, tests, pattern):
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (FromTheStart, Hurt))


if __name__ == "__main__":
    own_mounts()
    unittest.main(verbosity=2, failfast=False)
