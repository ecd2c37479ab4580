"""Cohorts in a notebook: read from a manifest or simulated, and shown as a grid of scans."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from harmobench import manifest
from harmobench.api.given import path_of
from harmobench.api.shown import Told, counted, grid, line, pairs_text, shortened
from harmobench.api.watch import watcher_here
from harmobench.cohort import Cohort as Scans
from harmobench.cohort import Scan
from harmobench.errors import SettingsError

MOST = 40  # subjects whose scans are shown one by one
HEAD = ("subject", "scanner", "image", "mask")


@dataclass(frozen=True, repr=False)
class Cohort(Scans):
    """A matched cohort as a notebook shows it: `harmobench.cohort.Cohort`.

    Attributes
    ----------
    listed
        The scans that the file `source` lists; `select` leaves them as they are.
    """

    listed: tuple[Scan, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        """Return the cohort in a few lines."""
        return f"{_title(self)}\n{pairs_text(_facts(self))}"

    def _repr_html_(self) -> str:
        facts = "".join(line(text, name) for name, text in _facts(self).items() if text)
        more = len(self.subjects) - MOST
        rest = line(f"and {counted(more, 'subject')} more") if more > 0 else ""
        rows = [_line(self, subject) for subject in self.subjects[:MOST]]
        return f"{line(_title(self))}{grid(('subject', *self.scanners), rows)}{rest}{facts}"


def _line(cohort: Cohort, subject: str) -> list[Told]:
    return [Told(subject), *(_mark(cohort, subject, scanner) for scanner in cohort.scanners)]


def _mark(cohort: Cohort, subject: str, scanner: str) -> Told:
    there = cohort.scan(subject, scanner) is not None
    return Told("\N{CHECK MARK}", "good") if there else Told("missing", "absent")


def _title(cohort: Scans) -> str:
    return (
        f"Cohort of {counted(len(cohort), 'scan')}: {counted(len(cohort.subjects), 'subject')} on "
        f"{counted(len(cohort.scanners), 'scanner')}, "
        f"{'complete' if cohort.complete else 'incomplete'}"
    )


def _facts(cohort: Scans) -> dict[str, str]:
    """Return what to know of a cohort, by name; empty where there is nothing to say."""
    pairs = [f"{a} \N{EN DASH} {b}" for a, b in cohort.pairs]
    scan = cohort.scans[0] if cohort.scans else None
    return {
        "scanners": ", ".join(cohort.scanners),
        "pairs": f"{len(pairs)}: {shortened(pairs, 6)}",
        "groups": _groups(cohort),
        "missing": shortened(_missing(cohort), 6),
        "on one scanner only, left out of pairs": shortened(cohort.unmatched),
        "columns": ", ".join(scan.values) if scan else "",
        "grid": str(scan.grid) if scan else "",
        "from": cohort.source,
    }


def _groups(cohort: Scans) -> str:
    first = (cohort.of(subject)[0].values.get("group", "") for subject in cohort.subjects)
    counts = Counter(name for name in first if name)
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _missing(cohort: Scans) -> list[str]:
    places = ((s, x) for s in cohort.subjects for x in cohort.scanners)
    return [f"{s} on {x}" for s, x in places if cohort.scan(s, x) is None]


def read_cohort(path: str | PathLike[str], *, quiet: bool = False) -> Cohort:
    """Read a manifest and every image in it, strictly, as `harmobench cohort check` does.

    Parameters
    ----------
    path
        A .csv or .tsv file with the columns subject, scanner, image; one row a scan.
    quiet
        Show no progress.

    Raises
    ------
    ManifestError
        Naming every fault at once, each with its row, column and remedy.
    """
    with watcher_here(quiet) as watcher:
        found = manifest.read_cohort(path_of("cohort", path), watcher.step)
    return Cohort(found.scans, found.source, found.scans)


def simulate(
    folder: str | PathLike[str],
    *,
    subjects: int = 6,
    scanners: int = 4,
    resolution: float = 2.0,
    seed: int = 0,
    quiet: bool = False,
) -> Cohort:
    """Write a travelling-subjects phantom with known truth, and read it.

    Parameters
    ----------
    folder
        New or empty; its manifest is matched.csv.
    subjects, scanners
        How many people, on how many scanners (2 to 7).
    resolution
        Voxel size, mm.
    seed
        Everything follows it.
    quiet
        Show no progress.

    Raises
    ------
    HarmobenchError
        Settings that cannot be used, or a folder that holds other files.
    """
    from harmobench.phantom.simulate import simulate as phantom

    with watcher_here(quiet) as watcher:
        path = phantom(
            path_of("folder", folder), subjects, scanners, resolution, seed, watcher.step
        )
    return read_cohort(path, quiet=quiet)


def manifest_of(cohort: Scans, out: Path | None) -> Path:
    """Return the manifest of a cohort: the file it was read from, or one written beside `out`.

    Raises
    ------
    SettingsError
        It is a selection, or was made by hand, and there is no `out` or another file at its place.
    """
    if isinstance(cohort, Cohort) and cohort.listed and cohort.scans == cohort.listed:
        return Path(cohort.source)
    if out is None:
        raise SettingsError(
            f"out: expected a run folder of its own for a cohort that is not all of "
            f"{cohort.source}, found none: give out="
        )
    return _written(out.absolute().with_name(f"{out.name}-cohort.csv"), cohort)


def _written(path: Path, cohort: Scans) -> Path:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(_rows(cohort))
    text = stream.getvalue()
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise SettingsError(
            f"cohort: expected no file or the same cohort at {path}, found another: remove it, or "
            "give another out="
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _rows(cohort: Scans) -> Iterator[list[str]]:
    columns = list(dict.fromkeys(name for scan in cohort.scans for name in scan.values))
    yield [*HEAD, *columns]
    for scan in cohort.scans:
        mask = str(scan.mask.absolute()) if scan.mask is not None else ""
        head = [scan.subject, scan.scanner, str(scan.image.absolute()), mask]
        yield [*head, *(_value(name, scan.values.get(name, "")) for name in columns)]


def _value(name: str, text: str) -> str:
    return str(Path(text).absolute()) if text and manifest.is_file_column(name) else text
