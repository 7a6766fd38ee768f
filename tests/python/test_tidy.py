"""The rules of tests/tidy.py, each broken once in a tree of its own: what nobody names is not enforced."""
import shutil
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

import tidy  # noqa: E402

GUARD = "// A header.\n#pragma once\n\n"
CLEAN = {
    "LICENSE": (CHECKOUT / "LICENSE").read_text(),
    ".clang-format": (CHECKOUT / ".clang-format").read_text(),
    "README.md": "See [the notes](docs/notes.md), [the top](#top) and [the web](https://example.org/x).\n",
    "docs/notes.md": "Back to [the front](../README.md#top).\n\n```\n[not a link](nowhere.md)\n```\n",
    "src/base/CMakeLists.txt": "starling_library(NAME base SOURCES text.cc)\n"
                               "starling_test(NAME base_test LABEL unit SOURCES text_test.cc)\n",
    "src/base/text.h": GUARD + "#include <string>\n",
    "src/base/text.cc": '#include "base/text.h"\n\n#include <utility>\n\n#include "absl/strings/str_cat.h"\n',
    "src/base/text_test.cc": '#include "base/text.h"\n\n#include "gtest/gtest.h"\n',
    "src/protocol/state.h": GUARD + '#include <map>\n\n#include "base/text.h"\n#include "nlohmann/json.hpp"\n',
    "src/http/server.h": GUARD + '#include <sys/socket.h>\n\n#include "base/text.h"\n',
    "simulation/world.h": GUARD + '#include "protocol/state.h"\n',
    "python/starling/client.py": "import json\n\nimport numpy\n\n\ndef open_with(name):\n    import keras\n    return keras, name\n",
    "tests/python/test_client.py": "def test_it():\n    assert True\n",
}


@pytest.fixture
def tree(tmp_path):
    """A clean tree, and a function that adds files to it and answers the breaches."""
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    write(CLEAN)

    def breaches(files=None):
        write(files or {})
        return tidy.breaches(tmp_path, [check for check in tidy.CHECKS if check is not tidy.check_format])

    breaches.path = tmp_path
    return breaches


def test_a_clean_tree_has_no_breach(tree):
    assert tree() == []


