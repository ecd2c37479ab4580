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
    """Reconstruction and harmonization over all slices, by candidate."""
    total = sum(len(group.images) for group in groups)
    recon, harm = torch.zeros(2, len(decoders[0]), dtype=torch.float64)
    for group, x, z in _chunks(groups):
        share = len(x[0]) / total
        r, h, _ = step2_terms(decoders, group.scanners, x, z, objective)
        recon += share * r.double().cpu()
        harm += share * h.double().cpu()
    pairs = zip(recon.tolist(), harm.tolist(), strict=True)
    return [{"reconstruction": r, "harmonization": h} for r, h in pairs]


def _chunks(groups: Sequence[Encoded]) -> Any:
    for group in groups:
        for first in range(0, len(group.images), CHUNK):
            chosen = np.arange(first, min(first + CHUNK, len(group.images)))
            yield group, group.slices(chosen), group.latents(chosen)


def choose(
    scores: Sequence[Mapping[str, float]],
    rule: str,
    second: str,
    weighted: Sequence[float],
) -> int:
    """Index of the chosen candidate.

    Parameters
    ----------
    scores
        Of each candidate; they have "reconstruction" and `second`.
    rule
        "weighted": the smallest weighted loss, as published; over candidates for a weight that is
        degenerate, since the loss grows with the weight. "unweighted": the smallest `second`
        among those whose reconstruction is within 10% of the best. "second": the smallest `second`.
    second
        The score that the second rule goes by.
    weighted
        Weighted loss of each candidate.
    """
    everyone = range(len(scores))
    if rule == "weighted":
        return min(everyone, key=lambda i: weighted[i])
    if rule == "second":
        return min(everyone, key=lambda i: scores[i][second])
    limit = NEAR * min(score["reconstruction"] for score in scores)
    near = [i for i in everyone if scores[i]["reconstruction"] <= limit]
    return min(near, key=lambda i: scores[i][second])
