"""Tissue segmentation by a Gaussian mixture with a Markov random field (HMRF).

The model of FSL FAST (Zhang, Brady and Smith, IEEE TMI 2001): intensities are Gaussian in each of
three tissues, and the labels form a Potts field. Each EM iteration is

    p_i(k) ~ exp(h_k + beta sum_j w_j q_j(k))       j: the six neighbours that lie in the brain
    q_i(k) ~ p_i(k) N(y_i; mean_k, sd)              mean-field, instead of their hard labels
    mean_k, sd: of the intensities weighted by q;   h_k += log(sum_i q_i(k) / sum_i p_i(k))

The last step is the likelihood's in the mean field (Celeux, Forbes and Peyrard, Pattern
Recognition 2003): without h the three tissues would be held for equally frequent, and CSF for far
too large. One SD is shared, since noise is the same in all tissues; with an SD each, the small CSF
class merges with grey matter in blurred or noisy images. The start is the histogram's: no atlas.

What makes it fast: only the odds of CSF and of WM against GM are needed, so two fields are stored
instead of three; with one SD they are linear in the intensity; the brain's box lies in memory with
a border of one voxel, as one line, so that each neighbour is a constant shift; and the line is
worked through in pieces that fit the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

import harmobench
from harmobench.errors import MeasurementError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Context, Reference, Scan
from harmobench.references import ZHANG_2001

Vector = NDArray[np.float64]
CSF, GM, WM = 0, 1, 2
PIECE = 16384  # voxels worked on at a time: about ten such float32 arrays fit a core's cache
BINS = 256
TAILS = (0.5, 99.5)  # percent; what lies beyond takes the value at the tail's edge
SMALLEST_SD = 0.005  # of the range between the tails: about a bin
SMALLEST_SHARE = 1e-6  # of the brain, so that the logarithm of a share is finite
SMALLEST_GAP = 1.0  # SD between the means of two classes: nearer ones have merged
LARGEST_ODDS = 40.0  # natural logarithm; the product of two such odds still is a float32


class Classes(NamedTuple):
    """The model's parameters, in units of the range between the tails.

    Attributes
    ----------
    mean
        Of CSF, GM and WM.
    sd
        Of each tissue.
    prior
        Natural log odds of CSF, GM and WM against GM, neighbours aside (h).
    share
        Of the brain, by tissue.
    """

    mean: Vector
    sd: float
    prior: Vector
    share: Vector

    def merged(self) -> bool:
        """Whether two tissues have become one, or traded places."""
        return bool((np.diff(self.mean) < SMALLEST_GAP * self.sd).any())

    def change(self, other: Classes) -> float:
        """Largest difference of a mean, the SD or a share."""
        means, shares = np.abs(self.mean - other.mean), np.abs(self.share - other.share)
        return float(max(means.max(), shares.max(), abs(self.sd - other.sd)))


@dataclass(frozen=True)
class HMRF:
    """Gaussian mixture of three classes with a Markov random field.

    Attributes
    ----------
    beta
        Weight of one neighbour's agreement, in natural log odds; 0 switches the field off.
    iterations
        At most so many.
    tolerance
        Done when no mean and SD moves by more than this share of the intensity range, and no
        tissue by more than this share of the brain.
    """

    beta: float = 0.3
    iterations: int = 60
    tolerance: float = 5e-4

    reference: ClassVar[Reference] = ZHANG_2001

    def available(self) -> str | None:
        """None: it needs nothing but numpy."""
        return None

    def version(self) -> str:
        """Return that of harmobench."""
        return f"harmobench {harmobench.__version__}"

    def segment(self, scan: Scan, context: Context) -> Mapping[str, FloatArray]:
        """Posterior probability of csf, gm and wm, which sum to 1 in the brain.

        Raises
        ------
        MeasurementError
            The brain is empty, not finite, or has too few different values for three tissues.
        """
        weights = neighbour_weights(scan.grid.voxel_sizes) * self.beta
        return segment(scan.voxels(), scan.brain(), weights, self.iterations, self.tolerance)[0]


def neighbour_weights(sizes: Vector) -> Vector:
    """Weight of a neighbour along each axis: by inverse distance, 1 on average."""
    inverse = 1.0 / np.asarray(sizes, dtype=np.float64)
    return np.asarray(inverse / inverse.mean())


def segment(
    voxels: FloatArray, brain: BoolArray, weights: Vector, iterations: int, tolerance: float
) -> tuple[dict[str, FloatArray], Classes]:
    """Fit the model; return csf, gm and wm probabilities, and its parameters.

    Parameters
    ----------
    voxels, brain
        Image and brain mask (x, y, z).
    weights
        Of a neighbour along each of the three axes, in natural log odds.
    iterations, tolerance
        See `HMRF`.
    """
    scaled = _scaled(voxels[brain])
    box = bounding_box(brain)
    field = _Field(scaled, brain[box], weights)
    first = classes = start(scaled)
    held = False
    for _ in range(iterations):
        update = field.iterate(classes)
        held = held or update.merged()
        if held:  # the image does not tell three tissues apart: the histogram's stand
            update = update._replace(mean=first.mean, sd=first.sd)
        change = update.change(classes)
        classes = update
        if change < tolerance:
            break
    maps = {name: np.zeros(voxels.shape, dtype=np.float32) for name in ("csf", "gm", "wm")}
    for tissue, probability in zip(maps.values(), field.probabilities(), strict=True):
        tissue[box] = probability
    return maps, classes


def bounding_box(brain: BoolArray) -> tuple[slice, slice, slice]:
    """Smallest box that holds a brain.

    Raises
    ------
    MeasurementError
        The brain is empty.
    """
    if not brain.any():
        raise MeasurementError("expected brain voxels to segment, found an empty mask")
    x, y, z = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1), slice(z[0], z[-1] + 1)


def tails(inside: FloatArray) -> tuple[float, float]:
    """Intensities between which all but 0.5% of the brain lie, on either side.

    Raises
    ------
    MeasurementError
        The brain is empty, not finite or constant.
    """
    if inside.size == 0:
        raise MeasurementError("expected brain voxels to segment, found an empty mask")
    if not np.isfinite(inside).all():
        raise MeasurementError("expected finite intensities in the brain, found NaN or inf")
    low, high = (float(edge) for edge in np.percentile(inside, TAILS))
    if not high > low:
        low, high = float(inside.min()), float(inside.max())
    if not high > low:
        raise MeasurementError("expected an image to segment, found a constant one")
    return low, high


def _scaled(inside: FloatArray) -> FloatArray:
    low, high = tails(inside)
    scaled = (inside.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def start(scaled: FloatArray) -> Classes:
    """Parameters to start from: Otsu's three classes, which vary least within.

    Parameters
    ----------
    scaled
        Intensities of the brain, 0 to 1, in any order.

    Raises
    ------
    MeasurementError
        Fewer than three different values.
    """
    count = np.bincount(np.minimum((scaled * BINS).astype(np.intp), BINS - 1), minlength=BINS)
    centre = (np.arange(BINS) + 0.5) / BINS
    below = np.zeros((3, BINS + 1))  # voxels, their sum and sum of squares below each bin
    below[:, 1:] = np.cumsum([count, count * centre, count * centre**2], axis=1)
    edges = np.array([0, *_otsu(below[0], below[1]), BINS])
    n, first, _ = below[:, edges[1:]] - below[:, edges[:-1]]
    if not n.all():
        raise MeasurementError(
            "expected the intensities of three tissues, found "
            f"{np.count_nonzero(count)} different values in the brain"
        )
    return _classes(n, first, below[2, -1], np.log(n / n[GM]))


def _otsu(n: Vector, first: Vector) -> tuple[int, int]:
    """Bins at which the second and third class begin."""
    second, third = np.triu_indices(BINS + 1, k=1)
    edges = (np.zeros_like(second), second, third, np.full_like(second, BINS))
    between = np.zeros(second.size)
    for low, high in pairwise(edges):
        size = n[high] - n[low]
        between += (first[high] - first[low]) ** 2 / np.maximum(size, 1.0)
    best = int(between.argmax())
    return int(second[best]), int(third[best])


def _classes(n: Vector, first: Vector, squares: float, prior: Vector) -> Classes:
    """Parameters from each tissue's voxels and sum, and the sum of squares over the brain."""
    n = np.maximum(n, SMALLEST_SHARE * n.sum())
    mean = first / n
    variance = (squares - (n * mean**2).sum()) / n.sum()
    return Classes(mean, max(float(variance), SMALLEST_SD**2) ** 0.5, prior, n / n.sum())


