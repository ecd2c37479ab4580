"""Cross-validation by subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harmobench.cohort import Cohort
from harmobench.errors import SettingsError

SMALLEST_TEST = 2
SMALLEST_TRAINING = 2
TRIES = 200  # other seeds for the folds of a repeat


@dataclass(frozen=True)
class Split:
    """Subjects of one fold.

    Attributes
    ----------
    test, validation, training
        Disjoint. Training and validation hold matched subjects only; validation may be empty.
    """

    test: tuple[str, ...]
    validation: tuple[str, ...]
    training: tuple[str, ...]


def fold_count(subjects: int, asked: int | None, most: int = 6) -> int:
    """Count the folds: what was asked for, else min(6, n / 2), at least 2.

    Raises
    ------
    SettingsError
        Too few subjects for test sets of 2 and training sets of 2.
    """
    count = asked if asked is not None else max(2, min(most, subjects // 2))
    if count < 2:
        raise SettingsError(f"--folds: expected at least 2, found {count}")
    if subjects < count * SMALLEST_TEST:
        raise SettingsError(
            f"expected at least {count * SMALLEST_TEST} matched subjects for {count} folds with "
            f"{SMALLEST_TEST} test subjects each, found {subjects}: scan more people, ask for "
            "fewer folds, or choose methods that need none (--methods raw,whitestripe,ravel)"
        )
    return count


def assign(
    cohort: Cohort, count: int, seed: int, groups: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Assign every subject to a test fold, balanced by group, following the seed.

    Unmatched subjects are dealt out last: they are tested, and train nothing.
    """
    rng = np.random.default_rng(seed)
    matched = sorted(cohort.matched)
    shuffled = [matched[i] for i in rng.permutation(len(matched))]
    by_group = sorted(shuffled, key=lambda s: (groups or {}).get(s, ""))  # stable: keeps shuffle
    dealt = by_group + sorted(cohort.unmatched)
    return {subject: i % count for i, subject in enumerate(dealt)}


def assign_each(
    cohort: Cohort,
    count: int,
    seed: int,
    repeats: int,
    groups: Mapping[str, str] | None = None,
) -> tuple[dict[str, int], ...]:
    """Assign folds for each repeat, each partition once as long as others are to be found.

    A repeat with the folds of an earlier one would differ from it by the networks' seeds alone, and
    by nothing where a method draws none.
    """
    found: list[dict[str, int]] = []
    spare: list[dict[str, int]] = []
    seen: set[frozenset[frozenset[str]]] = set()
    for more in range(repeats + TRIES):
        folds = assign(cohort, count, seed + more, groups)
        parts = frozenset(
            frozenset(s for s, k in folds.items() if k == fold) for fold in range(count)
        )
        (spare if parts in seen else found).append(folds)
        seen.add(parts)
        if len(found) == repeats:
            break
    return tuple([*found, *spare][:repeats])


def assign_from_column(cohort: Cohort) -> dict[str, int] | None:
    """Folds from the manifest's `fold` column; None where it has none.

    Raises
    ------
    SettingsError
        A subject without a fold or with two, or fewer than two folds.
    """
    named = {scan.subject: scan.values.get("fold", "") for scan in cohort.scans}
    if not any(named.values()):
        return None
    for scan in cohort.scans:
        text = scan.values.get("fold", "")
        if not text:
            raise SettingsError(
                f"column fold: expected a fold for every scan, found an empty cell for {scan}: "
                "fill the column, or leave it out"
            )
        if text != named[scan.subject]:
            raise SettingsError(
                f"column fold: expected one value for all scans of subject {scan.subject}, "
                f"found '{named[scan.subject]}' and '{text}'"
            )
    order = {text: i for i, text in enumerate(sorted(set(named.values())))}
    if len(order) < 2:
        raise SettingsError("column fold: expected at least 2 folds, found 1")
    return {subject: order[text] for subject, text in named.items()}


def split(cohort: Cohort, folds: Mapping[str, int], fold: int) -> Split:
    """Subjects of one fold: test, validation (the next fold; none where there are two), training.

    Raises
    ------
    SettingsError
        Fewer than 2 training subjects.
    """
    count = max(folds.values()) + 1
    following = (fold + 1) % count if count > 2 else None
    matched = set(cohort.matched)
    test = tuple(s for s in cohort.subjects if folds[s] == fold)
    validation = tuple(s for s in cohort.subjects if folds[s] == following and s in matched)
    training = tuple(
        s for s in cohort.subjects if folds[s] not in (fold, following) and s in matched
    )
    if len(training) < SMALLEST_TRAINING:
        raise SettingsError(
            f"fold {fold}: expected at least {SMALLEST_TRAINING} training subjects, found "
            f"{len(training)} beside {len(test)} test and {len(validation)} validation subjects: "
            "scan more people, ask for other --folds, or choose methods that need none"
        )
    return Split(test, validation, training)


def describe(folds: Mapping[str, int]) -> str:
    """Test subjects of each fold, for people."""
    sizes = Counter(folds.values())
    return f"{len(sizes)} folds of {', '.join(str(sizes[k]) for k in sorted(sizes))} subjects"
