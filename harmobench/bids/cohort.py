"""From a BIDS dataset to the rows of a manifest: every scan once, every fault at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harmobench.bids.beside import beside, mask_of, unmasked
from harmobench.bids.find import Dataset, Seen, find_images, open_dataset, refuse_nothing
from harmobench.bids.names import Named
from harmobench.bids.people import People, read_people
from harmobench.bids.reading import forget
from harmobench.bids.scanners import Told, read_way, tell
from harmobench.cells import cell_faults
from harmobench.errors import ManifestError

CHOICES = ("run", "acq", "rec", "ce", "desc", "space", "res")  # entities with an option
MASKS = ("auto", "none")


@dataclass(frozen=True)
class Ask:
    """What the user typed; `harmobench cohort from-bids --help` says what each means.

    `wanted` has the labels of an entity that an image must have one of.
    """

    folder: Path
    derivatives: str = ""
    scanner_from: str = "auto"
    suffix: str = "T1w"
    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: Sequence[str] = ()
    mask: str = "auto"


@dataclass(frozen=True)
class Row:
    """One scan: names, files by column, covariates, and the image that it was read from."""

    subject: str
    scanner: str
    files: Mapping[str, Path]
    values: Mapping[str, str]
    named: Named


@dataclass(frozen=True)
class Found:
    """What a dataset was read as."""

    dataset: Dataset
    rows: Sequence[Row]
    how: str
    left: Sequence[tuple[str, str]]
    notes: Sequence[str]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order of first appearance."""
        return tuple(dict.fromkeys(row.subject for row in self.rows))

    @property
    def scanners(self) -> tuple[str, ...]:
        """Scanners in order of their names."""
        return tuple(sorted({row.scanner for row in self.rows}))


def from_bids(ask: Ask, *, matched: bool = True) -> Found:
    """Read a BIDS dataset as a cohort; images are not opened.

    Parameters
    ----------
    ask
        What is wanted.
    matched
        Whether it must be a matched cohort: people seen on at least two scanners.

    Raises
    ------
    ManifestError
        All faults at once: what cannot be read, what cannot be told, what is there twice.
    HarmobenchError
        No dataset, or none of the images that were asked for.
    """
    read_way(ask.scanner_from)
    forget()
    dataset = open_dataset(ask.folder, ask.derivatives)
    seen = find_images(dataset, ask.suffix, ask.wanted, ask.subjects)
    refuse_nothing(dataset, ask.suffix, seen)
    people = read_people(dataset, tuple(dict.fromkeys(i.get("sub") for i in seen.images)))
    told = tell(dataset, seen.images, people, ask.scanner_from)
    faults = [*seen.faults, *people.faults, *told.faults]
    rows = _rows(dataset, seen, people, told, ask.mask, faults)
    faults += _twice(rows)
    faults += [f for row in rows for f in _cells(row)]
    if matched and not faults:
        faults += _unmatched(rows, told.how)
    if faults:
        raise ManifestError(dict.fromkeys(faults), dataset.root)
    ordered = sorted(rows, key=lambda row: (row.subject, row.scanner))
    return Found(dataset, ordered, told.how, seen.left, (*people.notes, *told.notes))


def _rows(
    dataset: Dataset, seen: Seen, people: People, told: Told, mask: str, faults: list[str]
) -> list[Row]:
    """Rows of all images whose scanner is known; adds to the faults what masks are not there."""
    rows = []
    for image in seen.images:
        scanner = told.names.get(image, "")
        if not scanner:
            continue
        subject = people.subject(image)
        brain, fault = mask_of(dataset, image, mask, scanner)
        faults += [text for text in (fault, "" if brain else unmasked(dataset, image)) if text]
        files = {"image": image.path, **({"mask": brain} if brain else {})}
        files |= beside(dataset, image)
        rows.append(Row(subject, scanner, files, people.values(image), image))
    return rows


def _twice(rows: Sequence[Row]) -> Iterator[str]:
    """Refuse two images of one subject on one scanner, and say how to choose."""
    places: dict[tuple[str, str], list[Named]] = {}
    for row in rows:
        places.setdefault((row.subject, row.scanner), []).append(row.named)
    for (subject, scanner), images in places.items():
        if len(images) > 1:
            names = ", ".join(image.path.name for image in images)
            yield (
                f"subject {subject} on scanner {scanner}: expected one image, found {len(images)} "
                f"({names}): {_remedy(images)}"
            )


def _remedy(images: Sequence[Named]) -> str:
    sessions = list(dict.fromkeys(image.get("ses") for image in images))
    ways = [
        f"--{entity} {labels[0] or 'none'}"
        for entity in CHOICES
        if len(labels := list(dict.fromkeys(image.get(entity) for image in images))) > 1
    ]
    if len(sessions) > 1:
        ways += [f"--session {sessions[0]}", "another --scanner-from"]
    if not ways:
        return "keep one of the files"
    return f"choose with {' or '.join(ways)}, say"


def _cells(row: Row) -> Iterator[str]:
    named = {"subject": row.subject, "scanner": row.scanner, **row.values}
    for fault in cell_faults(0, named):
        yield f"{row.named.path.name}, {fault.removeprefix('row 0, ')}"


def _unmatched(rows: Sequence[Row], how: str) -> Iterator[str]:
    scanners = {row.scanner for row in rows}
    by_subject: dict[str, set[str]] = {}
    for row in rows:
        by_subject.setdefault(row.subject, set()).add(row.scanner)
    if len(scanners) < 2:
        yield (
            f"expected at least 2 scanners, found 1 ({', '.join(scanners)}) by {how}: a matched "
            "cohort has the same people on several; use another --scanner-from"
        )
    elif all(len(own) < 2 for own in by_subject.values()):
        yield (
            f"expected people seen on at least 2 scanners, found none by {how}: a matched cohort "
            "has the same people on several; use another --scanner-from"
        )
    if len(by_subject) < 2:
        yield f"expected at least 2 subjects, found 1 ({', '.join(by_subject)})"
