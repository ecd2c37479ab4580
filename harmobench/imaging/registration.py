"""Registration to a template and bias correction by ANTs, through antspyx.

Images go to ANTs as arrays with the affine that nibabel reads (the sform first), never by file: ITK
may take another one from the same header.

ANTs takes its number of threads from ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS, which ITK reads once,
when ants is imported: whoever starts the process must set it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.errors import HarmobenchError, MeasurementError
from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.imaging.warp import RAS_TO_LPS, read_field

SHEAR = 1e-3  # the cosine between two axes: more cannot be told to ITK
STEP = 1 / 1024  # mm: fields are rounded to it, so that they pack to a third
SEARCH_MM = 4.0
SEARCH_DEGREES = 45.0  # between the starts of a registration that went astray
N4_TOLERANCE = 1e-3
DARK = 0.05  # of the brain's median: N4 takes logarithms, in which empty voxels outweigh all others


@dataclass(frozen=True)
class Transforms:
    """Files of a registration, as ANTs wrote them.

    Attributes
    ----------
    forward, inverse
        Lists of files that bring the native image to the template, and back.
    """

    forward: Sequence[str]
    inverse: Sequence[str]


def ants_image(voxels: FloatArray, grid: Grid) -> Any:
    """Image for ANTs of voxels (x, y, z) on a grid.

    Raises
    ------
    HarmobenchError
        The grid is sheared, which ITK has no words for.
    """
    import ants

    fault = shear_fault(grid)
    if fault:
        raise HarmobenchError(fault)
    axes = grid.affine[:3, :3] / grid.voxel_sizes
    return ants.from_numpy(
        np.ascontiguousarray(voxels, dtype=np.float32),
        origin=[float(x) for x in RAS_TO_LPS * grid.affine[:3, 3]],
        spacing=[float(size) for size in grid.voxel_sizes],
        direction=RAS_TO_LPS[:, None] * axes,
    )


def shear_fault(grid: Grid) -> str:
    """Return what is wrong with axes that are not at right angles; "" where they are."""
    axes = grid.affine[:3, :3] / grid.voxel_sizes
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear <= SHEAR:
        return ""
    return (
        f"expected axes at right angles, found an affine with a shear of {shear:.2g}: resample "
        "the image to a grid without shear"
    )


def at_spacing(image: Any, spacing: float) -> Any:
    """Image for ANTs at a voxel size, mm, smoothed for it; as it is where finer or 0."""
    import ants

    if spacing <= min(image.spacing):
        return image
    smooth = ants.smooth_image(image, [0.4 * spacing / size for size in image.spacing], False)
    return ants.resample_image(smooth, [max(spacing, size) for size in image.spacing])


def register(
    template: Any,
    native: Any,
    iterations: Sequence[int],
    folder: Path,
    within: Any = None,
    search: bool = False,
) -> Transforms:
    """Register a native image to a template: affine, then SyN (Avants et al., 2008).

    It starts where the centres of mass agree, so that the origins of the two images do not matter.

    Parameters
    ----------
    template, native
        Of `ants_image`.
    iterations
        Of SyN at each level, from coarse to fine; the last level is at full resolution.
    folder
        Where ANTs writes its transforms.
    within
        Mask on the template in which images are compared; None compares everywhere.
    search
        Try starts turned by 45 degrees and more about each axis first, for an image whose header
        tells its orientation wrongly.

    Raises
    ------
    MeasurementError
        ANTs failed.
    """
    import ants

    ants.config.set_ants_deterministic(on=True, seed_value=1)
    try:
        start = None
        if search:
            start = ants.affine_initializer(
                at_spacing(template, SEARCH_MM),
                at_spacing(native, SEARCH_MM),
                search_factor=SEARCH_DEGREES,
                radian_fraction=1.0,
                use_principal_axis=True,
                local_search_iterations=10,
                txfn=str(folder / "start.mat"),
            )
        found = ants.registration(
            fixed=template,
            moving=native,
            type_of_transform="SyN",
            initial_transform=start,
            reg_iterations=tuple(iterations),
            mask=within,
            mask_all_stages=within is not None,
            outprefix=str(folder / "syn"),
        )
    except Exception as error:  # ants raises bare Exception for any failure of the program
        raise MeasurementError("ANTs ended with an error and gave no registration") from error
    return Transforms(found["fwdtransforms"], found["invtransforms"])


def to_template(transforms: Transforms, template: Any, native: Any) -> FloatArray:
    """Bring the native image to the template's grid (linear), in one interpolation."""
    import ants

    moved = ants.apply_transforms(template, native, list(transforms.forward))
    return np.asarray(moved.numpy(), dtype=np.float32)


def fields(
    transforms: Transforms, template: Any, native: Any, folder: Path
) -> tuple[FloatArray, FloatArray]:
    """Displacement fields, as `harmobench.imaging.warp` has them.

    Returns
    -------
    tuple
        That on the template's grid, which brings the native image there, and that on the native
        grid, which brings an image on the template back.
    """
    forward = _composed(template, native, transforms.forward, None, folder / "forward")
    affine_first = [file.endswith(".mat") for file in transforms.inverse]
    inverse = _composed(native, template, transforms.inverse, affine_first, folder / "inverse")
    return forward, inverse


def _composed(
    grid: Any, moving: Any, files: Sequence[str], inverted: list[bool] | None, stem: Path
) -> FloatArray:
    import ants

    written = ants.apply_transforms(
        grid, moving, list(files), whichtoinvert=inverted, compose=str(stem)
    )
    field, _ = read_field(Path(written))
    Path(written).unlink()
    return np.asarray(np.rint(field / STEP) * STEP, dtype=np.float32)


def correct_bias(voxels: FloatArray, brain: BoolArray, grid: Grid) -> FloatArray:
    """Correct an image for the slow change of intensity by N4 (Tustison et al., 2010).

    The field is estimated in the brain alone, at a quarter of the resolution; voxels are divided by
    it everywhere. It ends where ITK's own N4 does (a change of less than .001), not at antspyx's
    1e-7: on images that have little bias, all the iterations after that made grey and white matter
    less alike the template's.

    Parameters
    ----------
    voxels, brain
        Image and brain mask (x, y, z).
    grid
        Where they lie.

    Raises
    ------
    MeasurementError
        The brain has no intensities above 0, or N4 failed.
    """
    import ants

    inside = voxels[brain]
    seen = inside[inside > 0]
    if seen.size < inside.size / 2:
        raise MeasurementError(
            f"expected intensities above 0 in the brain, found them in {seen.size} of "
            f"{inside.size} voxels"
        )
    bright = brain & (voxels > DARK * np.median(seen))
    try:
        corrected = ants.n4_bias_field_correction(
            ants_image(voxels, grid),
            mask=ants_image(bright.astype(np.float32), grid),
            convergence={"iters": [50, 50, 50, 50], "tol": N4_TOLERANCE},
        )
    except Exception as error:
        raise MeasurementError("N4 ended with an error and gave no image") from error
    return np.asarray(corrected.numpy(), dtype=np.float32)
