"""Methods text for exactly what ran, and its numbered references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harmobench.interface import Finished, Reference
from harmobench.reports.lookup import PAPER, RIGOROUS, compared, controls
from harmobench.reports.provenance import spoken
from harmobench.reports.style import label

STATISTICS = {
    RIGOROUS: (
        "Scores were averaged over each subject's scans or pairs first. Each method was compared "
        "with RAW over subjects by sign-flip tests (exact to 20 subjects), with 95% t intervals of "
        "the mean difference; p were adjusted by Holm's method within families of one metric and "
        "tool and by Benjamini and Bogomolov's over families. Contenders were compared with each "
        "other by max-|t| sign-flip tests over all pairs. Controls were families of their own."
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
    """Return each publication once, numbered in order of method, segmenter, tool and metric."""
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

    return sorted(run.references, key=place)


def methods_text(run: Finished) -> list[str]:
    """Return paragraphs on cohort, methods, measures and statistics, with [numbers]."""
    numbers = {entry.reference: entry.number for entry in bibliography(run)}

    def cite(kind: str, name: str) -> str:
        reference = run.references.get(f"{kind}:{name}")
        number = numbers.get(reference) if reference else None
        return f"{label(name)} [{number}]" if number else label(name)

    paragraphs = [_cohort(run), _methods(run, cite), *_training(run), _measures(run, cite)]
    return [text for text in [*paragraphs, _statistics(run)] if text]


def _cohort(run: Finished) -> str:
    design, atlas = run.design, run.settings.get("atlas")
    text = (
        f"{len(design.subjects)} subjects were scanned on {len(design.scanners)} scanners "
        f"({', '.join(design.scanners)})."
    )
    if isinstance(atlas, Mapping) and atlas.get("name"):
        space = f" ({atlas['space']} space)" if atlas.get("space") else ""
        text += f" Tissue labels and brain mask came from the atlas {atlas['name']}{space}."
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
    text += f", with the preset '{preset}'." if preset else "."
    aside = [cite("method", name) for name in controls(run.design.methods)]
    if aside:
        were = "was a control" if len(aside) == 1 else "were controls"
        text += f" {joined(aside)} {were}, which test the metrics and are never ranked."
    return text


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
        yield (
            f"{joined(trained)} {were} cross-validated by subject in {len(folds)} folds, "
            "so that no model harmonized a subject it was trained on; test sets were pooled."
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
        for name in sorted(k.partition(":")[2] for k in run.references if k.startswith(f"{kind}:"))
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
    return " ".join(text for mode, text in STATISTICS.items() if mode in found)


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
