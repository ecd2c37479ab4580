"""The paper's losses (section 2.3.2).

Slices are (n, channels, height, width). A channel of an output is a candidate decoder, so that
several can be trained side by side; every loss of outputs has one value a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor


def absolute_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error by channel."""
    return (a - b).abs().mean(dim=(0, 2, 3))


def reconstruction(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """Sum over scanners of the mean absolute error between slices and outputs."""
    return torch.stack([absolute_error(a, b) for a, b in zip(x, y, strict=True)]).sum(dim=0)


def coupling(z: Sequence[Tensor]) -> Tensor:
    """Average over embeddings and pixels of the population variance over scanners."""
    return torch.stack(list(z)).var(dim=0, correction=0).mean()


def harmonization(y: Sequence[Tensor], average: str = "pairs") -> Tensor:
    """Mean absolute error between outputs over scanner pairs.

    Parameters
    ----------
    y
        Outputs of each scanner.
    average
        "pairs" divides the sum over pairs by their number, as the paper says; "scanners" by the
        number of scanners, as the published code does.
    """
    errors = torch.stack([absolute_error(a, b) for a, b in combinations(y, 2)])
    return errors.sum(dim=0) / (len(errors) if average == "pairs" else len(y))


def mapping(y: Sequence[Tensor], target: Tensor, place: int) -> Tensor:
    """Mean over the other scanners of the mean absolute error between outputs and target slices.

    In place of `harmonization` where outputs are to look like one scanner's images, as the paper's
    discussion proposes (section 4).

    Parameters
    ----------
    y
        Outputs of each scanner.
    target
        Slices of the target scanner (n, 1, height, width).
    place
        Which of the scanners that is.
    """
    others = [absolute_error(b, target) for i, b in enumerate(y) if i != place]
    return torch.stack(others).mean(dim=0)
