"""What a reader must know of runs that were made into one benchmark, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harmobench.reports.citing.words import joined
from harmobench.reports.compare.folds import elsewhere, leading, others
from harmobench.reports.compare.naming import Names, in_order
from harmobench.reports.compare.runs import Member
from harmobench.reports.style import label

MORE_TESTS = (
    "More methods are tested at once than in each run's own report, so adjusted p are not those "
    "that stand there."
)


def remarks(members: Sequence[Member], names: Sequence[Names]) -> list[str]:
    """Sentences on what is one method and what is not, and on what was left out."""
    return [
        *_shared(members, names),
        *_trainings(members),
        *_folded(members),
        *_lacking(members),
        MORE_TESTS,
    ]


def _shared(members: Sequence[Member], names: Sequence[Names]) -> Iterator[str]:
    every = [name for own in names for name in own.values()]
    shared = [name for name in dict.fromkeys(every) if every.count(name) > 1]
    renamed = {new for own in names for old, new in own.items() if old != new}
    apart = [name for name in in_order(members, names) if name in renamed]
    yield (
        f"{joined([label(name) for name in shared])} {_were(shared)} run with the same settings "
        f"and with equal scores in more than one run, and {_stand(shared)} here once."
    )
    if apart:
        yield (
            f"{joined([label(name) for name in apart])} are named after their runs: their settings "
            "or their scores differ."
        )
    elif all(set(own) == set(names[0]) for own in names):
        yield "Every score is the same in all of them: there is nothing to tell them apart."


def _were(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _stand(names: Sequence[str]) -> str:
    return "stands" if len(names) == 1 else "stand"


def _trainings(members: Sequence[Member]) -> Iterator[str]:
    trained = [member for member in members if member.run.design.trained]
    if len(trained) > 1 and (len({m.job.seed for m in trained}) > 1 or others(members)):
        yield (
            "Runs with other seeds or other test folds are other trainings: a difference between "
            "them is one between methods only where it is larger than what another seed or other "
            "folds make of one method. Run with --repeats to see how much that is."
        )


def _folded(members: Sequence[Member]) -> Iterator[str]:
    first = leading(members).name
    if apart := joined([member.name for member in others(members)]):
        yield (
            f"The test folds of {apart} are not those of {first}. Tests over folds compare a "
            "method with RAW, and use the folds of its own run; between two methods of other folds "
            "there is none, and tests over subjects stand alone."
        )
    if apart := joined([member.name for member in elsewhere(members)]):
        yield (
            "Identifiability within folds is looked up among the subjects of one test fold, here "
            f"those of {first}; it is left out for what only {apart} ran, where folds are others."
        )


def _lacking(members: Sequence[Member]) -> Iterator[str]:
    """Say what only some of the runs measured, what the same ones did in one sentence."""
    found: dict[tuple[str, ...], list[str]] = {}
    for kind in ("metrics", "segmenters", "morphometry"):
        for name in dict.fromkeys(p.name for m in members for p in getattr(m.job, kind)):
            who = tuple(m.name for m in members if m.part(kind, name) is not None)
            if len(who) < len(members):
                found.setdefault(who, []).append(label(name))
    for having, names in found.items():
        yield f"{joined(names)} {_were(names)} part of {joined(having)} alone."
