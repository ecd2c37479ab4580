"""The plugin; torch is imported when a model is fitted or applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from harmobench.base import Method
from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Cohort, Context, Needs, Reference, Scan
from harmobench.methods.mispel import slices
from harmobench.methods.mispel.presets import CHOICES, PRESETS
from harmobench.references import TORBATI_2023


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
        "unweighted": among candidates whose reconstruction is within 10% of the best, the smallest
        coupling of unit-variance embeddings (step 1) or harmonization loss (step 2).
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
        from harmobench.methods.mispel.search import Search

        self._check()
        matched = train.select(train.matched)
        if not matched.scans:
            raise MethodError(
                "MISPEL needs subjects seen on at least 2 scanners, found none among the "
                f"{len(train.subjects)} training subjects"
            )
        names = [s for s in train.scanners if s in matched.scanners]
        crop = slices.plan_crop(matched, self.min_brain)
        own = slices.matched_slices(matched, names, crop, context.progress)
        others: tuple[slices.Matched, ...] = ()
        if validation is not None:
            others = slices.matched_slices(validation, names, crop, context.progress)
        with torch_settings(context.threads):
            fitted = Search(self, len(names), own, others, context).run()
        self.weights_ = fitted.weights
        self.history_ = fitted.history
        self.chosen_ = fitted.chosen
        self.parameters_ = sum(int(value.size) for value in fitted.weights.values())
        self.scanners_ = names
        self.box_ = list(crop.box)
        self.scale_ = crop.scale
        self.shape_ = list(matched.scans[0].brain().shape)
        self.threads_ = context.threads
        self.device_ = context.device
        return self

    def transform(self, scan: Scan) -> Scan:
        """Harmonize one scan with its scanner's unit; 0 outside the brain.

        Raises
        ------
        MethodError
            A scanner without a unit, or another grid than the training scans had.
        """
        from harmobench.methods.mispel.applying import harmonize_slices

        if scan.scanner not in self.scanners_:
            raise MethodError(
                f"MISPEL has learned the scanners {', '.join(self.scanners_)}, found {scan}: "
                "train on matched subjects that were seen on it too"
            )
        brain = scan.brain()
        self._check_shape(brain, scan)
        x0, x1, y0, y1 = self.box_
        box = slices.join((x0, x1, y0, y1), slices.bounding_box(brain))
        image = slices.to_slices(slices.brain_voxels(scan, self.scale_), box)
        filled = np.flatnonzero(brain.any(axis=(0, 1)))
        image[filled] = self._apply(harmonize_slices, image[filled], scan.scanner)
        out = slices.from_slices(image, box, brain.shape) * brain * np.float32(self.scale_)
        return scan.with_voxels(out)

    def _apply(self, function: Any, image: FloatArray, scanner: str) -> FloatArray:
        number = self.scanners_.index(scanner)
        out: FloatArray = function(
            self.weights_, number, image, self.decoder_activation, self.threads_, self.device_
        )
        return out

    def _check_shape(self, brain: BoolArray, scan: Scan) -> None:
        if list(brain.shape) != list(self.shape_):
            raise MethodError(
                f"MISPEL was trained on images of {tuple(self.shape_)} voxels, found "
                f"{brain.shape} in {scan}: bring it to the same grid"
            )

    def _check(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise SettingsError(
                    f"expected mispel.{name} to be one of {', '.join(known)}, "
                    f"found '{getattr(self, name)}'"
                )
        counts = {"batch": self.batch, "epochs1": self.epochs1, "epochs2": self.epochs2}
        for name, value in counts.items():
            if value < 1:
                raise SettingsError(f"expected mispel.{name} to be at least 1, found {value}")
        if not self.learning_rate > 0 or not self.rate2 > 0:
            raise SettingsError("expected mispel.learning_rate and learning_rate2 above 0")
