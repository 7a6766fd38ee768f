"""That a cluster ends, whatever happens to those who started it, and leaves the machine as it was. It starts clusters of its own."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import kube

SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
           "net/ipv4/ip_forward")


def machine():
    """What a cluster could change: settings, interfaces, routes, firewall, mounts, and folders that would stay behind."""
    settings = [Path("/proc/sys", name).read_text() for name in SYSCTLS]
    commands = (["ip", "-brief", "link"], ["ip", "route"], ["nft", "list", "ruleset"], ["findmnt", "--noheadings", "--output", "TARGET"])
    names = [line.split()[0] if line else "" for command in commands for line in kube.run(command).stdout.splitlines()]
    return settings, names, sorted(os.listdir("/var/lib")), sorted(os.listdir("/run"))


class End(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name, "cluster")
        self.addCleanup(self.script, "down")

    def script(self, *arguments, check=True, **environment):
        with unittest.mock.patch.dict(os.environ, {**environment, "STARLING_KUBE_STATE": str(self.state)}):
            return kube.run([kube.SCRIPT, *arguments], check=check)

    def init(self):
        """The process that the cluster ends with, as the machine counts."""
        return int((self.state / "run" / "init").read_text().split()[0])

    def runs(self):
        return self.script("enter", "true", check=False).returncode == 0

    def left(self):
        """Cgroups that are left, and processes that still see the state folder in their mounts."""
        seen = [path for path in Path("/proc").glob("[0-9]*/mountinfo") if self.mounts(path)]
        return seen + [folder for folder in self.cgroups if folder.exists()]

    def mounts(self, path):
        try:
            return f" {self.state}/" in path.read_text()
        except OSError:
            return False  # it has just ended

    def wait(self, what, condition):
        kube.Cluster(self.state).wait(what, 60, condition)

    def up(self, **environment):
        self.script("up", **environment)
        self.cgroups = [Path(line) for line in (self.state / "run" / "cgroups").read_text().splitlines()]
        self.assertTrue(self.cgroups)
        self.assertTrue(all(folder.exists() for folder in self.cgroups))
        self.assertTrue(self.left())

    def test_it_ends_with_its_owner_and_starts_again_after_it_was_killed(self):
        before = machine()
        owner = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        self.up(STARLING_KUBE_OWNER=str(owner.pid))
        self.assertEqual(machine(), before)
        init = self.init()
        self.script("up")
        self.assertEqual(self.init(), init, "one that runs is left alone")
        owner.kill()
        owner.wait()
        owner.stdin.close()
        self.wait("the cluster to end with its owner", lambda: not self.runs() and not self.left())

        self.up()
        os.kill(self.init(), signal.SIGKILL)
        self.wait("the cluster to be dead", lambda: not self.runs())
        self.assertTrue([folder for folder in self.cgroups if folder.exists()], "nobody has cleared up yet")
        self.up()
        shutil.rmtree(self.state / "run")
        strays = self.left()
        self.assertGreater(len(strays), len(self.cgroups), "it runs on, and nothing says so")
        self.up()
        self.assertEqual([path for path in strays if path.name == "mountinfo" and path.exists()], [])
        self.script("down")
        self.assertFalse(self.runs())
        self.assertEqual(self.left(), [])
        self.assertFalse(self.state.exists())
        self.assertEqual(machine(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
