"""Individuality against numpy's variance, its jackknife, and what controls must score."""

import tracemalloc

import guard_cohort as world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.metrics.individuality import Individuality, squared_deviations, without_each

SUBJECTS = 5


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return world.make(tmp_path_factory.mktemp("cohort"), SUBJECTS)


def rows_of(context, scans, **parameters):
    return list(Individuality(**parameters).score(scans, None, context))


def values(context, scans):
    """Return the cohort's value, and that without each subject."""
    whole, *rest = rows_of(context, scans)
    assert {row.status for row in (whole, *rest)} == {"ok"}
    assert (whole.structure, whole.subject) == ("brain", "")
    assert {row.structure for row in rest} == {"brain_without"}
    return whole.value, {row.subject: row.value for row in rest}


def spread(scans):
    """Root mean over voxels of numpy's variance between subjects' means."""
    people = dict.fromkeys(scan.subject for scan in scans)
    means = [
        np.mean([world.in_units(s.voxels()) for s in scans if s.subject == name], axis=0)
        for name in people
    ]
    return np.sqrt(np.var(means, axis=0, ddof=1)[world.BRAIN].mean())


def by_hand(scans, raws):
    return spread(scans) / spread(raws)


def twisted(scans):
    """Scans that lost some of what differs."""
    return world.changed(scans, lambda v, s: np.clip(world.in_units(v), -0.4, 1.05))


def shrunk(scans, kept):
    mean = world.mean_in_units(scans)
    return world.changed(
        scans, lambda v, s: kept * (60 + 40 * world.in_units(v)) + (1 - kept) * mean
    )  # fmt: skip


@pytest.mark.parametrize("missing", [set(), {0, 4, 8}])
def test_equals_the_plain_formula_and_its_jackknife(cohort, missing):
    context, raws = cohort
    raws = tuple(raw for i, raw in enumerate(raws) if i not in missing)
    scans = twisted(raws)
    whole, without = values(context, scans)
    assert whole == pytest.approx(by_hand(scans, raws), rel=1e-5)
    assert abs(whole - 1) > 0.02
    for subject in {scan.subject for scan in scans}:
        rest, rest_raw = (tuple(s for s in a if s.subject != subject) for a in (scans, raws))
        assert without.pop(subject) == pytest.approx(by_hand(rest, rest_raw), rel=1e-5)
    assert not without


def test_raw_is_exactly_1(cohort):
    context, raws = cohort
    whole, without = values(context, raws)
    assert whole == 1.0
    assert set(without.values()) == {1.0}
    assert len(without) == SUBJECTS


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(-3, 3)), min_size=15, max_size=15))
@settings(deadline=None, max_examples=10)
def test_a_rising_affine_map_of_each_scan_changes_nothing(cohort, maps):
    context, raws = cohort
    each = iter(maps)

    def mapped(voxels, scan):
        scale, shift = next(each)
        return scale * (voxels + shift * voxels.std())

    scans = shrunk(raws, 0.4)
    before, after = (values(context, s) for s in (scans, world.changed(scans, mapped)))
    assert after[0] == pytest.approx(before[0], rel=1e-4)
    assert after[1] == pytest.approx(before[1], rel=1e-4)


@pytest.mark.parametrize("kept", [0.05, 0.2, 0.6])
def test_shrinking_to_the_mean_shows(cohort, kept):
    context, raws = cohort
    whole, without = values(context, shrunk(raws, kept))
    assert whole == pytest.approx(kept, rel=0.1)
    assert list(without.values()) == pytest.approx([kept] * SUBJECTS, rel=0.1)


def test_one_image_for_everyone_is_exactly_0(cohort):
    context, raws = cohort
    template = world.mean_in_units(raws)
    whole, without = values(context, world.changed(raws, lambda v, s: template))
    assert whole == 0.0
    assert set(without.values()) == {0.0}


def test_lost_contrast_is_undefined_and_named(cohort):
    context, raws = cohort
    scans = (*raws[:7], raws[7].with_voxels(-raws[7].voxels()), *raws[8:])
    rows = rows_of(context, scans)
    assert {(row.value, row.status) for row in rows} == {(None, "undefined")}
    assert len(rows) == 1 + SUBJECTS
    assert {row.reason.partition(" has")[0] for row in rows} == {
        f"contrast_lost: subject {raws[7].subject} on {raws[7].scanner}"
    }
    rows = rows_of(world.with_raw(context, scans[7]), raws)
    assert {row.status for row in rows} == {"undefined"}
    assert rows[0].reason.startswith("contrast_lost: RAW of subject")


def test_two_subjects_are_too_few(cohort):
    context, raws = cohort
    rows = rows_of(context, raws[:6])
    assert {(row.value, row.status) for row in rows} == {(None, "undefined")}
    assert "at least 3" in rows[0].reason
    assert {row.status for row in rows_of(context, raws[:9])} == {"ok"}


def test_equal_raws_are_undefined(cohort):
    context, raws = cohort
    for raw in raws:
        context = world.with_raw(context, raw.with_voxels(raws[0].voxels()))
    rows = rows_of(context, raws)
    assert {row.status for row in rows} == {"undefined"}
    assert "do not differ" in rows[0].reason


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_sums_of_squares_equal_numpys(tmp_path_factory, n, seed):
    rows = np.random.default_rng(seed).normal(3, 1, size=(n, 40))
    found = squared_deviations(iter(rows), 40, tmp_path_factory.getbasetemp())
    assert found.sum() / (n - 1) == pytest.approx(np.var(rows, axis=0, ddof=1).sum(), rel=1e-5)
    for i, left in enumerate(without_each(found)):
        rest = np.delete(rows, i, axis=0)
        assert left == pytest.approx(rest.var(axis=0).sum() * (n - 1), rel=1e-4, abs=1e-6)


def test_memory_does_not_grow_with_the_subjects(cohort):
    context, raws = cohort
    peaks = []
    for subjects in (3, 3, SUBJECTS):  # the first fills caches
        tracemalloc.start()
        rows_of(context, raws[: 3 * subjects])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.05 * peaks[1]


def test_nothing_stays_in_the_scratch_folder(cohort):
    context, raws = cohort
    before = set(context.scratch.iterdir())
    rows_of(context, raws)
    assert set(context.scratch.iterdir()) == before