class _Field:
    """The brain's box with a border of one voxel, as a line, and the tissues of each voxel.

    `odds` holds q(CSF) - q(GM) and q(WM) - q(GM), 0 outside the brain: what the neighbours add to
    the log odds is a weighted sum of them. All voxels are updated at once from the last
    iteration's, so that turning the image round turns the result round.
    """

    def __init__(self, scaled: FloatArray, brain: BoolArray, weights: Vector) -> None:
        inside = np.pad(brain, 1)
        values = np.zeros(inside.shape, dtype=np.float32)
        values[inside] = scaled
        self.shape = inside.shape
        self.values, self.inside = values.ravel(), inside.ravel().astype(np.float32)
        self.differences = np.zeros((2, values.size), dtype=np.float32)
        self.strides = (self.shape[1] * self.shape[2], self.shape[2], 1)
        self.weights = [np.float32(weight) for weight in weights]
        self.totals = (
            float(scaled.size),
            float(scaled.sum(dtype=np.float64)),
            float(np.square(scaled, dtype=np.float64).sum()),
        )

    def iterate(self, classes: Classes) -> Classes:
        """Update every voxel by the parameters; return the parameters that follow."""
        update = np.zeros_like(self.differences)
        sums = np.zeros((3, 2))  # of p, q and q y; over CSF and WM
        last = self.values.size - self.strides[0]
        for begin in range(self.strides[0], last, PIECE):
            sums += self._piece(slice(begin, min(begin + PIECE, last)), classes, update)
        self.differences = update
        count, total, squares = self.totals
        p, q, first = (
            np.array([csf, whole - csf - wm, wm])
            for (csf, wm), whole in zip(sums, (count, count, total), strict=True)
        )
        step = np.log(np.maximum(q, SMALLEST_SHARE * count) / np.maximum(p, SMALLEST_SHARE * count))
        return _classes(q, first, squares, classes.prior + step - step[GM])

    def _piece(self, piece: slice, classes: Classes, update: FloatArray) -> Vector:
        values, inside = self.values[piece], self.inside[piece]
        before = [self._before(i, piece, classes.prior[k]) for i, k in enumerate((CSF, WM))]
        after = [_intensity(values, classes, k) * before[i] for i, k in enumerate((CSF, WM))]
        gm_before = inside / (1 + before[0] + before[1])
        gm = inside / (1 + after[0] + after[1])
        sums = np.empty((3, 2))
        for i in range(2):
            q = after[i] * gm
            np.subtract(q, gm, out=update[i, piece])
            # einsum, since BLAS may sum in another order with another number of threads
            sums[:, i] = _dot(before[i], gm_before), q.sum(), _dot(q, values)
        return sums

    def _before(self, i: int, piece: slice, prior: float) -> FloatArray:
        """Odds of a tissue against GM from its neighbours, before the intensity is seen."""
        field = self.differences[i]
        out = np.full(piece.stop - piece.start, prior, dtype=np.float32)
        for stride, weight in zip(self.strides, self.weights, strict=True):
            pair = field[piece.start - stride : piece.stop - stride].copy()
            pair += field[piece.start + stride : piece.stop + stride]
            pair *= weight
            out += pair
        return _exp(out)

    def probabilities(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Probabilities of CSF, GM and WM in the box, 0 outside the brain."""
        core = (slice(1, -1),) * 3
        csf, wm = (line.reshape(self.shape)[core] for line in self.differences)
        gm = (self.inside.reshape(self.shape)[core] - csf - wm) / np.float32(3)
        np.clip(gm, 0, 1, out=gm)
        return np.clip(csf + gm, 0, 1), gm, np.clip(wm + gm, 0, 1)


def _intensity(values: FloatArray, classes: Classes, tissue: int) -> FloatArray:
    """Odds of a tissue against GM from the intensities alone: N(y; tissue) / N(y; GM)."""
    mean, variance = classes.mean, classes.sd**2
    slope = (mean[tissue] - mean[GM]) / variance
    middle = (mean[tissue] + mean[GM]) / 2
    return _exp((values - np.float32(middle)) * np.float32(slope))


def _exp(log_odds: FloatArray) -> FloatArray:
    np.clip(log_odds, -LARGEST_ODDS, LARGEST_ODDS, out=log_odds)
    return np.exp(log_odds, out=log_odds)


def _dot(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.einsum("i,i", a, b))
