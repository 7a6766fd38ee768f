"""The binary of the images, compiled again from nothing in another folder, has the same bytes."""
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

HOME = Path(os.environ["STARLING_HOME"])


class Reproduce(unittest.TestCase):
    def run_quietly(self, command, environment):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])

    def test_another_folder_gives_the_same_binary(self):
        with tempfile.TemporaryDirectory(prefix="starling_elsewhere_") as folder:
            elsewhere = Path(folder) / "a" / "checkout-with-another-name"
            listed = subprocess.run(["git", "-C", str(HOME), "ls-files", "-coz", "--exclude-standard"], check=True, capture_output=True).stdout
            for name in filter(None, listed.decode().split("\0")):
                target = elsewhere / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if (HOME / name).is_file():
                    shutil.copy2(HOME / name, target)
            # Neither objects nor results of another build.
            environment = {**os.environ, "CCACHE_DISABLE": "1"}
            self.run_quietly(["cmake", "-S", str(elsewhere), "--preset", "release", "-D", f"Python3_EXECUTABLE={os.environ['STARLING_PYTHON']}"],
                             environment)
            self.run_quietly(["cmake", "--build", str(elsewhere / "build/release"), "--target", "starling_image"], environment)
            here, there = (hashlib.sha256((home / "build/release/bin/starling-static").read_bytes()).hexdigest() for home in (HOME, elsewhere))
            self.assertEqual(here, there)


if __name__ == "__main__":
    unittest.main(verbosity=2)
