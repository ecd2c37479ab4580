"""`import harmobench as hb`, in a script without a guard, in a notebook, and piece by piece."""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import harmobench as hb
from harmobench.api import watch
from harmobench.api.given import command_of, plain_options
from harmobench.api.running import main_unseen
from harmobench.errors import HarmobenchError, ManifestError, PluginError, SettingsError
from harmobench.job import Options
from harmobench.live.show import Lines, Quiet

PACKAGE = Path(hb.__file__).parent
# As a beginner writes it: what starts processes stands at the top of the file.
SCRIPT = """
import sys
import harmobench as hb
print("script begins")
cohort = hb.read_cohort(sys.argv[1])
run = hb.run(
    cohort, ["raw", "whitestripe", "ravel"], out=sys.argv[2], metrics=["ssim"],
    segmenters="none", measures="none", controls=False, set={"ravel": {"k": 2}}, workers=1,
)
print(run)
"""
CELLS = (
    "import harmobench as hb\ncohort = hb.read_cohort({manifest!r})\ncohort",
    "run = hb.run(cohort, ['raw', 'whitestripe', 'ravel'], out={out!r}, metrics=['ssim'],"
    " segmenters='none', measures='none', controls=False, set={{'ravel': {{'k': 2}}}}, workers=1)",
    "run",
    "run.figure('ssim')",
    "run.table('HB-T1')",
    "run.tables",
)
# Executed in a process of its own: nbclient brings event loops and warnings along.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], 4)
NotebookClient(book, timeout=120, kernel_name="python3").execute()
nbformat.write(book, sys.argv[1])
"""


class Reader(HTMLParser):
    """Words of a page, and whether each element is closed by its own end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(shown: Any) -> str:
    return " ".join(Reader(shown._repr_html_()).words)


def _process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "HARMOBENCH_CACHE": ""},
    )


