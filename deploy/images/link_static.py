#!/usr/bin/env python3
"""Runs a link command with static libraries in the place of shared ones: `link_static.py COMPILER ARGUMENT…`.

CMake names the libraries of Debian's packages by their shared files. Each is replaced by the archive beside it; fmt and
spdlog have none and are left out, since fmt_spdlog.cc brings their code. Any other library without an archive is an error.
The files that the linker took code from are written to OUTPUT.libraries, one a line, sorted.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

GLIBC = ("-lm", "-ldl", "-lrt", "-lpthread")
OURS = re.compile(r"lib(fmt|spdlog)\.so")
SHARED = re.compile(r"(.*/lib[^/]+)\.so(\.[\d.]+)?$")
TAKEN = re.compile(r"^(\S+\.a)\(", re.M)
LOADED = re.compile(r"^LOAD (\S+\.o)$", re.M)


def replaced(compiler, argument):
    """The arguments that take the place of `argument`."""
    if argument.startswith("-l") and argument not in GLIBC:
        name = f"lib{argument[2:]}.a"
        path = subprocess.run([compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()
        return [path] if os.path.isabs(path) else sys.exit(f"link_static.py: no {name}")
    shared = SHARED.match(argument)
    if not shared:
        return [argument]
    if OURS.search(argument):
        return []
    archive = shared.group(1) + ".a"
    return [archive] if os.path.exists(archive) else sys.exit(f"link_static.py: {argument} has no archive beside it")


def main():
    compiler, arguments = sys.argv[1], sys.argv[2:]
    output = arguments[arguments.index("-o") + 1]
    out = [part for argument in arguments for part in replaced(compiler, argument)]
    # Archives that need each other, in whatever order CMake found for shared libraries.
    first = next(i for i, argument in enumerate(out) if argument.endswith(".a"))
    listing = output + ".map"
    done = subprocess.run([compiler, *out[:first], "-Wl,--start-group", *out[first:], f"-Wl,--end-group,-Map={listing}"])
    if done.returncode != 0:
        sys.exit(done.returncode)
    text = Path(listing).read_text(errors="replace")
    os.remove(listing)
    # Of an archive only the members that were taken are named with a parenthesis behind it.
    used = {os.path.abspath(path) for path in TAKEN.findall(text.split("\nMemory Configuration", 1)[0])}
    used |= {os.path.abspath(path) for path in LOADED.findall(text)}
    Path(output + ".libraries").write_text("".join(f"{path}\n" for path in sorted(used)))


if __name__ == "__main__":
    main()
