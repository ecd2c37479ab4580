"""Whether a harmonized image keeps to the contract, rule by rule.

`harmobench.tasks.check_image` holds a run's images to the same and stops at the first fault; a test
keeps the two alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.testing import rules
from harmobench.testing.rule import Rule

Array = NDArray[Any]
CLEARLY = 0.2  # by so much must a mirrored image be more like RAW than the image itself


def image_faults(
    voxels: Array | None, raw: Array, brain: Array, facts: dict[str, Any]
) -> Iterator[tuple[Rule, str]]:
    """Yield each rule that an image breaks, and how.

    Parameters
    ----------
    voxels
        As transform returned them; None where it returned no array of numbers.
    raw, brain
        RAW (x, y, z) and its mask.
    facts
        What `MethodAct.transform` told.
    """
    if "returned" in facts:
        yield rules.RETURNS, f"it returned {facts['returned']} without voxels"
        return
    if facts["grid"]:
        yield rules.GRID, f"the returned scan lies on another grid ({facts['grid']})"
    if voxels is None:
        yield rules.DTYPE, f"voxels of type {facts['dtype']}"
        return
    if voxels.shape != brain.shape:
        yield rules.SHAPE, f"{voxels.shape} voxels, RAW has {brain.shape}"
        return
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        yield rules.FINITE, f"{broken} of {voxels.size} voxels are NaN or inf"
        return
    with np.errstate(over="ignore"):
        single = voxels.astype(np.float32)
    if not np.isfinite(single).all():
        yield rules.DTYPE, f"values up to {np.abs(voxels).max():.3g}, float32 holds up to 3.4e38"
        return
    yield from _value_faults(single, raw, brain)


def _value_faults(voxels: Array, raw: Array, brain: Array) -> Iterator[tuple[Rule, str]]:
    outside, inside = voxels[~brain], voxels[brain]
    if outside.size and outside.min() != outside.max():
        yield rules.MASK, f"{outside.min():g} to {outside.max():g} outside the brain"
    if inside.min() == inside.max():
        yield rules.CONTRAST, f"{inside.min():g} in the whole brain"
        return
    own = likeness(voxels, raw, brain)
    for axis in range(3):
        if likeness(np.flip(voxels, axis), raw, brain) > own + CLEARLY:
            yield rules.GRID, f"an image that is mirrored along axis {axis}"


def likeness(voxels: Array, raw: Array, brain: Array) -> float:
    """Size of the correlation of two images within a brain."""
    a, b = voxels[brain].astype(np.float64), raw[brain].astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(abs(np.corrcoef(a, b)[0, 1]))
