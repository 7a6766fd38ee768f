#!/usr/bin/env python3
"""clang-tidy-16 over the clang preset's database, in parallel, remembering what passed.

    tests/lint.py [--all | FILE…] [--fix]

Without arguments: the sources that changed in the last 20 commits, or whose own header did, the newest first, MOST at the most;
it says how many it left out. A source that passed is not looked at again until it, a header of ours that it reaches, its
flags, the rules or clang-tidy change. Exit code 0 when all passed. Needs
`cmake --preset clang` first, and its target starling_generated.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = "clang-tidy-16"
SECONDS_MAX = 900  # for one file
COMMITS, MOST = 20, 40
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def cache_directory():
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("STARLING_CACHE") or Path(home) / "starling") / "lint"


def closure(source):
    """`source` and every header of ours that it reaches."""
    found, left = set(), [source]
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        for name in INCLUDE.findall(path.read_text()):
            for folder in (ROOT / "src", ROOT, path.parent):
                if (folder / name).is_file():
                    left.append((folder / name).resolve())
                    break
    return found


def changed_files():
    """The names of what changed, the newest change first, new files included."""
    git = ["git", "-C", str(ROOT)]
    commands = (["ls-files", "-mo", "--exclude-standard"], ["log", f"-{COMMITS}", "--name-only", "--format="])
    names = []
    for command in commands:
        names += subprocess.run([*git, *command], check=True, capture_output=True, text=True).stdout.splitlines()
    return list(dict.fromkeys(name for name in names if name))


def key_of(entry, files, rules):
    """A name for everything that the outcome depends on."""
    digest = hashlib.sha256(rules)
    digest.update(entry["command"].replace(str(ROOT), "").encode())
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def lint(source, fix):
    """(passed, what clang-tidy said)."""
    command = [TOOL, "-p", str(ROOT / "build" / "clang"), "--quiet"]
    try:
        done = subprocess.run([*command, *(["--fix"] if fix else []), str(source)], capture_output=True, text=True,
                              timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return False, f"no answer in {SECONDS_MAX} s"
    return done.returncode == 0, done.stdout + (done.stderr if done.returncode != 0 and not done.stdout.strip() else "")


def chosen(arguments, database):
    """The sources to look at."""
    if arguments.files:
        return [path.resolve() for path in arguments.files]
    if arguments.all:
        return sorted(database)
    changed = [(ROOT / name).with_suffix(".cc").resolve() for name in changed_files() if name.endswith((".cc", ".h"))]
    sources = [source for source in dict.fromkeys(changed) if source in database]
    if len(sources) > MOST:
        print(f"lint: the {MOST} newest of {len(sources)} changed sources; tests/lint.py --all looks at all {len(database)}")
    return sources[:MOST]


def database_of(entries):
    """By source what the compiler is told; without what was generated, which nobody wrote."""
    database = {Path(entry["file"]).resolve(): entry for entry in entries if Path(entry["file"]).is_file()}
    return {source: entry for source, entry in database.items() if not source.is_relative_to(ROOT / "build")}


def run(arguments, database):
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([TOOL, "--version"], check=True, capture_output=True).stdout
    rules = version + (ROOT / ".clang-tidy").read_bytes() + Path(__file__).read_bytes()
    sources = chosen(arguments, database)
    unknown = [source for source in sources if source not in database]
    if unknown:
        print(f"lint: {unknown[0]} is in no target of the clang preset")
        return 1
    stamps = {source: cache / key_of(database[source], closure(source), rules) for source in sources}
    todo = [source for source in sources if arguments.fix or not stamps[source].exists()]
    failed = 0
    # --fix edits headers that other sources read: one at a time.
    with ThreadPoolExecutor(1 if arguments.fix else os.cpu_count() or 1) as pool:
        for source, (passed, said) in zip(todo, pool.map(lambda s: lint(s, arguments.fix), todo)):
            if passed:
                stamps[source].touch()
                print(f"lint: {source.relative_to(ROOT)} passed", flush=True)
                continue
            failed += 1
            print(f"lint: {source.relative_to(ROOT)} failed\n{said}", flush=True)
    print(f"lint: {len(sources) - failed} passed ({len(sources) - len(todo)} of them unchanged), {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description="Runs clang-tidy where it has something new to see.")
    parser.add_argument("--all", action="store_true", help="not only what changed lately")
    parser.add_argument("--fix", action="store_true", help="let clang-tidy repair what it can")
    parser.add_argument("files", nargs="*", type=Path)
    arguments = parser.parse_args()
    path = ROOT / "build" / "clang" / "compile_commands.json"
    if not path.is_file():
        print("lint: no build/clang/compile_commands.json; next: cmake --preset clang")
        return 2
    entries = json.loads(path.read_text())
    database = database_of(entries)
    began = time.monotonic()
    code = run(arguments, database)
    print(f"lint: {time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
