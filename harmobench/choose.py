"""Which plugins a run uses, with which parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harmobench.cohort import Cohort, place_of
from harmobench.errors import PluginError, SettingsError, nearest
from harmobench.imaging.volume import read_grid
from harmobench.interface import CONTROLS, Needs
from harmobench.job import Options
from harmobench.parts import Part, find_part, method_plugins, plugin_part, plugins_of
from harmobench.registry import find, name_fault, plugins


def choose_methods(options: Options, notes: list[str]) -> list[Part]:
    """Choose methods in the order they are shown: RAW first, controls last.

    Raises
    ------
    PluginError, SettingsError
        Unknown or broken method, or wrong parameters.
    """
    sets = parse_sets(options.set)
    parts = []
    names = names_of(options.methods, "methods")
    if not names and not options.precomputed:
        raise SettingsError("--methods: expected at least one method, found none")
    for name in dict.fromkeys(["raw", *names]):
        plugin = find_part("methods", name)
        try:
            part = plugin_part(plugin, sets.pop(name, {}), options.preset)
        except PluginError as error:
            if options.methods != "all":
                raise
            notes.append(f"method left out: {error}")
            continue
        if part.needs["role"] in CONTROLS and options.controls == "off":
            continue
        parts.append(part)
    if options.controls == "on":
        parts += _controls(options, sets, {part.name for part in parts})
    if "raw" not in names:
        notes.append("raw was added: it is what every method is compared with")
    _refuse_unused_sets(sets, options)
    return sorted(parts, key=_order)


def _controls(options: Options, sets: dict[str, Any], there: Collection[str]) -> list[Part]:
    """Return the controls that ship with harmobench and were not named."""
    found = []
    for name, plugin in plugins("methods").items():
        if name in there or not is_ours(plugin.target):
            continue
        if plugin.load().needs.role in CONTROLS:
            found.append(plugin_part(plugin, sets.pop(name, {}), options.preset))
    return found


def is_ours(target: str) -> bool:
    """Whether a plugin's class ships with harmobench."""
    return target.startswith("harmobench.")


def names_given(text: str) -> frozenset[str]:
    """Return the names that the user typed one by one; none where it was all or none."""
    return frozenset() if text in ("all", "none") else frozenset(n.strip() for n in text.split(","))


def declared(methods: Sequence[Part], options: Options) -> list[str]:
    """Return the methods that were named, or that ship with harmobench (`Design.declared`)."""
    named = names_given(options.methods)
    return [part.name for part in methods if part.name in named or is_ours(part.target)]


def parse_margins(texts: Iterable[str], metrics: Sequence[Part]) -> dict[str, float]:
    """Equivalence margins from `METRIC=DIFFERENCE` texts.

    Raises
    ------
    SettingsError
        Another form, a metric that is not part of the run, or a difference that is not positive.
    """
    known = {part.name for part in metrics}
    margins: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        try:
            margin = float(value)
        except ValueError:
            margin = math.nan
        if not (equals and margin > 0 and math.isfinite(margin)):
            raise SettingsError(
                "--margin: expected METRIC=DIFFERENCE with a positive number, such as ssim=0.01, "
                f"found '{text}'"
            )
        if name not in known:
            raise SettingsError(
                f"--margin: expected a metric of this run ({', '.join(sorted(known)) or 'none'}), "
                f"found '{name}'{nearest(name, known)}"
            )
        margins[name] = margin
    return margins


def _order(part: Part) -> tuple[Any, ...]:
    needs = part.needs
    own = not is_ours(part.target)
    role = needs["role"] in CONTROLS
    measures = part.changes == "measures"
    trained = (needs["folds"], bool(needs["inputs"]))
    return (part.name != "raw", role, own, measures, *trained, part.name)


def choose_others(options: Options, notes: list[str]) -> dict[str, tuple[Part, ...]]:
    """Choose metrics, segmenters, morphometry, statistics and reports, by kind."""
    sets = parse_sets(options.set)
    asked = {
        "metrics": options.metrics,
        "segmenters": options.segmenters,
        "statistics": "all",
        "reports": "all",
    }
    found: dict[str, tuple[Part, ...]] = {}
    for kind, text in asked.items():
        parts = []
        for name in names_of(text, kind):
            plugin = find(kind, name)
            parameters = sets.get(name, {})
            try:
                part = plugin_part(plugin, parameters, options.preset)
            except PluginError as error:
                if text != "all":
                    raise
                notes.append(f"{kind} left out: {error}")
                continue
            if _usable(kind, part, text, notes):
                parts.append(part)
        found[kind] = tuple(parts)
    return found


