"""Step 1: learning embeddings (paper, section 2.3.2), and the optimizer of both steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.course import WINDOW, Course, Group, Row, Training
from harmobench.methods.mispel.network import Units, decode
from harmobench.methods.mispel.watch import Watch, refuse_dead

EPSILON = 1e-7  # Keras's default for Adam


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
    watch = Watch({"stage": "step 1"} | training.head, ("loss", "reconstruction", "coupling"))
    optimizer = adam(list(units.parameters()), schedule.learning_rate)
    for step, rate, group, chosen in course:
        x = group.slices(chosen)
        recon, coup, y = step1_terms(
            units, group.scanners, x, training.objective.activation, training.precision
        )
        loss = weights[0] * recon + weights[1] * coup
        descend(optimizer, loss, rate, schedule.clip)
        watch.add(step, torch.stack([loss, recon, coup]), rate, course.ends_row(step))
        if step % WINDOW == 0:
            training.report(step, course.total)
        if course.ends_quarter(step):
            refuse_dead(x, y, step)
    return watch.rows
