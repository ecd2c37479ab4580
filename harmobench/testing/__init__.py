"""Hold a plugin to the rules that harmobench's own keep, from pytest or from a notebook.

    from harmobench.testing import check_harmonizer

    def test_it_keeps_the_rules():
        check_harmonizer("zscore")

`harmobench check NAME` does the same on the command line. The plugin works in processes of its own
on a small simulated cohort: what hangs, crashes or prints hurts nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harmobench.testing.rule import Rule, Verdict

LIMIT = 300.0  # s that a step may take


class BrokenRulesError(AssertionError):
    """A plugin that breaks rules: which, what was expected and found, and how to mend it."""


def rules_of(kind: str) -> tuple[Rule, ...]:
    """Return the rules for a kind, such as "methods" or "metrics", in order."""
    from harmobench.testing.rules import RULES

    return RULES[kind]


def verdicts(
    what: str | type,
    kind: str = "methods",
    parameters: Mapping[str, Any] | None = None,
    time_limit: float = LIMIT,
) -> dict[str, Verdict]:
    """Check a plugin and return the verdict on each rule by the rule's name.

    Parameters
    ----------
    what
        Name of an installed plugin, "module:Class", or a class that other processes can import.
    kind
        "methods", "measure_methods", "metrics", "segmenters" or "morphometry".
    parameters
        Of the plugin, over those of its preset "quick".
    time_limit
        Seconds that each step may take.

    Raises
    ------
    PluginError
        No such plugin, or one that cannot be checked here.
    """
    from harmobench.testing.checks import check, plugin_of

    found = check(plugin_of(what, kind), parameters, time_limit)
    return {verdict.rule.name: verdict for verdict in found}


def check_harmonizer(
    what: str | type,
    parameters: Mapping[str, Any] | None = None,
    time_limit: float = LIMIT,
) -> None:
    """Check a method; see `verdicts` for the arguments.

    Raises
    ------
    BrokenRulesError
        It breaks rules; all of them are named, with how to mend each.
    """
    _check(what, "methods", parameters, time_limit)


def check_measure_harmonizer(
    what: str | type,
    parameters: Mapping[str, Any] | None = None,
    time_limit: float = LIMIT,
) -> None:
    """Check a method of measures, as `check_harmonizer` does one of images."""
    _check(what, "measure_methods", parameters, time_limit)


def check_metric(
    what: str | type,
    parameters: Mapping[str, Any] | None = None,
    time_limit: float = LIMIT,
) -> None:
    """Check a metric, as `check_harmonizer` does a method."""
    _check(what, "metrics", parameters, time_limit)


def check_segmenter(
    what: str | type,
    parameters: Mapping[str, Any] | None = None,
    time_limit: float = LIMIT,
) -> None:
    """Check a segmenter, as `check_harmonizer` does a method."""
    _check(what, "segmenters", parameters, time_limit)


def check_morphometry(
    what: str | type,
    parameters: Mapping[str, Any] | None = None,
    time_limit: float = LIMIT,
) -> None:
    """Check a morphometry tool, as `check_harmonizer` does a method."""
    _check(what, "morphometry", parameters, time_limit)


def _check(
    what: str | type, kind: str, parameters: Mapping[str, Any] | None, time_limit: float
) -> None:
    from harmobench.testing.checks import broken, words

    found = broken(list(verdicts(what, kind, parameters, time_limit).values()))
    if found:
        name = what if isinstance(what, str) else what.__name__
        lines = [line for verdict in found for line in words(verdict)]
        raise BrokenRulesError("\n".join([f"{name} breaks rules of harmobench:", *lines]))
