"""Archives of files for images: the same content gives the same bytes, whoever makes them, where and when."""
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

USER = 65532  # what images run as, and what may write in them


class Rootfs:
    """Collects files by their absolute path in the image; folders above them are made, owned by root."""

    def __init__(self, epoch):
        self.epoch = epoch  # seconds; every file's time
        self.entries = {}

    def _add(self, path, kind, mode, owner, **more):
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, owner, owner, self.epoch
        self.entries[info.name] = (info, more.get("content", b""))
        info.linkname = more.get("link", "")
        for above in PurePosixPath(info.name).parents:
            if str(above) != "." and str(above) not in self.entries:
                self._add(str(above), tarfile.DIRTYPE, 0o755, 0)

    def folder(self, path, mode=0o755, owner=0):
        self._add(path, tarfile.DIRTYPE, mode, owner)

    def text(self, path, text):
        self._add(path, tarfile.REGTYPE, 0o644, 0, content=text.encode())

    def file(self, path, source, mode=0o644):
        self._add(path, tarfile.REGTYPE, mode, 0, content=Path(source).read_bytes())

    def hard_link(self, path, to):
        self._add(path, tarfile.LNKTYPE, 0o755, 0, link=to.strip("/"))

    def tree(self, path, source, keep=lambda name: True):
        for folder, folders, files in os.walk(source):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            inside = PurePosixPath(path) / Path(folder).relative_to(source).as_posix()
            for name in filter(keep, sorted(files)):
                self.file(str(inside / name), Path(folder) / name)

    def users(self, name, home):
        self.text("/etc/passwd", f"root:x:0:0:root:/:/sbin/nologin\n{name}:x:{USER}:{USER}:{name}:{home}:/sbin/nologin\n")
        self.text("/etc/group", f"root:x:0:\n{name}:x:{USER}:\n")
        self.text("/etc/nsswitch.conf", "hosts: files dns\n")  # what Kubernetes writes: /etc/hosts and /etc/resolv.conf
        self.folder("/tmp", 0o1777)

    def libraries_of(self, binary):
        """Adds the shared libraries that `binary` is loaded with, where the loader looks for them. Answers their paths."""
        paths = shared_libraries(binary)
        for path in paths:
            self.file(path, os.path.realpath(path), 0o755)
        return paths

    def write(self, path):
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            # Hard links last: what they name comes before them.
            for name in sorted(self.entries, key=lambda n: (self.entries[n][0].type == tarfile.LNKTYPE, n)):
                info, content = self.entries[name]
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def shared_libraries(binary):
    """Absolute paths of the loader and of every shared library that `binary` is loaded with."""
    out = subprocess.run(["ldd", str(binary)], check=True, capture_output=True, text=True).stdout
    if "not found" in out:
        raise RuntimeError(f"{binary}: a library is missing: {out}")
    return sorted(set(re.findall(r"(/\S+) \(0x", out)))
