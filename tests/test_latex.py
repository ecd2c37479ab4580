"""The LaTeX of every table compiles with pdflatex, and fits a portrait page."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import synthetic_run
from hypothesis import given
from hypothesis import strategies as st

from harmobench.reports.tables.citable import citable
from harmobench.reports.tables.formats import Cell, Column, Table
from harmobench.reports.tables.latex import to_latex
from harmobench.reports.tables.tex import BOLD, SPREAD, breakable, latex, width

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="pdflatex is not installed (Debian: texlive-latex-base and texlive-latex-recommended)",
)
NAMES = ("é\N{EN DASH}ß", "中文😀", "<script>", "$x$ a%b", "a_b\\c{d}~^|#&", "two\nlines", "N" * 60)
THREE = ("GE", "Philips", "SiemensT")
RUNS: dict[str, dict[str, Any]] = {
    "default": {},
    "15 methods": {
        "methods": (*synthetic_run.METHODS, *(f"their_method_{i}" for i in range(6))),
        "scanners": THREE,
        "controls": tuple(synthetic_run.CONTROLS),
        "truth": True,
        "repeats": 2,
        "margins": {"ssim": 0.01},
        "tools": ("hmrf", "atropos"),
    },
    "7 scanners": {"methods": ("raw", "mispel"), "scanners": [f"Scanner{i}" for i in range(7)]},
    "failed": {"scanners": THREE, "failed": "ravel", "controls": ("blur",)},
    "one method": {"methods": ("raw",), "scanners": THREE},
    "no biomarkers": {"methods": ("raw", "mispel"), "scanners": THREE, "biomarkers": False},
    "60 subjects": {
        "methods": ("raw", "mispel"),
        "scanners": THREE,
        "subjects": [f"{i:02d}" for i in range(60)],
    },
    "names": {
        "methods": ("raw", *NAMES, "a very long name " * 5),
        "scanners": (*NAMES[:3], "GE" * 25),
        "tools": ("hmrf", NAMES[4]),
        "failed": NAMES[1],
        "preset": NAMES[3],
    },
}
TOO_WIDE = 5.0  # points


def compiled(folder: Path, body: str, times: int = 1) -> str:
    """Compile a document and return its log, in lines that are not broken."""
    text = "\\documentclass{article}\n\\usepackage{booktabs,longtable}\n\\begin{document}\n"
    (folder / "all.tex").write_text(f"{text}{body}\n\\end{{document}}\n", "utf-8")
    for _ in range(times):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "all.tex"],
            cwd=folder,
            capture_output=True,
            env={"max_print_line": "1000", "PATH": "/usr/bin:/bin:/usr/local/bin"},
            check=False,
        )
    log = (folder / "all.log").read_text("utf-8", errors="replace")
    assert done.returncode == 0, [line for line in log.splitlines() if line.startswith("!")]
    return log


def faults(log: str) -> list[str]:
    """Return what a log complains of, each with the table before it."""
    found, place = [], ""
    for line in log.splitlines():
        place = line if line.startswith("@@") else place
        wide = re.search(r"Overfull \\hbox \(([\d.]+)pt", line)
        bad = line.startswith("!") or "too large for page" in line or "Missing character" in line
        if bad or (wide and float(wide[1]) > TOO_WIDE):
            found.append(f"{place} {line}")
    return found


@needs_latex
def test_every_table_of_every_run_compiles_and_fits(tmp_path: Path) -> None:
    body, count = [], 0
    for name, own in RUNS.items():
        run = synthetic_run.finished(tmp_path, pictures=False, resamples=20, **own)
        for table in citable(run):
            text = to_latex(table).replace(r"\label{tab:", rf"\label{{{name}:")
            body.append(rf"\typeout{{@@ {name} {table.id}}}" + f"\n{text}\\clearpage")
            count += 1
    log = compiled(tmp_path, "\n".join(body), times=2)
    assert log.count("\n@@ ") == count > 100
    assert faults(log) == []


@needs_latex
def test_a_table_that_does_not_fit_would_be_found(tmp_path: Path) -> None:
    columns = " & ".join(["0.123 (0.012)"] * 9)
    table = rf"\noindent\begin{{tabular}}{{{'r' * 9}}}{columns}\end{{tabular}}"
    assert "Overfull" in "".join(faults(compiled(tmp_path, table)))


SOME = [*range(0x20, 0x250), *range(0x370, 0x400), *range(0x1E00, 0x1F00), *range(0x2010, 0x2028)]
SOME += [0x301, 0x200D, 0x202E, 0x20AC, 0x2192, 0x2264, 0x4E2D, 0xAC00, 0xFB01, 0x1F600]


@needs_latex
def test_every_character_compiles_and_is_no_wider_than_thought(tmp_path: Path) -> None:
    lines = []
    for size in SPREAD:
        lines.append(rf"\fontsize{{{size}}}{{12}}\selectfont")
        for code in SOME:
            box = rf"\sbox0{{{latex(chr(code))}}}\typeout{{@ {size} 0 {code} \the\wd0}}"
            bold = rf"\sbox0{{\textbf{{{latex(chr(code))}}}}}\typeout{{@ {size} 1 {code} \the\wd0}}"
            lines += [box, bold]
    log = compiled(tmp_path, "\n".join(["x", *lines]))
    found = re.findall(r"^@ (\d+) (\d) (\d+) ([\d.]+)pt", log, re.MULTILINE)
    assert len(found) == 2 * len(SOME) * len(SPREAD)
    wider = [
        (size, bold, chr(int(code)))
        for size, bold, code, points in found
        if float(points) > width(chr(int(code)), int(size), bold=bold == "1") + 0.01
    ]
    assert wider == []


def test_what_has_no_sign_is_named_by_its_code_point() -> None:
    assert latex("中") == r"\texttt{U+4E2D}"
    assert latex("Zoë Łęcka β") == r"Zo\"{e} \L{}\c{e}cka $\beta$"
    assert latex("a--b, x`y") == r"a-{}-b, x{}`{}y"
    assert latex("two\nlines") == "two lines"


@given(st.text(max_size=40), st.floats(8, 200))
def test_breaking_changes_no_character(text: str, room: float) -> None:
    words = breakable(text, room, 8).replace(r"\allowbreak{}", "").replace("{}", "")
    assert words == " ".join(latex(w) for w in text.split()).replace("{}", "")


@given(st.text(max_size=40))
def test_nothing_is_a_command(text: str) -> None:
    """Outside the commands that are written on purpose no special character is left."""
    left = re.sub(r"\\[&%$#_{}]|\\[a-zA-Z]+(\{\})?|\$[^$]*\$|\\[`'^~=.\"]", "", latex(text))
    assert not set(left) & set("\\&%$#_~^<>|") - set("~")
    assert left.isascii()
    depth = 0
    for sign in left:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0


def long_table(methods: int, rows: int) -> Table:
    columns = [Column("tool", "Tool"), Column("structure", "Structure"), Column("scanner", "S")]
    columns += [Column(f"m{i}", f"Method {i}", measured=True) for i in range(methods)]
    lines = [
        (
            Cell(text="HMRF"),
            Cell(text=("GM", "WM")[i % 2]),
            Cell(text=f"S{i}"),
            *(Cell(1.25, 0.5) for _ in range(methods)),
        )
        for i in range(rows)
    ]
    return Table("HB-T2", "Bias", "Caption.", tuple(columns), tuple(lines), "harmobench 0.")


def test_wide_tables_stand_in_panels_that_repeat_their_lines_names() -> None:
    text = to_latex(long_table(15, 4))
    assert text.count(r"\begin{tabular}") == text.count("Scanner") + 3
    assert text.count("(continued)") == 2
    text = re.sub(r"\\parbox\[b\]\{[\d.]+pt\}\{\\raggedleft\\strut ([^}]*)\\strut\}", r"\1", text)
    heads = re.findall(r"\\toprule\n(.*) \\\\", text)
    assert [head.split(" & ")[0] for head in heads] == ["S"] * 3
    assert [len(head.split(" & ")) for head in heads] == [6, 6, 6]  # of even width
    assert [n for head in heads for n in head.split(" & ")[1:]] == [
        f"Method {i}" for i in range(15)
    ]


def test_what_lines_have_in_common_stands_over_them() -> None:
    text = to_latex(long_table(3, 2))
    assert text.count(r"\multicolumn{4}") == 2
    assert "HMRF, GM" in text
    assert "Tool" not in text


def test_long_tables_break_over_pages_and_say_so() -> None:
    text = to_latex(long_table(3, 80))
    assert text.startswith(r"% needs \usepackage{booktabs,longtable}")
    assert r"\endfirsthead" in text
    assert r"\caption*{HB-T2 (continued)}" in text
    short = to_latex(long_table(3, 8))
    assert short.startswith(r"% needs \usepackage{booktabs},")
    assert "longtable" not in short


def test_bold_is_no_wider_than_thought() -> None:
    assert width("0.12", 8, bold=True) == pytest.approx(BOLD * width("0.12", 8))
    assert unicodedata.normalize("NFD", "é") != "é"
    assert latex(unicodedata.normalize("NFD", "é")) == latex("é")


def test_a_first_column_that_is_not_known_names_the_lines_too() -> None:
    """Tables of several runs begin with the run."""
    table = long_table(15, 4)
    columns = (Column("run", "Run"), *table.columns)
    rows = tuple((Cell(text=f"run {i // 2}"), *row) for i, row in enumerate(table.rows))
    text = to_latex(Table("HB-T2", "Bias", "C.", columns, rows, "p"))
    heads = re.findall(r"\\toprule\n(.*) \\\\", text)
    assert len(heads) == 3
    assert all(head.startswith("Run & S & ") for head in heads)
