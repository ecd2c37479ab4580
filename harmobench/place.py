"""Where a cohort lies: its atlas, its masks, its files' hashes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harmobench.atlas import (
    BUILTIN,
    Atlas,
    bring_atlas,
    builtin_atlas,
    check_space,
    read_atlas,
    refuse_other_space,
)
from harmobench.cohort import Cohort, Progress, Scan
from harmobench.errors import AtlasError, ManifestError
from harmobench.facts import Facts
from harmobench.imaging.landmarks import contrast_to_noise
from harmobench.imaging.volume import read_voxels, without_spikes
from harmobench.manifest import is_file_column
from harmobench.pool import each
from harmobench.soundness import as_facts, known_grid
from harmobench.store import hash_file, merkle

FARTHEST = 3.0  # times the median mean of the cohort: units differ by more, anatomy by far less
SMALLEST_COMMON_MASK = 0.8  # of the median mask: below it one bad mask would decide every score


class Placed(NamedTuple):
    """What a run asks of a scan that lies in the atlas's space.

    Attributes
    ----------
    size
        Voxels of its mask within the atlas's; of all scans without a mask 0.
    level
        Mean size of its intensities within its brain.
    contrast
        Contrast-to-noise of grey and white matter.
    """

    size: int
    level: float
    contrast: float


def place(
    source: str, cohort: Cohort, progress: Progress, facts: Facts | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """Check that a cohort lies in an atlas's space.

    Returns
    -------
    tuple
        What to remember of the atlas, and the mean GM/WM contrast-to-noise of each scanner's RAW.

    Raises
    ------
    AtlasError
        No such atlas, a scan in another space, or brain masks that share too little.
    """
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        own = read_atlas_source(source, Path(scratch) / "own")
        digest = atlas_digest(own)
        placing = _Placing(cohort, own, digest, Path(scratch), Facts() if facts is None else facts)
        placed = placing.scans(progress)
        _refuse_other_scale(cohort, [own.level for own in placed])
        if masks := placing.masks:
            sizes = [
                each.size for each, scan in zip(placed, cohort.scans, strict=True) if scan.mask
            ]
            _refuse_small_mask(cohort, sizes, placing.common(masks))
        described = {
            "source": source if source == BUILTIN else str(Path(source).absolute()),
            "digest": digest,
            "name": own.name,
            "space": own.space,
            "reference": own.reference,
            "regions": sorted(own.labels),
        }
    return described, _contrast(cohort, placed)


def _contrast(cohort: Cohort, placed: Sequence[Placed]) -> dict[str, float]:
    """Mean contrast-to-noise of each scanner's RAW."""
    found: dict[str, list[float]] = {scanner: [] for scanner in cohort.scanners}
    for scan, own in zip(cohort.scans, placed, strict=True):
        found[scan.scanner].append(own.contrast)
    return {scanner: float(np.mean(values)) for scanner, values in found.items()}


def atlas_digest(atlas: Atlas) -> str:
    """Hash of an atlas's description and of every file that it is made of."""
    toml = (atlas.template.parent / "atlas.toml").read_text(encoding="utf-8")
    return merkle(toml, [hash_file(file) for file in atlas.files])


def read_atlas_source(source: str, folder: Path) -> Atlas:
    """Read an atlas from its folder, or write the built-in one to `folder`."""
    return builtin_atlas(folder) if source == BUILTIN else read_atlas(Path(source).absolute())


