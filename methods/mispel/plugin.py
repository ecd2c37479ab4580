"""The plugin; torch is imported when a model is fitted or applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Cohort, Context, Needs, Reference, Scan
from harmobench.methods.mispel import slices
from harmobench.methods.mispel.presets import PRESETS, check_parameters
from harmobench.references import TORBATI_2023

if TYPE_CHECKING:
    from harmobench.methods.mispel.search import Candidate, Search


@dataclass
class Mispel(Method):
    """MISPEL: scanners mapped to a middle ground by one encoder and linear decoder each.

    Trained on matched axial slices in two steps (paper, section 2.3). Attributes ending in `_` are
    set by `fit`.

    Parameters
    ----------
    latent
        Embeddings of a slice, L.
    lambda1, lambda2, lambda3, lambda4
        Weights of reconstruction and coupling (step 1), reconstruction and harmonization (step 2).
    latents, lambda2s, lambda4s
        Candidates to choose from by validation losses; empty: the one value above.
    selection
        "weighted": the smallest weighted loss, as published. Over lambda2 or lambda4 that is
        degenerate: the loss grows with its weight, so that the smallest weight wins.
        "unweighted": in step 1, among candidates whose reconstruction is within 10% of the best,
        the smallest coupling of unit-variance embeddings; in step 2, the smallest sum of the mean
        absolute errors of outputs from their own slices and from each other.
    learning_rate, learning_rate2
        Of Adam in step 1 and 2; None in step 2: the same.
    decay
        "constant", or "cosine" (a short linear rise, then half a cosine).
    clip
        Largest norm of the gradient; None: as it is.
    batch
        Matched slices a batch.
    epochs1, epochs2
        Passes over the slices; step 2 ends sooner where the loss changes by less than `tolerance`
        (a share of it) from one epoch to the next.
    steps, steps2
        Fixed numbers of batches instead.
    warm_steps
        Steps that train one unit on all scanners' slices before it is copied to each scanner; not
        in the paper: it makes the most of a small budget.
    slices2
        At most about so many matched slices in step 2; None: all.
    decoder_activation
        "linear" as the paper says, "relu" as the published code has it.
    harmonization_average
        Divide by "pairs" as the paper says, by "scanners" as the published code does.
    precision
        Of the encoders' arithmetic in training; harmonized images are always made in float32.
    min_brain
        Training slices have at least this share of the brain area of the subject's fullest one.
    orientations
        "axial" as published; with "coronal" and "sagittal" too, each has networks of its own and
        the image is the median of what they make, as the paper's discussion considers.
    target
        Scanner that all others are mapped onto, as the paper's discussion proposes: step 2 then
        compares outputs with that scanner's slices instead of with each other, and lambda4 is
        chosen by that alone. Empty: to the middle ground, as published. Step 2 leaves out subjects
        without a scan on the target.
    """

    needs: ClassVar[Needs] = Needs(matched=True, folds=True, gpu=True)
    reference: ClassVar[Reference] = TORBATI_2023
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    latent: int = 6
    lambda1: float = 0.3
    lambda2: float = 1.0
    lambda3: float = 1.0
    lambda4: float = 4.0
    latents: tuple[int, ...] = ()
    lambda2s: tuple[float, ...] = ()
    lambda4s: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    selection: str = "unweighted"
    learning_rate: float = 1e-3
    learning_rate2: float | None = None
    decay: str = "cosine"
    clip: float | None = 1.0
    batch: int = 4
    epochs1: int = 30
    epochs2: int = 30
    steps: int | None = None
    steps2: int | None = None
    warm_steps: int = 0
    slices2: int | None = None
    tolerance: float = 1e-4
    decoder_activation: str = "linear"
    harmonization_average: str = "pairs"
    precision: str = "bfloat16"
    min_brain: float = 0.05
    orientations: tuple[str, ...] = ("axial",)
    target: str = ""

    @property
    def latent_grid(self) -> tuple[int, ...]:
        """Candidates for L."""
        return self.latents or (self.latent,)

    @property
    def lambda2_grid(self) -> tuple[float, ...]:
        """Candidates for the weight of coupling."""
        return self.lambda2s or (self.lambda2,)

    @property
    def lambda4_grid(self) -> tuple[float, ...]:
        """Candidates for the weight of harmonization."""
        return self.lambda4s or (self.lambda4,)

    @property
    def rate2(self) -> float:
        """Learning rate of step 2."""
        return self.learning_rate if self.learning_rate2 is None else self.learning_rate2

    def pieces(self) -> list[dict[str, Any]]:
        """Step 1 of each orientation, L and lambda2; none where there is only one."""
        grid = list(product(self.orientations, self.latent_grid, self.lambda2_grid))
        if len(grid) == 1:
            return []
        fixed: dict[str, Any] = {"latents": (), "lambda2s": (), "lambda4s": ()}
        return [{"orientations": (o,), "latent": n, "lambda2": w} | fixed for o, n, w in grid]

    def fit_piece(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Train step 1 with the one orientation, L and lambda2 that the parameters name.

        Raises
        ------
        MethodError
            No subject on two scanners, or training that diverges at every learning rate.
        """
        from harmobench.methods.mispel.network import to_arrays
        from harmobench.methods.mispel.runtime import torch_settings
        from harmobench.methods.mispel.search import Search, read_slices

        orientation = self.orientations[0]
        with torch_settings(context.threads):
            data = read_slices(self, train, validation, orientation, context)
            made = Search(self, data, context).candidate(self.latent, self.lambda2, judge=True)
            arrays = to_arrays(made.units)
        self.weights_ = {f"{orientation}/{name}": value for name, value in arrays.items()}
        self.history_ = made.history
        self.chosen_: dict[str, dict[str, Any]] = {
            orientation: {"learning_rate": made.learning_rate, "scores": dict(made.scores)}
        }
        return self

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Train both steps on the matched subjects of the training scans.

        Raises
        ------
        MethodError
            No subject on two scanners, or training that diverges at every learning rate.
        SettingsError
            A parameter out of its range.
        """
        from harmobench.methods.mispel.runtime import torch_settings
        from harmobench.methods.mispel.search import Search, read_slices

        self.check()
        self.weights_, self.history_, self.chosen_ = {}, [], {}
        self.boxes_: dict[str, list[int]] = {}
        with torch_settings(context.threads):
            for orientation in self.orientations:
                data = read_slices(self, train, validation, orientation, context)
                search = Search(self, data, context)
                fitted = search.finish(self._candidates(search, orientation, context))
                for name, value in fitted.weights.items():
                    self.weights_[f"{orientation}/{name}"] = value
                head = {"orientation": orientation} if len(self.orientations) > 1 else {}
                self.history_ += [head | row for row in fitted.history]
                self.chosen_[orientation] = fitted.chosen
                self.boxes_[orientation] = list(data.crop.box)
        self.parameters_ = sum(int(value.size) for value in self.weights_.values())
        self.scanners_ = list(data.scanners)
        self.scale_ = data.crop.scale
        self.shape_ = list(train.scans[0].brain().shape)
        self.threads_, self.device_ = context.threads, context.device
        return self

    def _candidates(self, search: Search, orientation: str, context: Context) -> list[Candidate]:
        from harmobench.methods.mispel.search import Candidate

        given = [piece for piece in context.pieces if piece.orientations == (orientation,)]
        if given:
            return [Candidate.of(piece, context.device) for piece in given]
        grid = list(product(self.latent_grid, self.lambda2_grid))
        return [search.candidate(latent, weight, len(grid) > 1) for latent, weight in grid]

    def transform(self, scan: Scan) -> Scan:
        """Harmonize one scan with its scanner's unit; 0 outside the brain.

        Raises
        ------
        MethodError
            A scanner without a unit, or another grid than the training scans had.
        """
        if scan.scanner not in self.scanners_:
            raise MethodError(
                f"MISPEL has learned the scanners {', '.join(self.scanners_)}, found {scan}: "
                "train on matched subjects that were seen on it too"
            )
        brain = scan.brain()
        self._check_shape(brain, scan)
        voxels = slices.brain_voxels(scan, self.scale_)
        made = [self._harmonized(voxels, brain, scan.scanner, o) for o in self.orientations]
        fused = made[0] if len(made) == 1 else np.median(np.stack(made), axis=0)
        return scan.with_voxels((fused * brain * np.float32(self.scale_)).astype(np.float32))

    def _harmonized(
        self, voxels: FloatArray, brain: BoolArray, scanner: str, orientation: str
    ) -> FloatArray:
        from harmobench.methods.mispel.applying import harmonize_slices

        turned, inside = slices.turn(voxels, orientation), slices.turn(brain, orientation)
        x0, x1, y0, y1 = self.boxes_[orientation]
        box = slices.join((x0, x1, y0, y1), slices.bounding_box(inside))
        image = slices.to_slices(turned, box)
        filled = np.flatnonzero(inside.any(axis=(0, 1)))
        weights = slices.part_of(self.weights_, orientation)
        number = self.scanners_.index(scanner)
        image[filled] = harmonize_slices(
            weights, number, image[filled], self.decoder_activation, self.threads_, self.device_
        )
        return slices.turn_back(slices.from_slices(image, box, turned.shape), orientation)

    def _check_shape(self, brain: BoolArray, scan: Scan) -> None:
        if list(brain.shape) != list(self.shape_):
            raise MethodError(
                f"MISPEL was trained on images of {tuple(self.shape_)} voxels, found "
                f"{brain.shape} in {scan}: bring it to the same grid"
            )

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that cannot be used, here on a cohort of `scanners` where given.

        Raises
        ------
        SettingsError
            What was expected, and what was found.
        """
        check_parameters(self, scanners)
