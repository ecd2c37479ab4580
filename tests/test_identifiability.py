"""Identifiability against numpy's and scikit-learn's neighbours, and what controls must score."""

from dataclasses import replace
from itertools import product

import guard_cohort as world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from harmobench.errors import SettingsError
from harmobench.imaging.volume import Grid
from harmobench.metrics.coarse import Blocks, standardized
from harmobench.metrics.identifiability import Identifiability, found_first

SUBJECTS = 7
FOLDS = {f"{i:02d}": fold for i, fold in enumerate([0, 0, 0, 1, 1, 1, 1])}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    context, raws = world.make(tmp_path_factory.mktemp("cohort"), SUBJECTS)
    return replace(context, folds=FOLDS), raws


def rows_of(context, scans, **parameters):
    return list(Identifiability(**parameters).score(scans, None, context))


def values(rows, structure):
    found = {row.subject: row.value for row in rows if row.structure == structure}
    assert len(found) == sum(row.structure == structure for row in rows)
    return found


def coarse(voxels, edge=8.0):
    """Block by block, with loops."""
    cells = [[int((i + 0.5) * mm / edge) for i in range(n)]
             for n, mm in zip(world.SHAPE, world.SIZES, strict=True)]  # fmt: skip
    found = []
    for block in product(*(range(cell[-1] + 1) for cell in cells)):
        index = np.ix_(*(
            [i for i, c in enumerate(cell) if c == k] for cell, k in zip(cells, block, strict=True)
        ))  # fmt: skip
        inside = world.BRAIN[index]
        if inside.any() and inside.mean() >= 0.5:
            found.append(voxels[index][inside].mean(dtype=np.float64))
    return np.array(found)


def by_hand(scans, galleries):
    """Each subject's mean and chance, with a loop over scans, scanners and numpy's corrcoef."""
    vectors = {(s.subject, s.scanner): coarse(s.voxels()) for s in scans}
    hits: dict[str, list[tuple[float, float]]] = {}
    for (subject, scanner), vector in vectors.items():
        for other in "ABC":
            gallery = [s for s, on in vectors if on == other and galleries[s] == galleries[subject]]
            if other == scanner or subject not in gallery or len(gallery) < 3:
                continue
            r = {s: np.corrcoef(vector, vectors[s, other])[0, 1] for s in gallery}
            best = [s for s in gallery if r[s] >= max(r.values()) - 1e-12]
            hits.setdefault(subject, []).append(
                ((subject in best) / len(best), 1 / len(gallery))
            )  # fmt: skip
    return {s: tuple(np.mean(found, axis=0)) for s, found in hits.items()}


def muddled(scans, amount=2.0):
    """Scans with coarse noise of their own, so that some are mistaken."""

    def change(voxels, scan):
        rng = np.random.default_rng([int(scan.subject), ord(scan.scanner)])
        blocks = rng.normal(size=[-(-n // 2) for n in world.SHAPE])
        noise = np.kron(blocks, np.ones((2, 2, 2)))[tuple(slice(n) for n in world.SHAPE)]
        return voxels + amount * voxels[world.BRAIN].std() * noise

    return world.changed(scans, change)


@pytest.mark.parametrize("missing", [set(), {1, 5, 9, 13}])
def test_equals_the_plain_formula(cohort, missing):
    context, raws = cohort
    scans = tuple(s for i, s in enumerate(muddled(raws)) if i not in missing)
    rows = rows_of(context, scans)
    for kind, galleries in (("all", dict.fromkeys(FOLDS, 0)), ("fold", FOLDS)):
        expected = by_hand(scans, galleries)
        assert values(rows, kind) == pytest.approx({s: e[0] for s, e in expected.items()})
        assert values(rows, f"{kind}_chance") == pytest.approx(
            {s: e[1] for s, e in expected.items()}
        )
    assert 0.2 < np.mean(list(values(rows, "all").values())) < 0.95
    assert all(row.status == "ok" for row in rows)


def test_equals_scikit_learns_nearest_neighbour(cohort):
    context, raws = cohort
    scans = muddled(raws)
    found = dict.fromkeys(FOLDS, 0.0)
    for a, b in (pair for pair in product("ABC", repeat=2) if pair[0] != pair[1]):
        on_a, on_b = ([s for s in scans if s.scanner == name] for name in (a, b))
        nearest = KNeighborsClassifier(1, metric="correlation", algorithm="brute")
        nearest.fit([coarse(s.voxels()) for s in on_b], [s.subject for s in on_b])
        for scan, name in zip(on_a, nearest.predict([coarse(s.voxels()) for s in on_a]),
                              strict=True):  # fmt: skip
            found[scan.subject] += (name == scan.subject) / 6
    assert values(rows_of(context, scans), "all") == pytest.approx(found)
    assert 0.1 < np.mean(list(found.values())) < 0.95


def test_blocks_equal_loops():
    rng = np.random.default_rng(0)
    voxels = np.float32(rng.normal(size=world.SHAPE))
    grid = Grid.make(world.SHAPE, np.diag([*world.SIZES, 1]))
    for edge in (8.0, 2.0, 13.0):
        found = Blocks.of(world.BRAIN, grid, edge, 0.5).means(voxels)
        np.testing.assert_allclose(np.sort(found), np.sort(coarse(voxels, edge)), rtol=1e-9)


def test_inner_products_are_pearsons_r():
    a, b = np.random.default_rng(1).normal(100, 3, size=(2, 50))
    assert standardized(a) @ standardized(b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)


def test_raw_is_identified(cohort):
    rows = rows_of(*cohort)
    assert values(rows, "all") == dict.fromkeys(FOLDS, 1.0)
    assert values(rows, "fold") == dict.fromkeys(FOLDS, 1.0)
    assert values(rows, "all_chance") == pytest.approx(dict.fromkeys(FOLDS, 1 / 7))
    assert values(rows, "fold_chance") == pytest.approx({s: 1 / (3 + f) for s, f in FOLDS.items()})


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(-3, 3)), min_size=21, max_size=21))
@settings(deadline=None, max_examples=10)
def test_a_rising_affine_map_of_each_scan_changes_nothing(cohort, maps):
    context, raws = cohort
    scans = muddled(raws)
    each = iter(maps)

    def mapped(voxels, scan):
        scale, shift = next(each)
        return scale * (voxels + shift * voxels.std())

    before, after = (rows_of(context, s) for s in (scans, world.changed(scans, mapped)))
    assert [row.value for row in after] == [row.value for row in before]


