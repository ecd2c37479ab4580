"""What no source may do: run what a file says, read pickles, start a shell, guess a file's name.

Read from the syntax tree of every source that ships and of the benchmarks; run folders, models and
manifests may be anyone's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("harmobench", "methods", "metrics", "reports", "benchmarks")
SHIPS = SOURCES[:-1]

# Modules that run, or load as objects, what stands in a file.
MODULES = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "yaml",
    "imp", "runpy", "code", "codeop", "pty", "commands", "xmlrpc", "telnetlib", "ftplib",
}  # fmt: skip
# Calls by their dotted name; "*" before a name is a method of whatever object.
CALLS = {
    "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.spawnv", "os.spawnl",
    "subprocess.getoutput", "subprocess.getstatusoutput",
    "torch.load", "torch.jit.load", "torch.hub.load",
    "pd.read_pickle", "pandas.read_pickle", "pd.eval", "pandas.eval", "*.to_pickle",
    "tempfile.mktemp", "os.tempnam", "os.tmpnam",
    "importlib.util.spec_from_file_location", "zipfile.ZipFile", "tarfile.open", "*.extractall",
    "shutil.unpack_archive", "ssl._create_unverified_context", "urllib.request.urlopen",
}  # fmt: skip
# Functions that start a program.
STARTS = {"run", "Popen", "call", "check_call", "check_output"}
# Places that may, each with its reason.
ALLOWED = {
    ("harmobench/registry.py", "importlib.import_module"): "the target of an entry point",
    ("harmobench/cluster/__init__.py", "importlib.import_module"): "a fixed name",
    ("harmobench/__init__.py", "importlib.import_module"): "names of a table of its own",
    ("harmobench/api/watch.py", "importlib.import_module"): "a fixed name",
    ("harmobench/testing/actor.py", "importlib.import_module"): "names of a table of its own",
    ("harmobench/testing/checks.py", "importlib.import_module"): "names of a table of its own",
    ("harmobench/testing/pickles.py", "zipfile.ZipFile"): "read in memory, to look for pickles",
}


@cache
def sources(tops: tuple[str, ...] = SOURCES) -> dict[str, ast.Module]:
    """Every source below these folders, parsed, by its path."""
    found = {}
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            if not any(part.is_symlink() for part in path.parents):
                name = path.relative_to(ROOT).as_posix()
                found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def faults(tree: ast.AST) -> Iterator[str]:
    """Name what a source may not do, each with its line."""
    for node in ast.walk(tree):
        for text in _faults(node):
            yield f"line {getattr(node, 'lineno', 0)}: {text}"


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", "") or ""
        names = [alias.name for alias in node.names]
        tops = {module.partition(".")[0]} if module else {n.partition(".")[0] for n in names}
        yield from (f"import {name}" for name in sorted(tops & MODULES))
        yield from (f"{module}.{n}" for n in names if f"{module}.{n}" in CALLS)
    if isinstance(node, ast.Call):
        yield from _call_faults(node)


def _call_faults(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: word.value for word in node.keywords}
    if name in CALLS or f"*.{name.rpartition('.')[2]}" in CALLS:
        yield name
    if name in ("np.load", "numpy.load") and not _is(given.get("allow_pickle"), False):
        yield f"{name} without allow_pickle=False"
    if name in ("np.save", "numpy.save") and not _is(given.get("allow_pickle"), False):
        yield f"{name} without allow_pickle=False"
    starts = name.rpartition(".")[2] in STARTS
    if starts and "shell" in given and not _is(given["shell"], False):
        yield f"{name} with shell"
    if name.startswith("subprocess.") and node.args and _is_text(node.args[0]):
        yield f"{name} of a text"
    if name in ("importlib.import_module", "import_module") and not node.args:
        yield name


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_text(node: ast.expr) -> bool:
    """Whether a command is written as one text, which a shell would take apart."""
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    joined = isinstance(node, ast.JoinedStr)
    return constant or joined or (isinstance(node, ast.BinOp) and _is_text(node.left))


@pytest.mark.parametrize("name", sources())
def test_no_source_runs_what_a_file_says(name: str) -> None:
    found = list(faults(sources()[name]))
    assert [text for text in found if (name, text.partition(": ")[2]) not in ALLOWED] == []


def test_names_are_imported_in_the_registry_alone() -> None:
    found = {
        (name, ast.unparse(node.func))
        for name, tree in sources(SHIPS).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }
    assert found <= set(ALLOWED)


@pytest.mark.parametrize("name", sources(SHIPS))
def test_no_source_asserts_what_a_user_may_have_wrong(name: str) -> None:
    lines = [node.lineno for node in ast.walk(sources()[name]) if isinstance(node, ast.Assert)]
    assert lines == [], "python -O leaves assert out"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import yaml", "import joblib",
        "eval(text)", "exec(text)", "compile(text, '', 'exec')", "__import__(name)",
        "os.system(text)", "os.popen(text)", "from os import system",
        "subprocess.run(words, shell=True)", "run(words, shell=yes)", "subprocess.run('ls')",
        "subprocess.run(f'ls {x}')", "subprocess.Popen('ls ' + x)",
        "np.load(path)", "np.load(path, allow_pickle=True)", "np.save(path, x)",
        "torch.load(path)", "pd.read_pickle(path)", "frame.to_pickle(path)",
        "tempfile.mktemp()", "from tempfile import mktemp",
    ],
)  # fmt: skip
def test_the_rule_finds(source: str) -> None:
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "re.compile(text)",
        "networks.eval()",
        "Tissues(shell=values)",
        "subprocess.run(['ls', x])",
        "json.loads(text)",
        "np.load(path, allow_pickle=False)",
        "subprocess.run(words, shell=False)",
        "tempfile.TemporaryDirectory()",
    ],
)  # fmt: skip
def test_the_rule_leaves_alone(source: str) -> None:
    assert not list(faults(ast.parse(source)))
