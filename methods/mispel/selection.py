"""Choosing hyperparameters by validation losses (paper, section 2.3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.course import Objective
from harmobench.methods.mispel.harmonizing import CHUNK, Encoded, step2_terms

NEAR = 1.10  # of the best reconstruction on the grid

Scores = dict[str, float]
Weights = Mapping[str, float]


@torch.no_grad()
def step1_scores(decoders: Sequence[Tensor], groups: Sequence[Encoded], activation: str) -> Scores:
    """Reconstruction and coupling over all slices, and the coupling of unit-variance embeddings.

    The last does not change when embeddings shrink while decoders grow, as the second does.
    """
    total = sum(len(group.images) for group in groups)
    sums: dict[str, float] = {"reconstruction": 0.0, "coupling": 0.0}
    moments = torch.zeros(4, decoders[0].shape[1], dtype=torch.float64)
    for group, x, z in _chunks(groups):
        share = len(x[0]) / total
        recon, _, _ = step2_terms(decoders, group.scanners, x, z, Objective(activation))
        sums["reconstruction"] += share * float(recon[0])
        sums["coupling"] += share * float(losses.coupling(z))
        moments += _moments(torch.stack(z).double()).cpu()
    count, first, second, between = moments
    spread = second / count - (first / count) ** 2
    alive = spread > 0
    unit = (between / count)[alive] / spread[alive]
    return sums | {"unit_coupling": float(unit.mean()) if alive.any() else 0.0}


def _moments(z: Tensor) -> Tensor:
    # by embedding: values, their sum, their squares' sum, variance over scanners (as often)
    over = (0, 1, 3, 4)
    first, second = z.sum(dim=over), (z**2).sum(dim=over)
    between = z.var(dim=0, correction=0).sum(dim=(0, 2, 3)) * len(z)
    return torch.stack([torch.full_like(first, z.numel() / z.shape[2]), first, second, between])


@torch.no_grad()
def step2_scores(
    decoders: Sequence[Tensor], groups: Sequence[Encoded], objective: Objective
) -> list[Scores]:
    """Errors over all slices, by candidate.

    Returns
    -------
    list of dict
        "reconstruction" and "harmonization", the terms of the loss, and what does not depend on
        how those are summed: "own", the mean absolute error of an output from its own slice, and
        "between", that from another scanner's output.
    """
    total = sum(len(group.images) for group in groups)
    names = ("reconstruction", "harmonization", "own", "between")
    sums = torch.zeros(len(names), len(decoders[0]), dtype=torch.float64)
    for group, x, z in _chunks(groups):
        recon, harm, y = step2_terms(decoders, group.scanners, x, z, objective)
        terms = torch.stack([recon, harm, recon / len(x), losses.harmonization(y)])
        sums += len(x[0]) / total * terms.double().cpu()
    return [dict(zip(names, column, strict=True)) for column in sums.T.tolist()]


def _chunks(groups: Sequence[Encoded]) -> Any:
    for group in groups:
        for first in range(0, len(group.images), CHUNK):
            chosen = np.arange(first, min(first + CHUNK, len(group.images)))
            yield group, group.slices(chosen), group.latents(chosen)


def well_reconstructed(scores: Sequence[Mapping[str, float]]) -> int:
    """Index of the least coupling of unit-variance embeddings, for step 1.

    Among candidates whose reconstruction is within 10% of the best: neither score depends on the
    weights of the loss.
    """
    limit = NEAR * min(score["reconstruction"] for score in scores)
    near = [i for i, score in enumerate(scores) if score["reconstruction"] <= limit]
    return min(near, key=lambda i: scores[i]["unit_coupling"])


def even_handed(scores: Sequence[Mapping[str, float]]) -> int:
    """Index of the least sum of own and between error, for step 2.

    Both are mean absolute errors of one slice from another, in the same units. Outputs that stay as
    they were have all of the scanners' differences between them; outputs in the middle have half of
    it to their own slices; dead ones are far from theirs. A limit on reconstruction alone, as in
    step 1, would leave images as they were: after a good step 1, every step towards another scanner
    costs more than 10% of what little error there is.
    """
    return _least([score["own"] + score["between"] for score in scores])


def _least(values: Sequence[float]) -> int:
    return min(range(len(values)), key=lambda i: values[i])


def weighted_loss(scores: Sequence[Mapping[str, float]], weights: Sequence[Weights]) -> int:
    """Index of the least weighted loss, as published.

    Over candidates for a weight that is degenerate: the loss grows with the weight.

    Parameters
    ----------
    scores
        Of each candidate.
    weights
        Of each candidate: the weights of its loss by the names of the scores.
    """
    return _least(
        [
            sum(weight * score[name] for name, weight in own.items())
            for score, own in zip(scores, weights, strict=True)
        ]
    )
