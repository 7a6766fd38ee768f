"""tests/lint.py with a clang-tidy of our own, which complains about sources and headers that hold the word `bad`."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lint  # noqa: E402

FAKE = """#!/bin/sh
if [ "$1" = --version ]; then echo "fake $(cat {root}/version)"; exit 0; fi
for last in "$@"; do :; done
echo "$last" >> {root}/looked
! grep -q bad "$last"
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with two sources, one of which reaches a header; answers a function that lints and says what was looked at."""
    (tmp_path / "src/base").mkdir(parents=True)
    (tmp_path / "src/base/a.h").write_text("#pragma once\n")
    (tmp_path / "src/base/a.cc").write_text('#include "base/a.h"\n')
    (tmp_path / "src/base/b.cc").write_text("int b;\n")
    (tmp_path / ".clang-tidy").write_text("Checks: x\n")
    (tmp_path / "version").write_text("1")
    (tmp_path / "clang-tidy").write_text(FAKE.format(root=tmp_path))
    (tmp_path / "clang-tidy").chmod(0o755)
    monkeypatch.setattr(lint, "ROOT", tmp_path)
    monkeypatch.setattr(lint, "TOOL", str(tmp_path / "clang-tidy"))
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "cache"))

    def run(**options):
        (tmp_path / "looked").write_text("")
        database = {path.resolve(): {"file": str(path), "command": f"clang++ {path}"} for path in tmp_path.rglob("*.cc")}
        arguments = argparse.Namespace(**{"all": True, "fix": False, "files": [], **options})
        code = lint.run(arguments, database)
        looked = sorted(Path(line).name for line in (tmp_path / "looked").read_text().split())
        return code, looked

    run.root = tmp_path
    return run


def test_what_passed_is_not_looked_at_again(checkout):
    assert checkout() == (0, ["a.cc", "b.cc"])
    assert checkout() == (0, [])


def test_what_failed_is_named_and_looked_at_again(checkout, capsys):
    (checkout.root / "src/base/b.cc").write_text("int bad;\n")
    assert checkout() == (1, ["a.cc", "b.cc"])
    assert "lint: src/base/b.cc failed" in capsys.readouterr().out
    assert checkout() == (1, ["b.cc"])


def test_a_changed_header_reaches_the_sources_that_include_it(checkout):
    checkout()
    (checkout.root / "src/base/a.h").write_text("#pragma once\nint a;\n")
    assert checkout() == (0, ["a.cc"])


@pytest.mark.parametrize("name", [".clang-tidy", "version"])
def test_changed_rules_or_another_clang_tidy_look_at_everything(checkout, name):
    checkout()
    (checkout.root / name).write_text("2")
    assert checkout() == (0, ["a.cc", "b.cc"])


@pytest.fixture
def commit(checkout):
    """Makes the checkout a repository in which everything was committed long ago; answers a function that commits."""
    def git(*arguments):
        subprocess.run(["git", "-C", str(checkout.root), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
                       check=True, capture_output=True)

    def commit(message):
        git("add", "src")
        git("commit", "-q", "--allow-empty", "-m", message)

    git("init", "-q")
    commit("everything")
    for number in range(lint.COMMITS):
        commit(str(number))
    return commit


def test_what_was_committed_long_ago_is_not_looked_at(checkout, commit):
    assert checkout(all=False) == (0, [])


def test_a_changed_source_or_header_is_looked_at_committed_or_not(checkout, commit):
    (checkout.root / "src/base/b.cc").write_text("int c;\n")
    commit("b")
    (checkout.root / "src/base/a.h").write_text("#pragma once\nint a;\n")
    (checkout.root / "src/base/new.cc").write_text("int d;\n")
    assert checkout(all=False) == (0, ["a.cc", "b.cc", "new.cc"])


def test_the_newest_come_first_and_the_rest_is_said(checkout, commit, monkeypatch, capsys):
    monkeypatch.setattr(lint, "MOST", 1)
    for name in ("b.cc", "a.cc"):
        (checkout.root / "src/base" / name).write_text("int e;\n")
        commit(name)
    assert checkout(all=False) == (0, ["a.cc"])
    assert "lint: the 1 newest of 2 changed sources" in capsys.readouterr().out


def test_says_what_comes_first_when_there_is_no_database(checkout, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lint.py"])
    assert lint.main() == 2
    assert "next: cmake --preset clang" in capsys.readouterr().out


def test_a_database_may_name_files_that_are_gone(checkout, monkeypatch):
    folder = checkout.root / "build/clang"
    folder.mkdir(parents=True)
    entries = [{"file": str(checkout.root / "src/base" / name), "command": "clang++"} for name in ("b.cc", "gone.cc")]
    (folder / "compile_commands.json").write_text(json.dumps(entries))
    monkeypatch.setattr(sys, "argv", ["lint.py", "--all"])
    assert lint.main() == 0


def test_what_was_generated_is_not_looked_at(checkout):
    generated = checkout.root / "build/clang/proto/c.pb.cc"
    generated.parent.mkdir(parents=True)
    generated.write_text("int c;\n")
    written = checkout.root / "src/base/a.cc"
    entries = [{"file": str(path), "command": ""} for path in (generated, written, checkout.root / "src/gone.cc")]
    assert list(lint.database_of(entries)) == [written.resolve()]
