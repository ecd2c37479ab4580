"""Metrics and segmenters that break one rule each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from harmobench.interface import Context, Reference, Row, Scan

REFERENCE = Reference("A test's plugin", "Anonymous", 2026)


@dataclass
class Difference:
    """Mean absolute difference over the method's largest intensity."""

    level: ClassVar[str] = "pair"
    reads: ClassVar[str] = "image"
    space: ClassVar[str] = "template"
    better: ClassVar[str] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = ("brain",)
    reference: ClassVar[Reference] = REFERENCE

    def prepare(self, scan: Scan, context: Context) -> Any:
        return {"top": scan.voxels().max()}

    def merge(self, states: Sequence[Any], context: Context) -> Any:
        return {"top": np.max([state["top"] for state in states])}

    def score(self, scans: tuple[Scan, ...], state: Any, context: Context) -> Iterable[Row]:
        for a, b in combinations(scans, 2):
            value = self.value(a.voxels(), b.voxels(), float(state["top"]))
            yield Row("brain", value, "", a.scanner, b.scanner)

    def value(self, a: Any, b: Any, top: float) -> float:
        return float(np.abs(a - b).mean()) / top


@dataclass
class OutOfRange(Difference):
    """Gives per cent and declares shares."""

    def value(self, a: Any, b: Any, top: float) -> float:
        return 1000 * super().value(a, b, top)


@dataclass
class OneSided(Difference):
    """Divides by the first scan."""

    def value(self, a: Any, b: Any, top: float) -> float:
        return float(np.abs(a - b).sum() / a.std()) / a.size / 10


@dataclass
class LastCounts(Difference):
    """Takes the last summary for that of all."""

    def merge(self, states: Sequence[Any], context: Context) -> Any:
        return states[-1]


@dataclass
class StoresObjects(Difference):
    """Keeps a list of names in its summary."""

    def prepare(self, scan: Scan, context: Context) -> Any:
        return {"top": scan.voxels().max(), "who": np.array([scan.subject, 1], dtype=object)}


@dataclass
class Shifted(Difference):
    """Gives identical scans something else than 0."""

    def value(self, a: Any, b: Any, top: float) -> float:
        return 0.1 + super().value(a, b, top)


@dataclass(frozen=True)
class Thirds:
    """Cuts the range of intensities into three."""

    reference: ClassVar[Reference] = REFERENCE

    def available(self) -> str | None:
        return None

    def version(self) -> str:
        return "thirds 1"

    def segment(self, scan: Scan, context: Context) -> Mapping[str, Any]:
        voxels, brain = scan.voxels(), scan.brain()
        cuts = np.percentile(voxels[brain], [33, 67])
        return {
            t: (np.digitize(voxels, cuts) == k) * brain for k, t in enumerate(("csf", "gm", "wm"))
        }


@dataclass(frozen=True)
class ForgetsTheMask(Thirds):
    """Takes the background for CSF."""

    def segment(self, scan: Scan, context: Context) -> Mapping[str, Any]:
        maps = dict(super().segment(scan, context))
        maps["csf"] = maps["csf"] | ~scan.brain()
        return maps


@dataclass(frozen=True)
class Percent(Thirds):
    """Gives per cent."""

    def segment(self, scan: Scan, context: Context) -> Mapping[str, Any]:
        return {name: 100.0 * values for name, values in super().segment(scan, context).items()}


@dataclass(frozen=True)
class NotHere(Thirds):
    """Needs a program that nobody has."""

    def available(self) -> str | None:
        return "install thirds 2"