class _Placing:
    """Measures how scans lie in an atlas: those that are not known, and then only is it resampled.

    What is known of a scan is kept under its image, for its mask, the atlas and the cohort's grid.
    """

    def __init__(
        self, cohort: Cohort, own: Atlas, digest: str, scratch: Path, facts: Facts
    ) -> None:
        self.cohort = cohort
        self.own = own
        self.scratch = scratch
        self.facts = facts
        self.grid = cohort.scans[0].grid
        self.name = merkle(digest, as_facts(self.grid))
        self.masks = sorted({scan.mask for scan in cohort.scans if scan.mask is not None})

    @cached_property
    def atlas(self) -> Atlas:
        """The atlas on the cohort's grid."""
        return bring_atlas(self.own, self.grid, self.scratch / "atlas")

    def scans(self, progress: Progress) -> list[Placed]:
        """Measure each scan; the first that does not lie in the atlas's space is refused."""
        known = {scan: self.known(scan) for scan in self.cohort.scans}
        missing = [scan for scan, placed in known.items() if placed is None]
        if missing:
            self.atlas.brain()  # read here, and not at once in several threads
        fresh = each(self.measure, missing)
        found = []
        for done, scan in enumerate(self.cohort.scans, start=1):
            found.append(known[scan] or next(fresh))
            progress(done, len(self.cohort), f"placing {scan} in {self.own.space}")
        return found

    def key(self, scan: Scan) -> str:
        mask = self.facts.hash(scan.mask) if scan.mask is not None else ""
        return f"placed:{self.name}:{mask}"

    def known(self, scan: Scan) -> Placed | None:
        value = self.facts.get(self.facts.hash(scan.image), self.key(scan))
        kinds = (int, float, float)
        sound = isinstance(value, list) and [type(number) for number in value] == [*kinds]
        return Placed(*value) if sound and not np.isnan(value).any() else None

    def measure(self, scan: Scan) -> Placed:
        voxels, brain, atlas = scan.voxels(), scan.brain(), self.atlas
        refuse_other_space(str(scan), *check_space(voxels, brain, atlas), atlas)
        gm, wm = atlas.tissue("gm") & brain, atlas.tissue("wm") & brain
        placed = Placed(
            size=int(np.count_nonzero(brain & atlas.brain())) if scan.mask else 0,
            level=float(np.abs(without_spikes(voxels[brain])).mean(dtype=np.float64)),
            contrast=contrast_to_noise(voxels, gm, wm),
        )
        self.facts.put(self.facts.hash(scan.image), self.key(scan), list(placed))
        return placed

    def common(self, masks: Sequence[Path]) -> int:
        """Count the atlas's brain voxels that lie in all masks."""
        contents = sorted({self.facts.hash(mask) for mask in masks})
        name = f"common:{self.name}:{merkle(contents)}"
        known = self.facts.get(contents[0], name)
        if type(known) is int and known >= 0:
            return known
        common = self.atlas.brain().copy()
        for mask in masks:
            common &= read_voxels(mask) > 0
        count = int(np.count_nonzero(common))
        self.facts.put(contents[0], name, count)
        return count


def _refuse_other_scale(cohort: Cohort, levels: Sequence[float]) -> None:
    """Refuse images in other units than the rest: scores of RAW share one scale of intensities."""
    usual = float(np.median(levels))
    wrong = [
        f"{scan} has a mean of {level:g}"
        for scan, level in zip(cohort.scans, levels, strict=True)
        if not usual / FARTHEST <= level <= usual * FARTHEST
    ]
    if wrong:
        raise ManifestError(
            [
                f"column image: expected intensities on one scale (within the brain a mean within "
                f"a factor of {FARTHEST:g} of the cohort's median, {usual:g}), found that "
                f"{'; '.join(wrong)}: divide every image by its mean within the brain"
            ],
            Path(cohort.source),
        )


def _refuse_small_mask(cohort: Cohort, sizes: Sequence[int], common: int) -> None:
    if sizes and common < SMALLEST_COMMON_MASK * float(np.median(sizes)):
        masked = [scan for scan in cohort.scans if scan.mask is not None]
        smallest = masked[int(np.argmin(sizes))]
        raise AtlasError(
            f"the voxels that all brain masks share are only {common}, less than "
            f"{SMALLEST_COMMON_MASK:.0%} of the median mask ({float(np.median(sizes)):.0f}): every "
            f"score is taken there. The smallest mask is that of {smallest}: {smallest.mask}"
        )


def hashed(scan: Scan, facts: Facts | None = None) -> dict[str, Any]:
    """Describe a scan as plain data: absolute paths, and the SHA-256 of each file it names."""
    facts = Facts() if facts is None else facts
    files = [scan.image] if scan.mask is None else [scan.image, scan.mask]
    files += [Path(text) for name, text in scan.values.items() if text and is_file_column(name)]
    return {
        "subject": scan.subject,
        "scanner": scan.scanner,
        "image": str(scan.image.absolute()),
        "mask": str(scan.mask.absolute()) if scan.mask else "",
        "values": {
            name: str(Path(text).absolute()) if text and is_file_column(name) else text
            for name, text in scan.values.items()
        },
        "hashes": {str(path.absolute()): facts.hash(path) for path in files},
        "grid": as_facts(known_grid(facts, facts.hash(scan.image), "grid") or scan.grid),
    }
