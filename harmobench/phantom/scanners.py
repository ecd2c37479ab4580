"""The phantom's scanners: protocol, point spread, bias field, noise, gamma and scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.errors import SettingsError
from harmobench.imaging.volume import FloatArray
from harmobench.phantom.signal import Protocol

FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # of a Gaussian of unit SD


@dataclass(frozen=True)
class Scanner:
    """A scanner and its T1-weighted protocol.

    Attributes
    ----------
    name
        As in the manifest.
    protocol
        Timing and flip angle.
    blur
        Point spread, mm full width at half maximum.
    bias
        SD over the brain of the logarithm of the bias field.
    noise
        SD of each of the two channels, as a fraction of white matter's signal.
    gamma
        Exponent of the reconstruction's intensity curve (white matter stays).
    scale
        White matter's intensity in the native image, arbitrary units.
    """

    name: str
    protocol: Protocol
    blur: float
    bias: float
    noise: float
    gamma: float
    scale: float


# The first four carry the paper's names (section 2.1, 3 T); timings are typical of each vendor's
# T1-weighted brain protocol. Two Siemens MPRAGE are alike; GE's IR-SPGR, with its short inversion
# time, is the most different.
SCANNERS = (
    Scanner("GE", Protocol(1800, 550, 3.0, 11, 7.4, 120), 1.7, 0.13, 0.028, 1.05, 2600.0),
    Scanner("Philips", Protocol(2100, 850, 3.2, 8, 6.9, 210), 1.3, 0.11, 0.025, 0.90, 900.0),
    Scanner("SiemensP", Protocol(2300, 900, 2.98, 9, 7.1, 176), 1.1, 0.09, 0.020, 1.00, 420.0),
    Scanner("SiemensT", Protocol(2250, 890, 3.02, 9, 7.2, 176), 1.2, 0.10, 0.023, 1.02, 480.0),
    Scanner("HitachiA", Protocol(2000, 1000, 4.0, 8, 9.2, 160), 1.6, 0.13, 0.032, 0.95, 1500.0),
    Scanner("CanonB", Protocol(1900, 800, 3.3, 9, 6.2, 160), 1.5, 0.12, 0.028, 1.08, 1100.0),
    Scanner("UnitedC", Protocol(2000, 930, 3.1, 8, 7.2, 176), 1.2, 0.10, 0.024, 0.93, 3200.0),
)
# The contrast of the scanner-free image: an MPRAGE, with none of a scanner's other faults.
REFERENCE = Protocol(2300, 900, 2.98, 9, 7.1, 176)


def choose_scanners(count: int) -> tuple[Scanner, ...]:
    """Return the first `count` of `SCANNERS`.

    Raises
    ------
    SettingsError
        Fewer than 2 or more than there are.
    """
    if not 2 <= count <= len(SCANNERS):
        raise SettingsError(
            f"expected 2 to {len(SCANNERS)} scanners, found {count}: the phantom has "
            f"{', '.join(s.name for s in SCANNERS)}"
        )
    return SCANNERS[:count]


def acquire(
    clean: FloatArray,
    bias: FloatArray,
    white: float,
    scanner: Scanner,
    voxel: NDArray[np.float64],
    rng: np.random.Generator,
) -> FloatArray:
    """Turn a signal into what the scanner writes: point spread, bias, Rician noise, gamma, scale.

    Rician: the magnitude of a complex signal with Gaussian noise in both channels (Gudbjartsson and
    Patz, MRM 1995;34:910-914).

    Parameters
    ----------
    clean
        Signal (x, y, z).
    bias
        Logarithm of the bias field (x, y, z).
    white
        White matter's signal, in the units of `clean`.
    scanner
        See `Scanner`.
    voxel
        Voxel edges, mm.
    rng
        Of this scan alone.
    """
    sharp = (clean / np.float32(white)).astype(np.float32)
    spread = ndimage.gaussian_filter(sharp, scanner.blur / FWHM / voxel, mode="nearest")
    spread *= np.exp(bias)
    real, imaginary = rng.standard_normal((2, *clean.shape), dtype=np.float32) * np.float32(
        scanner.noise
    )
    magnitude = np.hypot(spread + real, imaginary)
    return np.asarray(scanner.scale * magnitude**scanner.gamma, dtype=np.float32)
