"""A comparison from run folders to a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harmobench
from harmobench.damage import naming_damage
from harmobench.errors import SettingsError
from harmobench.folder import make_folder
from harmobench.interface import Finished, Progress
from harmobench.reports.compare.differences import Difference, differences, refusal
from harmobench.reports.compare.merge import merged
from harmobench.reports.compare.runs import MARK, Member, names_of, read, refuse_folders
from harmobench.reports.compare.stack import stacked
from harmobench.reports.compare.stacked_page import page
from harmobench.reports.html import Html
from harmobench.reports.tables import Tables
from harmobench.reports.tables.files import WRITERS
from harmobench.results import write_table
from harmobench.store import merkle, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("cohorts", "definitions")
TABLES = ("scores", "aggregates", "comparisons", "costs", "failures")


@dataclass(frozen=True)
class Request:
    """What the user typed; `harmobench compare --help` says what each means."""

    folders: tuple[Path, ...]
    out: Path
    names: str | None = None
    allow: str | None = None


@dataclass(frozen=True)
class Made:
    """What was made: the page, and in what runs differ that were put one below the other."""

    page: Path
    runs: int
    differences: tuple[Difference, ...]


def make(request: Request, progress: Progress) -> Made:
    """Read runs, refuse or compare them, and write; nothing is left where that fails.

    Raises
    ------
    HarmobenchError
        The runs cannot be read, or are not one benchmark and that was not allowed.
    """
    allowed = _allowed(request.allow)
    refuse_folders(request.folders, request.out)
    members = read(request.folders, names_of(request.folders, request.names), progress)
    with naming_damage(*request.folders):
        found = differences(members)
    why = refusal(found, [member.name for member in members], allowed)
    if why:
        raise SettingsError(why)
    identity = _identity(members, found)
    with naming_damage(*request.folders), _whole(request.out.absolute()) as folder:
        if found:
            _write_stacked(members, found, folder, progress)
        else:
            _write_merged(members, folder, identity["id"], progress)
        write_json(folder / MARK, identity)
    return Made(request.out.absolute() / "report.html", len(members), tuple(found))


def _allowed(text: str | None) -> frozenset[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise SettingsError(f"--allow: expected {' or '.join(KINDS)}, found '{name}'")
    return frozenset(names)


def _identity(members: Sequence[Member], found: Sequence[Difference]) -> dict[str, Any]:
    """Return what the comparison was made of, which is its mark and its hash."""
    runs = [
        {"name": m.name, "run_id": m.id, "cohort_hash": m.hash, "version": m.job.version}
        for m in members
    ]
    identity = {
        "version": harmobench.__version__,
        "runs": runs,
        "merged": not found,
        "allowed": sorted({difference.kind for difference in found}),
        "differences": [str(difference) for difference in found],
    }
    return identity | {"id": merkle(identity)[:16]}


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Give a folder to write into that becomes `out` where all went well, and else goes."""
    make_folder(out.parent, "--out")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a comparison that was killed
    make_folder(partial, "--out")
    try:
        yield partial
        if out.is_dir():
            out.rmdir()  # it is empty
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_merged(members: Sequence[Member], folder: Path, id: str, progress: Progress) -> None:
    run = merged(members, folder, id, progress)
    for name in TABLES:
        write_table(getattr(run, name), folder / name)
    Tables().write(run, progress)
    Html().write(run, progress)


def _write_stacked(
    members: Sequence[Member], found: Sequence[Difference], folder: Path, progress: Progress
) -> None:
    for done, name in enumerate(TABLES, start=1):
        write_table(_below([(m.name, m.run) for m in members], name), folder / name)
        progress(done, len(TABLES), f"table {name}")
    tables = stacked(members, found)
    for done, table in enumerate(tables, start=1):
        for suffix, text in WRITERS:
            write_text(folder / "tables" / f"{table.id}{suffix}", text(table))
        progress(done, len(tables), f"table {table.id}")
    write_text(folder / "report.html", page(members, found, tables))


def _below(runs: Sequence[tuple[str, Finished]], name: str) -> pd.DataFrame:
    """One table of all runs, its first column the run: nobody takes it for a table of one run."""
    import pandas as pd

    frames = []
    for run_name, run in runs:
        frame: pd.DataFrame = getattr(run, name).copy()
        frame.insert(0, "run", run_name)
        frames.append(frame)
    together: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return together
