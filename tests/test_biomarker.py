"""Measures of the morphometry tool come through with their units, or say why there are none."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.interface import Measure, Scan
from harmobench.metrics.biomarker import Biomarker

NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
MEASURES = st.builds(Measure, NAMES, st.floats(0.1, 20), st.sampled_from(("mm", "ml")))


def rows(measures):
    scan = Scan("01", "GE", Path("none.nii.gz"), measures=measures)
    return list(Biomarker().score((scan,), None, None))


@given(st.lists(MEASURES, max_size=6, unique_by=lambda measure: measure.structure))
@settings(deadline=None, max_examples=20)
def test_measures_come_through_in_their_order(measures):
    found = rows(tuple(measures))
    assert [(r.structure, r.value, r.units) for r in found] == [
        (m.structure, m.value, m.units) for m in measures
    ]
    assert all((row.scanner, row.status) == ("GE", "ok") for row in found)


def test_a_scan_that_no_tool_measured_has_the_papers_four():
    found = rows(None)
    assert [row.structure for row in found] == list(Biomarker.structures)
    assert len(found) == 4
    assert all((row.status, row.value) == ("not_measured", None) and row.reason for row in found)
