"""In which way the paper's mode and the rigorous mode disagree on a method, in words."""

from __future__ import annotations

from dataclasses import dataclass

from harmobench.reports.verdicts.verdict import Count, Criterion

OPPOSITE, PAPER_ONLY, RIGOROUS_ONLY, BOTH_WAYS = (
    "opposite",
    "paper only",
    "rigorous only",
    "both ways",
)
SAID = {  # each kind, in a sentence that counts them
    OPPOSITE: "opposite",
    PAPER_ONLY: "shown by the paper's uncorrected tests alone",
    RIGOROUS_ONLY: "shown by the rigorous mode alone",
    BOTH_WAYS: "with scanner pairs that point both ways",
}


@dataclass(frozen=True)
class RigorousSide:
    """The rigorous side of a line; `direction` is 1 better, -1 worse, 0 neither shown."""

    word: str
    difference: str = ""
    p: str = ""
    tone: str = ""
    direction: int = 0
    tested: bool = True


def shown(criterion: Criterion, counted: Count, cases: str) -> str:
    """Return such as "better in 5 of 6 scanner pairs, worse in 1"."""
    if not counted.cases:
        return counted.status
    if criterion.better == "kept":
        return "not below RAW's" if counted.better else "below RAW's"
    if not counted.better and not counted.worse:
        return "as RAW"
    if not cases:
        return "better" if counted.better else "worse"
    text = f"better in {counted.better} of {counted.cases} {cases}"
    return text + (f", worse in {counted.worse}" if counted.worse else "")


def uncorrected(counted: Count, *, tested: bool) -> str:
    """Return what the paper's uncorrected tests say, such as "4 better significant"."""
    if not tested or not counted.cases:
        return "no test" if counted.cases else ""
    parts = [(counted.better_significant, "better"), (counted.worse_significant, "worse")]
    said = [f"{n} {word}" for n, word in parts if n]
    if not said:
        return "none significant"
    return f"{' and '.join(said)} significant" if counted.cases > 1 else "significant"


def kind_of(criterion: Criterion, counted: Count, right: RigorousSide) -> str:
    """Return in which way the two contradict each other; untested counts only by their sign."""
    if not counted.cases or not right.tested:
        return ""
    if not criterion.tested:
        way = {"good": 1, "bad": -1}.get(counted.tone, 0)
        return OPPOSITE if way * right.direction < 0 else ""
    better, worse = counted.better_significant, counted.worse_significant
    if better and worse:
        return BOTH_WAYS
    way = (better > 0) - (worse > 0)
    if way * right.direction < 0:
        return OPPOSITE
    if way == right.direction:
        return ""
    return PAPER_ONLY if way else RIGOROUS_ONLY


def sentence(
    kind: str, criterion: Criterion, counted: Count, right: RigorousSide, cases: str
) -> str:
    """Say how the two disagree, and why that can be; empty where they do not."""
    if not kind:
        return ""
    found = _found(criterion, counted, cases)
    word = right.word
    if kind == OPPOSITE:
        return f"{found}; the rigorous mode finds the opposite: {word}."
    if kind == RIGOROUS_ONLY:
        where = (
            f"no test of a single one of the {cases} shows" if cases else "its test does not show"
        )
        return f"In the rigorous mode it is {word}, over subjects; {where} that in the paper's."
    if word in ("better", "worse"):
        return f"{found}; averaged over them it is {word}."
    if word == "n too small":
        return f"{found}; corrected, no test can reach significance at this n."
    if "equivalent within" in word:
        return f"{found}; the difference is too small to matter by the margin declared."
    if word in ("not shown", "identical"):
        return f"{found}; over subjects, corrected for the number of tests, no difference is shown."
    return f"{found}; in the rigorous mode: {word}."


def _found(criterion: Criterion, counted: Count, cases: str) -> str:
    """Return what the paper's mode finds, such as "Uncorrected tests: better in 4 of 6 pairs"."""
    if not criterion.tested:
        return f"By its counts: {shown(criterion, counted, cases)}"
    parts = [(counted.better_significant, "better"), (counted.worse_significant, "worse")]
    where = f" of {counted.cases} {cases}" if cases else ""
    said = [f"{word} in {n}{where}" if where else word for n, word in parts if n]
    return f"Uncorrected tests find it {' and '.join(said)}"
