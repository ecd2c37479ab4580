"""A first stretch of training that all scanners share; not in the paper, for small budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.network import Units, decode
from harmobench.methods.mispel.training import (
    WINDOW,
    Group,
    Report,
    Row,
    Schedule,
    Watch,
    adam,
    descend,
    endless_batches,
)


def warm_start(
    units: Units,
    groups: Sequence[Group],
    steps: int,
    schedule: Schedule,
    rng: np.random.Generator,
    settings: tuple[str, str],
    head: Row,
    report: Report,
) -> list[Row]:
    """Train the first scanner's unit to reconstruct slices of any scanner; copy it to the others.

    A step costs a scanner's share of a step of step 1, and the embeddings of all scanners begin
    with one meaning. Returns the training curve, as step 0.
    """
    # slices of all scanners in one row: a batch draws from all of them
    pooled = [Group((0,), group.images.flatten(0, 1)[:, None]) for group in groups]
    schedule = replace(schedule, steps=steps)
    watch = Watch({"step": 0} | head, ("loss", "reconstruction"))
    encoder, decoder = units.encoders[0], units.decoders[0]
    optimizer = adam([*encoder.parameters(), decoder], schedule.learning_rate)
    batches = endless_batches([len(group.images) for group in pooled], schedule.batch, rng)
    for step in range(steps):
        number, chosen = next(batches)
        x = pooled[number].slices(chosen)
        y = decode(units.encode(0, x[0], settings[1]), decoder, settings[0])
        loss = losses.reconstruction(x, [y])[0]
        rate = schedule.rate(step, steps)
        descend(optimizer, loss, rate, schedule.clip)
        if watch.add(step + 1, torch.stack([loss, loss]), rate, WINDOW):
            report(step + 1, steps)
    _copy_first(units)
    return watch.rows


@torch.no_grad()
def _copy_first(units: Units) -> None:
    for encoder, decoder in zip(units.encoders[1:], list(units.decoders)[1:], strict=True):
        encoder.load_state_dict(units.encoders[0].state_dict())
        decoder.copy_(units.decoders[0])
