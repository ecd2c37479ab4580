"""What goes to a program that segments, and what comes back: files in a scratch folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harmobench.errors import HarmobenchError, MeasurementError
from harmobench.imaging.volume import BoolArray, FloatArray, read_voxels
from harmobench.interface import Context

SUFFIXES = (".nii.gz", ".nii")
ROUNDING = 1e-3  # a map's values may pass 0 and 1 by this much
LIKELY = 0.5  # a tissue without one voxel that is more likely it than not is empty


@contextmanager
def workspace(context: Context, program: str) -> Iterator[Path]:
    """Give a folder of its own below the task's scratch folder, removed at the end.

    Raises
    ------
    MeasurementError
        Its files cannot be written or read: the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(
            dir=context.scratch, prefix="exchange-", ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except OSError as error:
        raise MeasurementError(
            f"expected room for the scratch files of {program}, found: {error.strerror or error}; "
            "free some, or let the variable TMPDIR name a folder with more"
        ) from error


def read_maps(
    files: Mapping[str, Path], brain: BoolArray, program: str, end: str = ""
) -> dict[str, FloatArray]:
    """Tissue probabilities (x, y, z) that a program wrote, 0 to 1, 0 outside the brain.

    Parameters
    ----------
    files
        Path of each tissue's map, without .nii.gz or .nii.
    brain
        Mask that the maps must fit.
    program
        Its name, for messages.
    end
        The end of a message about a map that is not there: what the program said last.

    Raises
    ------
    MeasurementError
        A map that is not there or damaged, of another shape, not finite, outside 0 to 1, or
        without its tissue.
    """
    return {tissue: _read_map(stem, tissue, brain, program, end) for tissue, stem in files.items()}


def _read_map(stem: Path, tissue: str, brain: BoolArray, program: str, end: str) -> FloatArray:
    path = next((p for p in (Path(f"{stem}{s}") for s in SUFFIXES) if p.is_file()), None)
    if path is None:
        raise MeasurementError(
            f"expected {program} to write a map of {tissue} ({stem.name}.nii), found none{end}"
        )
    try:
        voxels = read_voxels(path)
    except HarmobenchError as error:
        raise MeasurementError(
            f"expected a whole map of {tissue} from {program}, found a damaged or truncated "
            f"{path.name}: is the disk that holds the scratch files full?"
        ) from error
    fault = _fault(voxels, brain)
    if fault:
        raise MeasurementError(f"expected a map of {tissue} from {program}, found {fault}")
    probability: FloatArray = np.where(brain, np.clip(voxels, 0, 1), np.float32(0))
    if not (probability >= LIKELY).any():
        raise MeasurementError(
            f"expected CSF, GM and WM from {program}, found an empty tissue class ({tissue}): "
            "look at the image, its contrast or its brain mask may be broken"
        )
    return probability


def _fault(voxels: FloatArray, brain: BoolArray) -> str:
    """Say what is wrong with a map's voxels; nothing where they are probabilities."""
    if voxels.shape != brain.shape:
        return f"{voxels.shape} voxels where the image has {brain.shape}"
    if not np.isfinite(voxels).all():
        return "voxels that are NaN or inf"
    low, high = float(voxels.min()), float(voxels.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        return f"values from {low:g} to {high:g}, which are no probabilities"
    return ""
