"""Metrics, segmenters and morphometry tools that break rules, and ours, which do not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from harmobench.errors import PluginError, SettingsError
from harmobench.testing import (
    BrokenRulesError,
    check_measure_harmonizer,
    check_segmenter,
    verdicts,
)
from harmobench.testing.act_metric import declared_faults
from harmobench.testing.checks import check, find_plugin, plugin_of
from harmobench.testing.morphometry import measure_faults
from harmobench.testing.segmenter import map_faults

METRICS = {
    "OutOfRange": "rows",
    "OneSided": "symmetric",
    "LastCounts": "state-order",
    "StoresObjects": "state",
    "Shifted": "best-of-identical",
}
MEASURES = {
    "DropsARow": "values",
    "DividesByZero": "values",
    "Counts": "independent",
    "CountsLate": "independent",
    "ChangesTheTable": "keeps-inputs",
}
SEGMENTERS = {"ForgetsTheMask": "outside", "Percent": "probabilities"}


def first_failure(target: str, kind: str) -> str:
    """Return the first rule that fails; nothing is played after it."""
    found = check(plugin_of(f"broken_plugins.{target}", kind))
    return next(verdict.rule.name for verdict in found if verdict.status == "failed")


@pytest.mark.parametrize(("name", "rule"), METRICS.items())
def test_a_broken_metric_is_caught_by_its_rule(name: str, rule: str) -> None:
    assert first_failure(f"others:{name}", "metrics") == rule


@pytest.mark.parametrize(("name", "rule"), SEGMENTERS.items())
def test_a_broken_segmenter_is_caught_by_its_rule(name: str, rule: str) -> None:
    assert first_failure(f"others:{name}", "segmenters") == rule


@pytest.mark.parametrize(("name", "rule"), MEASURES.items())
def test_a_broken_method_of_measures_is_caught_by_its_rule(name: str, rule: str) -> None:
    assert first_failure(f"measures:{name}", "measure_methods") == rule


def test_a_method_of_measures_passes() -> None:
    check_measure_harmonizer("broken_plugins.measures:Halves")


def test_a_program_that_is_missing_is_no_broken_rule() -> None:
    with pytest.raises(PluginError, match=r"cannot run here.*install thirds 2"):
        verdicts("broken_plugins.others:NotHere", "segmenters")


def test_all_rules_broken_are_raised_at_once_with_how_to_mend_them() -> None:
    with pytest.raises(BrokenRulesError) as caught:
        check_segmenter("broken_plugins.others:ForgetsTheMask")
    text = str(caught.value)
    assert re.findall(r"^(\S+)$", text, re.MULTILINE) == ["outside"]
    assert "expected: 0 outside the brain" in text
    assert "found:    up to 1 outside in csf, for subject 01 on GE; " in text
    assert "to mend:  multiply by scan.brain()" in text


@pytest.mark.parametrize("name", ["ravel-cv", "oracle"])
def test_ours_pass(name: str) -> None:
    found = verdicts(name)
    broken = [v for v in found.values() if v.status not in ("passed", "not applicable")]
    assert not broken
    assert found["no-leak"].status == ("not applicable" if name == "oracle" else "passed")
    assert found["covariates"].status == ("passed" if name == "ravel-cv" else "not applicable")


@pytest.mark.parametrize(("name", "kind"), [("auroc", "metrics"), ("atlas-roi", "morphometry")])
def test_others_of_ours_pass(name: str, kind: str) -> None:
    found = verdicts(name, kind).values()
    assert {v.status for v in found} <= {"passed", "not applicable"}


def test_maps_are_judged() -> None:
    brain = np.zeros((3, 3, 3), dtype=bool)
    brain[1] = True
    third = np.where(brain, np.float32(1 / 3), 0)
    sound = {"csf": third, "gm": third, "wm": third}
    facts = {"names": list(sound)}

    def broken(**other: Any) -> list[str]:
        maps = {**sound, **other}
        return [rule.name for rule, _ in map_faults(maps, brain, facts)]

    assert broken() == []
    assert broken(gm=third[1:]) == ["shape"]
    assert broken(gm=third * np.nan) == ["probabilities"]
    assert broken(gm=third * 2) == ["probabilities"]
    assert broken(gm=np.full_like(third, 1 / 3)) == ["outside"]
    assert broken(gm=third * 0) == ["tissue"]
    assert [r.name for r, _ in map_faults({"gm": third}, brain, {"names": ["gm", "x"]})] == ["maps"]


def test_what_a_metric_declares_is_judged() -> None:
    sound = {
        "level": "pair",
        "reads": "image",
        "space": "template",
        "better": "lower",
        "range": (0.0, 1.0),
        "units": "",
        "structures": ("brain",),
    }
    assert list(declared_faults(sound)) == []
    for name, value in (
        ("level", "subject"),
        ("better", "big"),
        ("range", (1.0, 0.0)),
        ("structures", "brain"),
        ("units", None),
    ):
        (fault,) = declared_faults({**sound, name: value})
        assert fault.startswith(f"{name} is {value!r}")


def test_measures_are_judged() -> None:
    units = {"thalamus": "ml", "pons": "ml"}
    rows = [{"structure": name, "value": 1.0, "units": "ml"} for name in units]
    assert list(measure_faults(rows, units)) == []
    assert list(measure_faults(rows[:1], units)) == [
        "pons, which is declared, was measured 0 times"
    ]
    rows[0] |= {"value": -1.0, "units": "mm"}
    assert list(measure_faults(rows, units)) == [
        "thalamus in mm, declared in ml",
        "-1 for thalamus",
    ]


def test_names_that_cannot_be_checked_are_refused() -> None:
    assert find_plugin("ssim").kind == "metrics"
    for name, kind, text in (
        ("whitestrip", "", "is 'whitestripe' meant?"),
        ("whitestripe", "metric", "expected an installed plugin of metrics"),
        ("paper", "", "'paper' of statistics: there are no rules for it"),
        ("raw", "reports", "--kind: expected one of methods"),
    ):
        with pytest.raises(PluginError, match=re.escape(text)):
            find_plugin(name, kind)
    with pytest.raises(PluginError, match="reads files that a program made elsewhere"):
        verdicts("freesurfer", "morphometry")


def test_parameters_that_it_does_not_have_are_refused() -> None:
    with pytest.raises(SettingsError, match="has no parameter 'mapp'; is 'map' meant"):
        verdicts("ssim", "metrics", {"mapp": "none"})
