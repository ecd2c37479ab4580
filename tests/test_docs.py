"""The documentation is true: its tutorial runs, its commands exist, its reference is complete.

In docs/tutorial.md a `bash` or `python` block is run, and the `text` block right below it is what
it prints; `...` stands for anything, and what a slow command says of how far it is does not count.
What stands after `<!-- not run -->` is not run.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import test_architecture as reader

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^(<!-- not run -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
REFERENCE = {
    "methods": "methods",
    "measure_methods": "methods",
    "metrics": "metrics",
    "statistics": "statistics",
    "segmenters": "tools",
    "morphometry": "tools",
}


def module_in_docs(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


generated = module_in_docs("generated")
architecture = module_in_docs("draw_architecture")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, whether it is run, and its line."""

    language: str
    text: str
    run: bool
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m.group(2), m.group(3), not m.group(1), text.count("\n", 0, m.start()) + 1)
        for m in BLOCK.finditer(text)
    ]


def without_blocks(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def like(expected: str) -> re.Pattern[str]:
    """Compile what a page shows into a pattern: `...` is anything in a line, alone any lines."""
    lines = [
        r"(?:.*\n)*" if line.strip() == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in expected.rstrip("\n").split("\n")
    ]
    return re.compile("".join(lines))


def trimmed(text: str) -> str:
    """Drop spaces at the ends of lines, empty lines at both ends, and "3 of 12: ..."."""
    lines = (line.rstrip() for line in text.strip("\n").split("\n"))
    return "".join(f"{line}\n" for line in lines if not re.match(r"\d+ of \d+: ", line))


# --- the tutorial


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


def told(block: Block, rest: list[Block]) -> str | None:
    """Return what a page says that a block prints."""
    return rest[0].text if rest and rest[0].language == "text" else None


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "PATH": path,
        "MPLBACKEND": "Agg",
        "PYTHONWARNINGS": "error::SyntaxWarning",
    }


