"""The client packages run on Python 3.9, though they are tested on newer ones: their syntax is parsed as 3.9's, and what came
to the standard library later is looked for by name."""
import ast
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parents[2] / "python"
SOURCES = sorted(PYTHON.rglob("*.py"))

MODULES = {"tomllib", "wsgiref.types", "annotationlib", "concurrent.interpreters", "compression"}
# Names that a module got after 3.9, however they are reached.
NAMES = {
    "typing": {"TypeAlias", "ParamSpec", "Concatenate", "TypeGuard", "Self", "Never", "LiteralString", "NotRequired", "Required",
               "assert_never", "assert_type", "reveal_type", "override", "Unpack", "TypeVarTuple", "dataclass_transform"},
    "itertools": {"pairwise", "batched"}, "math": {"cbrt", "exp2", "sumprod", "fma"}, "enum": {"StrEnum", "verify", "nonmember"},
    "datetime": {"UTC"}, "contextlib": {"chdir", "aclosing"}, "asyncio": {"TaskGroup", "Runner", "timeout", "Barrier"},
    "types": {"NoneType", "EllipsisType", "UnionType"}, "hashlib": {"file_digest"}, "sys": {"exception", "orig_argv",
                                                                                           "stdlib_module_names"},
    "logging": {"getLevelNamesMapping", "getHandlerByName"}, "operator": {"call"}, "time": {"pthread_getcpuclockid"},
    "os": {"EFD_CLOEXEC", "eventfd", "splice", "process_cpu_count", "login_tty"}, "functools": {"Placeholder"},
    "inspect": {"get_annotations", "getmembers_static"}, "statistics": {"correlation", "covariance", "linear_regression"},
    "threading": {"gettrace", "getprofile"}, "glob": {"translate"}, "random": {"binomialvariate"},
    "dataclasses": {"KW_ONLY"}, "importlib.metadata": {"packages_distributions"},
}
BUILTINS = {"aiter", "anext", "ExceptionGroup", "BaseExceptionGroup", "EncodingWarning", "PythonFinalizationError"}
METHODS = {"bit_count", "add_note", "hardlink_to", "walk_up"}
# Keyword arguments that a function got after 3.9.
KEYWORDS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only", "weakref_slot", "match_args"}, "map": {"strict"},
            "bisect": {"key"}, "bisect_left": {"key"}, "bisect_right": {"key"}, "insort": {"key"}, "field": {"kw_only"},
            "open_code": {"flags"}, "TemporaryDirectory": {"delete", "ignore_cleanup_errors"}, "glob": {"root_dir"},
            "iglob": {"root_dir"}}


def dotted(node):
    """"a.b.c" of a chain of attributes, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and dotted(node.value):
        return dotted(node.value) + "." + node.attr
    return ""


def annotations(node):
    """Expressions of `node` that stand for types and are evaluated unless the module postpones that."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        every = node.args.posonlyargs + node.args.args + node.args.kwonlyargs + [node.args.vararg, node.args.kwarg]
        return [a.annotation for a in every if a is not None] + [node.returns]
    return [node.annotation] if isinstance(node, ast.AnnAssign) else []


def has_union(node):
    """Whether `X | Y` stands for a type in there."""
    return node is not None and any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr) for n in ast.walk(node))


def imported(node):
    """(module, name or None) of what an import statement brings."""
    if isinstance(node, ast.Import):
        return [(alias.name, None) for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [(node.module, alias.name) for alias in node.names]
    return []


def in_call(node):
    """What of a call is too new."""
    name = dotted(node.func).rsplit(".", 1)[-1]
    found = ["{}({}=)".format(name, k.arg) for k in node.keywords if k.arg in KEYWORDS.get(name, ())]
    if name in ("isinstance", "issubclass") and len(node.args) == 2 and has_union(node.args[1]):
        found.append(name + " with X | Y")
    if dotted(node.func) in ("traceback.format_exception", "traceback.print_exception") and len(node.args) < 3:
        found.append(dotted(node.func) + " with the exception alone")
    return found


def too_new(text):
    """What in the source `text` Python 3.9 does not have, as a list of texts."""
    try:
        module = ast.parse(text, feature_version=(3, 9))
    except SyntaxError as error:
        return ["line {}: {}".format(error.lineno, error.msg)]
    postponed = any(("__future__", "annotations") in imported(node) for node in module.body)
    found = []
    for node in ast.walk(module):
        if node.__class__.__name__ in ("Match", "TryStar", "TypeAlias"):
            found.append(node.__class__.__name__)
        for name, part in imported(node):
            if name in MODULES or part in NAMES.get(name, ()):
                found.append("{} {}".format(name, part or ""))
        if isinstance(node, ast.Attribute):
            if node.attr in NAMES.get(dotted(node.value), ()) or node.attr in METHODS:
                found.append(dotted(node) or node.attr)
        if isinstance(node, ast.Name) and node.id in BUILTINS:
            found.append(node.id)
        if isinstance(node, ast.Call):
            found += in_call(node)
        if not postponed and any(has_union(annotation) for annotation in annotations(node)):
            found.append("X | Y as an annotation")
        # Until 3.10 a time-out of a socket is no TimeoutError.
        if isinstance(node, ast.ExceptHandler) and node.type is not None and any(
                dotted(n) == "TimeoutError" for n in ast.walk(node.type)):
            found.append("except TimeoutError")
    return found


def test_there_is_something_to_look_at():
    names = {path.relative_to(PYTHON).as_posix() for path in SOURCES}
    assert {"starling/_session.py", "faces/swarm/__init__.py", "faces/swarmlearning/tf.py"} <= names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PYTHON).as_posix())
def test_the_client_uses_nothing_newer_than_python_3_9(path):
    assert too_new(path.read_text()) == []


@pytest.mark.parametrize("text", [
    "match x:\n  case 1: pass", "try: pass\nexcept* ValueError: pass", "def f[T](x): pass", "type A = int",
    "zip(a, b, strict=True)", "import tomllib", "from itertools import pairwise", "import typing\ntyping.Self",
    "@dataclass(slots=True)\nclass A: pass", "@dataclasses.dataclass(kw_only=True)\nclass A: pass", "def f(x: int | None): pass",
    "def f() -> int | None: pass", "x: int | str = 1", "isinstance(x, int | str)", "(3).bit_count()", "e.add_note('x')",
    "try: pass\nexcept TimeoutError: pass", "try: pass\nexcept (OSError, TimeoutError): pass", "ExceptionGroup('a', [])",
    "traceback.format_exception(error)", "sys.stdlib_module_names", "from types import NoneType", "datetime.UTC",
])
def test_what_is_newer_is_found(text):
    assert too_new(text) != []


@pytest.mark.parametrize("text", [
    "from __future__ import annotations\ndef f(x: int | None) -> str | None: pass", "a = 1 | 2", "zip(a, b)",
    "@dataclass(frozen=True)\nclass A: pass", "isinstance(x, (int, str))", "try: pass\nexcept socket.timeout: pass",
    "traceback.format_exception(kind, value, trace)", "'abc'.removeprefix('a')", "with open(a) as b, open(c) as d: pass",
    "def f(a, /, *, b: 'int | None' = None): pass", "if (n := 3): pass", "{} | {}",
])
def test_what_python_3_9_has_is_allowed(text):
    assert too_new(text) == []
