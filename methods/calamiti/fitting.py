"""Training all models of one fit, and applying them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harmobench.imaging.volume import FloatArray
from harmobench.interface import Cohort, Context
from harmobench.methods.calamiti import inference, losses
from harmobench.methods.calamiti.networks import Networks, Sizes, build
from harmobench.methods.calamiti.slices import (
    Box,
    Pairs,
    Range,
    Stack,
    brain_box,
    pair_slices,
    robust_range,
    slice_shape,
    stack,
)
from harmobench.methods.calamiti.training import Trainer, steady

if TYPE_CHECKING:
    from harmobench.methods.calamiti.plugin import Calamiti

ONE = "all"  # name of the model of `models="one"`
BETWEEN = "/"  # model and weight, in the names of saved weights


@dataclass
class Fitted:
    """What a fit learned.

    Attributes
    ----------
    box
        In-plane box about all training brains.
    scales
        Each scanner's White-Stripe intensities that the networks see as 0 and 1.
    models
        Scanner to the name of its model.
    weights
        "model/weight" to the array.
    theta
        Model to the target's contrast (theta_dim,).
    history
        Rows of the training curves.
    parameters
        Number of weights of each network.
    """

    box: Box
    scales: dict[str, Range]
    models: dict[str, str]
    weights: dict[str, FloatArray]
    theta: dict[str, FloatArray]
    history: list[dict[str, Any]]
    parameters: dict[str, int]


def fit(method: Calamiti, train: Cohort, target: str, context: Context) -> Fitted:
    """Train every model; all scans lie in memory as float32 slices."""
    scales = {
        name: robust_range(scan for scan in train.scans if scan.scanner == name)
        for name in train.scanners
    }
    box = brain_box(scan.brain() for scan in train.scans)
    slices = stack(train.scans, box, scales, method.min_brain)
    plan = plan_models(method, train, target, slices)
    fitted = Fitted(box, scales, {}, {}, {}, [], {})
    for name, pairs in plan.items():
        sources = {train.scanners[i] for i in pairs.labels[:, 0]}
        fitted.models |= {source: name for source in sources}
    shown = theta_images(method, train, target, slices, context.seed)
    with steady(context.threads):
        train_all(method, plan, sizes(method, box, train.scanners), slices, shown, context, fitted)
    return fitted


def plan_models(method: Calamiti, train: Cohort, target: str, slices: Stack) -> dict[str, Pairs]:
    """Pairs of slices that each model is trained on; scanners without any have no model.

    Raises
    ------
    MethodError
        No other scanner shares a training subject with the target.
    """
    others = [name for name in train.scanners if name != target]

    def pairs(sources: Sequence[str]) -> Pairs:
        return pair_slices(slices, train.subjects, sources, target, train.scanners)

    every = pairs(others)
    if method.models == "one":
        return {ONE: every}
    matched = {int(i) for i in every.labels[:, 0]}
    return {name: pairs([name]) for name in others if train.scanners.index(name) in matched}


def theta_images(
    method: Calamiti, train: Cohort, target: str, slices: Stack, seed: int
) -> list[int]:
    """Training images of the target that give theta: one drawn by the seed, or all."""
    own = [i for (_, scanner), i in slices.where.items() if scanner == target]
    own = [i for i in own if slices.useful[i].any()]
    if method.theta == "mean":
        return own
    return [own[int(np.random.default_rng(seed).integers(len(own)))]]


def sizes(method: Calamiti, box: Box, scanners: Sequence[str]) -> Sizes:
    """Shapes of the networks of a fitted method."""
    return Sizes(
        slice_shape(box),
        len(scanners),
        method.beta_channels,
        method.theta_dim,
        method.beta_base,
        method.decoder_base,
    )


def train_all(
    method: Calamiti,
    plan: Mapping[str, Pairs],
    shapes: Sizes,
    slices: Stack,
    shown: Sequence[int],
    context: Context,
    fitted: Fitted,
) -> None:
    """Train the models one after the other and put what was learned into `fitted`."""
    device = torch.device(context.device)
    images = torch.from_numpy(slices.images).to(device)
    perceptual = losses.read_perceptual(method.vgg_weights, device) if method.vgg_weights else None
    start = build(shapes, seed_of(context.seed, 0)).to(device)
    fitted.parameters = {k: count_weights(part) for k, part in start.named_children()}
    stages: list[Stage] = [
        Stage(name, pairs, steps_of(method, pairs)) for name, pairs in plan.items()
    ]
    if method.shared_steps:
        stages.insert(0, Stage(ONE, joined(list(plan.values())), method.shared_steps, shared=True))
    done, total = 0, sum(stage.steps for stage in stages)
    for number, stage in enumerate(stages, start=1):
        networks = start if stage.shared else copy.deepcopy(start)
        first = 0 if stage.shared else method.shared_steps
        trainer = Trainer(networks, method, seed_of(context.seed, number), perceptual, first)

        def tick(step: int, before: int = done, name: str = stage.name) -> None:
            context.progress(before + step, total, f"training on {name}")

        rows = trainer.train(
            images, stage.pairs, stage.steps, method.anneal and not stage.shared, tick
        )
        fitted.history += [{"scanner": stage.name, **row} for row in rows]
        done += stage.steps
        if not stage.shared:
            keep(fitted, stage.name, networks, slices, shown)


class Stage(NamedTuple):
    """One stretch of training: a model's own, or the one that all models start from."""

    name: str
    pairs: Pairs
    steps: int
    shared: bool = False


def keep(
    fitted: Fitted, name: str, networks: Networks, slices: Stack, shown: Sequence[int]
) -> None:
    """Put one trained model's weights and its view of the target's contrast into `fitted`."""
    weights = inference.export(networks)
    fitted.weights |= {f"{name}{BETWEEN}{key}": array for key, array in weights.items()}
    thetas = [inference.contrast(networks, slices.images[i], slices.useful[i]) for i in shown]
    fitted.theta[name] = np.mean(thetas, axis=0, dtype=np.float64).astype(np.float32)


def steps_of(method: Calamiti, pairs: Pairs) -> int:
    """Batches of one model: the fixed number, or those of all epochs."""
    if method.steps is not None:
        return method.steps
    return method.epochs * math.ceil(len(pairs) / method.batch)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of slices of several models together."""
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    moved = [part.first + start for part, start in zip(parts, starts, strict=True)]
    return Pairs(
        np.concatenate([part.scans for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.z for part in parts]),
        np.concatenate(moved),
        np.concatenate([part.count for part in parts]),
    )


def seed_of(seed: int, stage: int) -> int:
    """Seed of one stretch of training."""
    return int(np.random.SeedSequence([seed, stage]).generate_state(1)[0])


def count_weights(part: torch.nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(weights.numel() for weights in part.parameters())


def apply(method: Calamiti, names: Sequence[str], slices: FloatArray) -> FloatArray:
    """Mean over the named models of what they make of slices (z, height, width)."""
    wanted = method.device_ if torch.cuda.is_available() else "cpu"
    shapes = sizes(method, tuple(method.box_), method.scanners_)
    made = []
    with steady(method.threads_):
        for name in names:
            prefix = f"{name}{BETWEEN}"
            weights = {
                key.removeprefix(prefix): array
                for key, array in method.weights_.items()
                if key.startswith(prefix)
            }
            networks = inference.restore(weights, shapes, torch.device(wanted))
            made.append(
                inference.harmonize(networks, slices, method.theta_[name], method.precision)
            )
    return np.mean(made, axis=0, dtype=np.float64).astype(np.float32)
