"""Judge a method: what it returns, saves and needs, and on which cohorts it works."""

from __future__ import annotations

from collections.abc import Iterator

from harmobench.testing import rules
from harmobench.testing.judge import (
    IMPORT,
    OWN_ERROR,
    closing,
    ended,
    errors_in,
    importing,
    judged,
    loading,
    not_applicable,
    said,
    so_far,
    unreached,
)
from harmobench.testing.memory import RULES as MEMORY_RULES
from harmobench.testing.memory import memory_verdicts
from harmobench.testing.pickles import model_faults
from harmobench.testing.play import Theatre
from harmobench.testing.remains import Played
from harmobench.testing.rule import Rule, Verdict
from harmobench.testing.trial import ALL, FIT, FOUR, NAMES, TESTED, Trial

GPU_WORDS = ("cuda", "gpu", "nvidia")


def method_verdicts(theatre: Theatre) -> Iterator[Verdict]:
    """Yield a verdict for each of `rules.METHOD_RULES` that could be looked at."""
    first = theatre.play("import", [importing()])
    yield from loading(theatre, first)
    yield from so_far(theatre)
    facts = first.facts(IMPORT)
    if facts is not None:
        part = facts["part"]
        yield from _on_the_cohort(Trial(theatre, part["needs"], part["individual"]))
    yield from closing(theatre)


def _on_the_cohort(trial: Trial) -> Iterator[Verdict]:
    trial.share()
    model = trial.model("first")
    steps = [trial.fit(FOUR, model), *trial.transforms("first", ALL)]
    first = trial.theatre.play("first", steps, writable=[model])
    yield from so_far(trial.theatre)
    yield _runs(first)
    yield from _images(trial, first)
    yield _saved(trial, first)
    yield _cpu(first)
    if first.over:  # else it would hang or die again
        yield _covariates(trial)
    else:
        yield _gone(rules.COVARIATES, first)
    if trial.any_image(first):
        same = _second(trial, first)
        yield from so_far(trial.theatre)
        yield same
        yield from memory_verdicts(trial, first, same)
    else:
        later = (rules.DETERMINISTIC, *MEMORY_RULES)
        yield from (_gone(rule, first) for rule in later)
    if first.over and not first.error(FIT):
        yield from _cohorts(trial)
    else:
        yield from (_gone(rule, first) for rule in (rules.TWO, rules.SEVEN))


def _runs(first: Played) -> Verdict:
    fitted = first.facts(FIT) or {}
    if "unsuited" in fitted:
        return judged(rules.RUNS, [f"it refuses the check's cohort: {fitted['unsuited']}"])
    faults = errors_in(first)
    return judged(rules.RUNS, faults) if faults or first.over else _gone(rules.RUNS, first)


def _gone(rule: Rule, played: Played) -> Verdict:
    return unreached(rule, ended(played))


def _images(trial: Trial, first: Played) -> Iterator[Verdict]:
    found = trial.faults(first, ALL)
    for rule in rules.IMAGE_RULES:
        if found is None:
            yield _gone(rule, first)
        else:
            faults = [fault for broken, fault in found if broken == rule]
            trial.broken |= {rule} if faults else set()
            yield judged(rule, faults)


def _saved(trial: Trial, first: Played) -> Verdict:
    model = trial.model("first")
    if first.facts(FIT) is None and not any(model.rglob("*")):
        return _gone(rules.NO_PICKLE, first)
    return judged(rules.NO_PICKLE, model_faults(model))


def _cpu(first: Played) -> Verdict:
    errors = errors_in(first)
    faults = [text for text in errors if any(word in text.lower() for word in GPU_WORDS)]
    if not faults and (errors or not first.over):
        return _gone(rules.CPU, first)
    return judged(rules.CPU, faults)


def _second(trial: Trial, first: Played) -> Verdict:
    """Fit and transform again: another process, other global random states, no network."""
    model = trial.model("second")
    steps = [trial.fit(FOUR, model), *trial.transforms("second", ALL)]
    torch = bool((first.facts(FIT) or {}).get("torch"))
    second = trial.theatre.play("second", steps, unshared=True, torch=torch, writable=[model])
    return trial.alike(rules.DETERMINISTIC, first, second)


def _cohorts(trial: Trial) -> Iterator[Verdict]:
    for rule, scanners in ((rules.TWO, NAMES[:2]), (rules.SEVEN, NAMES)):
        model, places = trial.model(rule.name), [(TESTED[0], scanner) for scanner in scanners]
        steps = [trial.fit(scanners, model), *trial.transforms(rule.name, places, scanners)]
        played = trial.theatre.play(rule.name, steps, writable=[model])
        fitted = played.facts(FIT) or {}
        errors = errors_in(played)
        if "unsuited" in fitted:
            yield not_applicable(rule, fitted["unsuited"])
        elif errors:
            yield judged(rule, errors)
        elif not played.over:
            yield _gone(rule, played)
        else:
            yield trial.new_faults(rule, played, places)


def _covariates(trial: Trial) -> Verdict:
    if not trial.needs["covariates"]:
        return not_applicable(rules.COVARIATES, "it declares no covariates in `needs`")
    model = trial.model("covariates")
    step = trial.fit(FOUR, model)
    lacking = step["train"][0]
    step["train"][0] = lacking | {"values": lacking["values"] | {"age": ""}}
    played = trial.theatre.play("covariates", [step], writable=[model])
    error = played.error(FIT)
    if error:
        clear = OWN_ERROR in error["kinds"]
        return judged(rules.COVARIATES, [] if clear else [f"it raised {said(error)}"])
    if played.facts(FIT) is None:
        return _gone(rules.COVARIATES, played)
    return judged(rules.COVARIATES, ["fit took a scan whose age is missing"])
