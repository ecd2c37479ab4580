"""What the rigorous verdict is made of: a line for each comparison, an outcome for each method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One cell of the verdict: a word, a tone ("good", "bad" or ""), and the number behind it.

    `tied` says that no other contender is significantly better; `short` is the number with its
    interval; `lean` is 1 where it is towards better, -1 towards worse, whether shown or not.
    """

    word: str
    tone: str = ""
    detail: str = ""
    tied: bool = False
    short: str = ""
    lean: int = 0


@dataclass(frozen=True)
class Line:
    """One line of the verdict: what was compared, and an outcome for each contender.

    `mark` says what the metric rewards, where a control has shown it; `beside` what registration
    alone gives, where that is no merit of a method; `criterion` what lines of several structures
    have in common.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    mark: str = ""
    beside: str = ""
    criterion: str = ""
