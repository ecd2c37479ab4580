"""T1-weighted signal of a tissue under an inversion-recovery gradient-echo protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import SettingsError


@dataclass(frozen=True)
class Tissue:
    """What a tissue is to a scanner.

    Attributes
    ----------
    t1, t2star
        Relaxation times at 3 T, ms.
    density
        Proton density, water = 1.
    """

    t1: float
    density: float
    t2star: float


# T1 and T2* of grey and white matter: Wansapura et al., JMRI 1999;9:531-538 (3 T; T2* averaged over
# frontal and occipital lobe). T1 of CSF: about 4 s, within the range of Rooney et al., MRM
# 2007;57:308-318. Proton densities: the BrainWeb phantom (Kwan et al., IEEE TMI 1999;18:1085-1097).
# Lesions: longer T1 and more water than white matter, as T1 maps of white matter hyperintensities
# show; close to grey matter, so that they look grey, as they do in T1-weighted images.
TISSUES = {
    "csf": Tissue(4000.0, 1.00, 400.0),
    "gm": Tissue(1331.0, 0.86, 47.0),
    "wm": Tissue(832.0, 0.77, 47.0),
    "lesion": Tissue(1250.0, 0.86, 55.0),
}


@dataclass(frozen=True)
class Protocol:
    """One inversion and one gradient-echo train in each repetition (MPRAGE, IR-SPGR).

    Attributes
    ----------
    tr, ti, te
        Time between inversions, from inversion to the centre of k-space (the middle of the
        train), and from excitation to echo, ms.
    flip
        Excitation angle, degrees.
    spacing
        Time between two excitations of the train, ms.
    train
        Excitations in a train.
    efficiency
        Of the inversion pulse, 0 to 1.
    """

    tr: float
    ti: float
    te: float
    flip: float
    spacing: float
    train: int
    efficiency: float = 0.96

    @property
    def before(self) -> float:
        """Time from the inversion to the first excitation, ms."""
        return self.ti - (self.train // 2) * self.spacing

    @property
    def after(self) -> float:
        """Time from the end of the train to the next inversion, ms."""
        return self.tr - self.before - self.train * self.spacing

    def check(self) -> None:
        """Refuse a train that does not fit between two inversions.

        Raises
        ------
        SettingsError
            The train starts before the inversion or ends after the next one.
        """
        if self.before < 0 or self.after < 0 or self.train < 1:
            raise SettingsError(
                f"expected a train that fits between two inversions, found {self.train} "
                f"excitations every {self.spacing:g} ms at TI {self.ti:g} ms, TR {self.tr:g} ms"
            )


def longitudinal(t1: NDArray[np.float64], protocol: Protocol) -> NDArray[np.float64]:
    """Longitudinal magnetization at the centre of k-space, in units of the equilibrium's.

    The steady state of inversion, free recovery, train of excitations and free recovery, in
    closed form: Marques et al., NeuroImage 2010;49:1271-1281, equations of the appendix for one
    train instead of two; the same sequence in Deichmann et al., NeuroImage 2000;12:112-127.
    Transverse magnetization is taken as spoiled.

    Parameters
    ----------
    t1
        Of any shape, ms.
    protocol
        See `Protocol`.
    """
    protocol.check()
    cosine = np.cos(np.deg2rad(protocol.flip))
    within = np.exp(-protocol.spacing / t1)
    before = np.exp(-protocol.before / t1)
    after = np.exp(-protocol.after / t1)
    decay = cosine * within
    driven = (1 - within) / (1 - decay)  # where an endless train would settle

    def excited(start: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        return np.asarray(driven + (start - driven) * decay**n)

    fresh = excited(1 - before, protocol.train) * after + 1 - after
    kept = protocol.efficiency * before * decay**protocol.train * after
    steady = fresh / (1 + kept)
    return excited(1 - (1 + protocol.efficiency * steady) * before, protocol.train // 2)


def signal(
    t1: NDArray[np.float64],
    density: NDArray[np.float64] | float,
    t2star: NDArray[np.float64] | float,
    protocol: Protocol,
) -> NDArray[np.float64]:
    """Magnitude of the echo at the centre of k-space; equilibrium magnetization of water = 1.

    Parameters
    ----------
    t1, t2star
        Relaxation times, ms.
    density
        Proton density, water = 1.
    protocol
        See `Protocol`.
    """
    echo = np.sin(np.deg2rad(protocol.flip)) * np.exp(-protocol.te / np.asarray(t2star))
    return np.asarray(np.abs(density * echo * longitudinal(np.asarray(t1, np.float64), protocol)))


def tissue_signal(
    name: str, protocol: Protocol, variation: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Signal of a tissue in `TISSUES` whose T1 is longer by the fraction `variation`."""
    tissue = TISSUES[name]
    t1 = tissue.t1 * (1 + np.asarray(variation, np.float64))
    return signal(t1, tissue.density, tissue.t2star, protocol)
