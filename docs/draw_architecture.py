"""Draw who imports whom: `python docs/draw_architecture.py` writes docs/pictures/architecture.svg.

Boxes are packages, or kernel modules with one purpose; an arrow goes from who imports to what is
imported. Arrows that follow from others are left out: where A needs B and B needs C, A may need C.
A test compares the picture with the imports.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "architecture.svg"
ROOMS = ("methods", "metrics", "reports")
REST = "run"  # what is in no other box: how a run is done
BOXES = {
    "command line": ("cli", "cli_look", "plugin_commands", "bids"),
    "derivatives": ("bids.publish", "bids.describe"),
    "run": ("ahead",),
    "plan": (
        "plan", "measure_plan", "measures", "job", "choose", "folds", "options", "resolve", "work",
        "place", "rows",
    ),
    "plugins": ("registry", "parts", "provenance"),
    "interface": ("interface", "base", "references"),
    "cohort": ("cohort", "atlas"),
    "manifest": ("manifest", "facts", "soundness", "atlas_check", "wayback"),
    "leaves": (
        "cells", "doing", "errors", "isolation", "limits", "links", "originals", "plain", "pool",
        "reasons", "removed", "results", "store", "task", "tomls",
    ),
}  # fmt: skip
HANGING = {"cluster", "live"}  # drawn as high as they can: near who needs them
YOURS = "your plugin"
COLUMNS = {
    "command line": 3.0, "reports": 0.0, "metrics": 0.92, "apply": 1.84, "preprocess": 2.76,
    "api": 4.3, "testing": 5.25, "run": 3.0, "derivatives": 1.8, "plan": 3.0, "phantom": 4.3,
    "live": 5.3, "outside": 1.0, "scaffold": 0.0, "manifest": 3.0, "cluster": 4.3, YOURS: 0.0,
    "methods": 0.95, "tools": 1.9, "plugins": 3.0, "interface": 3.0, "cohort": 3.0, "imaging": 3.0,
    "leaves": 3.0,
}  # fmt: skip
NAMES = {
    "command line": ("command line", "cli, bids"),
    "derivatives": ("derivatives", "bids.publish"),
    "run": ("run", "benchmark, tasks"),
    "plan": ("plan", "job, choose, folds"),
    "plugins": ("plugins", "registry, parts"),
    "interface": ("interface", "base"),
    "cohort": ("cohort", "atlas"),
    "leaves": ("leaves", "results, store, errors"),
    "api": ("api", "import harmobench"),
    "outside": ("outside", "methods elsewhere"),
    "tools": ("tools", "segmenters"),
    "scaffold": ("scaffold", "harmobench new"),
    "testing": ("testing", "harmobench check"),
    "methods": ("methods", "a room"),
    "metrics": ("metrics", "a room"),
    "reports": ("reports", "a room"),
    YOURS: (YOURS, "another package"),
}
TITLE = "Who imports whom in harmobench; arrows point to what is imported"
WIDE, HIGH, STEP, ROW, LEFT, TOP = 132, 42, 146, 84, 76, 12
STYLE = """<style>
text { font: 600 13px system-ui, sans-serif; text-anchor: middle; fill: #1b2430; }
text.small { font-weight: 400; font-size: 10px; fill: #4a5563; }
rect { fill: #f4f6f9; stroke: #5b6b7f; }
.room rect { fill: #dcecf9; stroke: #2f6ea5; }
.yours rect { fill: #fff; stroke: #b0581a; stroke-dasharray: 5 4; }
path { fill: none; stroke: #8793a3; stroke-width: 1.3; }
.yours path { stroke: #b0581a; stroke-dasharray: 5 4; }
.import .head { fill: #8793a3; stroke: none; }
.yours .head { fill: #b0581a; stroke: none; }
</style>"""
Edges = set[tuple[str, str]]


def box_of(module: str) -> str:
    """Box of a module by its dotted name below harmobench; a package is a box of its own."""
    top = module.partition(".")[0]
    parts = ".".join(module.split(".")[:2])
    named = {name: box for box, names in BOXES.items() for name in names}
    own = named.get(parts) or named.get(top)
    return own or (top if top in _packages() else REST)


@cache
def _packages() -> frozenset[str]:
    inside = (p.name for p in (ROOT / "harmobench").iterdir() if (p / "__init__.py").is_file())
    return frozenset(inside) | frozenset(ROOMS)


def edges() -> Edges:
    """Every import between boxes, in functions too, but not for types alone."""
    found: Edges = set()
    for module, path in _modules().items():
        for target in _imported(path):
            pair = (box_of(module), box_of(target))
            if pair[0] != pair[1]:
                found.add(pair)
    return found


@cache
def _modules() -> dict[str, Path]:
    places = [(ROOT / "harmobench", "")] + [(ROOT / room, f"{room}.") for room in ROOMS]
    found = {}
    for top, prefix in places:
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            if (not prefix and parts[0] in ROOMS) or (parts == ("__init__",) and not prefix):
                continue
            found[prefix + ".".join(parts)] = path
    return found


def _imported(path: Path) -> Iterable[str]:
    """Modules of harmobench that a source imports, by their names below it."""
    for node in _executed(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module == "harmobench":
            names = [f"harmobench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            short = name.removeprefix("harmobench.")
            if name.startswith("harmobench.") and short != "__version__":
                yield short


def _executed(node: ast.AST) -> Iterable[ast.AST]:
    """Walk a tree, leaving out what stands below `if TYPE_CHECKING`."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def reduced(every: Edges) -> Edges:
    """Leave out what follows from the rest.

    >>> sorted(reduced({("a", "b"), ("b", "c"), ("a", "c")}))
    [('a', 'b'), ('b', 'c')]
    """
    below = _below(every)
    return {
        (a, c) for a, c in every if not any(c in below[b] for x, b in every if x == a and b != c)
    }


def _below(every: Edges) -> Mapping[str, set[str]]:
    """All that a box reaches; raises where imports between boxes go round in a circle."""
    names = {name for pair in every for name in pair}
    found: dict[str, set[str]] = {}

    def reach(name: str, path: tuple[str, ...]) -> set[str]:
        if name in path:
            raise ValueError(f"boxes import each other in a circle: {' > '.join((*path, name))}")
        if name not in found:
            own = {b for a, b in every if a == name}
            found[name] = own.union(*(reach(b, (*path, name)) for b in own))
        return found[name]

    for name in names:
        reach(name, ())
    return found


def rows(every: Edges) -> dict[str, int]:
    """How high each box stands: above all that it needs, just below who needs it."""
    below = _below(every)
    height: dict[str, int] = {}
    for name in sorted(below, key=lambda each: len(below[each])):
        height[name] = 1 + max((height[each] for each in below[name]), default=-1)
    for name in HANGING & set(below):
        height[name] = min(height[a] for a, b in every if b == name) - 1
    return height


def picture(every: Edges) -> str:
    """Draw boxes and arrows as SVG."""
    height, shown = rows(every), reduced(every)
    top = max(height.values())
    places = {
        name: (LEFT + STEP * _column(name, height), TOP + ROW * (top - row))
        for name, row in height.items()
    }
    places[YOURS] = (LEFT + STEP * COLUMNS[YOURS], places["tools"][1])
    parts = [_arrow(places, pair) for pair in sorted(shown)] + [
        _arrow(places, (YOURS, "interface"))
    ]
    parts += [_box(name, *place) for name, place in sorted(places.items())]
    width, tall = LEFT + STEP * 6, TOP + ROW * top + 60
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {tall:g}" role="img">'
    return "\n".join([head, f"<title>{TITLE}</title>", STYLE, *parts, "</svg>", ""])


def _column(name: str, height: Mapping[str, int]) -> float:
    """Place of a box in its row; of one without a place to the right of all."""
    if name in COLUMNS:
        return COLUMNS[name]
    beside = [each for each in sorted(height) if each not in COLUMNS]
    return 5.3 - 0.95 * beside.index(name) % 2


def _arrow(places: Mapping[str, tuple[float, float]], pair: tuple[str, str]) -> str:
    (x, y), (u, v) = (places[name] for name in pair)
    y, v = y + HIGH, v - 5
    down = max(0.0, v - y - ROW) if v - y > 3 * ROW else 0.0  # past other boxes, then to its own
    bend = (v - y - down) * (0.5 if v - y < ROW else 0.3)
    kind = "yours" if pair[0] == YOURS else "import"
    curve = f"C{x:g},{y + down + bend:g} {u:g},{v - bend:g} {u:g},{v:g}"
    path = f"M{x:g},{y:g} V{y + down:g} {curve}"
    return (
        f'<g class="{kind}" data-from="{pair[0]}" data-to="{pair[1]}"><path d="{path}"/>'
        f'<path class="head" d="M{u - 4:g},{v - 3:g} L{u:g},{v + 5:g} L{u + 4:g},{v - 3:g} Z"/></g>'
    )


def _box(name: str, x: float, y: float) -> str:
    kind = "room" if name in ROOMS else "yours" if name == YOURS else "kernel"
    text, below = NAMES.get(name, (name, ""))
    line = f'<text x="{x:g}" y="{y + 33:g}" class="small">{escape(below)}</text>' if below else ""
    return (
        f'<g class="{kind}"><rect x="{x - WIDE / 2:g}" y="{y:g}" width="{WIDE}" height="{HIGH}" '
        f'rx="5"/><text x="{x:g}" y="{y + (18 if below else 25):g}">{escape(text)}</text>{line}</g>'
    )


def drawn(svg: str) -> Edges:
    """Read the arrows of a picture that stand for imports."""
    return set(re.findall(r'class="import" data-from="(.+?)" data-to="(.+?)"', svg))


if __name__ == "__main__":
    PICTURE.write_text(picture(edges()), encoding="utf-8")
    print(PICTURE)
