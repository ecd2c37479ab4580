"""The phantom's scanners applied to real images: scanner effects of known kind on real anatomy.

A real image has no tissue maps, so its contrast is changed by a monotone curve of intensities
alone: along the line from CSF over grey to white matter, what the reference protocol shows at one
intensity the scanner's protocol shows at another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.cohort import Progress, Scan, bids_labels, no_progress
from harmobench.errors import SettingsError
from harmobench.imaging.volume import BoolArray, FloatArray, write_image
from harmobench.manifest import read_cohort
from harmobench.phantom.deformation import smooth_noise
from harmobench.phantom.folder import refuse_full, stream, write_manifest
from harmobench.phantom.interpolation import trilinear
from harmobench.phantom.scan import (
    BIAS_OWN,
    BIAS_SIGMA,
    BIAS_SPACING,
    RESIDUAL_BIAS,
    mean_scaled,
)
from harmobench.phantom.scanners import REFERENCE, Scanner, acquire, choose_scanners
from harmobench.phantom.signal import TISSUES, Protocol, signal

WHITE = 80.0  # percentile of the brain that stands for white matter's intensity
DROPPED = ("tissue", "to_native", "native_image")  # of the real scan, not of its copies


def simulate_from(
    manifest: Path,
    out: Path,
    scanners: int,
    seed: int,
    progress: Progress = no_progress,
) -> Path:
    """Make a matched cohort of real anatomy: each subject's first scan, on each scanner.

    The first scan in the manifest stands for the subject, free of a scanner; its other scans are
    left out. Its copies lie on the same grid, with no deformation. They get the scanner's contrast,
    point spread, the share of its bias field that correction leaves, Rician noise and gamma, then
    the brain mask and the mean of 1 that RAW has. `truth_image` is the image they were made from.

    Parameters
    ----------
    manifest
        Cohort to take images from, in template space: see `read_cohort`.
    out
        Folder to make; it must be empty or not exist.
    scanners
        2 to 7.
    seed
        Everything follows from it: two calls write the same bytes.
    progress
        Called with (subjects done, subjects in all, what).

    Returns
    -------
    Path
        out/matched.csv, with the manifest's other columns (group, age, covariates).

    Raises
    ------
    SettingsError
        Numbers that cannot be used, a folder that is not empty, or a brain not brighter than 0.
    ManifestError
        See `read_cohort`.
    """
    chosen = choose_scanners(scanners)
    if seed < 0:
        raise SettingsError(f"expected a seed of 0 or more, found {seed}")
    refuse_full(out)
    cohort = read_cohort(manifest)
    names = bids_labels(cohort.subjects)
    rows: list[dict[str, str]] = []
    for number, subject in enumerate(cohort.subjects):
        scan = cohort.of(subject)[0]
        rows += _copies(scan, number, names[subject], chosen, out, seed)
        progress(number + 1, len(cohort.subjects), f"simulated subject {subject}")
    origin = f"real images on scanners of harmobench simulate, seed {seed}"
    rows = [row | {"simulated": origin} for row in rows]
    return write_manifest(out, rows, list(rows[0]))


def _copies(
    scan: Scan, number: int, label: str, scanners: Sequence[Scanner], out: Path, seed: int
) -> list[dict[str, str]]:
    brain = scan.brain()
    image = mean_scaled(scan.voxels()[brain], brain)
    truth = f"truth/sub-{label}_desc-scannerfree_T1w.nii.gz"
    mask = f"raw/sub-{label}_mask.nii.gz"
    write_image(out / truth, image, scan.grid)
    write_image(out / mask, brain, scan.grid)
    kept = {
        name: text
        for name, text in scan.values.items()
        if name not in DROPPED and not name.startswith("truth_")
    }
    box, relative = fill_outside(image, brain)
    rows = []
    for index, scanner in enumerate(scanners):
        raw = np.zeros_like(image)
        streams = stream(seed, "scan", number, index), stream(seed, "bias", index)
        raw[box] = rescan(relative, brain[box], scan.grid.voxel_sizes, scanner, *streams)
        path = f"raw/sub-{label}_ses-{scanner.name}_desc-raw_T1w.nii.gz"
        write_image(out / path, raw, scan.grid)
        head = {"subject": scan.subject, "scanner": scanner.name, "image": path, "mask": mask}
        rows.append(head | kept | {"truth_image": truth})
    return rows


def fill_outside(
    image: FloatArray, brain: BoolArray
) -> tuple[tuple[slice, slice, slice], FloatArray]:
    """Cut out the brain, divide it by white matter's intensity and extend it beyond its mask.

    Air would bleed into the brain when it is blurred, so that a voxel beyond the mask gets the
    value of the nearest one within.

    Returns
    -------
    box, relative
        The brain's bounding box, and the image within it.

    Raises
    ------
    SettingsError
        A brain that is mostly not brighter than 0.
    """
    white = float(np.percentile(image[brain], WHITE))
    if not white > 0:
        raise SettingsError(
            "expected a brain that is mostly brighter than 0, found "
            f"{white:g} at its {WHITE:g}th percentile: give images whose background is 0"
        )
    x, y, z = ndimage.find_objects(brain.astype(np.uint8))[0]
    box = (x, y, z)
    near = ndimage.distance_transform_edt(~brain[box], return_distances=False, return_indices=True)
    return box, np.asarray(image[box][tuple(near)] / np.float32(white))


def rescan(
    relative: FloatArray,
    brain: BoolArray,
    voxel: NDArray[np.float64],
    scanner: Scanner,
    own: np.random.Generator,
    shared: np.random.Generator,
) -> FloatArray:
    """Show a real image as a scanner would, preprocessed as RAW is.

    Parameters
    ----------
    relative, brain
        Image (x, y, z) as `fill_outside` gives it, and the brain mask.
    voxel
        Voxel edges, mm.
    scanner
        See `Scanner`.
    own, shared
        Random numbers of this scan, and of the scanner.
    """
    bias = _bias(own, shared, relative.shape, voxel) * np.float32(scanner.bias * RESIDUAL_BIAS)
    clean = map_contrast(relative, scanner.protocol)
    return mean_scaled(acquire(clean, bias, 1.0, scanner, voxel, own)[brain], brain)


def _bias(
    own: np.random.Generator,
    shared: np.random.Generator,
    shape: tuple[int, ...],
    voxel: NDArray[np.float64],
) -> FloatArray:
    """Smooth field (x, y, z) of SD 1, laid over the image's own box."""
    pattern = np.sqrt(1 - BIAS_OWN) * smooth_noise(shared, BIAS_SIGMA, BIAS_SPACING)
    pattern += np.sqrt(BIAS_OWN) * smooth_noise(own, BIAS_SIGMA, BIAS_SPACING)
    index = np.indices(shape, dtype=np.float64) * (voxel / BIAS_SPACING)[:, None, None, None]
    return np.asarray(trilinear(pattern.astype(np.float32), index)[0])