BROKEN = {
    "a folder below includes one above":
        ("src/base/up.h", GUARD + '#include "protocol/state.h"\n', ":4: include: src/base/ may not include src/protocol/state.h"),
    "one daemon includes the other":
        ("src/sn/a.h", GUARD + '#include "sl/learning_node.h"\n', "src/sn/a.h:4: include: "),
    "a library of another folder":
        ("src/protocol/tls.h", GUARD + '#include "openssl/ssl.h"\n', ":4: include: src/protocol/ may not include the library openssl"),
    "messages of gRPC outside identity":
        ("src/http/rpc.cc", '#include "identity/spiffe/x.grpc.pb.h"\n', ":1: include: src/http/ may not include the library grpc"),
    "a library in angle brackets":
        ("src/base/db.h", GUARD + "#include <sqlite3.h>\n", ":4: include: src/base/ may not include the library sqlite"),
    "GoogleTest outside a test":
        ("src/base/gtest.h", GUARD + '#include "gtest/gtest.h"\n', ":4: include: src/base/ may not include the library gtest"),
    "a thread in the protocol":
        ("src/protocol/run.h", GUARD + "#include <thread>\n", ":4: include: <thread> in src/protocol/, which is pure"),
    "a system call in the protocol":
        ("src/protocol/run.h", GUARD + "#include <unistd.h>\n", ":4: include: <unistd.h> in src/protocol/, which is pure"),
    "an unordered map in the simulator":
        ("simulation/map.h", GUARD + "#include <unordered_map>\n", ":4: include: unordered_map in simulation/, where"),
    "a header that is not there":
        ("src/base/lost.h", GUARD + '#include "base/missing.h"\n', ':4: include: "base/missing.h" is neither'),
    "a name that is not full":
        ("src/base/near.h", GUARD + '#include "text.h"\n', ':4: include: "text.h" is neither'),
    "a folder without a row":
        ("src/misc/a.h", GUARD, "src/misc/a.h:1: layout: "),
    "the own header second":
        ("src/base/text.cc", '#include <utility>\n\n#include "base/text.h"\n', ":1: include: the own header comes first"),
    "no guard":
        ("src/base/bare.h", "// A header.\n#include <string>\n", ":1: header: `#pragma once`"),
    "the real clock outside main":
        ("src/http/clock.h", GUARD + "inline RealClock clock;\n", ":4: edge: RealClock is for src/main.cc"),
    "a long C++ file":
        ("src/base/long.h", GUARD + "\n" * 498, "src/base/long.h:501: size: 501 lines; at most 500"),
    "a long Python file":
        ("tests/long.py", "\n" * 501, "tests/long.py:501: size: 501 lines"),
    "a long shell script":
        ("dev", "#\n" * 501, "dev:501: size: 501 lines"),
    "a long Python function":
        ("bench/f.py", "def f():\n" + "    pass\n" * 70, "bench/f.py:1: size: f has 71 lines; at most 70"),
    "Python that does not parse":
        ("bench/f.py", "def f(:\n", "bench/f.py:1: python: "),
    "a framework in the client":
        ("python/starling/tf.py", "try:\n    import keras\nexcept ImportError:\n    pass\n", ":2: include: python/starling/ imports keras"),
    "a test that is in no list":
        ("src/base/lost_test.cc", "\n", "src/base/lost_test.cc:1: list: "),
    "a test whose name is the end of another":
        ("src/base/xt_test.cc", "\n", "src/base/xt_test.cc:1: list: "),
    "a Python test that pytest does not collect":
        ("tests/python/client_test.py", "def test_it():\n    assert True\n", ":1: list: pytest collects only"),
    "a Python test where nobody looks":
        ("python/test_it.py", "def test_it():\n    assert True\n", "python/test_it.py:1: list: "),
    "a test file without a test":
        ("tests/python/test_none.py", "x = 1\n", ":1: list: it has no test"),
    "a test of PyTorch that has another name":
        ("tests/python/test_face.py", "import torch\n\n\ndef test_it():\n    assert torch\n", ":1: list: it imports torch"),
    "a sleep in a C++ test":
        ("src/base/text_test.cc", "  std::this_thread::sleep" + "_for(1s);\n", ":1: sleep: "),
    "a sleep in a Python test":
        ("tests/python/test_client.py", "def test_it():\n    time.sl" + "eep(1)\n", ":2: sleep: "),
    "a sleep in a shell test":
        ("tests/run.sh", "sle" + "ep 1\n", "tests/run.sh:1: sleep: "),
    "a skipped C++ test":
        ("src/base/text_test.cc", "TEST(A, DISA" + "BLED_B) {}\n", ":1: skip: "),
    "a skipped Python test":
        ("tests/python/test_client.py", "@pytest.mark.sk" + "ip\ndef test_it():\n    pass\n", ":1: skip: "),
    "a promise without an issue":
        ("src/base/text.h", GUARD + "// TO" + "DO: later\n", ":4: promise: "),
    "a promise of somebody":
        ("src/base/text.h", GUARD + "// TO" + "DO(me): later\n", ":4: promise: "),
    "blanks at the end of a line":
        ("docs/notes.md", "text \n", "docs/notes.md:1: blanks: at the end of the line"),
    "carriage returns":
        ("docs/notes.md", "text\r\n", "docs/notes.md:1: blanks: "),
    "no newline at the end":
        ("docs/notes.md", "text", "docs/notes.md:1: blanks: no newline"),
    "somebody's home":
        ("docs/notes.md", "in /ho" + "me/ada/starling\n", "docs/notes.md:1: path: "),
    "a link to nothing":
        ("docs/notes.md", "[x](gone.md)\n", "docs/notes.md:1: link: gone.md is not there"),
    "another license":
        ("LICENSE", "All rights reserved.\n", "LICENSE:1: license: "),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_names_the_file_and_the_rule(tree, rule):
    path, text, expected = BROKEN[rule]
    found = tree({path: text})
    assert [breach for breach in found if breach.startswith(path) and expected in breach], found


def test_an_owned_promise_is_allowed(tree):
    assert tree({"src/base/text.h": GUARD + "// TO" + "DO(#12): longer names\n"}) == []


def test_the_edge_may_construct_the_real_clock(tree):
    files = {"src/main.cc": "RealClock clock;\n", "src/CMakeLists.txt": "starling_binary(NAME starling SOURCES main.cc)\n"}
    assert tree(files) == []


def test_binary_files_are_no_text(tree):
    assert tree({"fuzz/corpus/frames/a": b"\x00 \n", "docs/picture.png": b"\x89PNG \xff"}) == []


@pytest.mark.parametrize("path", ["build/dev/x.h", "src/__pycache__/x.h"])
def test_what_is_built_is_not_looked_at(tree, path):
    assert tree({path: "x \n"}) == []


def test_a_missing_file_of_a_list_is_a_breach(tree):
    (tree.path / "LICENSE").unlink()
    assert tree() == ["LICENSE:1: license: the full text of Apache-2.0 is missing"]


def test_names_a_file_that_is_not_formatted(tmp_path):
    assert shutil.which("clang-format-16"), "./dev test installs it"
    (tmp_path / ".clang-format").write_text(CLEAN[".clang-format"])
    (tmp_path / "a.cc").write_text("int  a;\nint  b;\n")
    (tmp_path / "b.cc").write_text("int a;\n")
    assert tidy.breaches(tmp_path, [tidy.check_format]) == ["a.cc:1: format: run ./dev fmt"]


def test_every_folder_of_the_table_goes_only_down():
    """A folder that includes another is not included by it."""
    for row, (folders, _) in tidy.FOLDERS.items():
        for folder in folders:
            below = tidy.FOLDERS.get("src/" + folder, ((), ()))[0]
            assert row.removeprefix("src/") not in below, (row, folder)