@pytest.fixture(scope="module")
def place(cohort_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the script ran, and wrote RUN."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "script.py").write_text(SCRIPT)
    done = _process("script.py", str(cohort_csv), "RUN", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> hb.Run:
    return hb.open_run(place / "RUN")


def test_a_script_without_a_guard_runs_once(place: Path) -> None:
    printed = (place / "printed").read_text()
    assert printed.count("script begins") == 1
    assert f"Run {place / 'RUN'}" in printed
    assert "4 subjects on 2 scanners (GE, Philips)" in printed


def test_a_notebook_shows_cohort_progress_run_figure_and_table(
    place: Path, cohort_csv: Path
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel")
    pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel")
    filled = [cell.format(manifest=str(cohort_csv), out="RUN") for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in filled])
    nbformat.write(book, place / "book.ipynb")
    before = (place / "RUN" / "scores.parquet").read_bytes()
    done = _process("-c", EXECUTE, "book.ipynb", folder=place)
    assert done.returncode == 0, done.stderr
    assert (place / "RUN" / "scores.parquet").read_bytes() == before
    cells = nbformat.read(place / "book.ipynb", 4).cells
    shown = [[o.data for o in cell.outputs if "data" in o] for cell in cells]
    assert "Cohort of 8 scans" in shown[0][-1]["text/html"]
    assert "all tasks" in shown[1][0]["text/html"]
    assert "\x1b" not in shown[1][0]["text/html"]
    assert "report.html" in shown[2][0]["text/html"]
    assert shown[3][0]["image/png"]
    assert "<table" in shown[4][0]["text/html"]
    assert "Image similarity" in shown[5][0]["text/html"]


def test_a_cohort_shows_its_grid_and_what_is_missing(larger_csv: Path, tmp_path: Path) -> None:
    cohort = hb.read_cohort(larger_csv)
    assert "Cohort of 15 scans: 5 subjects on 3 scanners, complete" in words(cohort)
    assert words(cohort).count("\N{CHECK MARK}") == 15
    assert "3: GE \N{EN DASH} Philips" in repr(cohort)
    assert "3 high, 2 low" in repr(cohort)
    assert "missing" not in repr(cohort)
    holed = hb.Cohort(cohort.scans[1:], cohort.source)
    assert words(holed).count("\N{CHECK MARK}") == 14
    assert "missing: 01 on GE" in repr(holed)
    some = cohort.select(["01", "02"])
    assert isinstance(some, hb.Cohort)
    assert "2 subjects" in words(some)


def test_names_from_files_cannot_become_html(cohort_csv: Path) -> None:
    first, *others = hb.read_cohort(cohort_csv).scans
    odd = hb.Cohort((first.__class__("<script>x", "GE", first.image), *others), "<b>")
    assert "<script>" not in odd._repr_html_()
    assert "&lt;script&gt;x" in odd._repr_html_()


def test_a_selection_is_written_beside_its_run(cohort_csv: Path, tmp_path: Path) -> None:
    from harmobench.api.cohorts import manifest_of

    cohort = hb.read_cohort(cohort_csv)
    assert manifest_of(cohort, None) == cohort_csv
    some = cohort.select(["01", "03"])
    with pytest.raises(SettingsError, match="give out="):
        hb.run(some, ["raw"])
    written = manifest_of(some, tmp_path / "RUN")
    assert written == tmp_path / "RUN-cohort.csv"
    again = hb.read_cohort(written)
    assert [(s.subject, s.scanner, s.image, dict(s.values)) for s in again.scans] == [
        (s.subject, s.scanner, s.image, dict(s.values)) for s in some.scans
    ]
    assert manifest_of(some, tmp_path / "RUN") == written
    with pytest.raises(SettingsError, match="found another"):
        manifest_of(cohort.select(["02", "03"]), tmp_path / "RUN")


def test_every_table_is_numbers_with_its_caption(run: hb.Run) -> None:
    assert run.tables["HB-T1"] == "Image similarity"
    assert run.tables["HB-T2"] == "Volumetric bias (not measured)"
    assert list(run.tables)[-1] != "HB-T9"  # HB-T10 comes after it
    paper = run.table("HB-T1")
    assert paper["scanner pair"].tolist() == ["GE \N{EN DASH} Philips"]
    assert paper["ravel n"].dtype == "Int64"
    ssim = run.scores.query("metric == 'ssim' and method == 'raw'")["value"]
    assert paper["raw"].iloc[0] == pytest.approx(ssim.mean(), abs=0.0005)
    assert paper.attrs["id"] == "HB-T1"
    assert paper.attrs["caption"].startswith("SSIM of a subject's scans")
    rigorous = run.table("HB-T1", mode="rigorous")
    assert rigorous["p"].dtype == "float64"
    assert rigorous.equals(run.table("HB-T1-rigorous"))
    printed = run.table("HB-T1-rigorous", text=True)
    assert isinstance(printed["p"].iloc[0], str)
    assert len(run.table("HB-T11")) == 0  # nothing failed
    for name, title in run.tables.items():
        if "not measured" not in title:
            assert run.table(name).attrs["title"] == title


def test_words_among_numbers_and_bounds_are_read(tmp_path: Path) -> None:
    from harmobench.api.tables import read

    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "HB-T1.csv").write_text(
        "scanner,method,n,difference,p,note,table,caption,provenance\n"
        "1,'=x,6,identical,<0.0001,,HB-T1,Odd. Rest. More.,line\n"
        "2,b,,-0.25,0.5,failed,HB-T1,Odd. Rest. More.,line\n"
    )
    frame = read(tmp_path, "HB-T1", "paper", text=False)
    assert frame["scanner"].tolist() == ["1", "2"]
    assert frame["method"].tolist() == ["=x", "b"]
    assert frame["n"].isna().tolist() == [False, True]
    assert frame["difference"].isna().tolist() == [True, False]
    assert frame["p"].tolist() == [0.0001, 0.5]
    assert frame.attrs["title"] == "Odd"
    assert frame.attrs["caption"] == "Rest. More."


def test_what_a_run_has_not_is_refused_with_what_it_has(run: hb.Run) -> None:
    with pytest.raises(HarmobenchError, match=r"HB-T8.*This metric was not part|no clinical"):
        run.table("HB-T8")
    with pytest.raises(HarmobenchError, match="found 'HB-T22'; is 'HB-T2' meant"):
        run.table("HB-T22")
    with pytest.raises(HarmobenchError, match="'HB-T10' with mode='rigorous'"):
        run.table("HB-T10", mode="rigorous")
    with pytest.raises(SettingsError, match="mode: expected paper or rigorous"):
        run.table("HB-T1", mode="papr")  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="'sim'; is 'ssim' meant"):
        run.figure("sim")
    with pytest.raises(SettingsError, match="expected subject="):
        run.figure("mosaic")
    with pytest.raises(SettingsError, match="found tol; is 'tool' meant"):
        run.figure("rmsd", tol="hmrf")
    with pytest.raises(HarmobenchError, match="expected volume scores"):
        run.figure("volumes")
    with pytest.raises(HarmobenchError, match=r"no run\.json"):
        hb.open_run(run.folder.parent)


