"""The runs of a comparison: read from their folders, each under a name of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmobench.errors import HarmobenchError, SettingsError
from harmobench.finish import finished, require_run
from harmobench.interface import Finished, Progress
from harmobench.job import Job, job_from
from harmobench.parts import Part
from harmobench.store import read_json

MARK = "compared.json"  # in a folder that a comparison was written into
RAW = "raw"
KINDS = ("metrics", "segmenters", "morphometry", "statistics")


@dataclass(frozen=True)
class Member:
    """One run of a comparison.

    Attributes
    ----------
    name
        What it is called in the page and the tables.
    job, run
        What was asked, and what came out.
    hash, id
        Of its cohort, and its own, as its run.json has them.
    """

    name: str
    job: Job
    run: Finished
    hash: str
    id: str

    def part(self, kind: str, name: str) -> Part | None:
        """One plugin of the run, or None where it was not asked for."""
        return next((part for part in getattr(self.job, kind) if part.name == name), None)


def read(folders: Sequence[Path], names: Sequence[str], progress: Progress) -> list[Member]:
    """Read finished runs.

    Raises
    ------
    HarmobenchError
        One of them is none, or has no RAW.
    """
    found = []
    for done, (folder, name) in enumerate(zip(folders, names, strict=True), start=1):
        found.append(_member(folder, name))
        progress(done, len(names), f"reading {name}")
    return found


def _member(folder: Path, name: str) -> Member:
    if (folder / MARK).is_file():
        raise HarmobenchError(
            f"{folder} was written by `harmobench compare`: give the runs themselves, "
            f"whose names are in {MARK}, and whatever runs are to be added"
        )
    require_run(folder)
    try:
        run = finished(folder.absolute())
        settings = read_json(folder / "run.json")
        member = Member(
            name,
            job_from(settings),
            run,
            str(settings["cohort_hash"]),
            str(settings["run_id"]),
        )
    except HarmobenchError as error:
        raise HarmobenchError(f"{name}: {error}") from error
    except Exception as error:
        # what a file lacks or has cut short shows in many ways: pyarrow's errors are some of these
        what = (str(error).splitlines() or [""])[0]
        raise HarmobenchError(
            f"{name}: expected a run that this version of harmobench can read, found in {folder}: "
            f"{type(error).__name__}: {what}. A run of another version, or a damaged one: "
            "`harmobench run` with the same options and --out writes its tables again"
        ) from error
    if RAW not in member.run.design.methods:
        raise HarmobenchError(
            f"{name}: expected the method raw in every run, since it shows that all measured "
            f"alike; found {', '.join(member.run.design.methods)}: run it again with raw"
        )
    return member


def refuse_folders(folders: Sequence[Path], out: Path) -> None:
    """Refuse too few runs, the same one twice, and a place to write that cannot be one.

    Raises
    ------
    SettingsError
        The first of these.
    """
    if len(folders) < 2:
        raise SettingsError(f"expected two runs or more to compare, found {len(folders)}")
    places = [folder.resolve() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise SettingsError(f"expected different runs, found {folder} twice")
    own = out.resolve()
    for place in places:
        if own == place or place in own.parents:
            raise SettingsError(
                f"--out: expected a folder outside the runs, found {out} in the run {place}"
            )
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out: expected a folder, found a file at {out}")
    if out.is_dir() and any(out.iterdir()):
        raise SettingsError(
            f"--out: expected a new or empty folder, found files in {out}: delete it, or name "
            "another folder"
        )


def names_of(folders: Sequence[Path], given: str | None = None) -> tuple[str, ...]:
    """Name the runs as `given` says, with commas, else by as much of their places as differs.

    >>> names_of([Path("/data/labA"), Path("/data/labB")])
    ('labA', 'labB')
    >>> names_of([Path("/labA/run"), Path("/labB/run")])
    ('labA/run', 'labB/run')

    Raises
    ------
    SettingsError
        As many names as runs were expected, all different.
    """
    if given is None:
        return _from_places([Path(os.path.abspath(folder)) for folder in folders])  # noqa: PTH100
    names = tuple(clean(name) for name in given.split(","))
    if len(names) != len(folders) or not all(names) or not _unlike(names):
        raise SettingsError(
            f"--names: expected {len(folders)} different names with commas, one a run, "
            f"found '{given}'"
        )
    return names


def _from_places(places: Sequence[Path]) -> tuple[str, ...]:
    deepest = max(len(place.parts) for place in places)
    for depth in range(1, deepest + 1):
        names = tuple(clean("/".join(place.parts[-depth:])) for place in places)
        if all(names) and _unlike(names):
            return names
    return tuple(f"run {number}" for number in range(1, len(places) + 1))


def _unlike(names: Sequence[str]) -> bool:
    """Whether names differ as they are shown, where an underscore is a space."""
    return len({name.replace("_", " ") for name in names}) == len(names)


def clean(text: str) -> str:
    r"""Return a name in one line, of characters that can be shown.

    >>> clean(" lab\n A ")
    'lab A'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def told(names: Sequence[str], values: Sequence[Any]) -> str:
    """Say who has what, equal values once; who has None has nothing to say.

    >>> told(["a", "b", "c"], [1, 2, 1])
    'a, c: 1; b: 2'
    """
    by_value: dict[str, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        if value is not None:
            by_value.setdefault(str(value), []).append(name)
    return "; ".join(f"{', '.join(who)}: {value}" for value, who in by_value.items())


def merged_order(orders: Sequence[Sequence[Any]]) -> list[Any]:
    """Return all that is in some of these orders once, what is new before what it stood before.

    >>> merged_order([["raw", "a", "oracle"], ["raw", "b", "oracle", "c"]])
    ['raw', 'a', 'b', 'oracle', 'c']
    """
    found: list[Any] = []
    for order in orders:
        place = len(found)
        for each in reversed(order):
            if each in found:
                place = found.index(each)
            else:
                found.insert(place, each)
    return found
