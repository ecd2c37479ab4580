"""A first stretch of training that all scanners share; not in the paper, for small budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.course import WINDOW, Course, Group, Row, Training
from harmobench.methods.mispel.network import Units, decode
from harmobench.methods.mispel.training import adam, descend
from harmobench.methods.mispel.watch import Watch


def warm_start(units: Units, groups: Sequence[Group], steps: int, training: Training) -> list[Row]:
    """Train the first scanner's unit to reconstruct slices of any scanner; copy it to the others.

    A step costs one scanner's share of a step of step 1, and the embeddings of all scanners begin
    with one meaning. Returns the training curve, as step 0.
    """
    # slices of all scanners in one row: a batch draws from all of them
    pooled = [Group((0,), group.images.flatten(0, 1)[:, None]) for group in groups]
    schedule = replace(training.schedule, steps=steps)
    course = Course(pooled, schedule, training.rng)
    watch = Watch({"stage": "warm start"} | training.head, ("loss", "reconstruction"))
    encoder, decoder = units.encoders[0], units.decoders[0]
    optimizer = adam([*encoder.parameters(), decoder], schedule.learning_rate)
    for step, rate, group, chosen in course:
        x = group.slices(chosen)
        z = units.encode(0, x[0], training.precision)
        y = decode(z, decoder, training.objective.activation)
        loss = losses.reconstruction(x, [y])[0]
        descend(optimizer, loss, rate, schedule.clip)
        watch.add(step, torch.stack([loss, loss]), rate, course.ends_row(step))
        if step % WINDOW == 0:
            training.report(step, steps)
    _copy_first(units)
    return watch.rows


@torch.no_grad()
def _copy_first(units: Units) -> None:
    for encoder, decoder in zip(units.encoders[1:], list(units.decoders)[1:], strict=True):
        encoder.load_state_dict(units.encoders[0].state_dict())
        decoder.copy_(units.decoders[0])
