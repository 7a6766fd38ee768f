#!/usr/bin/env python3
"""The house rules that a machine can check. `tests/tidy.py` checks the checkout it lies in and names every breach as
`path:line: rule: what`. Exit code 0 when there is none, else 1. Standard library only; clang-format-16 for the layout.

The include rules are the table FOLDERS below: each folder may include only what its row names.
"""
import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70  # of Python; clang-tidy measures C++

BELOW = ("base", "crypto", "tensor", "protocol", "identity", "http", "ledger", "license")
# folder -> (folders of src it may include beside itself, libraries it may include beside the standard one and EVERYWHERE)
FOLDERS = {
    "src/base": ((), ("spdlog",)),
    "src/crypto": (("base",), ("openssl", "nlohmann-json")),
    "src/tensor": (("base", "crypto"), ("nlohmann-json",)),
    "src/protocol": (("base", "crypto"), ("nlohmann-json",)),
    "src/identity": (("base", "crypto"), ("openssl", "grpc")),
    "src/http": (("base", "identity"), ("boost", "openssl", "nlohmann-json")),
    "src/ledger": (("base", "crypto", "http"), ("sqlite", "secp256k1", "cryptopp", "nlohmann-json")),
    "src/license": (("base", "crypto", "protocol", "http", "identity"), ("sqlite", "openssl", "nlohmann-json")),
    "src/tokens": (("base", "crypto", "identity", "http"), ("yaml-cpp",)),
    "src/sn": (BELOW, ("nlohmann-json",)),
    "src/sl": (BELOW, ("nlohmann-json",)),
    "src/swci": (BELOW, ("nlohmann-json",)),
    "src/kube": (("base", "crypto"), ("yaml-cpp", "nlohmann-json")),
    "src/tools": (BELOW + ("sn", "sl", "swci"), ()),
    "src": (BELOW + ("tokens", "sn", "sl", "swci", "kube", "tools"), ("cli11", "yaml-cpp", "nlohmann-json")),  # main.cc, environment.cc
    "simulation": (("base", "crypto", "tensor", "protocol", "ledger"), ()),
}
EVERYWHERE = ("absl", "fmt")  # Status and StatusOr are in every signature, fmt in every log line
LIBRARIES = (  # prefix of the include -> library
    ("absl/", "absl"), ("fmt/", "fmt"), ("spdlog/", "spdlog"), ("openssl/", "openssl"), ("nlohmann/", "nlohmann-json"),
    ("boost/", "boost"), ("sqlite3.h", "sqlite"), ("secp256k1", "secp256k1"), ("cryptopp/", "cryptopp"),
    ("grpc", "grpc"), ("google/protobuf/", "grpc"), ("CLI/", "cli11"), ("yaml-cpp/", "yaml-cpp"),
    ("gtest/", "gtest"), ("gmock/", "gtest"), ("benchmark/", "benchmark"),
)
TEST_FILE = re.compile(r"(_test|_contract|_testing)\.(cc|h)$")  # may include GoogleTest too

# Decided code knows no threads, files, system, locale; and with the simulator, nothing that differs from build to build.
UNSTABLE = re.compile(r"(random|unordered_map|unordered_set|absl/container/(flat|node)_hash_.*|absl/random/.*)$")
IMPURE = re.compile(r"(thread|future|condition_variable|fstream|iostream|filesystem|locale|[\w/]+\.h)$")

# Modules that the Python client may import at its top: it must never conflict with the user's frameworks.
CLIENT = "python/starling/"
CLIENT_MODULES = ("numpy", "starling")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SLEEPS = re.compile(r"\b(sleep_(for|until)|u?sleep|nanosleep)\s*\(|\b(time|asyncio)\.sleep\b|^\s*sleep\s+[\d$]")
SKIPS = re.compile(r"GTEST_[S]KIP|DISABLE[D]_|pytest\.[s]kip|mark\.([s]kip|[x]fail)|import[o]rskip|unittest\.[s]kip")
UNOWNED = re.compile(r"\b(TO[D]O(?!\(#\d+\): \S)|FIX[M]E\b|XX[X]\b)")
OWN_PATH = re.compile(r"(?<![\w.:>}])/(home|root|Users|work)/\w")
REAL_EDGE = re.compile(r"\b(RealClock|SystemRandom)\b")
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)[^)]*\)")
CODE_EXTENSIONS = (".cc", ".h", ".py", ".sh")
SHELL = ("dev", ".ci/run")