def map_contrast(relative: FloatArray, protocol: Protocol) -> FloatArray:
    """Map intensities under the reference protocol to another's; white matter is 1 in both.

    The curve goes through the signals of tissues between CSF, grey and white matter (T1 and T2*
    interpolated on the logarithm, density linearly), is kept from falling, and is continued
    straight on beyond its ends.

    Parameters
    ----------
    relative
        Intensities over white matter's.
    protocol
        Of the scanner.
    """
    before, after = contrast_curve(protocol)
    inside = np.interp(relative, before, after)
    low, high = after[0] / before[0], (after[-1] - after[-6]) / (before[-1] - before[-6])
    below = np.maximum(relative, 0) * low
    above = after[-1] + (relative - before[-1]) * high
    mapped = np.where(relative < before[0], below, np.where(relative > before[-1], above, inside))
    return np.asarray(mapped, dtype=np.float32)


def contrast_curve(protocol: Protocol) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signal over white matter's, under the reference and another protocol, from CSF to white."""
    csf, gm, wm = (TISSUES[name] for name in ("csf", "gm", "wm"))
    at = np.linspace(0.0, 2.0, 81)

    def along(values: Sequence[float]) -> NDArray[np.float64]:
        return np.interp(at, [0.0, 1.0, 2.0], values)

    t1 = np.exp(along(np.log([csf.t1, gm.t1, wm.t1]).tolist()))
    t2star = np.exp(along(np.log([csf.t2star, gm.t2star, wm.t2star]).tolist()))
    density = along([csf.density, gm.density, wm.density])
    curves = (signal(t1, density, t2star, p) for p in (REFERENCE, protocol))
    before, after = (np.maximum.accumulate(c / c[-1]) for c in curves)
    keep = np.concatenate([np.diff(before) > 1e-9, [True]])
    return before[keep], after[keep]
