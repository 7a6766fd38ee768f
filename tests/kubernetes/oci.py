"""OCI archives for tests: what is in one, and a container of it without any container engine (a mount namespace of its own; as root)."""
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

IMAGES = Path(os.environ.get("STARLING_IMAGES", ""))  # deploy/images/build --output
USER = 65532
SECONDS_MAX = 300  # no command of a test takes longer, unless it hangs

class Image:
    def __init__(self, name):
        self.name = name
        self.archive = IMAGES / f"{name}.tar"
        self.bill = IMAGES / f"{name}.sbom.json"
        with tarfile.open(self.archive) as tar:
            self.index = json.load(tar.extractfile("index.json"))
            self.manifest = self._json(tar, self.index["manifests"][0]["digest"])
            self.config = self._json(tar, self.manifest["config"]["digest"])
        self.digest = self.index["manifests"][0]["digest"]
        self.reference = self.index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]

    @staticmethod
    def _json(tar, digest):
        return json.load(tar.extractfile("blobs/" + digest.replace(":", "/")))

    def files(self):
        """path → TarInfo of all files of the image."""
        out = {}
        with tarfile.open(self.archive) as tar:
            for layer in self.manifest["layers"]:
                with tarfile.open(fileobj=tar.extractfile("blobs/" + layer["digest"].replace(":", "/"))) as files:
                    for info in files:
                        folder, _, name = info.name.strip("/").rpartition("/")
                        if name.startswith(".wh."):
                            gone = "/".join(filter(None, (folder, name[4:])))
                            out = {path: at for path, at in out.items() if path != gone and not path.startswith(gone + "/")}
                        else:
                            out[info.name.strip("/")] = info
        return out

    def unpack(self, folder):
        """Writes the image's files below `folder`, with owners and modes. Answers the folder."""
        folder.mkdir(parents=True)
        with tarfile.open(self.archive) as tar:
            for layer in self.manifest["layers"]:
                with tarfile.open(fileobj=tar.extractfile("blobs/" + layer["digest"].replace(":", "/"))) as files:
                    for info in files:
                        if info.name.rpartition("/")[2].startswith(".wh."):
                            subprocess.run(["rm", "-rf", str(folder / info.name.replace(".wh.", "", 1))], check=True)
                        else:
                            files.extract(info, folder, numeric_owner=True)
        for name in ("proc", "dev"):  # which a container engine makes, too
            (folder / name).mkdir(exist_ok=True)
        return folder


class Container:
    """A root file system that commands run in: read-only, as 65532, with the image's environment and the host's network."""

    def __init__(self, image, folder):
        self.image, self.root = image, image.unpack(folder)

    def start(self, *command, writable=(), environment=None, **popen):
        """Starts `command`, or without one what the image starts by itself. `writable`: (folder of the host, path inside)."""
        config = self.image.config["config"]
        argv = list(command) or [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
        for host, inside in writable:
            os.chown(host, USER, USER)
            (self.root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        given = {**dict(line.split("=", 1) for line in config.get("Env") or []), "HOME": "/", **(environment or {})}
        mounts = [str(part) for pair in writable for part in pair]
        return subprocess.Popen(["unshare", "--mount", sys.executable, __file__, str(self.root), config.get("WorkingDir") or "/",
                                 str(len(writable)), *mounts, *argv], env=given, **popen)

    def run(self, *command, **more):
        """(exit code, output, errors) of a command that ends."""
        process = self.start(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        try:
            output, errors = process.communicate(timeout=SECONDS_MAX)
        finally:
            process.kill()
        return process.returncode, output, errors


def enter(root, working_folder, count, *rest):
    """In a mount namespace of its own, as root: becomes a command inside `root`, which may not write but in what is mounted there."""
    def mount(*arguments):
        subprocess.run(["/bin/mount", *arguments], check=True)

    mount("--bind", root, root)
    for folder in ("/proc", "/dev"):
        mount("--bind", folder, root + folder)
    mount("-o", "remount,ro,bind", root)
    for at in range(0, 2 * int(count), 2):
        mount("--bind", rest[at], root + rest[at + 1])
    os.chroot(root)
    os.chdir(working_folder)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    argv = rest[2 * int(count):]
    os.execvpe(argv[0], argv, os.environ)


if __name__ == "__main__":
    enter(*sys.argv[1:])
