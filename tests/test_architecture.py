"""The dependency rule, read from the source: who may import whom, and what imports quickly."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("methods", "metrics", "reports")
# Each may be reached from those after it, never the other way, on whatever path.
ORDER = (
    "errors", "imaging", "cohort", "atlas", "interface", "base", "registry", "parts", "job",
    "plan", "tasks", "runner", "benchmark", "cli",
)  # fmt: skip
HEAVY = {
    "torch", "ants", "pandas", "matplotlib", "skimage", "sklearn", "statsmodels", "pingouin",
    "nilearn", "dask", "distributed",
}  # fmt: skip
# When a module is imported: with the importing one, in a function, or by a type checker alone.
NOW, LATE, NEVER = range(3)
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENTRY_POINTS = {
    f"{group.removeprefix('harmobench.')}: {name}": target
    for group, points in SETTINGS["project"]["entry-points"].items()
    for name, target in points.items()
}


@dataclass(frozen=True)
class Import:
    """One imported module, and when: NOW, LATE or NEVER."""

    module: str
    when: int


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; the rooms at their real places."""
    found = {}
    for top in ("harmobench", *ROOMS):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:2] in {("harmobench", room) for room in ROOMS}:
                continue  # the links
            name = ".".join(parts if top == "harmobench" else ("harmobench", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports_in(source: str, module: str, package: bool = False) -> Iterator[Import]:
    """Modules that a source imports, wherever in it, dynamic imports of a fixed name too."""
    yield from _walk(ast.parse(source), module if package else module.rpartition(".")[0], NOW)


def _walk(node: ast.AST, package: str, when: int) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, when) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        yield from (Import(f"{base}.{alias.name}", when) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("import_module", "__import__"):
            yield Import(str(node.args[0].value), when)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        when = max(when, LATE)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        when = NEVER
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, package, when)


@cache
def imports(name: str) -> tuple[Import, ...]:
    """What a module of the package imports, its own modules by their full names."""
    path = modules()[name]
    found = imports_in(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
    return tuple(Import(known_as(each.module), each.when) for each in found)


def known_as(name: str) -> str:
    """Cut `harmobench.folds.split` to the module `harmobench.folds`; others stay as they are."""
    while name.startswith("harmobench.") and name not in modules():
        shorter = name.rpartition(".")[0]
        if shorter == "harmobench":
            return name
        name = shorter
    return name


def inside(name: str, until: int = NEVER) -> set[str]:
    """Modules of the package that a module imports; `until`: those of no later kind."""
    return {
        each.module
        for each in imports(name)
        if each.module in modules() and each.module != name and each.when <= until
    }


def reach(name: str, until: int = NEVER) -> set[str]:
    """All modules of the package that a module imports, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for module in inside(waiting.pop(), until) - found:
            found.add(module)
            waiting.append(module)
    return found


def room_of(name: str) -> str:
    """Which room a module stands in; "" for the kernel."""
    parts = name.split(".")
    return parts[1] if parts[0] == "harmobench" and len(parts) > 1 and parts[1] in ROOMS else ""


KERNEL = sorted(name for name in modules() if not room_of(name))
IN_ROOMS = sorted(name for name in modules() if room_of(name))


def test_the_reader_of_imports_sees_every_form() -> None:
    source = """
import harmobench.methods.raw
from harmobench import cohort
from . import warp
from ..metrics.ssim import SSIM
def later():
    import torch
    return importlib.import_module("harmobench.reports.html")
if TYPE_CHECKING:
    import pandas
try:
    import ants
except ImportError:
    ants = None
"""
    found = {(i.module, i.when) for i in imports_in(source, "harmobench.imaging.volume")}
    assert found == {
        ("harmobench.methods.raw", NOW),
        ("harmobench.cohort", NOW),
        ("harmobench.imaging.warp", NOW),
        ("harmobench.metrics.ssim.SSIM", NOW),
        ("torch", LATE),
        ("harmobench.reports.html", LATE),
        ("pandas", NEVER),
        ("ants", NOW),
    }


@pytest.mark.parametrize("name", KERNEL)
def test_the_kernel_imports_no_room(name: str) -> None:
    rooms = {each.module for each in imports(name) if room_of(each.module)}
    assert not rooms, f"{name} knows {rooms}: a plugin comes in by its entry point alone"


@pytest.mark.parametrize("name", IN_ROOMS)
def test_a_room_imports_the_kernel_and_itself_alone(name: str) -> None:
    others = {each.module for each in imports(name)} - {name}
    wrong = {module for module in others if room_of(module) not in ("", room_of(name))}
    assert not wrong, f"{name} imports another room's {wrong}: move what both need to the kernel"


def test_nobody_imports_a_room_by_its_folder() -> None:
    """`methods.x` beside `harmobench.methods.x` would make a second copy of each class."""
    wrong = []
    files = [*modules().values(), *(ROOT / "tests").rglob("*.py")]
    for path in [*files, *(ROOT / "benchmarks").rglob("*.py")]:
        for each in imports_in(path.read_text(encoding="utf-8"), path.stem):
            if each.module.partition(".")[0] in ROOMS:
                wrong.append(f"{path.relative_to(ROOT)} imports {each.module}")
    assert not wrong


def test_every_module_imported_from_the_package_exists() -> None:
    wrong = []
    for name in modules():
        for each in imports(name):
            parent = each.module.rpartition(".")[0]
            known = each.module in modules() or each.module == "harmobench.__version__"
            if each.module.startswith("harmobench.") and parent == "harmobench" and not known:
                wrong.append(f"{name} imports {each.module}")
    assert not wrong


def test_no_module_reaches_itself() -> None:
    """In the kernel not even for a type; in a room, which may split one class, not when it runs."""
    circles = [name for name in KERNEL if name in reach(name)]
    circles += [name for name in IN_ROOMS if name in reach(name, LATE)]
    assert not circles, f"imports go round in a circle through {circles}"


@pytest.mark.parametrize("at", range(len(ORDER)), ids=ORDER)
def test_inside_the_kernel_imports_go_one_way(at: int) -> None:
    def layer(name: str) -> set[str]:
        whole = f"harmobench.{name}"
        return {module for module in KERNEL if f"{module}.".startswith(f"{whole}.")}

    own = layer(ORDER[at])
    assert own, f"no module harmobench.{ORDER[at]}: mend ORDER"
    later = set().union(*(layer(name) for name in ORDER[at + 1 :]))
    reached = set().union(*(reach(name) for name in own))
    assert not reached & later, f"{ORDER[at]} reaches {reached & later}, which come after it"


def test_errors_store_and_results_are_leaves() -> None:
    for name in ("errors", "store"):
        assert reach(f"harmobench.{name}") == set(), name
    assert reach("harmobench.results") == {"harmobench.errors"}


def defined(module: str) -> set[str]:
    """Classes and functions of a module, and those that it brings from where they are defined."""
    names = set(own_names(module))
    for node in ast.parse(modules()[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module in modules():
            there = own_names(node.module)
            names |= {alias.name for alias in node.names if alias.name in there}
    return names


@cache
def own_names(module: str) -> frozenset[str]:
    """Classes and functions that stand in a module."""
    body = ast.parse(modules()[module].read_text(encoding="utf-8")).body
    return frozenset(n.name for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef))


@pytest.mark.parametrize("label", ENTRY_POINTS)
def test_every_entry_point_has_its_class(label: str) -> None:
    module, _, attribute = ENTRY_POINTS[label].partition(":")
    assert module in modules(), f"{ENTRY_POINTS[label]}: no such module"
    found = defined(module)
    assert attribute in found, f"{module} has {sorted(found)}"


@pytest.mark.parametrize("label", ENTRY_POINTS)
def test_a_plugins_module_imports_quickly(label: str) -> None:
    """Whatever it imports at once from the package must be free of heavy libraries too."""
    start = ENTRY_POINTS[label].partition(":")[0]
    if start not in modules():
        pytest.fail(f"{ENTRY_POINTS[label]}: no such module")
    parents = [".".join(start.split(".")[:n]) for n in range(1, start.count(".") + 1)]
    loaded = {start, *parents}.union(*(reach(name, NOW) for name in (start, *parents)))
    heavy = {
        f"{name} imports {each.module}"
        for name in loaded & set(modules())
        for each in imports(name)
        if each.when == NOW and each.module.partition(".")[0] in HEAVY
    }
    assert not heavy, "import these inside the functions that use them"


def test_the_command_line_imports_quickly() -> None:
    loaded = {"harmobench.cli"} | reach("harmobench.cli", NOW)
    tops = {i.module.partition(".")[0] for name in loaded for i in imports(name) if i.when == NOW}
    assert not tops & (HEAVY | {"numpy", "scipy", "nibabel"})


def test_every_folder_with_code_is_a_package_of_the_wheel() -> None:
    listed = set(SETTINGS["tool"]["setuptools"]["packages"])
    found = {n if p.name == "__init__.py" else n.rpartition(".")[0] for n, p in modules().items()}
    assert found == listed
