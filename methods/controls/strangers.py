"""Controls that hand out other people's scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray
from harmobench.interface import Cohort, Context, Group, Needs, Reference, Scan
from harmobench.methods.controls.common import IMAGE_ONLY, within
from harmobench.methods.controls.donors import NOBODY, cyclic_order, unlike_donors
from harmobench.references import OWN


@dataclass
class Shuffle(Method):
    """RAW of another subject, the same one on every scanner.

    Scans of one subject still belong together, so agreement is RAW's; but each clinical group gets
    donors of both groups in the cohort's proportion, so the effect size is about 0.
    """

    needs: ClassVar[Needs] = Needs(
        group=True, role="degenerate", sees="cohort", quick_reads=IMAGE_ONLY
    )
    reference: ClassVar[Reference] = OWN

    def unsuited(self, cohort: Cohort) -> str | None:
        """Say that there is nobody to take scans from."""
        count = len(cohort.subjects)
        return f"expected at least 2 subjects, found {count}" if count < 2 else None

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Draw everybody's donor; no voxel is read.

        Raises
        ------
        MethodError
            Fewer than two subjects.
        """
        _refuse(self.unsuited(train))
        names = train.subjects
        first = _of_first_group(train, context.group)
        order = [names[i] for i in cyclic_order(first, np.random.default_rng(context.seed))]
        self.donors_ = dict(zip(order, order[1:] + order[:1], strict=True))
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return the donor's RAW (x, y, z) of the same scanner, 0 outside the brain.

        For a donor who was not on that scanner his own donor stands in, and so on.

        Raises
        ------
        MethodError
            Not fitted, a subject that was not in the fit, or nobody else on this scanner.
        """
        there = {other.subject for other in scan.others if other.scanner == scan.scanner}
        donor = _drawn(self, scan.subject)
        while donor not in there and donor != scan.subject:
            donor = _drawn(self, donor)
        return _borrowed(scan, donor)


@dataclass
class Mismatch(Method):
    """RAW of another subject, of somebody else on every scanner: scans of one no longer match.

    It must lose agreement, or agreement has nothing to do with who was scanned.
    """

    needs: ClassVar[Needs] = Needs(role="degenerate", sees="cohort", quick_reads=IMAGE_ONLY)
    reference: ClassVar[Reference] = OWN

    def unsuited(self, cohort: Cohort) -> str | None:
        """Say that there are too few subjects for a donor of its own on every scanner."""
        subjects, scanners = len(cohort.subjects), len(cohort.scanners)
        if subjects > scanners:
            return None
        return (
            "expected more subjects than scanners, so that nobody's scans come from one donor "
            f"twice, found {subjects} subjects on {scanners} scanners"
        )

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Draw everybody's donor on each scanner; no voxel is read.

        Raises
        ------
        MethodError
            No more subjects than scanners.
        """
        _refuse(self.unsuited(train))
        names = train.subjects
        seen = np.array([[train.scan(s, k) is not None for k in train.scanners] for s in names])
        donors = unlike_donors(seen, np.random.default_rng(context.seed))
        self.donors_ = {
            scanner: {
                name: names[donor]
                for name, donor in zip(names, donors[:, k], strict=True)
                if donor != NOBODY
            }
            for k, scanner in enumerate(train.scanners)
        }
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return the donor's RAW (x, y, z) of the same scanner, 0 outside the brain.

        Raises
        ------
        MethodError
            Not fitted, or a scan without a donor.
        """
        return _borrowed(scan, _drawn(self, scan.scanner, scan.subject))


def _refuse(why: str | None) -> None:
    if why is not None:
        raise MethodError(why)


def _of_first_group(train: Cohort, group: Group | None) -> BoolArray:
    """Whether each subject is of the first clinical group (n,); nobody where none is named."""
    if group is None:
        return np.zeros(len(train.subjects), dtype=bool)
    values = [train.of(name)[0].values.get(group.column, "") for name in train.subjects]
    return np.array([value == group.first for value in values])


def _drawn(method: Shuffle | Mismatch, *keys: str) -> str:
    """Return what `fit` drew for a subject, or for a scanner and a subject."""
    if not hasattr(method, "donors_"):
        raise MethodError("expected donors, found none: call fit or load")
    found: Any = method.donors_
    for key in keys:
        if key not in found:
            raise MethodError(
                f"expected a donor for {' '.join(reversed(keys))}, found none: it was not in the "
                "cohort of the fit, or nobody else was on that scanner"
            )
        found = found[key]
    return str(found)


def _borrowed(scan: Scan, donor: str) -> Scan:
    """Return the scan with its donor's voxels."""
    for other in scan.others:
        if (other.subject, other.scanner) == (donor, scan.scanner) and donor != scan.subject:
            return scan.with_voxels(within(other.voxels(), scan.brain()))
    raise MethodError(
        f"expected a scan of somebody else on {scan.scanner} for {scan.subject}, found none among "
        f"{len(scan.others)} scans"
    )
