"""Bills of materials: CycloneDX 1.5 in JSON. What is known is asked for where it is known: dpkg for files of Debian, pip for
an environment, the binary itself for Go. The same materials give the same bytes."""
import datetime
import json
import mmap
import os
import re
import subprocess
import uuid
from urllib.parse import quote

DPKG_FORMAT = r"${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"


def component(name, version, purl, kind="library", **properties):
    out = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if properties:
        out["properties"] = [{"name": f"starling:{key}", "value": value} for key, value in sorted(properties.items())]
    return out


def debian(dpkg_lines, **properties):
    """Components of lines in DPKG_FORMAT."""
    out = []
    for line in dpkg_lines.splitlines():
        name, version, architecture, source, source_version = line.split("\t")
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro=debian-12"
        out.append(component(name, version, purl, source=source, **{"source-version": source_version}, **properties))
    return out


def debian_owners(paths):
    """Names of the packages that the files `paths` of this machine belong to, with the file that told, sorted."""
    paths = list(paths)
    # With /lib a link to /usr/lib, the database knows some files by the one name and some by the other.
    names = sorted({name for path in paths for name in (path, re.sub(r"^/usr/(?=lib)", "/", path))})
    out = {}
    done = subprocess.run(["dpkg-query", "--search", *names], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        packages, _, path = line.partition(": ")
        if not packages.startswith("diversion by "):
            out.setdefault(packages.split(",")[0].split(":")[0], path)
    known = set(re.findall(r": (/\S+)$", done.stdout, re.M))
    lost = [path for path in paths if not {path, re.sub(r"^/usr/(?=lib)", "/", path)} & known]
    if lost:
        raise RuntimeError(f"no Debian package owns {lost[0]}, so its version is not known")
    return out


def debian_packages(names, **properties):
    architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    lines = subprocess.run(["dpkg-query", "--show", f"--showformat={DPKG_FORMAT}", *sorted(names)],
                           check=True, capture_output=True, text=True).stdout
    # A package may be installed for several architectures.
    lines = "\n".join(line for line in lines.splitlines() if line.split("\t")[2] in (architecture, "all"))
    return debian(lines, **properties)


def python_packages(pip_json):
    return [component(item["name"], item["version"], f"pkg:pypi/{item['name'].lower()}@{item['version']}") for item in json.loads(pip_json)]


def go_modules(path):
    """The modules that a Go binary says it is made of, and the toolchain."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
        at = image.find(b"\xff Go buildinf:")
        if at < 0:
            raise RuntimeError(f"{path} is no Go binary")
        at += 32
        texts = []
        for _ in range(2):
            length = shift = 0
            while True:
                byte = image[at]
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            texts.append(image[at:at + length])
            at += length
    version = texts[0].decode()
    out = [component("go", version.removeprefix("go").split()[0], f"pkg:golang/stdlib@{version.removeprefix('go').split()[0]}")]
    for line in texts[1][16:-16].decode().splitlines():
        parts = line.split("\t")
        if parts[0] in ("dep", "=>"):
            if parts[0] == "=>":
                out.pop()
            out.append(component(parts[1], parts[2], f"pkg:golang/{parts[1]}@{parts[2]}"))
    return out


def document(image, version, revision, epoch, components):
    """The bill of the image `image`, as text."""
    unique = {item["bom-ref"]: item for item in components}
    listed = [unique[ref] for ref in sorted(unique)]
    name = json.dumps([image, version, revision, listed])
    return json.dumps({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(image, version, f"pkg:oci/{image}@{quote(version)}", "container", commit=revision),
        },
        "components": listed,
    }, indent=1) + "\n"


def copyright_files(names):
    """(package, path of its copyright file) for those of the packages that have one here."""
    for name in sorted(names):
        path = f"/usr/share/doc/{name}/copyright"
        if os.path.exists(path):
            yield name, os.path.realpath(path)
