"""Training all models of one fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harmobench.errors import MethodError
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Cohort, Context, Progress
from harmobench.methods.calamiti import inference, losses
from harmobench.methods.calamiti.networks import Networks, Sizes, build
from harmobench.methods.calamiti.slices import (
    Box,
    Pairs,
    Range,
    Stack,
    brain_box,
    intensity_edges,
    joined,
    pair_slices,
    robust_range,
    stack,
)
from harmobench.methods.calamiti.training import Trainer, steady

if TYPE_CHECKING:
    from harmobench.methods.calamiti.plugin import Calamiti

BLANK = 1e-3  # of the training image's SD over the brain
ONE = "all"  # name of the model of `models="one"`


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
        fitted.models |= dict.fromkeys(sources, name)
    shown = theta_images(method, train, target, slices, context.seed)
    with steady(context.threads):
        train_all(
            method,
            plan,
            inference.sizes(method, box, train.scanners),
            slices,
            shown,
            context,
            fitted,
        )
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


class Stage(NamedTuple):
    """One stretch of training: a model's own, or the one that all models start from.

    Attributes
    ----------
    name, pairs
        The model, and what it is trained on.
    before, steps
        Batches that its networks have seen already, and those of this stretch.
    last
        Batch at which an annealed learning rate reaches 0.
    shared
        Whether all models start from this.
    """

    name: str
    pairs: Pairs
    before: int
    steps: int
    last: int
    shared: bool = False


def stages_of(method: Calamiti, plan: Mapping[str, Pairs]) -> list[Stage]:
    """Return what is trained, in order."""
    shared = method.shared_steps
    stages = []
    for name, pairs in plan.items():
        epoch = math.ceil(len(pairs) / method.batch)
        steps = method.steps or max(method.epochs * epoch, method.least_steps)
        stages.append(Stage(name, pairs, shared, steps, shared + steps))
    if shared:
        last = max(stage.last for stage in stages)
        stages.insert(0, Stage(ONE, joined(list(plan.values())), 0, shared, last, shared=True))
    return stages


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
    fitted.parameters = {name: count_weights(part) for name, part in start.named_children()}
    edges = intensity_edges(slices, shown, method.beta_channels) if method.warm_up else None
    stages = stages_of(method, plan)
    done, total = 0, sum(stage.steps for stage in stages)
    for number, stage in enumerate(stages, start=1):
        networks = start if stage.shared else copy.deepcopy(start)
        seed = seed_of(context.seed, number)
        trainer = Trainer(networks, method, seed, perceptual, stage.before)
        if stage.shared:
            common = trainer
        elif stage.before:
            trainer.follow(common)
        progress = partial(_report, context.progress, done, total, stage.name)
        fitted.history += train_stage(trainer, images, edges, stage, progress)
        done += stage.steps
        if not stage.shared:
            keep(fitted, stage.name, networks, slices, shown)


def _report(progress: Progress, before: int, total: int, name: str, done: int) -> None:
    progress(before + done, total, f"training on {name}")


def train_stage(
    trainer: Trainer,
    images: torch.Tensor,
    edges: FloatArray | None,
    stage: Stage,
    progress: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Train one stretch, the first with its warm-up; steps in the rows count that too."""
    warm_up = trainer.method.warm_up
    rows: list[dict[str, Any]] = []
    if edges is not None and not stage.before:
        rows += trainer.warm_up(images, stage.pairs, edges, warm_up)
    for row in trainer.train(images, stage.pairs, stage.steps, stage.last, progress):
        rows.append({**row, "step": row["step"] + warm_up})
    return [{"scanner": stage.name, **row} for row in rows]


def keep(
    fitted: Fitted, name: str, networks: Networks, slices: Stack, shown: Sequence[int]
) -> None:
    """Put one trained model's weights and its view of the target's contrast into `fitted`."""
    weights = inference.export(networks)
    fitted.weights |= {f"{name}{inference.BETWEEN}{key}": array for key, array in weights.items()}
    thetas = [inference.contrast(networks, slices.images[i], slices.useful[i]) for i in shown]
    fitted.theta[name] = inference.mean(thetas)
    _refuse_blank(networks, slices.images[shown[0]][slices.useful[shown[0]]], fitted, name)


def _refuse_blank(networks: Networks, images: FloatArray, fitted: Fitted, name: str) -> None:
    """Refuse a model that makes one grey of every brain: too high a rate kills a decoder so."""
    made = inference.harmonize(networks, images, fitted.theta[name])
    brain = images != 0
    if not made[brain].std() > BLANK * images[brain].std():
        raise MethodError(
            f"expected images with contrast from the model trained on {name}, found blank ones: "
            "lower calamiti.learning_rate"
        )


def seed_of(seed: int, stage: int) -> int:
    """Seed of one stretch of training."""
    return int(np.random.SeedSequence([seed, stage]).generate_state(1)[0])


def count_weights(part: torch.nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(weights.numel() for weights in part.parameters())
