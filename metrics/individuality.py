"""Whether subjects still differ from one another as much as in RAW."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Stateless
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.guards import (
    Indices,
    Tissues,
    UndefinedError,
    by_subject,
    flat_where,
    in_units,
    shared_brain,
)
from harmobench.references import OWN

STRUCTURE = "brain"
WITHOUT = "brain_without"
FEWEST = 3

Vector = NDArray[np.float64]


@dataclass
class Individuality(Stateless):
    """Between-subject spread of a method's images over that of RAW.

    Each scan goes to its own units (median of grey matter 0, of white matter 1), each subject's
    scans are averaged over scanners, and the variance between subjects (n-1) is averaged over brain
    voxels; the score is the root of that mean over RAW's. 1 as in RAW; towards 0 where everyone is
    drawn to the mean, which identifiability cannot see. Where the grid is incomplete, subjects are
    averaged over the scanners they have, for the method and for RAW alike.

    Beside it stand rows `brain_without`, one for each subject: the score without that subject, for
    jackknife intervals.

    Attributes
    ----------
    label_erosion
        Voxels that the atlas's grey and white matter lose before their medians are taken.
    least
        Voxels of a tissue that this must leave; fewer layers go where it would not.
    """

    label_erosion: int = 1
    least: int = 100

    level: ClassVar[Literal["cohort"]] = "cohort"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "one"
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    reference: ClassVar[Reference] = OWN

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for the cohort, and one without each subject."""
        people = by_subject(scans)
        try:
            if len(people) < FEWEST:
                raise UndefinedError(f"expected at least {FEWEST} subjects, found {len(people)}")
            brain = shared_brain(scans)
            tissues = Tissues.of(context.atlas, brain, self.label_erosion, self.least)
            where = flat_where(brain)

            def shares(raw: bool) -> Vector:
                means = _means(people.values(), tissues, where, context if raw else None)
                return squared_deviations(means, where.size, context.scratch)

            own, reference = shares(raw=False), shares(raw=True)
        except UndefinedError as error:
            reason = str(error)
            yield Row(STRUCTURE, None, status="undefined", reason=reason)
            for subject in people:
                yield Row(WITHOUT, None, status="undefined", reason=reason, subject=subject)
            return
        yield _row(STRUCTURE, own.sum(), reference.sum(), "")
        rest = zip(people, without_each(own), without_each(reference), strict=True)
        yield from (_row(WITHOUT, left, left_raw, subject) for subject, left, left_raw in rest)


def _row(structure: str, own: float, raw: float, subject: str) -> Row:
    if not raw > 0:
        reason = "RAW's subjects do not differ"
        return Row(structure, None, status="undefined", reason=reason, subject=subject)
    return Row(structure, float(np.sqrt(own / raw)), subject=subject)


def _means(
    people: Iterable[Sequence[Scan]], tissues: Tissues, where: Indices, raw: Context | None
) -> Iterator[Vector]:
    """Yield each subject's mean brain (voxels,), of RAW where a context is given."""
    for scans in people:
        total = np.zeros(where.size)
        for scan in scans:
            shown = f"{'RAW of ' if raw else ''}{scan}"
            total += in_units(raw.raw(scan) if raw else scan, tissues, where, shown)
        yield total / len(scans)


def squared_deviations(rows: Iterable[Vector], voxels: int, scratch: Path) -> Vector:
    """Sum of squares of each row's deviation from the rows' mean, holding few rows at a time.

    The rows wait in a file, as differences to the first in single precision: equal rows give
    exactly 0, and nearly equal ones lose nothing.

    Parameters
    ----------
    rows
        Of `voxels` numbers each.
    voxels
        Length of a row.
    scratch
        Folder for the file, which is gone afterwards.

    Examples
    --------
    >>> rows = (np.array([x, 1.0]) for x in (1.0, 2.0, 6.0))
    >>> squared_deviations(rows, 2, Path(tempfile.gettempdir()))
    array([4., 1., 9.])
    """
    count, mean, first = 0, np.zeros(voxels), None
    with tempfile.TemporaryFile(dir=scratch) as file:
        for row in rows:
            first = row if first is None else first
            difference = (row - first).astype(np.float32)
            mean += difference
            file.write(difference.tobytes())
            count += 1
        mean /= max(count, 1)
        file.seek(0)
        size = 4 * voxels
        stored = (np.frombuffer(file.read(size), dtype=np.float32) for _ in range(count))
        return np.array([np.sum((difference - mean) ** 2) for difference in stored])


def without_each(squares: Vector) -> Vector:
    """Sum of squares about the mean that remains when each row in turn is left out.

    Leaving row i out moves the mean by d_i / (n - 1), so that d_i^2 n / (n - 1) of the sum goes.

    >>> without_each(np.array([4.0, 1.0, 9.0]))
    array([ 8. , 12.5,  0.5])
    """
    n = squares.size
    left: Vector = np.maximum(squares.sum() - squares * n / (n - 1), 0.0)
    return left
