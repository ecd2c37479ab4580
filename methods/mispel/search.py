"""A whole fit: the search over L and l2, step 1, the search over l4, step 2, and restarts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from harmobench.errors import MethodError
from harmobench.interface import Context
from harmobench.methods.mispel.course import Row, Schedule, Training, to_groups
from harmobench.methods.mispel.harmonizing import Encoded, encode_groups, harmonize
from harmobench.methods.mispel.network import Units, make_units, to_arrays
from harmobench.methods.mispel.selection import choose, step1_scores, step2_scores
from harmobench.methods.mispel.slices import Matched
from harmobench.methods.mispel.training import learn_embeddings
from harmobench.methods.mispel.warm import warm_start
from harmobench.methods.mispel.watch import DivergedError

if TYPE_CHECKING:
    from harmobench.methods.mispel.plugin import Mispel

SLOWER = 0.3  # what a restart multiplies the learning rate by
RESTARTS = 5
DEGENERATE = (
    "lambda2 and lambda4 were chosen by the weighted loss, as published; that loss grows with its "
    "weight, so that the smallest candidate tends to win whatever the images"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves.

    Attributes
    ----------
    weights
        Of the network, by name.
    history
        Training curves, restarts and the scores that choices were made by.
    chosen
        The hyperparameters, and the learning rates that held.
    """

    weights: dict[str, np.ndarray]
    history: list[Row]
    chosen: dict[str, Any]


@dataclass
class Candidate:
    """One trained step 1."""

    latent: int
    lambda2: float
    learning_rate: float
    units: Units
    scores: dict[str, float]


class Search:
    """Trains what the parameters ask for, on slices of one training and one validation set."""

    def __init__(
        self,
        parameters: Mispel,
        scanners: int,
        train: Sequence[Matched],
        validation: Sequence[Matched],
        context: Context,
    ) -> None:
        self.p = parameters
        self.scanners = scanners
        self.context = context
        self.train = to_groups(train, context.device)
        self.judges = to_groups(validation, context.device) or self.train
        self.judged_on = "validation" if validation else "training"
        self.history: list[Row] = []

    def run(self) -> Fitted:
        """Both steps."""
        best = self._step1()
        lambda4, rate, arrays = self._step2(best)
        chosen = {
            "latent": best.latent,
            "lambda2": best.lambda2,
            "lambda4": lambda4,
            "learning_rate": best.learning_rate,
            "learning_rate2": rate,
            "selection": self.p.selection,
            "selected_on": self.judged_on,
            "note": DEGENERATE if self.p.selection == "weighted" else "",
        }
        return Fitted(arrays, self.history, chosen)

    def _step1(self) -> Candidate:
        grid = [(n, w) for n in self.p.latent_grid for w in self.p.lambda2_grid]
        candidates = [self._candidate(n, w, len(grid) > 1) for n, w in grid]
        if len(candidates) == 1:
            return candidates[0]
        scores = [c.scores for c in candidates]
        weighted = [
            self.p.lambda1 * c.scores["reconstruction"] + c.lambda2 * c.scores["coupling"]
            for c in candidates
        ]
        return candidates[choose(scores, self.p.selection, "unit_coupling", weighted)]

    def _candidate(self, latent: int, lambda2: float, judge: bool) -> Candidate:
        name = f"L={latent}, lambda2={lambda2:g}"
        head = {"latent": latent, "lambda2": lambda2, "candidate": name}

        def train(rate: float) -> Units:
            units = make_units(self.scanners, latent, self.context.seed, self.context.device)
            schedule = self._schedule(self.p.epochs1, self.p.steps, rate)
            what = f"MISPEL: step 1, L={latent}, lambda2={lambda2:g}"
            training = self._training(schedule, [latent, 1], head, what)
            if self.p.warm_steps:
                self.history += warm_start(units, self.train, self.p.warm_steps, training)
            weights = (self.p.lambda1, lambda2)
            self.history += learn_embeddings(units, self.train, weights, training)
            return units

        units, rate = self._restarting(train, self.p.learning_rate, {"stage": "step 1"} | head)
        scores = {}
        if judge:
            encoded = encode_groups(units, self.judges, self.p.precision)
            scores = step1_scores(list(units.decoders), encoded, self.p.decoder_activation)
            self.history.append({"stage": "step 1", "event": self.judged_on} | head | scores)
        return Candidate(latent, lambda2, rate, units, scores)

    def _step2(self, best: Candidate) -> tuple[float, float, dict[str, np.ndarray]]:
        grid, units = self.p.lambda4_grid, best.units
        self.context.progress(0, 1, "MISPEL: embeddings")
        encoded = encode_groups(units, self.train, self.p.precision, self.p.slices2)
        name = f"L={best.latent}, lambda2={best.lambda2:g}"
        head = {"latent": best.latent, "lambda2": best.lambda2, "candidate": name}

        def train(rate: float) -> list[Tensor]:
            schedule = self._schedule(self.p.epochs2, self.p.steps2, rate)
            training = self._training(schedule, [best.latent, 2], head, "MISPEL: step 2")
            weights, start = (self.p.lambda3, grid), list(units.decoders)
            decoders, rows = harmonize(start, encoded, weights, self.p.tolerance, training)
            self.history += rows
            return decoders

        decoders, rate = self._restarting(train, self.p.rate2, {"stage": "step 2"} | head)
        k = self._best_decoder(units, decoders, encoded, head) if len(grid) > 1 else 0
        arrays = to_arrays(units)
        for scanner, weights in enumerate(decoders):
            arrays[f"decoders.{scanner}"] = weights[k : k + 1].cpu().numpy()
        return grid[k], rate, arrays

    def _best_decoder(
        self, units: Units, decoders: Sequence[Tensor], judges: list[Encoded], head: Row
    ) -> int:
        if self.judges is not self.train:
            judges = encode_groups(units, self.judges, self.p.precision)
        scores = step2_scores(
            decoders, judges, self.p.decoder_activation, self.p.harmonization_average
        )
        weighted = []
        for lambda4, score in zip(self.p.lambda4_grid, scores, strict=True):
            row = {"stage": "step 2", "event": self.judged_on, "lambda4": lambda4}
            self.history.append(head | row | score)
            weighted.append(
                self.p.lambda3 * score["reconstruction"] + lambda4 * score["harmonization"]
            )
        return choose(scores, self.p.selection, "harmonization", weighted)

    def _schedule(self, epochs: int, steps: int | None, rate: float) -> Schedule:
        return Schedule(epochs, steps, self.p.batch, rate, self.p.decay, self.p.clip)

    def _training(
        self, schedule: Schedule, stream: Sequence[int], head: Row, what: str
    ) -> Training:
        return Training(
            schedule,
            np.random.default_rng([self.context.seed, *stream]),
            self.p.decoder_activation,
            self.p.precision,
            self.p.harmonization_average,
            head,
            lambda done, total: self.context.progress(done, total, what),
        )

    def _restarting(self, train: Callable[[float], T], rate: float, head: Row) -> tuple[T, float]:
        for _ in range(RESTARTS + 1):
            try:
                return train(rate), rate
            except DivergedError as error:
                reason = str(error)
                row = {"event": "diverged", "reason": reason, "learning_rate": rate}
                self.history.append(head | row)
                rate *= SLOWER
        raise MethodError(
            f"MISPEL's training diverged {RESTARTS + 1} times, last with a learning rate of "
            f"{rate / SLOWER:.2g} ({reason}): check the training scans, or lower learning_rate"
        )
