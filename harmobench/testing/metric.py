"""Judge a metric: its rows, its summaries, and what it says of pairs and of equal images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harmobench.cohort import TISSUES
from harmobench.errors import PluginError
from harmobench.testing import rules
from harmobench.testing.judge import (
    IMPORT,
    closing,
    ended,
    importing,
    judged,
    loading,
    not_applicable,
    said,
    so_far,
    unreached,
)
from harmobench.testing.play import Step, Theatre
from harmobench.testing.remains import Played
from harmobench.testing.rule import Rule, Verdict
from harmobench.testing.stage import SCANNERS, SUBJECTS

PEOPLE, MACHINES = SUBJECTS[:4], tuple(SCANNERS)[:3]
PREPARE, MERGE, SCORE = "prepare", "merge", "score"
CLOSE = 1e-6  # relative: what sums in another order may differ by
NEAR = 1e-4  # of the best value
TRUTHS = ("truth_csf", "truth_gm", "truth_wm", "truth_image")
Rows = list[dict[str, Any]]
Spec = dict[str, Any]


def metric_verdicts(theatre: Theatre) -> Iterator[Verdict]:
    """Yield a verdict for each of `rules.METRIC_RULES` that could be looked at."""
    first = theatre.play("import", [importing()])
    yield from loading(theatre, first)
    facts = first.facts(IMPORT)
    if facts is not None and not facts["declared"]:
        yield from _scored(_Scoring(theatre, facts["metric"]))
    yield from closing(theatre)


@dataclass
class _Scoring:
    """A metric on the cohort; `own` is what it declares."""

    theatre: Theatre
    own: dict[str, Any]

    def spec(self, subject: str, scanner: str, image_of: str = "") -> Spec:
        """Describe a scan with what the metric reads; `image_of`: with that scanner's image."""
        stage, shown = self.theatre.stage, image_of or scanner
        image = str(stage.file("T1w", subject, shown))
        files = {f"truth_{t}": str(stage.file(t, subject, shown)) for t in TISSUES}
        files["truth_image"] = str(stage.file("T1w", subject, "GE"))
        spec = stage.spec(subject, scanner) | {"image": image, "raw": image}
        spec["values"] = {name: files[name] for name in self.own.get("truth", ())}
        if self.own["reads"] == "segmentation":
            spec["space"] = self.own["space"]  # native is the same grid here
            spec["maps"] = {t: str(stage.file(t, subject, shown)) for t in TISSUES}
        if self.own["reads"] == "measures":
            number = SUBJECTS.index(subject) + tuple(SCANNERS).index(shown) / 10
            spec["measures"] = [
                {"structure": name, "value": 2 + number, "units": "ml"}
                for name in self.own["structures"]
            ]
        return spec

    def steps(self, turned: bool = False, swapped: bool = False, image_of: str = "") -> list[Step]:
        """Return steps to scores: of summaries or scans in the other order, or of one image."""
        machines = MACHINES[::-1] if swapped else MACHINES
        groups = [[self.spec(s, k, image_of) for k in machines] for s in PEOPLE]
        everyone = [spec for group in groups for spec in group]
        if self.own["level"] == "cohort":
            groups = [everyone]
        return [
            {"name": PREPARE, "do": PREPARE, "scans": everyone},
            {"name": MERGE, "do": MERGE, "scans": everyone, "reversed": turned},
            {"name": SCORE, "do": SCORE, "groups": groups},
        ]

    def rows(self, played: Played) -> Rows | None:
        """Rows of a play; None where there are none to look at."""
        facts = played.facts(SCORE)
        return None if facts is None else facts["rows"]


def _scored(scoring: _Scoring) -> Iterator[Verdict]:
    unknown = [name for name in scoring.own.get("truth", ()) if name not in TRUTHS]
    if unknown:
        raise PluginError(
            f"it reads the column {unknown[0]}, which the check's cohort does not have (it has "
            f"{', '.join(TRUTHS)}): it cannot be checked"
        )
    first = scoring.theatre.play("first", scoring.steps())
    yield from so_far(scoring.theatre)
    errors = [(name, first.error(name)) for name in first.steps]
    faults = [f"'{name}' raised {said(error)}" for name, error in errors if error]
    gone = not faults and not first.over
    yield _states(first)
    yield unreached(rules.RUNS, ended(first)) if gone else judged(rules.RUNS, faults)
    rows, facts = scoring.rows(first), first.facts(SCORE)
    if rows is None or facts is None:
        return
    yield judged(rules.ROWS, facts["faults"])
    yield judged(rules.COVERED, [] if facts["faults"] else _gaps(rows, scoring.own))
    second = scoring.theatre.play("second", scoring.steps(), unshared=True)
    yield _same(rules.DETERMINISTIC, rows, second, 0.0)
    turned = scoring.theatre.play("reversed", scoring.steps(turned=True))
    yield _same(rules.ORDER, rows, turned, CLOSE)
    yield from _pairs(scoring, rows)


