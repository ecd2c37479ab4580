"""Biomarkers come through with their units, or say why not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.interface import Measure, Scan
from harmobench.metrics.biomarker import Biomarker

UNITS = {"entorhinal": "mm", "inferior_temporal": "mm", "hippocampus": "ml", "amygdala": "ml"}


def rows(*measures, measured=True):
    scan = Scan("01", "GE", Path("none.nii.gz"), measures=measures if measured else None)
    return {row.structure: row for row in Biomarker().score((scan,), None, None)}


@given(st.lists(st.floats(0.1, 20), min_size=4, max_size=4))
@settings(deadline=None, max_examples=20)
def test_measures_come_through(numbers):
    measures = [
        Measure(structure, number, UNITS[structure])
        for structure, number in zip(UNITS, numbers, strict=True)
    ]
    found = rows(*measures, Measure("putamen", 4.0, "ml"))
    assert {name: (row.value, row.units, row.status) for name, row in found.items()} == {
        m.structure: (m.value, m.units, "ok") for m in measures
    }
    assert {row.scanner for row in found.values()} == {"GE"}


def test_both_hemispheres_are_summed():
    found = rows(Measure("amygdala", 1.25, "ml"), Measure("amygdala", 1.5, "ml"))
    assert found["amygdala"].value == pytest.approx(2.75)


def test_what_was_not_measured_says_so():
    found = rows(Measure("amygdala", 1.25, "ml"))
    assert found["amygdala"].status == "ok"
    assert {found[s].status for s in UNITS if s != "amygdala"} == {"not_measured"}
    assert all(row.status == "not_measured" and row.reason for row in rows(measured=False).values())


def test_a_measure_in_other_units_is_refused():
    row = rows(Measure("hippocampus", 3500.0, "mm3"))["hippocampus"]
    assert (row.status, row.value) == ("failed", None)
    assert "expected a finite number in ml, found 3500 mm3" in row.reason


def test_a_number_that_is_none_is_refused():
    assert rows(Measure("hippocampus", float("nan"), "ml"))["hippocampus"].status == "failed"