@pytest.mark.parametrize("wrong", [None, 3, b"RUN", ["x"]])
def test_what_is_no_name_or_path_is_refused(run: hb.Run, wrong: Any) -> None:
    with pytest.raises(SettingsError, match=r"^table: expected one of the ids in `tables`"):
        run.table(wrong)
    with pytest.raises(SettingsError, match=r"^figure: expected one of the names in `figures`"):
        run.figure(wrong)
    with pytest.raises(SettingsError, match=r"^run folder: expected a path, found"):
        hb.open_run(wrong)
    with pytest.raises(SettingsError, match=r"^cohort: expected a path, found"):
        hb.run(wrong)
    with pytest.raises(SettingsError, match=r"^cohort: expected a path, found"):
        hb.read_cohort(wrong)
    with pytest.raises(SettingsError, match=r"^folder: expected a path, found"):
        hb.simulate(wrong)


@pytest.mark.parametrize("option", [{"subject": "<b>"}, {"subject": 1}, {"subject": None}])
def test_a_mosaic_of_nobody_is_refused_with_who_is_there(
    run: hb.Run, option: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=r"subject: expected one of 01, 02, 03, 04, found"):
        run.figure("mosaic", **option)
    with pytest.raises(SettingsError, match=r"axis: expected one of axial, .*, found 'x'"):
        run.figure("mosaic", subject="01", axis="x")


def test_figures_by_their_short_names_are_the_reports(run: hb.Run) -> None:
    from harmobench.registry import find
    from harmobench.reports import figures

    assert set(run.figures) >= {"ssim", "auroc", "volumes", "pareto", "mosaic", "training"}
    found = {find("figures", name).load() for name in run.figures}
    assert found >= {getattr(figures, name) for name in figures.__all__}
    assert run.figure("ssim").axes
    assert run.figure("mosaic", subject="01").axes
    assert run.figure("ssim")._repr_png_().startswith(b"\x89PNG")


def test_a_run_shows_its_verdict_and_where_its_report_is(run: hb.Run) -> None:
    from harmobench.reports.verdicts.findings import findings
    from harmobench.reports.verdicts.summary import summary

    shown = words(run)
    assert str(run.folder) in shown
    summed = summary(run.finished, findings(run.finished))
    assert summed.parts
    for title, rows in summed.parts:
        assert title in shown
        assert all(row.criterion in shown for row in rows)
    assert run.report.as_uri() in run._repr_html_()
    assert repr(run).splitlines()[0] == f"Run {run.folder}"
    assert run.methods == ("raw", "whitestripe", "ravel")
    assert run.metrics == ("ssim",)


def test_the_link_is_relative_below_the_notebooks_folder(
    run: hb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.folder.parent)
    assert "href='RUN/report.html'" in run._repr_html_()


def test_the_numbers_are_the_runs_and_ones_own(run: hb.Run) -> None:
    scores = run.scores
    scores["value"] = 0.0
    assert run.scores["value"].abs().max() > 0
    assert {"paper", "rigorous"} == set(run.aggregates["mode"])
    assert len(run.comparisons)
    assert len(run.failures) == 0
    assert set(run.costs["method"]) >= {"raw", "ravel"}


def test_what_to_cite_is_what_the_command_prints(run: hb.Run) -> None:
    assert "@article{" in run.cite("bibtex")
    assert "RAVEL (Fortin" in run.cite("text")
    assert repr(run.cite()) == str(run.cite())


def test_the_run_folder_has_a_command_that_does_the_same(place: Path, cohort_csv: Path) -> None:
    command = hb.open_run(place / "RUN").finished.settings["command"]
    assert command == (
        f"harmobench run --cohort {cohort_csv} --out {place / 'RUN'} "
        "--methods raw,whitestripe,ravel --segmenters none --metrics ssim --workers 1 "
        "--set ravel.k=2 --measures none --controls off"
    )


