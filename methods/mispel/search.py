"""Training of one orientation: candidates for L and l2, then for l4, and restarts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from harmobench.errors import MethodError
from harmobench.interface import Cohort, Context
from harmobench.methods.mispel import slices
from harmobench.methods.mispel.course import Group, Objective, Row, Schedule, Training, to_groups
from harmobench.methods.mispel.harmonizing import Encoded, encode_groups, harmonize
from harmobench.methods.mispel.network import Units, from_arrays, make_units, to_arrays
from harmobench.methods.mispel.selection import (
    even_handed,
    step1_scores,
    step2_scores,
    weighted_loss,
    well_reconstructed,
)
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
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Slices:
    """What one orientation is trained and judged on.

    Attributes
    ----------
    scanners
        Their names, in the model's order.
    crop
        How scans became slices.
    train, judges
        Matched slices of training and of validation subjects; `judges` are those of training where
        there is no validation.
    judged_on
        "validation" or "training".
    """

    scanners: Sequence[str]
    crop: slices.Crop
    train: Sequence[Group]
    judges: Sequence[Group]
    judged_on: str


def read_slices(
    method: Mispel, train: Cohort, validation: Cohort | None, orientation: str, context: Context
) -> Slices:
    """Read the matched scans of a fit as slices of one orientation, onto the device.

    Raises
    ------
    MethodError
        No training subject was seen on two scanners.
    """
    matched = train.select(train.matched)
    if not matched.scans:
        raise MethodError(
            "MISPEL needs subjects seen on at least 2 scanners, found none among the "
            f"{len(train.subjects)} training subjects"
        )
    names = [name for name in train.scanners if name in matched.scanners]
    crop = slices.plan_crop(matched, method.min_brain, orientation)
    found = []
    for cohort in (matched, validation):
        own = () if cohort is None else slices.matched_slices(cohort, names, crop, context.progress)
        found.append(to_groups(own, context.device))
    judged_on = "validation" if found[1] else "training"
    return Slices(names, crop, found[0], found[1] or found[0], judged_on)


@dataclass(frozen=True)
class Candidate:
    """One trained step 1.

    Attributes
    ----------
    latent, lambda2, learning_rate
        What it was trained with.
    units
        Encoders and decoders.
    scores
        On the slices that judge; empty where there is nothing to choose.
    history
        Training curve, restarts and scores.
    """

    latent: int
    lambda2: float
    learning_rate: float
    units: Units
    scores: Mapping[str, float]
    history: list[Row]

    @classmethod
    def of(cls, piece: Mispel, device: str) -> Candidate:
        """Make it from a fitted piece."""
        orientation = piece.orientations[0]
        made = piece.chosen_[orientation]
        units = from_arrays(slices.part_of(piece.weights_, orientation), device)
        rate = made["learning_rate"]
        return cls(piece.latent, piece.lambda2, rate, units, made["scores"], piece.history_)


@dataclass(frozen=True)
class Fitted:
    """What both steps leave for one orientation.

    Attributes
    ----------
    weights
        Of the network, by name.
    history
        Training curves, restarts and the scores that choices were made by.
    chosen
        The hyperparameters, and the learning rates that held.
    """

    weights: Arrays
    history: list[Row]
    chosen: dict[str, Any]


class Search:
    """Trains what a method's parameters ask for, on slices of one orientation."""

    def __init__(self, parameters: Mispel, data: Slices, context: Context) -> None:
        self.p = parameters
        self.data = data
        self.context = context
        self.place = slices.ORIENTATIONS[data.crop.orientation]

    def candidate(self, latent: int, lambda2: float, judge: bool) -> Candidate:
        """Step 1 with one L and l2."""
        head = _head(latent, lambda2)
        history: list[Row] = []

        def train(rate: float) -> Units:
            units = make_units(len(self.data.scanners), latent, self.seed, self.context.device)
            schedule = self._schedule(self.p.epochs1, self.p.steps, rate)
            what = f"MISPEL: step 1, {head['candidate']}"
            training = self._training(schedule, [latent, 1], head, what)
            if self.p.warm_steps:
                history.extend(warm_start(units, self.data.train, self.p.warm_steps, training))
            weights = (self.p.lambda1, lambda2)
            history.extend(learn_embeddings(units, self.data.train, weights, training))
            return units

        stage = {"stage": "step 1"} | head
        units, rate = _restarting(train, self.p.learning_rate, stage, history)
        scores = {}
        if judge:
            encoded = encode_groups(units, self.data.judges, self.p.precision)
            scores = step1_scores(list(units.decoders), encoded, self.p.decoder_activation)
            history.append(stage | {"event": self.data.judged_on} | scores)
        return Candidate(latent, lambda2, rate, units, scores, history)

    def finish(self, candidates: Sequence[Candidate]) -> Fitted:
        """Choose among candidates for step 1, and do step 2 on the best."""
        best = self._best(candidates)
        history = [row for candidate in candidates for row in candidate.history]
        lambda4, rate, weights = self._step2(best, history)
        chosen = {
            "latent": best.latent,
            "lambda2": best.lambda2,
            "lambda4": lambda4,
            "learning_rate": best.learning_rate,
            "learning_rate2": rate,
            "selection": self.p.selection,
            "selected_on": self.data.judged_on,
            "note": DEGENERATE if self.p.selection == "weighted" else "",
        }
        values = f"{_head(best.latent, best.lambda2)['candidate']}, lambda4={lambda4:g}"
        history.append({"stage": "step 2", "event": "chosen", "candidate": values})
        return Fitted(weights, history, chosen)

    @property
    def seed(self) -> int:
        """Of the first weights: the task's own, another for each orientation."""
        return self.context.seed + slices.ORIENTATIONS["axial"] - self.place

    def _best(self, candidates: Sequence[Candidate]) -> Candidate:
        if len(candidates) == 1:
            return candidates[0]
        scores = [c.scores for c in candidates]
        if self.p.selection == "unweighted":
            return candidates[well_reconstructed(scores)]
        weights = [{"reconstruction": self.p.lambda1, "coupling": c.lambda2} for c in candidates]
        return candidates[weighted_loss(scores, weights)]

    def _step2(self, best: Candidate, history: list[Row]) -> tuple[float, float, Arrays]:
        grid, units = self.p.lambda4_grid, best.units
        groups = self._with_target(self.data.train)
        encoded = encode_groups(units, groups, self.p.precision, self.p.slices2)
        head = _head(best.latent, best.lambda2)

        def train(rate: float) -> list[Tensor]:
            schedule = self._schedule(self.p.epochs2, self.p.steps2, rate)
            training = self._training(schedule, [best.latent, 2], head, "MISPEL: step 2")
            weights, start = (self.p.lambda3, grid), list(units.decoders)
            decoders, rows = harmonize(start, encoded, weights, self.p.tolerance, training)
            history.extend(rows)
            return decoders

        stage = {"stage": "step 2"} | head
        decoders, rate = _restarting(train, self.p.rate2, stage, history)
        k = self._best_decoder(units, decoders, encoded, (stage, history)) if len(grid) > 1 else 0
        arrays = to_arrays(units)
        for scanner, weights in enumerate(decoders):
            arrays[f"decoders.{scanner}"] = weights[k : k + 1].cpu().numpy()
        return grid[k], rate, arrays

    def _best_decoder(
        self,
        units: Units,
        decoders: Sequence[Tensor],
        judges: Sequence[Encoded],
        told: tuple[Row, list[Row]],
    ) -> int:
        head, history = told
        others = self._with_target(self.data.judges, refuse=False)
        if self.data.judges is not self.data.train and others:
            judges = encode_groups(units, others, self.p.precision)
        scores = step2_scores(decoders, judges, self._objective())
        weights = []
        for lambda4, score in zip(self.p.lambda4_grid, scores, strict=True):
            history.append(head | {"event": self.data.judged_on, "lambda4": lambda4} | score)
            weights.append({"reconstruction": self.p.lambda3, "harmonization": lambda4})
        if self.p.selection == "weighted":
            return weighted_loss(scores, weights)
        if self.p.target:  # an image that is mapped onto another scanner's is not to stay as it was
            return weighted_loss(scores, [{"harmonization": 1.0}] * len(scores))
        return even_handed(scores)

    def _with_target(self, groups: Sequence[Group], refuse: bool = True) -> list[Group]:
        place = self._objective().target
        kept = [group for group in groups if place is None or place in group.scanners]
        if refuse and not kept:
            raise MethodError(
                f"expected training subjects seen on mispel.target '{self.p.target}' and on "
                "another scanner, found none: choose another target, or use fewer folds"
            )
        return kept

    def _objective(self) -> Objective:
        names, target = list(self.data.scanners), self.p.target
        if target and target not in names:
            raise MethodError(
                f"expected training scans of mispel.target '{target}', found those of "
                f"{', '.join(names)}: choose one of these, or use fewer folds"
            )
        place = names.index(target) if target else None
        return Objective(self.p.decoder_activation, self.p.harmonization_average, place)

    def _schedule(self, epochs: int, steps: int | None, rate: float) -> Schedule:
        return Schedule(epochs, steps, self.p.batch, rate, self.p.decay, self.p.clip)

    def _training(
        self, schedule: Schedule, stream: Sequence[int], head: Row, what: str
    ) -> Training:
        report = partial(_report, self.context, what)
        rng = np.random.default_rng([self.seed, *stream])
        return Training(schedule, rng, self._objective(), self.p.precision, head, report)


def _head(latent: int, lambda2: float) -> Row:
    """Say of which candidate a row of the history is."""
    return {"latent": latent, "lambda2": lambda2, "candidate": f"L={latent}, lambda2={lambda2:g}"}


def _report(context: Context, what: str, done: int, total: int) -> None:
    context.progress(done, total, what)


def _restarting(
    train: Callable[[float], T], rate: float, head: Row, history: list[Row]
) -> tuple[T, float]:
    for _ in range(RESTARTS + 1):
        try:
            return train(rate), rate
        except DivergedError as error:
            reason = str(error)
            row = {"event": "diverged", "reason": reason, "learning_rate": rate}
            history.append(head | row)
            warnings.warn(
                f"MISPEL's training diverged ({head['stage']}, learning rate {rate:.2g}: {reason}) "
                f"and started again with {rate * SLOWER:.2g}",
                stacklevel=2,
            )
            rate *= SLOWER
    raise MethodError(
        f"MISPEL's training diverged {RESTARTS + 1} times, last with a learning rate of "
        f"{rate / SLOWER:.2g} ({reason}): check the training scans, or lower learning_rate"
    )
