"""The order of a training: matched slices on the device, batches, learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmobench.methods.mispel.slices import Matched

Row = dict[str, Any]
Report = Callable[[int, int], None]  # (steps done, steps in all)

WINDOW = 10  # steps in a row of the training curve where steps are counted
WARM_UP = 10  # steps over which a decaying learning rate rises first
QUARTERS = 4  # of a training, after each of which its outputs are looked at

G = TypeVar("G", bound="Group")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    epochs
        Passes over all slices, where `steps` is None.
    steps
        Batches in all.
    batch
        Matched slices a batch.
    learning_rate
        Of Adam.
    decay
        "constant", or "cosine": a short linear rise, then half a cosine to 0.
    clip
        Largest norm of the gradient; None leaves it as it is.
    """

    epochs: int
    steps: int | None
    batch: int
    learning_rate: float
    decay: str
    clip: float | None

    def total(self, per_epoch: int) -> int:
        """Batches in all."""
        return self.epochs * per_epoch if self.steps is None else self.steps

    def rate(self, step: int, total: int) -> float:
        """Learning rate of a step (from 0)."""
        if self.decay == "constant":
            return self.learning_rate
        rise = min(1.0, (step + 1) / min(WARM_UP, total))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / total))


@dataclass(frozen=True)
class Objective:
    """What losses are made of.

    Attributes
    ----------
    activation
        Of the decoders: "linear" or "relu".
    average
        What the harmonization loss is divided by: "pairs" or "scanners".
    target
        The model's scanner that all others are mapped onto; None: the middle ground.
    """

    activation: str = "linear"
    average: str = "pairs"
    target: int | None = None


@dataclass(frozen=True)
class Training:
    """What a step of the method needs beside units and slices.

    Attributes
    ----------
    schedule, rng
        How long, how fast, in which order.
    objective
        What the losses are made of.
    precision
        Of the encoders: "float32" or "bfloat16".
    head
        What every row of the curve says, such as L and the weights.
    report
        Where progress goes.
    """

    schedule: Schedule
    rng: np.random.Generator
    objective: Objective = field(default_factory=Objective)
    precision: str = "float32"
    head: Row = field(default_factory=dict)
    report: Report = lambda done, total: None


@dataclass(frozen=True)
class Group:
    """Matched slices on the device.

    Attributes
    ----------
    scanners
        Indices into the model's scanners.
    images
        Slices (n, scanner, height, width).
    """

    scanners: tuple[int, ...]
    images: Tensor

    def slices(self, chosen: NDArray[np.intp]) -> list[Tensor]:
        """One batch: (n, 1, height, width) for each scanner."""
        picked = self.images[torch.from_numpy(chosen).to(self.images.device)]
        return [picked[:, s, None].contiguous() for s in range(len(self.scanners))]


def to_groups(matched: Sequence[Matched], device: str) -> list[Group]:
    """Move matched slices to the device."""
    return [Group(m.scanners, torch.from_numpy(m.images).to(device)) for m in matched]


def epoch_batches(
    sizes: Sequence[int], batch: int, rng: np.random.Generator
) -> list[tuple[int, NDArray[np.intp]]]:
    """One epoch in random order: (group, slices); a batch has slices of one group only."""
    batches = []
    for group, size in enumerate(sizes):
        order = rng.permutation(size)
        batches += [(group, order[i : i + batch]) for i in range(0, size, batch)]
    return [batches[i] for i in rng.permutation(len(batches))]


class Course(Generic[G]):
    """The batches of one training, in order: (step from 1, learning rate, group, slices).

    Parameters
    ----------
    groups
        Training slices.
    schedule, rng
        How long, how fast, in which order.
    """

    def __init__(self, groups: Sequence[G], schedule: Schedule, rng: np.random.Generator) -> None:
        self.groups = groups
        self.schedule = schedule
        self.rng = rng
        self.sizes = [len(group.images) for group in groups]
        per_epoch = sum(-(-size // schedule.batch) for size in self.sizes)
        self.total = schedule.total(per_epoch)
        self._row = per_epoch if schedule.steps is None else WINDOW

    def ends_row(self, step: int) -> bool:
        """Whether a row of the training curve ends with this step: an epoch, or 10 steps."""
        return step % self._row == 0 or step == self.total

    def ends_quarter(self, step: int) -> bool:
        """Whether a quarter of the training ends with this step."""
        return step == self.total or step % max(1, self.total // QUARTERS) == 0

    def __iter__(self) -> Iterator[tuple[int, float, G, NDArray[np.intp]]]:
        """Yield the steps."""
        step = 0
        while step < self.total:
            for number, chosen in epoch_batches(self.sizes, self.schedule.batch, self.rng):
                if step == self.total:
                    return
                yield step + 1, self.schedule.rate(step, self.total), self.groups[number], chosen
                step += 1