def ran(command: list[str], place: Path, given: str = "") -> str:
    done = subprocess.run(
        command, cwd=place, env=environment(), input=given, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{given or command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# Runs each block in one namespace, and prints what each printed.
SESSION = """
import contextlib, io, json, sys
namespace, printed = {"__name__": "session"}, []
for block in json.load(sys.stdin):
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(block, "docs/tutorial.md", "exec"), namespace)
    printed.append(stream.getvalue())
print(json.dumps(printed))
"""


def test_the_tutorial_does_what_it_says(place: Path) -> None:
    page = blocks(DOCS / "tutorial.md")
    shown = [(block, told(block, page[i + 1 :])) for i, block in enumerate(page) if block.run]
    typed = [(block, text) for block, text in shown if block.language == "bash"]
    python = [(block, text) for block, text in shown if block.language == "python"]
    assert len(typed) > 5, "no commands found"
    assert python, "no Python found"
    outputs = [ran(["bash", "-eo", "pipefail", "-c", block.text], place) for block, _ in typed]
    sources = json.dumps([block.text for block, _ in python])
    outputs += json.loads(ran([sys.executable, "-c", SESSION], place, sources))
    for (block, text), printed in zip(typed + python, outputs, strict=True):
        if text is not None:
            assert like(text).fullmatch(trimmed(printed)), (
                f"docs/tutorial.md, line {block.line} says\n{text}\nbut it prints\n{printed}"
            )
    assert_named_statistics(place / "RUN")


def assert_named_statistics(run: Path) -> None:
    """Every aggregate and test of a run is explained on the page of statistics."""
    import pandas as pd

    page = (DOCS / "statistics.md").read_text(encoding="utf-8")
    names = {*pd.read_parquet(run / "aggregates.parquet")["aggregate"]}
    names |= {*pd.read_parquet(run / "comparisons.parquet")["test"]}
    assert len(names) > 20
    assert not {name for name in names if f"`{name}`" not in page}


def test_shown_output_is_compared() -> None:
    assert like("a ... c\n").fullmatch("a b c\n")
    assert like("a\n...\nd\n").fullmatch("a\nb\nc\nd\n")
    assert not like("0.882 (0.003)\n").fullmatch("0.883 (0.003)\n")
    assert not like("a ... c\n").fullmatch("a b d\n")


# --- commands


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    return dict(generated.command_tree())


def command_lines(page: Path) -> Iterator[str]:
    """Every `harmobench ...` of a page, in fenced and indented blocks and in the text."""
    fenced = [b.text.replace("\\\n", " ") for b in blocks(page) if b.language in ("bash", "sh")]
    indented = re.findall(r"^    (\S.*)$", without_blocks(page), re.MULTILINE)
    inline = re.findall(r"`(harmobench [^`]+)`", without_blocks(page))
    for line in "\n".join([*fenced, *indented, *inline]).splitlines():
        for part in re.split(r"\s*(?:&&|\||;)\s+", line):
            if part.startswith(("harmobench ", "harmobench-bids ")):
                yield part


def faults(line: str, commands: dict[str, Any]) -> list[str]:
    """Say what of a command line does not exist."""
    words = shlex.split(line, comments=True)
    if words[0] == "harmobench-bids":
        own = words[1 : words.index("--")] if "--" in words else words[1:]
        return bids_faults(own)
    if words[1].startswith("-"):
        return [] if words[1] in ("--help", "-h", "--version") else [f"harmobench {words[1]}"]
    name = next((n for k in (3, 2) if (n := " ".join(words[:k])) in commands), "")
    if not name:
        groups = {each.rpartition(" ")[0] for each in commands}
        return [] if line in groups or words[1] == "COMMAND" else [f"no command {line!r}"]
    known = {opt for p in commands[name].params for opt in (*p.opts, *p.secondary_opts)}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    return [f"{name} has no {option}" for option in sorted(used - known - {"--help"})]


def bids_faults(words: list[str]) -> list[str]:
    from harmobench.bids.app import parser

    try:
        parser().parse_args(words)
    except SystemExit:
        return [f"harmobench-bids refuses {' '.join(words)}"]
    return []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_line_exists(page: Path, commands: dict[str, Any]) -> None:
    wrong = [fault for line in command_lines(page) for fault in faults(line, commands)]
    assert not wrong


def test_a_wrong_command_line_is_seen(commands: dict[str, Any]) -> None:
    assert faults("harmobench run --cohort x --no-such y", commands)
    assert faults("harmobench rum --cohort x", commands)
    assert not faults("harmobench atlas check DIR --picture atlas.png", commands)
    assert sum(1 for page in PAGES for _ in command_lines(page)) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_options_named_in_the_text_exist(page: Path, commands: dict[str, Any]) -> None:
    """`--name VALUE` of the text is an option of some command, unless its sentence is of others."""
    from harmobench.bids.app import parser

    every = (p for command in commands.values() for p in command.params)
    known = {opt for p in every for opt in (*p.opts, *p.secondary_opts)}
    known |= {opt for action in parser()._actions for opt in action.option_strings}
    named = set(re.findall(r"`(--[a-z][a-z-]*)(?=[ =`])", without_blocks(page)))
    assert not named - known - FOREIGN - {"--help", "--version"}


# Options of other programs: Dask's, SLURM's, those of scripts in benchmarks/, of pip and pytest.
FOREIGN = {
    "--resources",
    "--small",
    "--vol",
    "--scans",
    "--install-completion",
    "--show-completion",
}


# --- code


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_python_compiles_and_imports_what_is_there(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python":
            continue
        tree = ast.parse(block.text, f"{page.name}, line {block.line}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harmobench"):
                module = importlib.import_module(str(node.module))
                lacking = [a.name for a in node.names if not has(module, a.name)]
                assert not lacking, f"{node.module} has no {lacking}"


def has(module: ModuleType, name: str) -> bool:
    """Whether `from module import name` finds something."""
    return (
        hasattr(module, name) or importlib.util.find_spec(f"{module.__name__}.{name}") is not None
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_toml_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            tomllib.loads(block.text)


def defined(page: str, name: str) -> Any:
    """Return a class that stands in a Python block of a page."""
    source = next(b.text for b in blocks(DOCS / page) if f"class {name}" in b.text)
    module = ModuleType(f"shown_{name.lower()}")
    sys.modules[module.__name__] = module  # where dataclasses look up their annotations
    exec(compile(source, page, "exec"), vars(module))
    return getattr(module, name)


@pytest.fixture(scope="module")
def cohort(cohort_csv: Path) -> Any:
    from harmobench.manifest import read_cohort

    return read_cohort(cohort_csv)


def context_of(cohort: Any, scratch: Path) -> Any:
    from harmobench.interface import Context

    return Context(seed=0, atlas=None, scratch=scratch, scanners=cohort.scanners)  # type: ignore[arg-type]


def test_the_methods_shown_keep_to_the_contract(cohort: Any, tmp_path: Path) -> None:
    import numpy as np

    scan = cohort.scans[0]
    brain = scan.brain()
    z = defined("add-method.md", "ZScore")().transform(scan).voxels()
    assert float(z[brain].mean()) == pytest.approx(0, abs=1e-4)
    assert float(z[brain].std()) == pytest.approx(1, abs=1e-4)
    shown = defined("add-method.md", "MeanShift")
    fitted = shown().fit(cohort, None, context_of(cohort, tmp_path))
    fitted.save(tmp_path / "model")
    again = shown.load(tmp_path / "model")
    means = {
        scanner: np.mean(
            [
                again.transform(s).voxels()[s.brain()].mean()
                for s in cohort.scans
                if s.scanner == scanner
            ]
        )
        for scanner in cohort.scanners
    }
    assert max(means.values()) - min(means.values()) < 1e-4


def test_the_method_of_measures_shown_keeps_to_the_contract(tmp_path: Path) -> None:
    import pandas as pd

    rows = [
        (f"{s:02d}", scanner, structure, "ml", 100.0 + s + 7 * k + 30 * j * k)
        for s in range(4)
        for k, scanner in enumerate(("GE", "Philips"))
        for j, structure in enumerate(("gm", "wm"))
    ]
    table = pd.DataFrame(rows, columns=["subject", "scanner", "structure", "units", "value"])
    shown = defined("add-method.md", "Centred")
    shown().fit(table, None).save(tmp_path)
    moved = shown.load(tmp_path).transform(table)
    means = moved.groupby(["structure", "scanner"])["value"].mean().unstack()
    assert (means.max(axis=1) - means.min(axis=1)).max() < 1e-9
    assert (moved["value"] - table["value"]).abs().min() > 1


def test_the_metric_shown_scores_every_pair(cohort: Any, tmp_path: Path) -> None:
    scans = cohort.of(cohort.subjects[0])
    metric = defined("add-metric.md", "Correlation")()
    rows = list(metric.score(scans, None, context_of(cohort, tmp_path)))
    assert len(rows) == len(scans) * (len(scans) - 1) / 2
    assert all(0 < row.value <= 1 for row in rows)


def test_the_segmenter_shown_fills_the_brain(cohort: Any, tmp_path: Path) -> None:
    scan = cohort.scans[0]
    maps = defined("add-segmenter.md", "Thirds")().segment(scan, context_of(cohort, tmp_path))
    assert set(maps) == {"csf", "gm", "wm"}
    assert ((sum(maps.values()) == 1) == scan.brain()).all()


# --- links


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """Anchors of a page, with those of what is generated into it."""
    text = generated.expand(page.read_text(encoding="utf-8"))
    return {slug(m.group(2)) for m in HEADING.finditer(BLOCK.sub("", text))}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(without_blocks(page)):
        target, _, anchor = link.partition("#")
        if target.startswith(("https://", "http://")):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            wrong.append(f"{link}: no such file")
        elif anchor and slug_of(anchor) not in {slug_of(a) for a in anchors(path)}:
            wrong.append(f"{link}: no such heading")
    assert not wrong


def slug_of(anchor: str) -> str:
    """MyST turns what is no letter into one "-", GitHub keeps "_": a link must hold in both."""
    return re.sub(r"[\W_]+", "-", anchor)


def test_pictures_are_small() -> None:
    for path in (DOCS / "pictures").iterdir():
        assert path.stat().st_size < 300_000, path


# --- reference


def ours() -> list[tuple[str, str]]:
    from harmobench.registry import plugins

    return [
        (kind, name)
        for kind in REFERENCE
        for name, plugin in plugins(kind).items()
        if plugin.target.startswith("harmobench.")
    ]


@pytest.mark.parametrize(("kind", "name"), ours(), ids=lambda x: x)
def test_every_plugin_has_its_section(kind: str, name: str) -> None:
    page = (DOCS / f"{REFERENCE[kind]}.md").read_text(encoding="utf-8")
    sections = re.split(r"^#{2,3} ", page, flags=re.MULTILINE)
    own = [s for s in sections if s.startswith(f"`{name}`\n")]
    assert len(own) == 1, f"docs/{REFERENCE[kind]}.md: expected a heading `{name}`"
    assert f"<!-- facts: {kind} {name} -->" in page
    words = len(re.sub(r"<!--.*?-->", "", own[0]).split())
    assert words > 5 or kind == "statistics", "nothing is said of it"


@pytest.mark.parametrize(("kind", "name"), ours(), ids=lambda x: x)
def test_every_parameter_is_listed_and_explained(kind: str, name: str) -> None:
    from harmobench.registry import find

    cls = find(kind, name).load()
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    text = generated.facts(kind, name)
    for field in fields:
        row = re.search(rf"^\| `{name}\.{field.name}` \| `(.+?)` \| (.+) \|$", text, re.MULTILINE)
        assert row, f"{field.name} is not listed"
        if field.name != "biomarkers":
            assert row.group(1) == repr(field.default).replace("|", "\\|")
        assert len(row.group(2)) > 5, (
            f"the docstring of {cls.__name__} does not explain {field.name}"
        )


def test_every_method_and_metric_has_formula_and_pitfalls() -> None:
    for page in ("methods", "metrics"):
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition("\n## Controls")[0]
        for section in re.split(r"^## (?=`)", text, flags=re.MULTILINE)[1:]:
            name = section.partition("\n")[0]
            assert "$" in section or name in ("`biomarker`", "`truth_dice`"), name
            assert "**Pitfalls.**" in section, name


def test_every_table_is_described() -> None:
    from harmobench.reports.tables.companions import COLUMNS, COMPANIONS
    from harmobench.reports.tables.definitions import DEFINITIONS
    from harmobench.reports.tables.quantities import AGAINST_TRUTH, AGREEMENT, DETAILS, EFFECTS

    page = (DOCS / "tables.md").read_text(encoding="utf-8")
    ids = [d.id for d in DEFINITIONS]
    ids += [d.id for d in (AGAINST_TRUTH, AGREEMENT, DETAILS, EFFECTS)]
    ids += ["HB-T10", "HB-T11", "HB-T12", "HB-T9-seeds", "HB-T9-limits"]
    assert not [name for name in ids if f"`{name}`" not in page]
    assert not [c.beside for c in COMPANIONS if f"`{c.beside}-" not in page]
    assert not [c.key for c in COLUMNS if f"`{c.key}`" not in page]


@pytest.mark.parametrize("table", ["SCORE", "AGGREGATE", "COMPARISON", "COST"])
def test_every_column_is_explained(table: str) -> None:
    from harmobench import results

    text = generated.columns(f"{table}_COLUMNS")
    for column in getattr(results, f"{table}_COLUMNS"):
        assert re.search(rf"^\| `{column}` \| .{{3,}} \|$", text, re.MULTILINE), column


def test_every_command_is_generated(commands: dict[str, Any]) -> None:
    text = generated.commands()
    assert {"harmobench run", "harmobench cite", "harmobench cohort check"} <= set(commands)
    for name, command in commands.items():
        assert f"\n## {name}\n" in f"\n{text}"
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in text


def test_text_of_docstrings_is_shown_as_it_is() -> None:
    assert generated.escaped("[a_b] <c> $x$") == r"\[a\_b\] \<c\> \$x\$"
    assert generated.marked("see `a_b`\n and c_d") == r"see `a_b` and c\_d"
    assert generated.expand("a\n<!-- other -->\n") == "a\n<!-- other -->\n"
    assert "`ssim.map`" in generated.expand("<!-- facts: metrics ssim -->")


# --- architecture


def test_the_picture_shows_the_imports() -> None:
    shown = architecture.drawn(architecture.PICTURE.read_text(encoding="utf-8"))
    expected = architecture.reduced(architecture.edges())
    assert shown == expected, "draw it again: python docs/draw_architecture.py"


def test_the_picture_is_made_of_the_imports_that_the_rule_is_tested_by() -> None:
    found = set()
    for name in reader.modules():
        for target in reader.inside(name, reader.LATE):
            if "harmobench" not in (name, target):  # the package itself is in no box
                own, other = (
                    architecture.box_of(x.removeprefix("harmobench.")) for x in (name, target)
                )
                found |= {(own, other)} if own != other else set()
    assert found == architecture.edges()


def test_boxes_that_import_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"circle: a > b > a|circle: b > a > b"):
        architecture.reduced({("a", "b"), ("b", "a")})
