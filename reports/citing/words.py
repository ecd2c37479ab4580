"""Methods text for exactly what ran, and its numbered references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harmobench.interface import Finished, Reference
from harmobench.references import cited
from harmobench.reports.lookup import PAPER, RIGOROUS, compared, controls
from harmobench.reports.provenance import spoken
from harmobench.reports.style import label
from harmobench.reports.tables.rows import ELLIPSOIDS, drawn_regions

WHAT = {  # controls that ship with harmobench
    "oracle": "the mean of the subject's own scans",
    "template": "the mean of all scans, the same image for everybody",
    "shrink": "RAW drawn towards the mean of all scans",
    "shuffle": "RAW of another subject, the same one on every scanner",
    "mismatch": "RAW of another subject, somebody else on every scanner",
    "invert": "RAW with its intensities mirrored",
    "blur": "RAW smoothed",
    "blur-noise": "RAW smoothed, with noise that all scans of a subject share",
}
METRICS = {  # whose names alone would not say what they are
    "biomarker": "biomarkers",
    "truth_dice": "Dice against the truth",
    "truth_rmse": "intensity RMSE against the truth",
    "volume_error": "volume error against the truth",
}
STATISTICS = {
    RIGOROUS: (
        "Scores were averaged over each subject's scans or pairs first. Each method was compared "
        "with RAW over subjects by sign-flip tests (exact to 20 subjects), with 95% t intervals of "
        "the mean difference; p were adjusted by Holm's method within families of one metric and "
        "tool and by Benjamini and Bogomolov's over families. Contenders were compared with each "
        "other by max-|t| sign-flip tests over all pairs."
    ),
    PAPER: (
        "Beside that, each method was compared with RAW as in the MISPEL paper: by paired t-tests "
        "over subjects for each scanner pair (biomarkers: over all subjects and pairs pooled), at "
        "p < .05 without correction for the number of tests."
    ),
}


@dataclass(frozen=True)
class Entry:
    """A reference with its number and what it is cited for."""

    number: int
    reference: Reference
    used_for: str


def bibliography(run: Finished) -> list[Entry]:
    """Return each publication once, numbered in order of method, segmenter, tool and metric.

    A metric or tool that gave no score is not cited.
    """
    used: dict[Reference, list[str]] = {}
    for key in _ordered(run):
        kind, _, name = key.partition(":")
        if run.references[key].title:
            used.setdefault(run.references[key], []).append(f"{kind} {label(name)}".strip())
    return [
        Entry(i, reference, ", ".join(names))
        for i, (reference, names) in enumerate(used.items(), start=1)
    ]


def _ordered(run: Finished) -> list[str]:
    methods = [f"method:{name}" for name in run.design.methods]
    kinds = ("method", "segmenter", "morphometry", "metric", "statistic", "atlas")
    rank = {kind: place for place, kind in enumerate(kinds)}

    def place(key: str) -> tuple[int, int, str]:
        own = methods.index(key) if key in methods else len(methods)
        return rank.get(key.partition(":")[0], len(rank)), own, key

    return sorted(cited(run), key=place)


def numbered(entries: Sequence[Entry]) -> str:
    """Return numbers of the bibliography in brackets."""
    return f"[{', '.join(str(entry.number) for entry in entries)}]"


def methods_text(run: Finished, mark: Callable[[Sequence[Entry]], str] = numbered) -> list[str]:
    """Return paragraphs on cohort, methods, measures and statistics.

    `mark` is how a text cites: by [numbers] of the bibliography, if nothing else is given.
    """
    entries = {entry.reference: entry for entry in bibliography(run)}

    def cite(kind: str, name: str) -> str:
        found = [  # a name may stand on several publications: "atlas:own", "atlas:own (2009)"
            entries[reference]
            for key, reference in run.references.items()
            if reference in entries and (key + " (").startswith(f"{kind}:{name} (")
        ]
        shown = METRICS.get(name, label(name)) if kind == "metric" else label(name)
        return f"{shown} {mark(found)}" if found else shown

    paragraphs = [_cohort(run, cite), _methods(run, cite), *_training(run), _measures(run, cite)]
    return [text for text in [*paragraphs, _statistics(run)] if text]


def simulated(run: Finished) -> str:
    """Return what simulated the cohort, as its manifest says; empty where nothing did."""
    cohort = run.settings.get("cohort")
    return str(cohort.get("simulated") or "") if isinstance(cohort, Mapping) else ""


def _cohort(run: Finished, cite: Any) -> str:
    design, atlas = run.design, run.settings.get("atlas")
    text = (
        f"{len(design.subjects)} subjects were scanned on {len(design.scanners)} scanners "
        f"({', '.join(design.scanners)})."
    )
    origin = simulated(run)
    if origin:
        text = (
            f"{len(design.subjects)} subjects and their scans on {len(design.scanners)} scanners "
            f"({', '.join(design.scanners)}) were simulated ({origin})."
        )
    if isinstance(atlas, Mapping) and atlas.get("name"):
        space = str(atlas.get("space") or "").replace(f", {ELLIPSOIDS}", "")
        space = f" (space: {space})" if space else ""
        name = cite("atlas", str(atlas["name"]))
        text += f" Tissue labels came from the atlas {name}{space}"
        drawn = "; its regions are ellipsoids drawn about where each structure lies"
        text += f"{drawn}." if drawn_regions(run) else "."
    if design.group is not None:
        group = design.group
        text += f" Clinical groups ({group.column}): {group.first} and {group.second}."
    return text


def _methods(run: Finished, cite: Any) -> str:
    names = [cite("method", name) for name in compared(run.design.methods)]
    version = run.settings.get("version")
    tool = f"harmobench {version}" if version else "harmobench"
    text = f"{tool} compared {joined(names)}"
    preset = run.settings.get("preset")
    text += f", with the preset '{preset}'" if preset else ""
    if preset == "quick" and {"mispel", "calamiti"} & set(run.design.methods):
        text += " (few training steps: its networks show that all works, not what they can do)"
    text += "."
    if run.design.saw_group:
        saw = [label(name) for name in run.design.methods if name in run.design.saw_group]
        text += f" {joined(saw)} {'was' if len(saw) == 1 else 'were'} given the clinical group."
    aside = [_control(run, name, cite) for name in controls(run.design.methods)]
    if aside:
        ran = "A control" if len(aside) == 1 else f"{len(aside)} controls"
        text += f" {ran} ran beside to test the metrics, and were not ranked: {'; '.join(aside)}."
    return text


def _control(run: Finished, name: str, cite: Any) -> str:
    """Name a control with what it does, or what it is there for."""
    return f"{cite('method', name)}, {WHAT.get(name, run.design.methods[name])}"


def _training(run: Finished) -> Iterable[str]:
    parts = run.settings.get("methods", {})
    trained = [
        label(name)
        for name in run.design.methods
        if isinstance(parts, Mapping) and (parts.get(name, {}).get("needs") or {}).get("folds")
    ]
    folds = {fold for fold in run.design.folds.values() if fold >= 0}
    if trained and folds:
        were = "was" if len(trained) == 1 else "were"
        count = run.settings.get("fold_counts") or len(folds)  # runs that are compared differ
        yield (
            f"{joined(trained)} {were} cross-validated by subject in {count} folds, "
            "so that no model harmonized a subject it was trained on; test sets were pooled."
        )
    repeats = run.scores["repeat"].nunique()
    if trained and repeats > 1:
        them = "They were" if len(trained) > 1 else "It was"
        yield (
            f"{them} trained {repeats} times with other seeds and folds; what is reported is of "
            "the first, and the spread over seeds stands in HB-T9-seeds."
        )
    if run.settings.get("target"):
        yield f"Methods that map onto one scanner mapped onto {run.settings['target']}."


def _measures(run: Finished, cite: Any) -> str:
    scores = run.scores
    measured = set(scores.loc[scores["status"] == "ok", "metric"])
    metrics = [cite("metric", name) for name in run.design.metrics if name in measured]
    tools = [
        _tool(run, kind, name, cite)
        for kind in ("segmenter", "morphometry")
        for name in sorted(k.partition(":")[2] for k in cited(run) if k.startswith(f"{kind}:"))
    ]
    text = f"Images were scored by {joined(metrics)}." if metrics else ""
    return text + (f" Tissues and regions were measured with {joined(tools)}." if tools else "")


def _tool(run: Finished, kind: str, name: str, cite: Any) -> str:
    """Name a tool with the version of the program behind it, where there is one."""
    parts = run.settings.get("segmenters" if kind == "segmenter" else "morphometry", {})
    version = parts.get(name, {}).get("version", "") if isinstance(parts, Mapping) else ""
    own = version.startswith("harmobench ")  # said already
    return f"{cite(kind, name)} ({version})" if version and not own else str(cite(kind, name))


def _statistics(run: Finished) -> str:
    found = set(run.comparisons["mode"])
    said = [text for mode, text in STATISTICS.items() if mode in found]
    if controls(run.design.methods) and RIGOROUS in found:
        said.append("Controls were families of their own.")
    tested = run.comparisons.loc[run.comparisons["test"] == "tost", "metric"]
    margins = [name for name in run.design.margins if name in set(tested)]
    if margins:
        own = [f"{label(name)} {run.design.margins[name]:g}" for name in margins]
        said.append(
            "Equivalence with RAW was tested by two one-sided t-tests at 5%, without correction, "
            f"within margins declared beforehand: {joined(own)}."
        )
    return " ".join(said)


def joined(names: Sequence[str]) -> str:
    """Return names with commas and a last "and".

    >>> joined(["a", "b", "c"]), joined(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def parameters(run: Finished) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each method's parameters as (label, [(name, value), ...])."""
    parts = run.settings.get("methods", {})
    return [
        (label(name), [(k, spoken(v) or "none") for k, v in sorted(values.items())])
        for name in run.design.methods
        if isinstance(parts, Mapping) and (values := parts.get(name, {}).get("parameters"))
    ]
