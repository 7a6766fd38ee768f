"""Calls of buildah, with a storage of its own below a folder: nothing is pulled unless asked for, nothing needs a daemon."""
import re
import subprocess
import sys
from pathlib import Path


class Buildah:
    def __init__(self, folder):
        # Overlay keeps what images share once; where the kernel refuses it, vfs copies every layer whole.
        for driver in ("overlay", "vfs"):
            self.options = ["--root", str(folder / driver), "--runroot", str(folder / f"{driver}-run"), "--storage-driver", driver]
            done = subprocess.run(["buildah", *self.options, "images", "--quiet"], capture_output=True, text=True)
            if done.returncode == 0:
                return
        raise RuntimeError(f"buildah: {done.stderr.strip()}")

    def __call__(self, *arguments, quiet=False):
        done = subprocess.run(["buildah", *self.options, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0 and not quiet:
            sys.stderr.write(done.stdout + done.stderr)
            raise RuntimeError(f"buildah {arguments[0]}: exit code {done.returncode}")
        return done.stdout.strip() if done.returncode == 0 else None

    def image(self, name):
        """The id of the image `name`, or None."""
        return self("inspect", "--type", "image", "--format", "{{.FromImageID}}", name, quiet=True)

    def build(self, context, epoch, arguments, pull):
        """Builds context/Containerfile. Answers the image's id."""
        # One layer for what a stage adds, every time in it the same, and no label that names buildah's version.
        command = ["build", "--isolation", "chroot", "--layers=false", "--timestamp", epoch, "--identity-label=false", "--format", "oci",
                   "--pull" if pull else "--pull-never", "--quiet"]
        for key, value in sorted(arguments.items()):
            command += ["--build-arg", f"{key}={value}"]
        return self(*command, "--file", Path(context) / "Containerfile", context).splitlines()[-1]

    def inside(self, image, *command):
        """What `command` prints in a container of `image`, run as root."""
        container = self("from", "--pull-never", image)
        try:
            return self("run", "--isolation", "chroot", "--user", "0:0", container, "--", *command)
        finally:
            self("rm", container)

    def with_file(self, image, path, source, epoch):
        """The id of `image` with one more file."""
        container = self("from", "--pull-never", image)
        try:
            self("copy", "--chown", "0:0", container, source, path)
            return self("commit", "--quiet", "--identity-label=false", "--format", "oci", "--timestamp", epoch, container)
        finally:
            self("rm", container)

    def forget_unnamed(self):
        """Removes images that another took the name of. Their archives, if they have one, stay."""
        self("rmi", "--prune", "--force", quiet=True)

    def archive(self, image, name, path):
        """Writes the OCI archive `path`, whole or not at all."""
        part = Path(f"{path}.part")
        part.unlink(missing_ok=True)
        self("push", "--quiet", image, f"oci-archive:{part}:{name}")
        part.replace(path)

    def read_archive(self, path):
        """The id of the image in the archive."""
        out = self("pull", "--quiet", f"oci-archive:{path}")
        return re.search(r"[0-9a-f]{64}", out).group(0)