def _states(first: Played) -> Verdict:
    facts = [first.facts(name) for name in (PREPARE, MERGE)]
    if facts[0] is None:
        return unreached(rules.STATE, ended(first))
    return judged(rules.STATE, [fault for each in facts if each for fault in each["faults"]])


def _gaps(rows: Rows, own: dict[str, Any]) -> Iterator[str]:
    """Name structures without a row where one is due."""
    if not any(row["status"] == "ok" for row in rows):
        reasons = ", ".join(sorted({row["reason"] for row in rows})) or "no rows"
        yield f"no score with a value on a sound cohort ({reasons})"
    if own["level"] == "cohort":
        there = {row["structure"] for row in rows}
        yield from (f"no row of {name}" for name in own["structures"] if name not in there)
        return
    pairs = list(combinations(MACHINES, 2))
    places = pairs if own["level"] == "pair" else [(scanner, "") for scanner in MACHINES]
    known = {(r["of"], r["structure"], r["scanner"], r["reference_scanner"]) for r in rows}
    for subject, name, place in (
        (s, n, p) for s in PEOPLE for n in own["structures"] for p in places
    ):
        if (subject, name, *place) not in known:
            where = " and ".join(filter(None, place))
            yield f"no row of {name} for subject {subject} on {where}"


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("of", "structure", "subject", "scanner", "reference_scanner", "status")
    return tuple(str(row[name]) for name in names)


def _same(rule: Rule, rows: Rows, played: Played, tolerance: float) -> Verdict:
    """Judge whether a play gave the same rows, but for rounding."""
    error = next((e for name in played.steps if (e := played.error(name))), None)
    if error:
        return judged(rule, [f"it raised {said(error)}"])
    facts = played.facts(SCORE)
    if facts is None:
        return unreached(rule, ended(played))
    found = {_key(row): row["value"] for row in facts["rows"]}
    faults = []
    for key, value in ((_key(row), row["value"]) for row in rows):
        if key not in found:
            faults.append(f"no row of {_named(key)} the second time")
        elif not _close(value, found[key], tolerance):
            faults.append(f"{value:.9g} and {found[key]:.9g} for {_named(key)}")
    return judged(rule, faults)


def _close(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def _named(key: Sequence[str]) -> str:
    return " ".join(filter(None, (key[1], "of subject", key[0], "on", key[3], key[4])))


def _pairs(scoring: _Scoring, rows: Rows) -> Iterator[Verdict]:
    if scoring.own["level"] != "pair":
        why = f"a metric of level '{scoring.own['level']}' scores no pairs"
        yield from (not_applicable(rule, why) for rule in (rules.SYMMETRIC, rules.BEST))
        return
    if scoring.own.get("symmetric", True):
        swapped = scoring.theatre.play("swapped", scoring.steps(swapped=True))
        yield _symmetric(rows, swapped)
    else:
        yield not_applicable(rules.SYMMETRIC, "it declares `symmetric = False`")
    best = _best(scoring.own)
    if best is None:
        why = f"better='{scoring.own['better']}' over this range has no best value"
        yield not_applicable(rules.BEST, why)
        return
    alike = scoring.theatre.play("identical", scoring.steps(image_of=MACHINES[0]))
    found = scoring.rows(alike)
    if found is None:
        yield unreached(rules.BEST, ended(alike))
        return
    values = [(_named(_key(row)), row["value"]) for row in found]
    yield judged(
        rules.BEST,
        [
            f"{value}, expected {best:g}, for {name}"
            for name, value in values
            if value is None or abs(value - best) > NEAR * max(1.0, abs(best))
        ],
    )


def _symmetric(rows: Rows, swapped: Played) -> Verdict:
    found = swapped.facts(SCORE)
    if found is None:
        return unreached(rules.SYMMETRIC, ended(swapped))
    if found["faults"]:
        return judged(rules.SYMMETRIC, found["faults"])
    other = {
        (r["of"], r["structure"], r["reference_scanner"], r["scanner"]): r["value"]
        for r in found["rows"]
    }
    faults = []
    for row in rows:
        key = (row["of"], row["structure"], row["scanner"], row["reference_scanner"])
        value, turned = row["value"], other.get(key)
        negative = None if turned is None else -turned
        if not (_close(value, turned, CLOSE) or _close(value, negative, CLOSE)):
            faults.append(f"{value} and, exchanged, {turned} for {_named(_key(row))}")
    return judged(rules.SYMMETRIC, faults)


def _best(own: dict[str, Any]) -> float | None:
    low, high = (float(limit) for limit in own["range"])
    values = {"higher": high, "lower": low, "zero": 0.0, "one": 1.0}
    best = values.get(own["better"])
    return best if best is not None and math.isfinite(best) else None