def test_options_as_python_has_them_become_those_of_the_command_line() -> None:
    given = {
        "set": {"ravel": {"k": 2}, "ssim": {"map": "none"}},
        "measures": {"freesurfer": Path("subjects")},
        "precomputed": "lab={subject}_{scanner}.nii",
        "margin": {"ssim": 0.01},
        "covariates": ("age", "sex"),
        "group": ("group", "a", "b"),
        "slurm": {"queue": "short", "jobs": "1:50"},
        "controls": True,
        "atlas": Path("eve"),
        "methods": None,
    }
    assert plain_options(given) == {
        "set": ["ravel.k=2", 'ssim.map="none"'],
        "measures": ["freesurfer=subjects"],
        "precomputed": ["lab={subject}_{scanner}.nii"],
        "margin": ["ssim=0.01"],
        "covariates": "age,sex",
        "group": "group:a,b",
        "slurm": "queue=short,jobs=1:50",
        "controls": "on",
        "atlas": "eve",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("folds", "3"),
        ("seed", 1.5),
        ("workers", True),
        ("methods", 7),
        ("methods", [1]),
        ("out", 3),
        ("preset", ["quick"]),
        ("slurm", {}),
        ("slurm", 3),
        ("set", {"ravel": 2}),
        ("set", {"ravel": {"k": object()}}),
    ],
)
def test_an_option_of_another_type_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: expected"):
        plain_options({name: value})


def test_refusals_are_those_of_the_command_line(cohort_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="is 'raw' meant"):
        hb.run(cohort_csv, ["raw1"], out=tmp_path / "R", quiet=True)
    with pytest.raises(HarmobenchError, match="found no file at"):
        hb.run(tmp_path / "no.csv", quiet=True)
    bad = tmp_path / "bad.csv"
    bad.write_text("subject,scanner\n1,GE\n")
    with pytest.raises(ManifestError):
        hb.read_cohort(bad)
    assert not (tmp_path / "R").exists()


def test_the_signature_has_every_option_of_the_command_line() -> None:
    from harmobench.cli import run as command

    options = set(inspect.signature(command).parameters) - {"dry_run"}
    assert set(inspect.signature(hb.run).parameters) == options
    assert set(Options.__dataclass_fields__) <= options


def test_the_stub_says_what_the_package_offers() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    named = {alias.asname for n in stub.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert named | {"__version__"} == set(hb.__all__)
    assert set(hb.__all__) <= set(dir(hb))
    for name in hb.__all__:
        assert getattr(hb, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'red_cohort'"):
        hb.red_cohort  # noqa: B018


def test_the_script_is_seen_again_after_the_run() -> None:
    main = sys.modules["__main__"]
    before = dict(vars(main))
    seen = []
    with contextlib.suppress(KeyError), main_unseen():
        seen.append((hasattr(main, "__file__"), main.__spec__))
        raise KeyError
    assert seen == [(False, None)]
    assert vars(main).get("__file__") == before.get("__file__")
    assert vars(main).get("__spec__") is before.get("__spec__")


def test_what_is_installed_is_listed() -> None:
    assert {"raw", "ravel", "mispel"} <= set(hb.list_methods())
    assert "ssim" in repr(hb.list_metrics())
    assert "<table" in hb.list_metrics()._repr_html_()


def test_quiet_and_a_log_have_the_watchers_of_the_command_line() -> None:
    assert type(watch.watcher_here(quiet=True)) is Quiet
    assert type(watch.watcher_here(quiet=False)) is Lines
    assert not watch.in_notebook()


def test_a_phantom_is_simulated_and_read(tmp_path: Path) -> None:
    cohort = hb.simulate(tmp_path / "ph", subjects=2, scanners=2, resolution=8.0, quiet=True)
    assert cohort.source == str(tmp_path / "ph" / "matched.csv")
    assert len(cohort) == 4


def test_options_at_their_defaults_are_not_in_the_command() -> None:
    options = Options(Path("a b.csv"), Path("R"), set=("ravel.k=2", "x.y=1"))
    assert command_of(options) == (
        "harmobench run --cohort 'a b.csv' --out R --set ravel.k=2 --set x.y=1"
    )
