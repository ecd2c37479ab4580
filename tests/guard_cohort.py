"""A tiny cohort with tissues, for the tests of the guard metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from harmobench.atlas import read_atlas
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Scan

SHAPE = (22, 26, 20)
SIZES = (4.0, 3.0, 5.0)  # mm
# CSF, GM and WM on each scanner
CONTRASTS = {"A": (20, 60, 100), "B": (0.1, 0.5, 1.1), "C": (-300, -80, 40), "D": (5, 9, 12)}

X, Y, Z = (np.linspace(-1, 1, n) for n in SHAPE)
RADIUS = np.sqrt(X[:, None, None] ** 2 + Y[:, None] ** 2 + Z**2)
LABELS = np.select([RADIUS < 0.55, RADIUS < 0.85, RADIUS < 0.97], [3, 2, 1], 0)
BRAIN = LABELS > 0


def anatomy(seed: int) -> np.ndarray:
    """Fraction of the way from CSF (0) over GM (1) to WM (2): a subject's own brain."""
    rng = np.random.default_rng(seed)
    own = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.2)
    folds = 0.25 * own / own.std()
    return np.clip(np.interp(RADIUS + 0.3 * folds, [0.5, 0.6, 0.8, 0.9], [2, 1, 1, 0]), 0, 2)


def image(seed: int, scanner: str, noise: float = 0.03) -> np.ndarray:
    """A subject's scan; the noise is in units of the distance of GM and WM."""
    csf, gm, wm = CONTRASTS[scanner]
    rng = np.random.default_rng([seed, ord(scanner)])
    voxels = np.interp(anatomy(seed), [0, 1, 2], [csf, gm, wm])
    voxels += noise * (wm - gm) * rng.normal(size=SHAPE)
    return np.float32(np.where(BRAIN, voxels, 0))


def make(folder, subjects: int, scanners: str = "ABC") -> tuple[Context, tuple[Scan, ...]]:
    """Write an atlas; return a context with RAW of every subject and scanner, and these scans."""
    grid = Grid.make(SHAPE, np.diag([*SIZES, 1]))
    write_image(folder / "t1.nii.gz", LABELS.astype(np.float32), grid)
    write_image(folder / "mask.nii.gz", BRAIN, grid)
    write_image(folder / "tissues.nii.gz", LABELS.astype(np.int32), grid)
    (folder / "atlas.toml").write_text(
        'name = "tiny"\nspace = "none"\ntemplate = "t1.nii.gz"\nmask = "mask.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n'
    )
    scans = []
    for subject in range(subjects):
        for scanner in scanners:
            path = folder / f"{subject}{scanner}.nii.gz"
            write_image(path, image(subject, scanner), grid)
            scans.append(Scan(f"{subject:02d}", scanner, path, mask=folder / "mask.nii.gz"))
    raws = {(scan.subject, scan.scanner): scan for scan in scans}
    context = Context(seed=0, atlas=read_atlas(folder), scratch=folder, raws=raws)
    return context, tuple(scans)


def with_raw(context: Context, raw: Scan) -> Context:
    """Return the context with another RAW of one scan."""
    return replace(context, raws={**context.raws, (raw.subject, raw.scanner): raw})


def changed(scans, change) -> tuple[Scan, ...]:
    """Scans with other voxels: `change` gets the voxels and the scan."""
    made = (scan.with_voxels(np.float32(change(scan.voxels(), scan) * BRAIN)) for scan in scans)
    return tuple(made)


def mean_in_units(scans) -> np.ndarray:
    """Mean of all scans, each in its own units, on 60 to 100."""
    return 60 + 40 * np.mean([in_units(scan.voxels()) for scan in scans], axis=0)


def in_units(voxels: np.ndarray, erosion: int = 1) -> np.ndarray:
    """Bring an image to its own units, with scipy."""
    grey, white = (
        np.median(voxels[ndimage.binary_erosion(code == LABELS, iterations=erosion)])
        for code in (2, 3)
    )
    return (voxels.astype(np.float64) - grey) / (white - grey)