def test_one_image_for_everyone_is_at_chance(cohort):
    context, raws = cohort
    template = world.mean_in_units(raws)
    rows = rows_of(context, world.changed(raws, lambda v, s: template))
    for kind in ("all", "fold"):
        assert values(rows, kind) == pytest.approx(values(rows, f"{kind}_chance"), abs=1e-12)
    # also where each scan has a scale of its own: rounding must not break ties
    scaled = world.changed(
        raws, lambda v, s: (2 + int(s.subject) / 3) * (template + ord(s.scanner))
    )
    assert [r.value for r in rows_of(context, scaled)] == pytest.approx([r.value for r in rows])


def test_images_without_contrast_are_at_chance(cohort):
    context, raws = cohort
    rows = rows_of(context, world.changed(raws, lambda v, s: np.full(v.shape, 0.1)))
    assert values(rows, "all") == pytest.approx(dict.fromkeys(FOLDS, 1 / 7))


def test_shrinking_to_the_mean_goes_unseen(cohort):
    context, raws = cohort
    mean = world.mean_in_units(raws)
    scans = world.changed(
        raws, lambda v, s: 0.05 * (60 + 40 * world.in_units(v)) + 0.95 * mean
    )  # fmt: skip
    assert min(values(rows_of(context, scans), "all").values()) == 1.0


def test_mismatched_subjects_are_not_identified(cohort):
    context, raws = cohort
    of = {(s.subject, s.scanner): s for s in raws}
    turn = {"A": 1, "B": 2, "C": 4}

    def another(voxels, scan):
        number = (int(scan.subject) + turn[scan.scanner]) % SUBJECTS
        return of[f"{number:02d}", scan.scanner].voxels()

    assert set(values(rows_of(context, world.changed(raws, another)), "all").values()) == {0.0}


def test_trained_methods_are_looked_up_in_their_fold_alone(cohort):
    context, raws = cohort
    rows = rows_of(replace(context, trained=True), raws)
    whole = [row for row in rows if row.structure.startswith("all")]
    assert {(row.value, row.status) for row in whole} == {(None, "not_measured")}
    assert len(whole) == 2 * SUBJECTS
    assert values(rows, "fold") == dict.fromkeys(FOLDS, 1.0)


def test_small_galleries_and_lone_scans_are_not_measured(cohort):
    context, raws = cohort
    folds = FOLDS | {"00": 2, "01": 2}
    # subject 06 on one scanner only; 02 alone in its fold
    scans = tuple(s for s in raws if s.subject != "06" or s.scanner == "A")
    rows = rows_of(replace(context, folds=folds), scans)
    status = {(row.structure, row.subject): row.status for row in rows}
    assert status["all", "06"] == status["all_chance", "06"] == "not_measured"
    assert {s for s in FOLDS if status["fold", s] == "ok"} == {"03", "04", "05"}
    assert values(rows, "fold_chance")["03"] == pytest.approx(np.mean([1 / 4, 1 / 4, *[1 / 3] * 4]))
    assert all(row.reason for row in rows if row.status != "ok")


def test_without_folds_only_all_is_measured(cohort):
    context, raws = cohort
    rows = rows_of(replace(context, folds={}), raws)
    assert {row.status for row in rows if row.structure == "fold"} == {"not_measured"}
    assert {row.status for row in rows if row.structure == "all"} == {"ok"}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_lookups_of_all_members_sum_to_1(alike):
    row = np.array(alike, dtype=float)
    assert sum(found_first(row, i) for i in range(row.size)) == pytest.approx(1)


@pytest.mark.parametrize("parameters", [{"smallest": 0}, {"block": 0.0}, {"filled": 1.5}])
def test_parameters_that_cannot_be(cohort, parameters):
    with pytest.raises(SettingsError, match=next(iter(parameters))):
        rows_of(*cohort, **parameters)
