"""Judge a morphometry tool that measures: its structures, units and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from harmobench.cohort import TISSUES
from harmobench.errors import PluginError
from harmobench.testing import rules
from harmobench.testing.judge import (
    IMPORT,
    alike,
    closing,
    ended,
    importing,
    judged,
    loading,
    ran,
    so_far,
    unreached,
)
from harmobench.testing.play import Step, Theatre
from harmobench.testing.rule import Verdict
from harmobench.testing.segmenter import PLACES, looking


def morphometry_verdicts(theatre: Theatre) -> Iterator[Verdict]:
    """Yield a verdict for each of `rules.MORPHOMETRY_RULES` that could be looked at.

    Raises
    ------
    PluginError
        A tool that reads files made elsewhere: there are none for the check's cohort.
    """
    first = theatre.play("import", [importing()])
    facts = first.facts(IMPORT)
    if facts is not None and facts["takes"] == "files":
        raise PluginError(
            f"'{theatre.plugin.name}' reads files that a program made elsewhere, and there are "
            "none of the check's cohort: it cannot be checked"
        )
    yield from loading(theatre, first)
    if facts is not None and not facts["declared"]:
        yield from looking(theatre)
        yield from _measured(theatre)
    yield from closing(theatre)


def _measured(theatre: Theatre) -> Iterator[Verdict]:
    first = theatre.play("first", _steps(theatre, PLACES))
    yield from so_far(theatre)
    yield ran(first)
    found = [facts for step in first.steps if (facts := first.facts(step))]
    if not found:
        yield unreached(rules.MEASURES, ended(first))
        return
    faults = [fault for facts in found for fault in measure_faults(facts["rows"], facts["units"])]
    yield judged(rules.MEASURES, dict.fromkeys(faults))
    second = theatre.play("second", _steps(theatre, PLACES), unshared=True)
    yield alike(rules.DETERMINISTIC, first, second, "rows")
    turned = theatre.play("reversed", _steps(theatre, PLACES[::-1]))
    yield alike(rules.INDEPENDENT, first, turned, "rows")


def _steps(theatre: Theatre, places: Sequence[tuple[str, str]]) -> list[Step]:
    stage = theatre.stage
    steps: list[Step] = []
    for s, k in places:
        maps = {tissue: str(stage.file(tissue, s, k)) for tissue in TISSUES}
        scan = stage.spec(s, k) | {"maps": maps}
        steps.append({"name": f"measure {s} on {k}", "do": "measure", "scan": scan})
    return steps


def measure_faults(rows: list[dict[str, Any]], units: dict[str, str]) -> Iterator[str]:
    """Say what is wrong with the measures of a scan."""
    names = [row["structure"] for row in rows]
    for name in sorted({*names, *units}):
        if names.count(name) != 1 or name not in units:
            declared = "declared" if name in units else "not declared"
            yield f"{name}, which is {declared}, was measured {names.count(name)} times"
    for row in rows:
        if row["units"] != units.get(row["structure"], row["units"]):
            yield f"{row['structure']} in {row['units']}, declared in {units[row['structure']]}"
        if not (math.isfinite(row["value"]) and row["value"] >= 0):
            yield f"{row['value']:g} for {row['structure']}"
