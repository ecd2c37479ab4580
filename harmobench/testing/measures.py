"""Judge a method of measures, such as ComBat: what it returns and saves, and on which cohorts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harmobench.testing import rules
from harmobench.testing.judge import (
    IMPORT,
    OWN_ERROR,
    alike,
    closing,
    ended,
    errors_in,
    importing,
    judged,
    loading,
    ran,
    said,
    so_far,
    unreached,
)
from harmobench.testing.pickles import model_faults
from harmobench.testing.play import Step, Theatre
from harmobench.testing.remains import Played
from harmobench.testing.rule import Rule, Verdict
from harmobench.testing.stage import SUBJECTS
from harmobench.testing.trial import ALL, BEFORE, FIT, FOUR, NAMES, SEED, TESTED, UNSEEN

STRUCTURES = {"csf": 300.0, "gm": 620.0, "wm": 500.0}  # ml
LATER = (rules.DETERMINISTIC, rules.SAVE_LOAD, rules.INDEPENDENT, rules.NO_NAMES)
STEPS = "transform"  # what names of steps that transform begin with
Place = tuple[str, str]  # subject and scanner


def measures_verdicts(theatre: Theatre) -> Iterator[Verdict]:
    """Yield a verdict for each of `rules.MEASURE_METHOD_RULES` that could be looked at."""
    first = theatre.play("import", [importing()])
    yield from loading(theatre, first)
    yield from so_far(theatre)
    facts = first.facts(IMPORT)
    if facts is not None:
        yield from _on_the_cohort(theatre, bool(facts["part"]["needs"]["covariates"]))
    yield from closing(theatre)


def _on_the_cohort(theatre: Theatre, ages: bool) -> Iterator[Verdict]:
    model = _model(theatre, "first")
    fit = _fit(model, FOUR, ages)
    first = theatre.play("first", [fit, *_transforms(ALL, ages)], writable=[model])
    yield from so_far(theatre)
    yield ran(first)
    yield _values(rules.VALUES, first)
    yield judged(rules.NO_PICKLE, model_faults(model))
    if not first.over or first.error(FIT) or not _changed_any(first):
        yield from (unreached(rule, ended(first)) for rule in (*LATER, rules.UNSEEN))
        return
    again = _model(theatre, "second")
    steps = [_fit(again, FOUR, ages), *_transforms(ALL, ages)]
    second = theatre.play("second", steps, unshared=True, writable=[again])
    yield alike(rules.DETERMINISTIC, first, second, "values", STEPS)
    load: Step = {"name": "load", "do": "load", "model": str(model)}
    loaded = theatre.play("loaded", [load, *_transforms(ALL, ages)])
    yield alike(rules.SAVE_LOAD, first, loaded, "values", STEPS)
    turned = theatre.play("reversed", [load, *_transforms((*BEFORE, *ALL[::-1]), ages)])
    yield alike(rules.INDEPENDENT, loaded, turned, "values", STEPS)
    renamed = theatre.play("renamed", [load, *_transforms(ALL, ages, "someone else")])
    yield alike(rules.NO_NAMES, loaded, renamed, "values", STEPS)
    yield _unseen(theatre.play("unseen", [load, *_transforms([(TESTED[0], UNSEEN)], ages)]))
    for rule, scanners in ((rules.TWO, NAMES[:2]), (rules.SEVEN, NAMES)):
        folder = _model(theatre, rule.name)
        places = [(TESTED[0], scanner) for scanner in scanners]
        steps = [_fit(folder, scanners, ages), *_transforms(places, ages)]
        yield _works(rule, theatre.play(rule.name, steps, writable=[folder]))


def _model(theatre: Theatre, name: str) -> Path:
    models = theatre.stage.folder / "models"
    models.mkdir(exist_ok=True)
    return models / name


def _fit(model: Path, scanners: Sequence[str], ages: bool) -> Step:
    return {
        "name": FIT,
        "do": "fit",
        "seed": SEED,
        "model": str(model),
        "rows": [row for s in SUBJECTS[2:] for k in scanners for row in rows_of(s, k, ages)],
        "covariates": ["age"] if ages else [],
    }


def _transforms(places: Iterable[Place], ages: bool, name: str = "") -> list[Step]:
    return [
        {
            "name": f"{STEPS} of {subject} on {scanner}",
            "do": "transform",
            "rows": [
                row | ({"subject": name} if name else {}) for row in rows_of(subject, scanner, ages)
            ],
        }
        for subject, scanner in places
    ]


def rows_of(subject: str, scanner: str, ages: bool) -> list[dict[str, Any]]:
    """Measures of a scan: everyone's own, with each scanner's shift and scale; always the same."""
    s, k = SUBJECTS.index(subject), NAMES.index(scanner)
    rows: list[dict[str, Any]] = []
    for j, (structure, usual) in enumerate(STRUCTURES.items()):
        own = math.sin(1.7 * s + j) + 0.2 * math.sin(5.1 * s + 2.3 * k + 0.9 * j)
        value = usual * (1 + 0.05 * math.sin(2.1 * k + j) + 0.04 * (1 + 0.1 * k) * own)
        row = {"subject": subject, "scanner": scanner, "structure": structure, "units": "ml"}
        rows.append({**row, "value": value, **({"age": 60.0 + 3 * s} if ages else {})})
    return rows


def _changed_any(played: Played) -> bool:
    return any("values" in (played.facts(name) or {}) for name in played.steps)


def _values(rule: Rule, played: Played) -> Verdict:
    names = [name for name in played.steps if name.startswith(STEPS)]
    looked = [(name, facts) for name in names if (facts := played.facts(name)) is not None]
    if not looked:
        return unreached(rule, ended(played))
    return judged(rule, (fault for name, facts in looked for fault in _faults(name, facts)))


def _faults(name: str, facts: dict[str, Any]) -> Iterator[str]:
    if "values" not in facts:
        yield f"'{name}' returned {facts['returned']} without the columns structure and value"
        return
    if facts["structures"] != list(STRUCTURES):
        given, found = ", ".join(STRUCTURES), ", ".join(facts["structures"]) or "none"
        yield f"'{name}' was given rows of {given} and returned {found}"
    for structure, text in zip(facts["structures"], facts["values"], strict=True):
        if not _finite(text):
            yield f"{text} for {structure} in '{name}'"


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _unseen(played: Played) -> Verdict:
    name = f"{STEPS} of {TESTED[0]} on {UNSEEN}"
    error, facts = played.error(name), played.facts(name)
    if error:
        clear = OWN_ERROR in error["kinds"]
        return judged(rules.UNSEEN, [] if clear else [f"it raised {said(error)}"])
    if facts is None:
        return unreached(rules.UNSEEN, ended(played))
    return judged(rules.UNSEEN, _faults(name, facts))


def _works(rule: Rule, played: Played) -> Verdict:
    faults = errors_in(played)
    return judged(rule, faults) if faults else _values(rule, played)
