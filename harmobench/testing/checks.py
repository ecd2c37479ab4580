"""Check a plugin: find it, let it work in processes of its own, and give each rule a verdict."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harmobench.errors import PluginError, nearest
from harmobench.registry import KINDS, Plugin, plugins
from harmobench.testing.play import Theatre
from harmobench.testing.rule import FAILED, NOT_REACHED, Verdict
from harmobench.testing.rules import RULES
from harmobench.testing.stage import copy_stage

JUDGES = {
    "methods": ("harmobench.testing.method", "method_verdicts"),
    "measure_methods": ("harmobench.testing.measures", "measures_verdicts"),
    "metrics": ("harmobench.testing.metric", "metric_verdicts"),
    "segmenters": ("harmobench.testing.segmenter", "segmenter_verdicts"),
    "morphometry": ("harmobench.testing.morphometry", "morphometry_verdicts"),
}
SINGULAR = {
    "methods": "method",
    "measure_methods": "method of measures",
    "metrics": "metric",
    "segmenters": "segmenter",
    "morphometry": "morphometry tool",
}
LIMIT = 300.0  # s that a step may take
Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


def check(
    plugin: Plugin,
    parameters: Mapping[str, Any] | None = None,
    limit: float = LIMIT,
    say: Say = silent,
) -> Iterator[Verdict]:
    """Yield a verdict for each rule of the plugin's kind, as soon as there is one.

    Parameters
    ----------
    plugin
        What to check; of one of the kinds in `RULES`.
    parameters
        Of the plugin, over those of its preset "quick".
    limit
        Seconds that each step may take.
    say
        Called often with what is going on.

    Raises
    ------
    PluginError
        It cannot be checked here: a program that it needs is missing, say.
    """
    module, judge = JUDGES[plugin.kind]
    verdicts = getattr(importlib.import_module(module), judge)
    seen = set()
    with tempfile.TemporaryDirectory(prefix="harmobench-") as folder:
        say("a small cohort is made")
        stage = copy_stage(Path(folder).resolve() / "check")
        for verdict in verdicts(Theatre(plugin, parameters or {}, stage, limit, say)):
            seen.add(verdict.rule)
            yield verdict
    for rule in RULES[plugin.kind]:
        if rule not in seen:
            yield Verdict(rule, NOT_REACHED, "an earlier rule failed")


def broken(verdicts: Iterator[Verdict] | list[Verdict]) -> list[Verdict]:
    """Return those that are not in order."""
    return [verdict for verdict in verdicts if verdict.status in (FAILED, NOT_REACHED)]


def words(verdict: Verdict) -> list[str]:
    """Return what to say of a broken rule, a line each."""
    if verdict.status != FAILED:
        return [f"{verdict.rule.name}: not reached: {verdict.found}"]
    return [
        f"{verdict.rule.name}",
        f"  expected: {verdict.rule.expects}",
        f"  found:    {verdict.found}",
        f"  to mend:  {verdict.rule.mend}",
    ]


def find_plugin(name: str, kind: str = "") -> Plugin:
    """Find an installed plugin by its name alone.

    Raises
    ------
    PluginError
        Nothing has this name, several kinds have it, or the kind is none that can be checked.
    """
    kinds = _kinds(kind)
    found = [known[name] for each in kinds if name in (known := plugins(each))]
    if len(found) == 1:
        return found[0]
    if found:
        several = " and ".join(plugin.kind for plugin in found)
        raise PluginError(
            f"'{name}' is the name of plugins of several kinds ({several}): add --kind"
        )
    other = [each for each in KINDS if each not in RULES and name in plugins(each)]
    if other and not kind:
        raise PluginError(
            f"expected a plugin of {', '.join(RULES)}, found '{name}' of {other[0]}: there are no "
            "rules for it"
        )
    hint = nearest(name, [each for own in kinds for each in plugins(own)])
    raise PluginError(
        f"expected an installed plugin of {', '.join(kinds)}, found '{name}'{hint or ': '}"
        f"{'' if hint else 'install its package first (pip install -e FOLDER)'}"
    )


def _kinds(text: str) -> tuple[str, ...]:
    if not text:
        return tuple(RULES)
    for kind in RULES:
        if text in (kind, SINGULAR[kind]):
            return (kind,)
    raise PluginError(f"--kind: expected one of {', '.join(RULES)}, found '{text}'")


def plugin_of(what: str | type, kind: str) -> Plugin:
    """Return the plugin that a name, a "module:Class" or a class means."""
    if isinstance(what, type):
        what = f"{what.__module__}:{what.__qualname__}"
    if ":" in what:
        name = what.rpartition(":")[2].rpartition(".")[2].lower()
        return Plugin(name, kind, what, "not installed")
    return find_plugin(what, kind)
