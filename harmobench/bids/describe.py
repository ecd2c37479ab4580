"""What makes a folder of images a BIDS dataset: its description, README, people and visits."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import harmobench
from harmobench.cohort import Scan, derivatives_description
from harmobench.manifest import is_file_column
from harmobench.store import write_json, write_text

DESCRIPTION = "dataset_description.json"
PEOPLE = "participants.tsv"
SUBJECT, SCANNER = "subject", "scanner"  # columns with the manifest's own names
MISSING = "n/a"
OLDEST = 89.0  # years; BIDS wants no age above it
SEXES = frozenset("male m M MALE Male female f F FEMALE Female other o O OTHER Other".split(" "))  # noqa: SIM905
WORDS = {
    SUBJECT: "Name of the subject in the manifest that harmobench read",
    SCANNER: "Name of the scanner in the manifest that harmobench read",
}
Table = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Dataset:
    """A derivative dataset to describe.

    Attributes
    ----------
    folder
        Its root.
    name
        What it holds, in a few words.
    readme
        The text of README.md.
    links
        Other datasets by the name that BIDS URIs call them, with their places.
    more
        Further fields of dataset_description.json.
    ignored
        Patterns of what else lies in the folder: .bidsignore.
    """

    folder: Path
    name: str
    readme: str
    links: Mapping[str, str]
    more: Mapping[str, Any]
    ignored: tuple[str, ...] = ()


def describe(dataset: Dataset) -> list[Path]:
    """Write dataset_description.json, README.md and .bidsignore; return what was written."""
    folder = dataset.folder
    fields = {**derivatives_description(dataset.name, harmobench.__version__), **dataset.more}
    if dataset.links:
        fields["DatasetLinks"] = dict(dataset.links)
    write_json(folder / DESCRIPTION, fields)
    write_text(folder / "README.md", f"# {dataset.name}\n\n{dataset.readme}\n")
    written = [folder / DESCRIPTION, folder / "README.md"]
    if dataset.ignored:
        write_text(folder / ".bidsignore", "".join(f"{line}\n" for line in dataset.ignored))
        written.append(folder / ".bidsignore")
    return written


def write_people(
    folder: Path, scans: Sequence[Scan], subjects: Mapping[str, str], scanners: Mapping[str, str]
) -> list[Path]:
    """Write participants.tsv and each subject's sessions.tsv, both with what their columns mean.

    A column that has one value for all scans of each subject describes people, another visits.

    Parameters
    ----------
    folder
        Root of the dataset.
    scans
        Whose names and values are written; columns that name files are left out.
    subjects, scanners
        BIDS label of each name.
    """
    columns = list(dict.fromkeys(n for s in scans for n in s.values if not is_file_column(n)))
    grouped: dict[str, list[Scan]] = {}
    for scan in scans:
        grouped.setdefault(scan.subject, []).append(scan)
    fixed = [n for n in columns if all(_one_value(n, own) for own in grouped.values())]
    moving = [name for name in columns if name not in fixed]
    people = [
        {"participant_id": f"sub-{subjects[name]}", SUBJECT: name, **_values(own[0], fixed)}
        for name, own in grouped.items()
    ]
    written = list(_write_table(folder / PEOPLE, people))
    visits: list[dict[str, str]] = []
    for name, own in grouped.items():
        rows = [
            {
                "session_id": f"ses-{scanners[scan.scanner]}",
                SCANNER: scan.scanner,
                **_values(scan, moving),
            }
            for scan in own
        ]
        sub = f"sub-{subjects[name]}"
        write_text(folder / sub / f"{sub}_sessions.tsv", tsv(rows))
        written.append(folder / sub / f"{sub}_sessions.tsv")
        visits += rows
    write_json(folder / "sessions.json", _meanings(visits))
    return [*written, folder / "sessions.json"]


def _one_value(column: str, scans: Sequence[Scan]) -> bool:
    return len({scan.values.get(column, "") for scan in scans}) == 1


def _values(scan: Scan, columns: Iterable[str]) -> dict[str, str]:
    return {name: scan.values.get(name, "") or MISSING for name in columns}


def _write_table(path: Path, rows: Table) -> Iterator[Path]:
    write_text(path, tsv(rows))
    write_json(path.with_suffix(".json"), _meanings(rows))
    yield from (path, path.with_suffix(".json"))


def tsv(rows: Table) -> str:
    """Text of a table with tabs; the first row has all columns."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _meanings(rows: Table) -> dict[str, Any]:
    """Say what columns are; what BIDS defines and the values keep to is left to BIDS."""
    columns = list(rows[0]) if rows else []
    return {
        name: {"Description": WORDS.get(name, "Covariate, as the manifest had it")}
        for name in columns
        if name not in ("participant_id", "session_id") and not _as_bids(name, rows)
    }


def _as_bids(column: str, rows: Table) -> bool:
    values = {row[column] for row in rows} - {MISSING}
    if column == "age":
        return all(_is_age(value) for value in values)
    return column == "sex" and values <= SEXES


def _is_age(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and 0 <= float(text) <= OLDEST
    except ValueError:
        return False


def sources_of(
    images: Sequence[Path], folder: Path, base: Path
) -> tuple[dict[Path, str], dict[str, str]]:
    """Name what derivatives were made from by BIDS URIs.

    Parameters
    ----------
    images
        Files that derivatives were made from.
    folder
        Root of the dataset of the derivatives.
    base
        Folder that is taken for a dataset where an image lies below it and in none.

    Returns
    -------
    tuple
        Text for `Sources` of each image, and `DatasetLinks`: places relative to `folder`.
    """
    names: dict[Path, str] = {}
    found: dict[Path, str] = {}
    for image in images:
        path = image.absolute()
        root = _root_of(path, base.absolute())
        if root == folder.absolute():
            found[image] = f"bids::{quote(path.relative_to(root).as_posix())}"
            continue
        name = names.setdefault(root, f"raw{len(names) + 1}" if names else "raw")
        found[image] = f"bids:{name}:{quote(path.relative_to(root).as_posix())}"
    links = {name: quote(os.path.relpath(root, folder.absolute())) for root, name in names.items()}
    return found, links


def _root_of(image: Path, base: Path) -> Path:
    for root in image.parents:
        if (root / DESCRIPTION).is_file():
            return root
    return base if image.is_relative_to(base) else image.parent
