"""Step 1: learning embeddings (paper, section 2.3.2), and what both steps share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.network import Units, decode
from harmobench.methods.mispel.slices import Matched

Row = dict[str, Any]
Report = Callable[[int, int], None]  # (steps done, steps in all)

EPSILON = 1e-7  # Keras's default for Adam
WINDOW = 10  # steps between two looks at the loss
WARM_UP = 10  # steps over which a decaying learning rate rises first
EXPLODED = 100.0  # times the first loss: far above any hump that training recovers from
JUDGED = 50  # steps after which outputs must resemble the slices
DEAD = 0.05  # of the slices' own standard deviation


G = TypeVar("G", bound="Group")


class DivergedError(Exception):
    """Training that cannot recover; its text is the reason."""


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
class Training:
    """What a step of the method needs beside units and slices.

    Attributes
    ----------
    schedule, rng
        How long, how fast, in which order.
    activation
        Of the decoders: "linear" or "relu".
    precision
        Of the encoders: "float32" or "bfloat16".
    average
        What the harmonization loss is divided by: "pairs" or "scanners".
    head
        What every row of the curve says, such as L and the weights.
    report
        Where progress goes.
    """

    schedule: Schedule
    rng: np.random.Generator
    activation: str = "linear"
    precision: str = "float32"
    average: str = "pairs"
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
        self.every = per_epoch if schedule.steps is None else WINDOW  # steps in a row of the curve

    def __iter__(self) -> Iterator[tuple[int, float, G, NDArray[np.intp]]]:
        """Yield the steps."""
        step = 0
        while step < self.total:
            for number, chosen in epoch_batches(self.sizes, self.schedule.batch, self.rng):
                if step == self.total:
                    return
                yield step + 1, self.schedule.rate(step, self.total), self.groups[number], chosen
                step += 1


class Watch:
    """Notices divergence, and gathers the training curve.

    Parameters
    ----------
    head
        What every row of the curve says, such as the step of the method.
    names
        Of the loss terms, the total first.
    """

    def __init__(self, head: Row, names: Sequence[str]) -> None:
        self.head = head
        self.names = names
        self.rows: list[Row] = []
        self._recent: list[Tensor] = []
        self._first: float | None = None

    def add(self, step: int, terms: Tensor, rate: float, every: int) -> bool:
        """Note the terms of a step (from 1); return whether a row was finished with it.

        Raises
        ------
        DivergedError
            The loss is not finite, or exploded.
        """
        self._recent.append(terms.detach())
        if step == 1 or step % WINDOW == 0:
            self._check(torch.stack(self._recent[-WINDOW:])[:, 0])
        if step % every:
            return False
        means = torch.stack(self._recent).double().mean(dim=0).tolist()
        values = dict(zip(self.names, means, strict=True))
        self.rows.append(self.head | {"iteration": step, "learning_rate": rate} | values)
        self._recent.clear()
        return True

    def _check(self, totals: Tensor) -> None:
        mean = float(totals.double().mean())
        if not math.isfinite(mean):
            raise DivergedError("the loss is not finite")
        if self._first is None:
            self._first = mean
        elif mean > EXPLODED * self._first:
            raise DivergedError(f"the loss rose from {self._first:.3g} to {mean:.3g}")


@torch.no_grad()
def refuse_dead(x: Sequence[Tensor], y: Sequence[Tensor], steps: int) -> None:
    """Notice outputs that are next to constant, or no nearer to the slices than nothing at all.

    Training of fewer than 50 steps is not judged: it may not have come so far.

    Raises
    ------
    DivergedError
        Standard deviation of some output below 5% of its slices', or a mean absolute error above
        that of an empty output.
    """
    if steps < JUDGED:
        return
    for scanner, (a, b) in enumerate(zip(x, y, strict=True), start=1):
        dead = b.std(dim=(0, 2, 3)) < DEAD * a.std()
        astray = losses.absolute_error(b, a) > a.abs().mean()
        if bool(dead.any()) or bool(astray.any()):
            raise DivergedError(f"the output of decoder {scanner} is dead")


def adam(parameters: Sequence[nn.Parameter] | list[Tensor], rate: float) -> torch.optim.Adam:
    """Adam with Keras's epsilon, which Torch adds after the bias correction and Keras before."""
    return torch.optim.Adam(parameters, lr=rate, eps=EPSILON)


def descend(optimizer: torch.optim.Adam, loss: Tensor, rate: float, clip: float | None) -> None:
    """One step of gradient descent."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for group in optimizer.param_groups:
        group["lr"] = rate
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(group["params"], clip)
    optimizer.step()


def step1_terms(
    units: Units, scanners: Sequence[int], x: Sequence[Tensor], activation: str, precision: str
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Reconstruction and coupling of one batch, and its outputs."""
    z = [units.encode(s, a, precision) for s, a in zip(scanners, x, strict=True)]
    y = [decode(e, units.decoders[s], activation) for s, e in zip(scanners, z, strict=True)]
    return losses.reconstruction(x, y)[0], losses.coupling(z), y


def learn_embeddings(
    units: Units, groups: Sequence[Group], weights: tuple[float, float], training: Training
) -> list[Row]:
    """Step 1: train all encoders and decoders, in place, on l1 reconstruction + l2 coupling.

    Parameters
    ----------
    units
        Changed in place.
    groups
        Training slices.
    weights
        l1 and l2.
    training
        How.

    Returns
    -------
    list of dict
        The training curve: a row an epoch, or every 10 steps where steps are counted.

    Raises
    ------
    DivergedError
        The loss is not finite or exploded, or an output is dead at the end.
    """
    schedule = training.schedule
    course = Course(groups, schedule, training.rng)
    watch = Watch({"step": 1} | training.head, ("loss", "reconstruction", "coupling"))
    optimizer = adam(list(units.parameters()), schedule.learning_rate)
    for step, rate, group, chosen in course:
        x = group.slices(chosen)
        recon, coup, y = step1_terms(
            units, group.scanners, x, training.activation, training.precision
        )
        loss = weights[0] * recon + weights[1] * coup
        descend(optimizer, loss, rate, schedule.clip)
        if watch.add(step, torch.stack([loss, recon, coup]), rate, course.every):
            training.report(step, course.total)
        if step == course.total:
            refuse_dead(x, y, course.total)
    return watch.rows
