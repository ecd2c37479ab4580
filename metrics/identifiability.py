"""Whether a scan is still recognized as its subject's on another scanner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.errors import SettingsError
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.coarse import Blocks, Vector, standardized
from harmobench.metrics.guards import check_at_least, shared_brain

ALL, FOLD = "all", "fold"
CHANCE = "_chance"
BLOCK_BYTES = 1 << 24  # of likenesses at a time: those of all scans to all grow with their square


@dataclass
class Identifiability(Stateless):
    """How often the nearest scan on another scanner is the same subject's.

    Scans are averaged over blocks of the brain and z-scored; the distance is 1 - Pearson r. Each
    scan is looked up among all scans of each other scanner that saw its subject (the gallery); an
    m-way tie that has the subject counts 1/m. A subject's value is the mean over its scans and the
    scanners looked in. `all`: the gallery is everyone, for methods that are not trained by folds;
    `fold`: the subjects of the same test fold, for every method, so that all are compared on the
    same galleries. `all_chance` and `fold_chance` stand beside them: what guessing gives, 1 over
    the gallery's size.

    A scan whose blocks are all equal is at distance 1 from everyone.

    Attributes
    ----------
    block
        Edge of a block, mm.
    filled
        How much of a block must lie in the brain, as a share of its volume.
    smallest
        Galleries of fewer subjects are left out.
    tolerance
        Distances that differ by no more are a tie: rounding must not break one.
    """

    block: float = 8.0
    filled: float = 0.5
    smallest: int = 3
    tolerance: float = 1e-12

    level: ClassVar[Literal["cohort"]] = "cohort"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = (ALL, FOLD)
    reference: ClassVar[Reference] = Reference(
        title="Functional connectome fingerprinting: identifying individuals using patterns of "
        "brain connectivity",
        authors="Finn ES, Shen X, Scheinost D, Rosenberg MD, Huang J, Chun MM, Papademetris X, "
        "Constable RT",
        year=2015,
        venue="Nature Neuroscience 18(11), 1664-1671",
        doi="10.1038/nn.4135",
        key="finn2015fingerprinting",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield the rows of each subject.

        Raises
        ------
        SettingsError
            `smallest` below 1, `filled` not within 0 to 1, or `block` not above 0.
        """
        check_at_least("identifiability", smallest=(self.smallest, 1))
        if not (self.block > 0 and 0 < self.filled <= 1):
            raise SettingsError(
                "expected identifiability.block above 0 and filled within 0 to 1, found "
                f"{self.block:g} and {self.filled:g}"
            )
        blocks = Blocks.of(shared_brain(scans), scans[0].grid, self.block, self.filled)
        vectors = np.stack([standardized(blocks.means(scan.voxels())) for scan in scans])
        everyone = dict.fromkeys((scan.subject for scan in scans), 0)
        if context.trained:
            reason = "trained by folds: scans of other folds come from another model"
            yield from _unmeasured(ALL, everyone, reason)
        else:
            yield from self._rows(ALL, scans, vectors, everyone)
        yield from self._rows(FOLD, scans, vectors, context.folds)

    def _rows(
        self, kind: str, scans: tuple[Scan, ...], vectors: Vector, galleries: Mapping[str, int]
    ) -> Iterator[Row]:
        """Rows of every subject, its gallery being those of the same number in `galleries`."""
        found = self._lookups(scans, vectors, galleries)
        for subject in dict.fromkeys(scan.subject for scan in scans):
            own = found.get(subject)
            if own is not None:
                yield Row(kind, float(np.mean(own.hits)), subject=subject)
                yield Row(kind + CHANCE, float(np.mean(own.chances)), subject=subject)
            elif subject not in galleries:
                yield from _unmeasured(kind, [subject], "the subject is in no test fold")
            else:
                reason = f"no other scanner has a gallery of {self.smallest} subjects with this one"
                yield from _unmeasured(kind, [subject], reason)

    def _lookups(
        self, scans: tuple[Scan, ...], vectors: Vector, galleries: Mapping[str, int]
    ) -> Mapping[str, Lookups]:
        on: dict[tuple[str, int], list[int]] = {}
        members: dict[int, list[int]] = {}
        for i, scan in enumerate(scans):
            if scan.subject in galleries:
                number = galleries[scan.subject]
                on.setdefault((scan.scanner, number), []).append(i)
                members.setdefault(number, []).append(i)
        found: dict[str, Lookups] = {}
        for (scanner, number), gallery in on.items():
            if len(gallery) < self.smallest:
                continue
            place = {scans[i].subject: k for k, i in enumerate(gallery)}
            asked = [
                i
                for i in members[number]
                if scans[i].scanner != scanner and scans[i].subject in place
            ]
            for i, alike in _alike(vectors, asked, gallery):
                hit = found_first(alike, place[scans[i].subject], self.tolerance)
                found.setdefault(scans[i].subject, Lookups()).add(hit, 1 / len(gallery))
        return found


@dataclass(frozen=True)
class Lookups:
    """A subject's lookups: of each whether it was found, and what chance gives."""

    hits: list[float] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)

    def add(self, hit: float, chance: float) -> None:
        """Append one."""
        self.hits.append(hit)
        self.chances.append(chance)


def _alike(
    vectors: Vector, asked: Sequence[int], gallery: Sequence[int]
) -> Iterator[tuple[int, Vector]]:
    """Yield each asked scan and its likeness to a gallery, computed for some at a time."""
    step = max(1, BLOCK_BYTES // (8 * len(gallery)))
    shown = vectors[gallery].T
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        yield from zip(part, vectors[part] @ shown, strict=True)


def _unmeasured(kind: str, subjects: Iterable[str], reason: str) -> Iterator[Row]:
    for subject in subjects:
        for name in (kind, kind + CHANCE):
            yield Row(name, None, status="not_measured", reason=reason, subject=subject)


def found_first(alike: Vector, match: int, tolerance: float = 0.0) -> float:
    """1 where the match is the most alike, 1/m where m are, 0 where others are.

    >>> found_first(np.array([0.9, 0.5, 0.9]), match=0), found_first(np.array([0.9, 0.5]), match=1)
    (0.5, 0.0)
    """
    first = alike >= alike.max() - tolerance
    return 1.0 / int(np.count_nonzero(first)) if first[match] else 0.0
