"""What the page says of the metrics, the controls and who saw what, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harmobench.interface import Finished
from harmobench.reports.citing.words import joined
from harmobench.reports.comparisons import Case, Compared, Comparisons
from harmobench.reports.lookup import compared, controls
from harmobench.reports.style import label
from harmobench.reports.tables.formats import rounded
from harmobench.reports.tables.guards import caught, off_by
from harmobench.reports.tables.rows import WHOLE, digits_of, structure_label, units_of

# RAW is 1 on these by their definition: a method can only lose
RAW_IS_ONE = ("slice_consistency", "sharpness", "noise")
REWARDS = {
    "rewards blur": "smoothing RAW alone",
    "rewards blur and noise": "smoothing RAW and adding noise",
}


def named_case(case: Case) -> str:
    """Return what was compared in words, such as "Volume bias (HMRF), GM"."""
    structure = "" if case.structure in WHOLE else f", {structure_label(case.structure)}"
    return f"{case.name}{structure}"


def marks(run: Finished, found: Comparisons) -> dict[Case, str]:
    """Return what each case's metric rewards, where a control has shown it."""
    every = ((case, row.reason) for case, row in _guards(run, found) if row.reason in REWARDS)
    found_marks: dict[Case, list[str]] = {}
    for case, reason in every:
        found_marks.setdefault(case, []).append(reason)
    # what rewards blur does so with noise too; say the plainer one
    return {case: min(reasons, key=len) for case, reasons in found_marks.items()}


def _guards(run: Finished, found: Comparisons) -> Iterator[tuple[Case, Compared]]:
    for case in found.judging:
        for name in controls(run.design.methods):
            row = found.get("guard", case, name)
            if row is not None:
                yield case, row


def untold(found: Comparisons, cases: Sequence[Case]) -> str:
    """Say where nobody can be called tied for best; empty where somebody can everywhere."""
    names = list(dict.fromkeys(case.name for case in cases if found.untold(case)))
    if not names:
        return ""
    return (
        f"On {joined(names)} contenders cannot reach significance against each other at this n, so "
        "nothing is said of who is not shown worse."
    )


def rewards(run: Finished, found: Comparisons) -> Iterator[str]:
    """Say for each metric and control what the control gains, with its interval."""
    gains: dict[str, dict[str, list[tuple[Case, Compared]]]] = {}
    for case, row in _guards(run, found):
        if row.reason in REWARDS:
            gains.setdefault(case.name, {}).setdefault(row.reason, []).append((case, row))
    units = units_of(run)
    for name, by_reason in gains.items():
        reason, *others = sorted(by_reason, key=len)
        rows = by_reason[reason]
        verb = "raises" if found.better(rows[0][0]) > 0 else "lowers"
        text = f"{name} {reason}: {REWARDS[reason]} {verb} it by {_gains(rows, units)}"
        more = [f"; with noise added, by {_gains(by_reason[other], units)}" for other in others]
        yield "".join([text, *more, "."])


def _gains(rows: Sequence[tuple[Case, Compared]], units: Mapping[Case, str]) -> str:
    return joined([_gain(case, row, units.get(case, ""), len(rows) > 1) for case, row in rows])


def _gain(case: Case, row: Compared, units: str, several: bool) -> str:
    digits = digits_of([row.estimate], 2, 5)
    limits = [rounded(x, digits) for x in (row.low, row.high) if x is not None]
    text = f"{rounded(row.estimate or 0.0, digits)} [{', '.join(limits)}]"
    text += f" {units}" if units else ""
    return f"{text} ({structure_label(case.structure)})" if several else text


def on_controls(run: Finished, found: Comparisons) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return sentences on the controls that were caught, and warnings on those that were not."""
    if not found.cases:
        return (), ()
    said, warned = [], []
    every = caught(run)
    for name, by in every.items():
        if by:
            said.append(f"{label(name)} is caught by {joined(by)}.")
        else:
            warned.append(
                f"{label(name)} ({run.design.methods[name]}) is caught by nothing: no number of "
                "this run tells it from a good method."
            )
    ran = controls(run.design.methods)
    if "blur" not in ran:
        warned.append("No blur control ran, so which metrics reward blur is unknown.")
    if not every:
        warned.append("No degenerate control ran, so whether the guards work here is unknown.")
    for case, row in _guards(run, found):
        # where 1 is best the estimate is a signed distance, and below 0 is not worse than above
        fixed = case.metric in RAW_IS_ONE or run.design.metrics.get(case.metric) == "one"
        ceiling = run.design.methods[row.method] == "ceiling" and not fixed
        if ceiling and row.high is not None and row.high < 0:
            warned.append(
                f"{label(row.method)}, the ceiling, is worse than RAW on {named_case(case)}."
            )
    return tuple(said), tuple(warned)


def on_contenders(run: Finished) -> Iterator[str]:
    """Say which contenders the guards would catch if they were controls."""
    for name in compared(run.design.methods):
        off = list(off_by(run, name)) if name != "raw" else []
        if off:
            yield f"{label(name)}: {joined(off)}."


def circularity(run: Finished) -> Iterator[str]:
    """Say who saw labels, pairs and the target, and on whom each was judged."""
    design = run.design
    ranked = [name for name in compared(design.methods) if name != "raw"]
    saw = [name for name in ranked if name in design.saw_group]
    if saw and design.group is not None:
        stand_in = (
            " RAVEL-CV, which did not see it, stands for RAVEL."
            if ("ravel" in saw and "ravel-cv" in ranked)
            else ""
        )
        yield (
            f"{joined([label(m) for m in saw])} saw the clinical group ({design.group.column}) "
            f"and cannot be judged on its effect size.{stand_in}"
        )
    elif design.group is not None:
        yield f"No contender saw the clinical group ({design.group.column})."
    parts = run.settings.get("methods")
    needs: Mapping[str, Mapping[str, object]] = {
        name: (parts.get(name, {}).get("needs") or {}) if isinstance(parts, Mapping) else {}
        for name in ranked
    }
    pairs = [label(name) for name in ranked if needs[name].get("matched")]
    if pairs:
        yield f"{joined(pairs)} learned from matched pairs, which the others did without."
    target = [label(name) for name in ranked if needs[name].get("target")]
    if target and run.settings.get("target"):
        yield f"{joined(target)} mapped onto {run.settings['target']}, whose own scans count too."
    trained = [label(name) for name in ranked if name in design.trained]
    if trained:
        were = "was" if len(trained) == 1 else "were"
        yield f"{joined(trained)} {were} judged on subjects that no model of theirs had seen."
    seen = [
        label(name)
        for name in ranked
        if name not in design.trained
        and isinstance(parts, Mapping)
        and parts.get(name, {}).get("individual") is False
    ]
    if seen:
        yield f"{joined(seen)} saw all scans at once, test scans included."
