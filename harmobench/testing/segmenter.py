"""Judge a segmenter: what its maps hold, and whether they follow from the image alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.cohort import TISSUES
from harmobench.errors import PluginError
from harmobench.imaging.volume import read_voxels
from harmobench.testing import rules
from harmobench.testing.judge import (
    IMPORT,
    array,
    closing,
    difference,
    ended,
    importing,
    judged,
    loading,
    ran,
    said,
    so_far,
    unreached,
)
from harmobench.testing.play import Step, Theatre
from harmobench.testing.remains import Played
from harmobench.testing.rule import Rule, Verdict
from harmobench.testing.stage import SCANNERS, SUBJECTS

PLACES = tuple((s, k) for s in SUBJECTS[:2] for k in tuple(SCANNERS)[:2])
LOOK = "available, version"
SLACK = 1e-3  # of a probability
MAP_RULES = (rules.MAPS, rules.SHAPE, rules.PROBABILITIES, rules.OUTSIDE, rules.TISSUE)
Array = NDArray[Any]


def segmenter_verdicts(theatre: Theatre) -> Iterator[Verdict]:
    """Yield a verdict for each of `rules.SEGMENTER_RULES` that could be looked at."""
    first = theatre.play("import", [importing()])
    yield from loading(theatre, first)
    if first.facts(IMPORT) is not None:
        yield from looking(theatre)
        yield from _segmented(theatre)
    yield from closing(theatre)


def looking(theatre: Theatre) -> Iterator[Verdict]:
    """Judge what a tool says of the program behind it.

    Raises
    ------
    PluginError
        It cannot run here.
    """
    played = theatre.play("look", [{"name": LOOK, "do": "look"}])
    facts, error = played.facts(LOOK), played.error(LOOK)
    if facts is None:
        found = [f"it raised {said(error)}"] if error else []
        yield judged(rules.AVAILABLE, found) if error else unreached(rules.AVAILABLE, ended(played))
        return
    missing, version = facts["missing"], facts["version"]
    if isinstance(missing, str) and missing.strip():
        raise PluginError(
            f"'{theatre.plugin.name}' cannot run here, so it cannot be checked: {missing}"
        )
    odd = f"available() gave {missing!r}" if missing is not None else ""
    yield judged(rules.AVAILABLE, [odd])
    named = isinstance(version, str) and bool(version.strip())
    yield judged(rules.VERSION, [] if named else [f"version() gave {version!r}"])


def _segmented(theatre: Theatre) -> Iterator[Verdict]:
    first = theatre.play("first", _steps(theatre, "first", PLACES))
    yield from so_far(theatre)
    yield ran(first)
    found = _faults(theatre, first)
    if found is None:
        yield from (unreached(rule, ended(first)) for rule in MAP_RULES)
        return
    for rule in MAP_RULES:
        yield judged(rule, [fault for broken, fault in found if broken == rule])
    second = theatre.play("second", _steps(theatre, "second", PLACES), unshared=True)
    yield _alike(theatre, rules.DETERMINISTIC, first, second)
    turned = theatre.play("reversed", _steps(theatre, "reversed", PLACES[::-1]))
    yield _alike(theatre, rules.INDEPENDENT, first, turned)


def _steps(theatre: Theatre, play: str, places: Sequence[tuple[str, str]]) -> list[Step]:
    out = theatre.stage.folder / "plays" / play / "out"
    return [
        {
            "name": f"segment {s} on {k}",
            "do": "segment",
            "scan": theatre.stage.spec(s, k),
            "out": str(out / f"{s}_{k}"),
        }
        for s, k in places
    ]


def _maps(theatre: Theatre, played: Played, subject: str, scanner: str) -> dict[str, Array]:
    folder = theatre.stage.folder / "plays" / played.name / "out" / f"{subject}_{scanner}"
    found = {name: array(folder / f"{name}.npy") for name in TISSUES}
    return {name: values for name, values in found.items() if values is not None}


def _faults(theatre: Theatre, played: Played) -> list[tuple[Rule, str]] | None:
    brain = read_voxels(theatre.stage.mask) > 0
    found, looked = [], False
    for subject, scanner in PLACES:
        facts = played.facts(f"segment {subject} on {scanner}")
        if facts is not None:
            looked = True
            for rule, fault in map_faults(_maps(theatre, played, subject, scanner), brain, facts):
                found.append((rule, f"{fault}, for subject {subject} on {scanner}"))
    return found if looked else None


def map_faults(
    maps: dict[str, Array], brain: Array, facts: dict[str, Any]
) -> Iterator[tuple[Rule, str]]:
    """Yield each rule that a scan's maps break, and how."""
    if len(maps) < len(TISSUES):
        listed = facts.get("returned") or ", ".join(facts["names"]) or "nothing"
        yield rules.MAPS, f"it returned {listed}, of which {', '.join(maps) or 'none'} are numbers"
        return
    shapes = {values.shape for values in maps.values()}
    if shapes != {brain.shape}:
        yield rules.SHAPE, f"maps of {' and '.join(map(str, sorted(shapes)))}, not {brain.shape}"
        return
    for name, values in maps.items():
        if not np.isfinite(values).all():
            yield rules.PROBABILITIES, f"NaN or inf in {name}"
            return
        if values.min() < -SLACK or values.max() > 1 + SLACK:
            yield rules.PROBABILITIES, f"{values.min():g} to {values.max():g} in {name}"
        if values[~brain].any():
            yield rules.OUTSIDE, f"up to {np.abs(values[~brain]).max():g} outside in {name}"
        if not values[brain].any():
            yield rules.TISSUE, f"no {name}"
    total = np.sum(list(maps.values()), axis=0)
    if total.max() > 1 + len(TISSUES) * SLACK:
        yield rules.PROBABILITIES, f"a sum of {total.max():.3f}"


def _alike(theatre: Theatre, rule: Rule, one: Played, other: Played) -> Verdict:
    faults = []
    for subject, scanner in PLACES:
        name = f"segment {subject} on {scanner}"
        error = other.error(name)
        if one.facts(name) is None:
            continue
        if error:
            faults.append(f"'{name}' raised {said(error)}")
            continue
        a, b = (_maps(theatre, played, subject, scanner) for played in (one, other))
        for tissue in a:
            apart = difference(a[tissue], b[tissue]) if tissue in b else "there is none"
            faults.append(f"{tissue} of {subject} on {scanner}: {apart}" if apart else "")
    if not any(faults) and not other.over:
        return unreached(rule, ended(other))
    return judged(rule, faults)