def _usable(kind: str, part: Part, text: str, notes: list[str]) -> bool:
    missing = part.build().available() if kind == "segmenters" else None
    if missing is None:
        return True
    if text != "all":
        raise SettingsError(f"segmenter '{part.name}' cannot run here: {missing}")
    notes.append(f"segmenter {part.name} left out: {missing}")
    return False


def names_of(text: str, kind: str) -> list[str]:
    """Names in a comma-separated list; "all" is every installed plugin, "none" is none."""
    if text == "none":
        return []
    if text == "all":
        return list(plugins_of(kind))
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise SettingsError(f"--{kind}: expected names with commas, all or none, found '{text}'")
    return names


def parse_sets(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Parameters from `name.parameter=value` texts; values are JSON, else text.

    >>> parse_sets(["ravel.k=2", "ssim.map=none"])
    {'ravel': {'k': 2}, 'ssim': {'map': 'none'}}

    Raises
    ------
    SettingsError
        Another form.
    """
    sets: dict[str, dict[str, Any]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        owner, dot, parameter = target.strip().partition(".")
        if not (equals and dot and owner and parameter):
            raise SettingsError(
                f"--set: expected NAME.PARAMETER=VALUE such as ravel.k=2, found '{text}'"
            )
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):  # a number too long, brackets without end: a text
            parsed = value
        sets.setdefault(owner, {})[parameter] = parsed
    return sets


def _refuse_unused_sets(left: Mapping[str, Any], options: Options) -> None:
    known = set(names_of(options.metrics, "metrics")) | set(plugins("statistics"))
    known |= set(names_of(options.segmenters, "segmenters"))
    for name in left:
        if name not in known:
            everything = [*known, *names_of(options.methods, "methods")]
            hint = nearest(name, everything)
            raise SettingsError(
                f"--set: '{name}' is no method, metric, segmenter or statistic of this run{hint}"
            )


def precomputed(texts: Sequence[str], cohort: Cohort, methods: Sequence[Part]) -> list[Part]:
    """Describe images made elsewhere as methods whose training is unknown.

    Raises
    ------
    SettingsError
        Another form than NAME=PATTERN, a name that is taken, or missing images.
    """
    parts: list[Part] = []
    for text in texts:
        name, equals, pattern = text.partition("=")
        if not (equals and name and "{subject}" in pattern and "{scanner}" in pattern):
            raise SettingsError(
                "--precomputed: expected NAME=PATTERN with {subject} and {scanner} in the "
                f"pattern, found '{text}'"
            )
        fault = name_fault(name)
        if fault:
            raise SettingsError(f"--precomputed: {fault}")
        taken = {part.name for part in [*methods, *parts]} | set(method_plugins())
        if name in taken:  # a control that was left out would be taken for itself
            raise SettingsError(f"--precomputed: '{name}' is already a method: choose another name")
        images = _precomputed_images(pattern, cohort)
        needs = {**asdict(Needs()), "inputs": []}
        parts.append(
            Part(
                name,
                target=f"images made elsewhere ({pattern})",
                distribution="training unknown",
                digest="",
                needs=needs,
                individual=True,
                images=images,
            )
        )
    return parts


def _precomputed_images(pattern: str, cohort: Cohort) -> dict[str, str]:
    images, missing = {}, []
    grid = cohort.scans[0].grid
    for scan in cohort.scans:
        filled = pattern.replace("{subject}", scan.subject).replace("{scanner}", scan.scanner)
        path = Path(filled).absolute()
        if not path.is_file():
            missing.append(str(path))
        elif not read_grid(path).matches(grid):
            raise SettingsError(
                f"--precomputed: expected the cohort's grid ({grid}), found {read_grid(path)} "
                f"in {path}"
            )
        images[place_of(scan.subject, scan.scanner)] = str(path)
    if missing:
        raise SettingsError(
            f"--precomputed: expected an image for each scan, found none at {len(missing)} of "
            f"{len(cohort)} places, such as {missing[0]}"
        )
    return images
