"""Noticing divergence, and keeping the training curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from harmobench.methods.mispel import losses
from harmobench.methods.mispel.course import WINDOW, Row

EXPLODED = 100.0  # times the first loss: far above any hump that training recovers from
JUDGED = 50  # steps after which outputs must resemble the slices
DEAD = 0.05  # of the slices' own standard deviation


class DivergedError(Exception):
    """Training that cannot recover; its text is the reason."""


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

    def add(self, step: int, terms: Tensor, rate: float, ends_row: bool) -> None:
        """Note the terms of a step (from 1), and finish a row of the curve with it.

        Raises
        ------
        DivergedError
            The loss is not finite, or exploded.
        """
        self._recent.append(terms.detach())
        if step == 1 or step % WINDOW == 0:
            self._check(torch.stack(self._recent[-WINDOW:])[:, 0])
        if ends_row:
            means = torch.stack(self._recent).double().mean(dim=0).tolist()
            values = dict(zip(self.names, means, strict=True))
            self.rows.append(self.head | {"iteration": step, "learning_rate": rate} | values)
            self._recent.clear()

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

    Training of fewer than 50 steps is not judged: it may not have come so far. Of candidates that
    are trained side by side, a live one is enough.

    Raises
    ------
    DivergedError
        Standard deviation of some output below 5% of its slices', or a mean absolute error above
        that of an empty output, in every candidate.
    """
    if steps < JUDGED:
        return
    flat = [b.std(dim=(0, 2, 3)) < DEAD * a.std() for a, b in zip(x, y, strict=True)]
    astray = [losses.absolute_error(b, a) > a.abs().mean() for a, b in zip(x, y, strict=True)]
    dead = torch.stack(flat) | torch.stack(astray)  # (scanner, candidate)
    if bool(dead.any(dim=0).all()):
        which = ", ".join(str(i + 1) for i in dead.any(dim=1).nonzero().flatten().tolist())
        raise DivergedError(f"outputs are dead: of decoder {which} of {len(dead)}")
