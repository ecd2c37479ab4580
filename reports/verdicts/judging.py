"""What one rigorous comparison with RAW says of a method, in a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harmobench.interface import Finished
from harmobench.reports.comparisons import POWERLESS, Case, Compared, Comparisons
from harmobench.reports.lookup import ALPHA, STATUS, undeclared
from harmobench.reports.tables.formats import rounded
from harmobench.reports.tables.rows import digits_of, p_value, units_of
from harmobench.reports.verdicts.evidence import RAW_IS_ONE
from harmobench.reports.verdicts.outcomes import Outcome

HARD = "\N{NO-BREAK SPACE}"  # a p stays in one line


class Judge:
    """Reads the comparisons of one case: a word, a tone and the number for each method."""

    def __init__(
        self, run: Finished, found: Comparisons, case: Case, methods: Sequence[str]
    ) -> None:
        self.run, self.found, self.case = run, found, case
        self.rows = {name: found.get("sign_flip", case, name) for name in methods}
        self.digits = digits_of([row.estimate for row in self.rows.values() if row], 2, 4)
        self.units = units_of(run).get(case, "")
        self.better = 0.0 if case.metric in RAW_IS_ONE else found.better(case)
        self._tied = found.tied(case)

    def outcome(self, method: str) -> Outcome:
        """Return what is said of a method."""
        row = self.rows.get(method)
        fold = self._get("fold", method) if method in self.run.design.trained else None
        own = _outcome(row, self.better, _detail(row, self.digits, self.units, fold))
        own = self._with_margin(own, method)
        if undeclared(self.run.design, method) and row is not None and row.differs:
            own = replace(own, word=f"{own.word}, own family", tone="")
        # where nothing could be shown, not to be shown worse is no merit
        tied = own.tone == "good" and method in self._tied
        return replace(own, tied=tied, short=self.difference(method), lean=self._lean(row))

    def _lean(self, row: Compared | None) -> int:
        """1 where the difference is towards better, -1 towards worse, shown or not."""
        if row is None or row.estimate is None or row.identical or not self.better:
            return 0
        way = row.estimate * self.better
        return (way > 0) - (way < 0)

    def direction(self, method: str) -> int:
        """1 where significantly better, -1 where worse, 0 where neither was shown."""
        row = self.rows.get(method)
        if row is None or row.estimate is None or not row.differs or not self.better:
            return 0
        return 1 if row.estimate * self.better > 0 else -1

    def equivalent(self, method: str) -> float | None:
        """Return the declared margin, where two one-sided tests hold the difference within it."""
        test = self._get("tost", method)
        if test is None or test.p is None or test.p >= ALPHA or test.status != "ok":
            return None
        return self.run.design.margins.get(self.case.metric)

    def difference(self, method: str) -> str:
        """Return method minus RAW with its interval and units; empty where it has none."""
        row = self.rows.get(method)
        if row is None or row.estimate is None:
            return ""
        limits = [rounded(x, self.digits) for x in (row.low, row.high) if x is not None]
        span = f" [{', '.join(limits)}]" if len(limits) == len(("low", "high")) else ""
        return _signed(row.estimate, self.digits) + span + (f" {self.units}" if self.units else "")

    def _get(self, test: str, method: str) -> Compared | None:
        return self.found.get(test, self.case, method)

    def _with_margin(self, own: Outcome, method: str) -> Outcome:
        """Say where a difference is too small to matter by the user's own margin."""
        margin = self.equivalent(method)
        if margin is None or own.word == "identical":
            return own
        said = f"equivalent within \N{PLUS-MINUS SIGN}{margin:g}"
        said += f" {self.units}" if self.units else ""
        differs = own.word in ("better", "worse", "differs")
        return replace(own, word=f"{own.word}, yet {said}" if differs else said, tone="")


def _outcome(row: Compared | None, better: float, detail: str) -> Outcome:
    """Return what a comparison with RAW says; `better` is 0 where RAW cannot be beaten."""
    if row is None:
        return Outcome("not measured")
    if row.identical:
        return Outcome("identical")
    if row.estimate is None or row.p is None:
        return Outcome(STATUS.get(row.status, row.status), detail=row.reason)
    if row.differs and not better:
        return Outcome("differs", detail=detail)
    if row.differs:
        wins = row.estimate * better > 0
        return Outcome("better", "good", detail) if wins else Outcome("worse", "bad", detail)
    return Outcome("n too small" if POWERLESS in row.reason else "not shown", detail=detail)


def _detail(row: Compared | None, digits: int, units: str, fold: Compared | None) -> str:
    """Return the difference, its adjusted p, and that over folds."""
    if row is None or row.estimate is None:
        return ""
    parts = [f"{_signed(row.estimate, digits)}{f' {units}' if units else ''}"]
    if row.p_adjusted is not None:
        parts.append(f"p{HARD}{_equals(row.p_adjusted)}")
    if fold is not None and fold.p is not None:
        parts.append(f"p over folds{HARD}{_equals(fold.p)}")
    return ", ".join(parts)


def _signed(number: float, digits: int) -> str:
    return f"{'+' if number > 0 else ''}{rounded(number, digits)}"


def _equals(p: float) -> str:
    shown = p_value(p).number
    return shown.replace("<", f"<{HARD}") if shown.startswith("<") else f"={HARD}{shown}"
