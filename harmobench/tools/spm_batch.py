"""What SPM12 is told to do, in MATLAB's language, and where it is told that the brain lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harmobench.errors import MeasurementError
from harmobench.imaging.volume import BoolArray, Grid

# centre of mass of the brain in the ICBM152 2009a template's T1 image, mm
MNI_CENTRE = (0.0, -22.0, 9.5)
BIASREG = (0, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10)  # what SPM12's batch takes
BIASFWHM = (0, *range(30, 151, 10))  # mm; 0 is written Inf
GAUSSIANS = (1, 1, 2, 3, 4, 2)  # SPM12's default: GM, WM, CSF, bone, soft tissue, air
WRITTEN = 3  # maps of the first three tissues


def centred(grid: Grid, brain: BoolArray) -> Grid:
    """Return the same grid with the brain's centre of mass where MNI152 has it.

    SPM's affine registration starts from the header and is lost where the origin is far off, as in
    a template that has it in a corner. Rotation and voxel size stay. All methods' images share the
    mask, so that SPM starts alike on each.

    Raises
    ------
    MeasurementError
        The brain is empty.
    """
    if not brain.any():
        raise MeasurementError("expected brain voxels to segment, found an empty mask")
    affine = grid.affine
    middle = np.array([index.mean() for index in np.nonzero(brain)])
    affine[:3, 3] = np.array(MNI_CENTRE) - affine[:3, :3] @ middle
    return Grid.make(grid.shape, affine)


def job(image: Path, biasreg: float, biasfwhm: float) -> str:
    """SPM12's batch of one segmentation: its defaults, but for the bias field and what is written.

    Parameters
    ----------
    image
        A .nii file; the maps c1, c2 and c3 are written beside it.
    biasreg, biasfwhm
        See `SPM12`.
    """
    width = f"{biasfwhm:g}" if biasfwhm else "Inf"
    settings = {
        "channel.vols": f"{{{quoted(f'{image},1')}}}",
        "channel.biasreg": f"{biasreg:g}",
        "channel.biasfwhm": width,
        "channel.write": "[0 0]",
    }
    for k, count in enumerate(GAUSSIANS, start=1):
        tissue = f"tissue({k})"
        settings[f"{tissue}.tpm"] = f"{{[fullfile(spm('dir'), 'tpm', 'TPM.nii') ',{k}']}}"
        settings[f"{tissue}.ngaus"] = f"{count}"
        settings[f"{tissue}.native"] = "[1 0]" if k <= WRITTEN else "[0 0]"
        settings[f"{tissue}.warped"] = "[0 0]"
    settings |= {
        "warp.mrf": "1",
        "warp.cleanup": "1",
        "warp.reg": "[0 0.001 0.5 0.05 0.2]",
        "warp.affreg": "'mni'",
        "warp.fwhm": "0",
        "warp.samp": "3",
        "warp.write": "[0 0]",
    }
    start = "matlabbatch{1}.spm.spatial.preproc."
    return "".join(f"{start}{name} = {value};\n" for name, value in settings.items())


def script(batch: str, home: str) -> str:
    """Program that runs a batch under MATLAB or Octave and ends with status 1 where it fails.

    Parameters
    ----------
    batch
        What `job` gave.
    home
        SPM's folder; empty where MATLAB or Octave knows it.
    """
    found = f"addpath({quoted(home)});\n" if home else ""
    return (
        f"try\n{found}spm('defaults', 'fmri');\nspm_get_defaults('cmdline', true);\n"
        f"spm_jobman('initcfg');\n{batch}spm_jobman('run', matlabbatch);\n"
        "catch problem\ndisp(problem.message);\nexit(1);\nend\nexit(0);\n"
    )


def quoted(text: str) -> str:
    """Text as MATLAB writes it.

    >>> quoted("Anne's scans")
    "'Anne''s scans'"
    """
    return "'" + text.replace("'", "''") + "'"
