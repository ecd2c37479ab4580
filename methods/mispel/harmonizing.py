"""Step 2: harmonizing (paper, section 2.3.2), on embeddings that are computed once.

The encoders are frozen, so that their embeddings do not change and a decoder is L numbers: all
candidates for l4 are trained side by side, each as one channel of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.course import WINDOW, Course, Group, Objective, Row, Training
from harmobench.methods.mispel.network import Units, decode
from harmobench.methods.mispel.training import adam, descend
from harmobench.methods.mispel.watch import Watch, refuse_dead

CHUNK = 16  # slices that are encoded at once


@dataclass(frozen=True)
class Encoded(Group):
    """Matched slices with their embeddings.

    Attributes
    ----------
    embeddings
        (n, scanner, latent, height, width), in the precision they were computed in.
    """

    embeddings: Tensor

    def latents(self, chosen: NDArray[np.intp]) -> list[Tensor]:
        """One batch: (n, latent, height, width) for each scanner, float32."""
        picked = self.embeddings[torch.from_numpy(chosen).to(self.embeddings.device)]
        return [picked[:, s].float() for s in range(len(self.scanners))]


def encode_groups(
    units: Units, groups: Sequence[Group], precision: str, most: int | None = None
) -> list[Encoded]:
    """Embeddings of all slices, or of at most about `most`, evenly spaced over each group."""
    total = sum(len(group.images) for group in groups)
    stride = 1 if most is None else max(1, -(-total // most))
    return [_encode(units, group, precision, stride) for group in groups]


@torch.no_grad()
def _encode(units: Units, group: Group, precision: str, stride: int) -> Encoded:
    images = group.images[::stride].contiguous()
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    parts = []
    for first in range(0, len(images), CHUNK):
        part = images[first : first + CHUNK]
        z = [units.encode(s, part[:, i, None], precision) for i, s in enumerate(group.scanners)]
        parts.append(torch.stack(z, dim=1).to(dtype))  # bfloat16 embeddings lose nothing here
    return Encoded(group.scanners, images, torch.cat(parts))


def step2_terms(
    decoders: Sequence[Tensor],
    scanners: Sequence[int],
    x: Sequence[Tensor],
    z: Sequence[Tensor],
    objective: Objective,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Reconstruction and harmonization of one batch by candidate, and its outputs.

    Parameters
    ----------
    decoders
        Weights (candidates, latent) of every scanner of the model.
    scanners, x, z
        The batch's scanners, their slices and embeddings.
    objective
        What the losses are made of.
    """
    y = [decode(e, decoders[s], objective.activation) for s, e in zip(scanners, z, strict=True)]
    if objective.target is None:
        harm = losses.harmonization(y, objective.average)
    else:
        place = list(scanners).index(objective.target)
        harm = losses.mapping(y, x[place], place)
    return losses.reconstruction(x, y), harm, y


def harmonize(
    decoders: Sequence[Tensor],
    groups: Sequence[Encoded],
    weights: tuple[float, Sequence[float]],
    tolerance: float,
    training: Training,
) -> tuple[list[Tensor], list[Row]]:
    """Step 2: train decoders on l3 reconstruction + l4 harmonization.

    Parameters
    ----------
    decoders
        Step 1's weights (1, latent) of every scanner.
    groups
        Training slices with their embeddings.
    weights
        l3, and the candidates for l4.
    tolerance
        A candidate whose loss changes by less than this share of it from one epoch to the next is
        done; not looked at where steps are counted.
    training
        How.

    Returns
    -------
    decoders
        Weights (candidates, latent) of every scanner.
    curve
        A row for each candidate an epoch, or every 10 steps where steps are counted.

    Raises
    ------
    DivergedError
        The loss is not finite or exploded, or an output is dead at the end.
    """
    lambda4 = torch.tensor(weights[1], device=decoders[0].device)
    trained = [w.detach().repeat(len(lambda4), 1).requires_grad_() for w in decoders]
    watches = [_watch(training.head, value) for value in weights[1]]
    course = Course(groups, training.schedule, training.rng)
    optimizer = adam(trained, training.schedule.learning_rate)
    finished: dict[int, list[Tensor]] = {}
    for step, rate, group, chosen in course:
        x, z = group.slices(chosen), group.latents(chosen)
        recon, harm, y = step2_terms(trained, group.scanners, x, z, training.objective)
        loss = weights[0] * recon + lambda4 * harm
        descend(optimizer, loss.sum(), rate, None)  # clipping would tie the candidates together
        terms = torch.stack([loss, recon, harm], dim=1)
        for k in [k for k in range(len(watches)) if k not in finished]:
            watches[k].add(step, terms[k], rate, course.ends_row(step))
            epoch = course.ends_row(step) and training.schedule.steps is None
            if epoch and _still(watches[k].rows, tolerance):
                finished[k] = [w[k].detach().clone() for w in trained]
        if step % WINDOW == 0:
            training.report(step, course.total)
        if step == course.total or len(finished) == len(watches):
            refuse_dead(x, y, step)
            break
    return _gather(trained, finished), [row for watch in watches for row in watch.rows]


def _watch(head: Row, lambda4: float) -> Watch:
    name = ", ".join(filter(None, (head.get("candidate"), f"lambda4={lambda4:g}")))
    row = {"stage": "step 2"} | head | {"candidate": name, "lambda4": lambda4}
    return Watch(row, ("loss", "reconstruction", "harmonization"))


def _still(rows: Sequence[Row], tolerance: float) -> bool:
    if len(rows) < 2:
        return False
    before, after = float(rows[-2]["loss"]), float(rows[-1]["loss"])
    return abs(before - after) <= tolerance * abs(before)


def _gather(trained: Sequence[Tensor], finished: dict[int, list[Tensor]]) -> list[Tensor]:
    out = [w.detach().clone() for w in trained]
    for k, kept in finished.items():
        for w, own in zip(out, kept, strict=True):
            w[k] = own
    return out
