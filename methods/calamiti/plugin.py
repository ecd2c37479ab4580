"""CALAMITI as a harmobench method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Cohort, Context, Needs, Reference, Scan
from harmobench.methods.calamiti import checking, slices


@dataclass
class Calamiti(Method):
    """Anatomy of the scan, contrast of the target scanner.

    Zuo et al., NeuroImage 2021, as Torbati et al. 2023 (section 2.4) used it: supervised on pairs
    of each scanner with the target, axial slices, White-Striped input and output. The target's
    own scans stay White-Striped unless `through_network`; then they are the mean of what all
    models make of them. Where it departs from the authors' research code, and why, stands in
    `harmobench.methods.calamiti`.

    `paper` has the published networks (the research code's bases of 8 and 16 have 16 and 32
    channels at their first level) and training. `default` departs from it by U-Nets of half the
    width, for a CPU, a start from intensity classes (`warm_up`), a higher learning rate that falls
    to 0, and at least 1500 batches: with as many its images are nearer to the target's. `quick` is
    a small fixed budget: a decoder of half that width, one pair of slices a batch, no adversarial
    term, and a first stretch on the pairs of all scanners together before each scanner's own. It
    shows that all works; expect blurred images.

    Attributes
    ----------
    beta_channels, theta_dim
        Channels of the anatomy, numbers of the contrast.
    beta_base, decoder_base
        Channels of the first level of the two U-Nets.
    learning_rate, anneal
        Of Adam; whether it falls to 0 along a half cosine.
    batch, epochs
        Matched pairs of slices a batch; passes over all of them.
    steps
        Number of batches instead of `epochs`; even ones train the discriminator only, unless
        `adversarial` is 0.
    least_steps
        Batches at least, where `epochs` of a small cohort are fewer.
    shared_steps
        Batches on the pairs of all scanners, before each model starts from that.
    warm_up
        Batches before all others, in which the anatomy encoder learns classes of intensity and
        the decoder the images of those classes.
    models
        "each": one model a scanner; "one": one for all scanners, as in Zuo et al.
    theta
        "random": contrast of one training image of the target, drawn by the seed; "mean": of all.
    beta
        Anatomy that images are made from: "argmax", one-hot as published, or "softmax", the
        probability of each channel. Training samples one-hot anatomies by these probabilities, so
        that a decoder trained briefly reads them from the noise and "argmax" takes them away.
    through_network
        Send the target's own scans through the networks too.
    min_brain
        Slices with less brain than this share of the largest are not trained on.
    reconstruction, beta_similarity, kl, adversarial, perceptual
        Weights of the loss.
    temperature_decay, temperature_floor
        Gumbel-softmax at exp(-decay step), at least the floor; a step is a pair of batches.
    vgg_weights
        safetensors file of VGG16; without it there is no perceptual term.
    precision
        Of training, "float32" or "bfloat16"; images are always made in float32.
    """

    beta_channels: int = 4
    theta_dim: int = 2
    beta_base: int = 8
    decoder_base: int = 16
    learning_rate: float = 4e-4
    anneal: bool = False
    batch: int = 8
    epochs: int = 20
    steps: int | None = None
    least_steps: int = 0
    shared_steps: int = 0
    warm_up: int = 0
    models: str = "each"
    theta: str = "random"
    beta: str = "argmax"
    through_network: bool = False
    min_brain: float = 0.1
    reconstruction: float = 4.0
    beta_similarity: float = 3e-2
    kl: float = 1e-7
    adversarial: float = 3e-2
    perceptual: float = 4e-2
    temperature_decay: float = 2e-4
    temperature_floor: float = 0.5
    vgg_weights: str = ""
    precision: str = "float32"

    needs: ClassVar[Needs] = Needs(
        matched=True, folds=True, target=True, inputs=("whitestripe",), gpu=True
    )
    reference: ClassVar[Reference] = Reference(
        title="Unsupervised MR harmonization by learning disentangled representations using "
        "information bottleneck theory",
        authors="Zuo, L. and Dewey, B. E. and Liu, Y. and He, Y. and Newsome, S. D. and "
        "Mowry, E. M. and Resnick, S. M. and Prince, J. L. and Carass, A.",
        year=2021,
        venue="NeuroImage 243, 118569",
        doi="10.1016/j.neuroimage.2021.118569",
        key="zuo2021calamiti",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "decoder_base": 8,
            "learning_rate": 5e-3,
            "anneal": True,
            "batch": 1,
            "warm_up": 200,
            "shared_steps": 140,
            "steps": 10,
            "adversarial": 0.0,
            "beta": "softmax",
        },
        "default": {"learning_rate": 1.5e-3, "anneal": True, "warm_up": 150, "least_steps": 1500},
        "paper": {"beta_base": 16, "decoder_base": 32},
    }

    def loss_weights(self) -> dict[str, float]:
        """Weight of each term of the encoders' and decoder's loss, by its name."""
        return {
            "reconstruction": self.reconstruction,
            "beta": self.beta_similarity,
            "kl": self.kl,
            "adversarial": self.adversarial,
            "perceptual": self.perceptual,
        }

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that cannot be used.

        Raises
        ------
        SettingsError
            What was expected, and what was found.
        """
        checking.check(self)

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Train one model for each other scanner on its pairs with `context.target`.

        Raises
        ------
        MethodError
            No target, a target without training scans, or no pairs with it.
        SettingsError
            A parameter that cannot be used.
        """
        from harmobench.methods.calamiti import fitting

        self.check()
        target = _target(train, context)
        fitted = fitting.fit(self, train, target, context)
        self.target_, self.scanners_ = target, list(train.scanners)
        self.box_, self.scales_ = list(fitted.box), {k: list(v) for k, v in fitted.scales.items()}
        self.models_, self.weights_, self.theta_ = fitted.models, fitted.weights, fitted.theta
        self.history_ = fitted.history
        self.networks_ = fitted.parameters
        self.parameters_ = sum(fitted.parameters.values()) * len(set(fitted.models.values()))
        self.perceptual_ = Path(self.vgg_weights).name or "off: no VGG16 weights were given"
        self.device_, self.threads_ = context.device, context.threads
        return self

    def transform(self, scan: Scan) -> Scan:
        """Give a scan the target's contrast, in White-Stripe units.

        Outside the brain stands the scan's White-Striped background, one constant.

        Raises
        ------
        MethodError
            No model was trained for the scan's scanner, a constant or broken image, or weights
            that are not finite.
        """
        own = scan.scanner == self.target_
        if not own and scan.scanner not in self.models_:
            known = ", ".join([*sorted(self.models_), f"{self.target_} (the target)"])
            raise MethodError(
                f"expected a scanner that CALAMITI was trained on, {known}; found "
                f"'{scan.scanner}' of {scan}: train with matched scans of it"
            )
        voxels, brain = slices.striped(scan)
        outside = voxels[~brain]
        if not own or self.through_network:
            voxels = self._harmonized(voxels, brain, scan.scanner)
        out = np.where(brain, voxels, outside[0] if outside.size else 0)
        return scan.with_voxels(out.astype(np.float32))

    def box(self) -> slices.Box:
        """In-plane box about all brains of the training."""
        x0, x1, y0, y1 = self.box_
        return x0, x1, y0, y1

    def scale(self, scanner: str) -> slices.Range:
        """White-Stripe intensities of a scanner that the networks see as 0 and 1."""
        low, high = self.scales_[scanner]
        return low, high

    def _harmonized(self, voxels: FloatArray, brain: BoolArray, scanner: str) -> FloatArray:
        from harmobench.methods.calamiti import inference

        target = scanner == self.target_
        names = sorted(set(self.models_.values())) if target else [self.models_[scanner]]
        box = slices.brain_box([brain], self.box())
        kept = brain.any(axis=(0, 1))
        stack = slices.crop(slices.to_network(voxels, brain, self.scale(scanner)), box)
        stack[kept] = inference.apply(self, names, stack[kept])
        out = slices.from_network(stack, self.scale(self.target_))
        return slices.uncrop(out, box, voxels.shape)


def _target(train: Cohort, context: Context) -> str:
    found = ", ".join(train.scanners)
    if context.target is None:
        raise MethodError(f"expected a target scanner, found none: name one of {found} by --target")
    if context.target not in train.scanners:
        raise MethodError(
            f"expected training scans of the target '{context.target}', found those of {found}: "
            "name one of these by --target, or use fewer folds"
        )
    return context.target