class Tree:
    """The files of a checkout: what git tracks or would add, else everything below `root`. Paths are relative, with /."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = [p for p in self._names() if (self.root / p).is_file()]
        self._texts = {}

    def _names(self):
        if (self.root / ".git").exists():
            out = subprocess.run(["git", "-C", str(self.root), "ls-files", "-coz", "--exclude-standard"],
                                 check=True, capture_output=True).stdout
            return sorted(set(filter(None, out.decode().split("\0"))))
        names = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [f for f in folders if f not in ("build", ".git", "__pycache__")]
            names += [(Path(folder) / f).relative_to(self.root).as_posix() for f in files]
        return sorted(names)

    def text(self, path):
        """The content, or None for what is not text (a corpus, an image)."""
        if path not in self._texts:
            raw = (self.root / path).read_bytes()
            try:
                self._texts[path] = None if b"\0" in raw else raw.decode()
            except UnicodeDecodeError:
                self._texts[path] = None
        return self._texts[path]

    def lines(self, path):
        return enumerate((self.text(path) or "").split("\n"), 1)

    def named(self, *endings):
        return [p for p in self.files if p.endswith(endings)]


def is_test(path):
    return bool(TEST_FILE.search(path)) or path.startswith("tests/")


def folder_of(path):
    """The row of FOLDERS that governs `path`, or None."""
    for row in sorted(FOLDERS, key=len, reverse=True):
        if row == "src":
            if path.startswith("src/") and path.count("/") == 1:
                return row
        elif path.startswith(row + "/"):
            return row
    return "unknown" if path.startswith("src/") else None


def library_of(include):
    if include.endswith(".pb.h"):
        return "grpc"  # generated: what speaks gRPC includes it, and nothing else
    return next((library for prefix, library in LIBRARIES if include.startswith(prefix)), None)


def check_include(tree, path, row, quote, include):
    """Why `path` may not include `include`, or None."""
    folders, libraries = FOLDERS[row]
    library = library_of(include)
    if row in ("src/protocol", "simulation") and UNSTABLE.match(include):
        return f"{include} in {row}/, where one log must mean the same in every build"
    if row == "src/protocol" and quote == "<" and not library and IMPURE.match(include):
        return f"<{include}> in {row}/, which is pure"
    if library:
        allowed = EVERYWHERE + libraries + (("gtest",) if TEST_FILE.search(path) else ())
        return None if library in allowed else f"{row}/ may not include the library {library} ({include})"
    if quote == "<":
        return None  # the standard library and the system
    if not (tree.root / "src" / include).is_file():
        if include.startswith(row + "/") and not row.startswith("src") and (tree.root / include).is_file():
            return None
        return f'"{include}" is neither a header of the tree (name it from src/) nor of a known library'
    target = "src/" + include
    if folder_of(target) == row or include.split("/")[0] in folders and include.count("/") > 0:
        return None
    return f"{row}/ may not include {target}"


def check_includes(tree):
    for path in tree.named(".cc", ".h"):
        row = folder_of(path)
        if row is None:
            continue
        if row == "unknown":
            yield f"{path}:1: layout: no row of FOLDERS governs this folder"
            continue
        first = True
        own = path[:-3] + ".h" if path.endswith(".cc") else None
        for number, line in tree.lines(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            why = check_include(tree, path, row, *match.groups())
            if why:
                yield f"{path}:{number}: include: {why}"
            if first and own in tree.files and own != match.group(2) and own != "src/" + match.group(2):
                yield f"{path}:{number}: include: the own header comes first"
            first = False


def check_headers(tree):
    for path in tree.named(".h"):
        code = (line for _, line in tree.lines(path) if line.strip() and not line.lstrip().startswith("//"))
        if next(code, "").strip() != "#pragma once":
            yield f"{path}:1: header: `#pragma once` comes first, after the contract comment"


def check_edges(tree):
    """Only main constructs the real clock and chance."""
    for path in tree.named(".cc", ".h"):
        if not path.startswith("src/") or path.startswith("src/base/") or path == "src/main.cc" or TEST_FILE.search(path):
            continue
        for number, line in tree.lines(path):
            match = REAL_EDGE.search(line.split("//")[0])
            if match:
                yield f"{path}:{number}: edge: {match.group(1)} is for src/main.cc; take it as an argument"


def check_sizes(tree):
    for path in tree.files:
        if path.endswith(CODE_EXTENSIONS) or path in SHELL:
            count = len((tree.text(path) or "").splitlines())
            if count > FILE_LINES_MAX:
                yield f"{path}:{FILE_LINES_MAX + 1}: size: {count} lines; at most {FILE_LINES_MAX}"


def top_level_imports(module):
    """(line, top name) of every import outside functions."""
    nodes = list(module.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module.split(".")[0]
        nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler))]


def check_python(tree):
    for path in tree.named(".py"):
        try:
            module = ast.parse(tree.text(path) or "", path)
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: python: {error.msg}"
            continue
        for node in ast.walk(module):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    yield f"{path}:{node.lineno}: size: {node.name} has {length} lines; at most {FUNCTION_LINES_MAX}"
        if path.startswith(CLIENT):
            for line, name in top_level_imports(module):
                if name not in CLIENT_MODULES and name not in sys.stdlib_module_names:
                    yield f"{path}:{line}: include: {CLIENT} imports {name}; only the standard library and numpy"


def check_listed(tree):
    """Every C++ source is named in a CMakeLists.txt of its folder or of one above."""
    for path in tree.named(".cc"):
        listed = False
        folder = Path(path).parent
        for above in [folder, *folder.parents]:
            lists = (above / "CMakeLists.txt").as_posix()
            name = Path(path).relative_to(above).as_posix()
            if lists in tree.files and re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", tree.text(lists)):
                listed = True
        if not listed and path != "fuzz/replay_main.cc":  # every starling_fuzz() links that one
            yield f"{path}:1: list: no CMakeLists.txt names it, so it is never built or run"


def check_python_tests(tree):
    """pytest collects every test, and with the interpreter that has what it imports."""
    for path in tree.named(".py"):
        name = path.rsplit("/", 1)[-1]
        text = tree.text(path) or ""
        has_tests = re.search(r"^\s*(async )?def test_|^class Test", text, re.M)
        if not path.startswith("tests/python/"):
            if name.startswith("test_") or name.endswith("_test.py"):
                yield f"{path}:1: list: Python tests live in tests/python/, else nobody runs them"
            continue
        if name.startswith("test_") and not has_tests:
            yield f"{path}:1: list: it has no test"
        if has_tests and not name.startswith("test_"):
            yield f"{path}:1: list: pytest collects only files named test_*.py"
        for framework in ("torch", "tensorflow"):
            if re.search(rf"^\s*(import|from) {framework}\b", text, re.M) and framework not in name:
                yield f"{path}:1: list: it imports {framework}: put that into its name, by which ./dev chooses the Python"


def check_lines(tree):
    for path in tree.files:
        if path == "LICENSE" or tree.text(path) is None or "/corpus/" in path:
            continue
        test = is_test(path)
        for number, line in tree.lines(path):
            if line != line.rstrip():
                yield f"{path}:{number}: blanks: at the end of the line"
            if UNOWNED.search(line):
                yield f"{path}:{number}: promise: needs an issue, as in {'TO' + 'DO'}(#12): what"
            if OWN_PATH.search(line):
                yield f"{path}:{number}: path: of somebody's machine"
            if test and SLEEPS.search(line):
                yield f"{path}:{number}: sleep: a test waits for what happens, never for time to pass"
            if test and SKIPS.search(line):
                yield f"{path}:{number}: skip: a test that may not run looks like one that passes"
        text = tree.text(path)
        if text and not text.endswith("\n"):
            yield f"{path}:{text.count(chr(10)) + 1}: blanks: no newline at the end of the file"


def check_license(tree):
    text = tree.text("LICENSE") if "LICENSE" in tree.files else ""
    if "Apache License" not in text or "END OF TERMS AND CONDITIONS" not in text:
        yield "LICENSE:1: license: the full text of Apache-2.0 is missing"


def check_links(tree):
    for path in tree.named(".md"):
        fenced = False
        for number, line in tree.lines(path):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            if fenced:
                continue
            for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z][a-z+.-]*:", target) or target.startswith("#"):
                    continue
                if not ((tree.root / path).parent / target.split("#")[0]).exists():
                    yield f"{path}:{number}: link: {target} is not there"


def check_format(tree):
    files = tree.named(".cc", ".h")
    if not files:
        return
    try:
        done = subprocess.run(["clang-format-16", "--dry-run", "-Werror", "--ferror-limit=1", *files],
                              cwd=tree.root, capture_output=True, text=True)
    except FileNotFoundError:
        yield ".clang-format:1: format: clang-format-16 is not installed (apt-get install clang-format-16)"
        return
    if done.returncode != 0:
        seen = set()
        for line in done.stderr.splitlines():
            match = re.match(r"(.+?):(\d+):\d+: (error|warning): ", line)
            if match and match.group(1) not in seen:
                seen.add(match.group(1))
                yield f"{match.group(1)}:{match.group(2)}: format: run ./dev fmt"
        if not seen:
            yield f".clang-format:1: format: {' '.join(done.stderr.split())[:200]}"


CHECKS = (check_includes, check_headers, check_edges, check_sizes, check_python, check_listed, check_python_tests,
          check_lines, check_license, check_links, check_format)


def breaches(root, checks=CHECKS):
    """Every breach of the rules below `root`, in the order of the checks."""
    tree = Tree(root)
    return [breach for check in checks for breach in check(tree)]


def main():
    parser = argparse.ArgumentParser(description="Checks the house rules.")
    parser.add_argument("root", nargs="?", default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root
    found = breaches(root)
    for breach in found:
        print(breach)
    print(f"tidy: {len(Tree(root).files)} files, {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
