"""Each control does what methods must not, and what a metric makes of it is what it should be."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from harmobench.atlas import Atlas, builtin_atlas
from harmobench.base import Method
from harmobench.cohort import Cohort, Scan
from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import CONTROLS, Context, Group, Harmonizer, Row
from harmobench.methods.controls import (
    Blur,
    BlurNoise,
    Histogram,
    Invert,
    Mismatch,
    Oracle,
    Shrink,
    Shuffle,
    Template,
)
from harmobench.methods.controls.donors import NOBODY, cyclic_order, unlike_donors
from harmobench.methods.controls.histogram import matched, quantiles_of
from harmobench.methods.controls.smoothing import noise_amount, smooth_within
from harmobench.metrics.auroc import AUROC
from harmobench.metrics.identifiability import Identifiability
from harmobench.metrics.individuality import Individuality
from harmobench.metrics.noise import Noise
from harmobench.metrics.sharpness import Sharpness
from harmobench.metrics.ssim import SSIM
from harmobench.registry import build, find
from harmobench.tasks import check_image

SPEC = importlib.util.spec_from_file_location("cohorts", Path(__file__).with_name("conftest.py"))
assert SPEC is not None
assert SPEC.loader is not None
cohorts: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cohorts)

ROLES = {
    "histogram": "baseline",
    "oracle": "ceiling",
    "template": "degenerate",
    "shrink": "degenerate",
    "shuffle": "degenerate",
    "mismatch": "degenerate",
    "invert": "degenerate",
    "blur": "degradation",
    "blur-noise": "degradation",
}
SEES = {"oracle": "subject", "shuffle": "cohort", "mismatch": "cohort"}
SEGMENTED = {"histogram", "blur", "template"}  # in the quick preset too
GROUP = Group("group", "high", "low")
Place = tuple[str, str]
Images = dict[Place, np.ndarray]


@dataclass(frozen=True)
class Made:
    cohort: Cohort
    context: Context
    brain: np.ndarray

    @cached_property
    def raw(self) -> Images:
        return {(s.subject, s.scanner): s.voxels() for s in self.cohort.scans}


def prepared(folder: Path, subjects: int, scanners: int, resolution: float) -> Made:
    atlas: Atlas = builtin_atlas(folder / "atlas", resolution)
    manifest = cohorts.make_cohort(folder, subjects, scanners, resolution)
    with manifest.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    scans = tuple(
        Scan(row["subject"], row["scanner"], folder / row["image"], atlas.mask, row) for row in rows
    )
    cohort = Cohort(scans)
    context = Context(
        seed=5,
        atlas=atlas,
        scratch=folder,
        scanners=cohort.scanners,
        group=GROUP,
        raws={(scan.subject, scan.scanner): scan for scan in scans},
    )
    return Made(cohort, context, atlas.brain())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Six people on four scanners at 6 mm."""
    return prepared(tmp_path_factory.mktemp("controls"), 6, 4, 6.0)


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two people on two scanners at 3 mm, where 4 mm of blur is more than a voxel."""
    return prepared(tmp_path_factory.mktemp("fine"), 2, 2, 3.0)


def seeing(method: Method, scan: Scan, cohort: Cohort) -> Scan:
    """Give a scan what its task would give it."""
    sees = method.needs.sees
    others = [o for o in cohort.scans if sees == "cohort" or o.subject == scan.subject]
    return replace(scan, others=tuple(others) if sees != "scan" else ())


def images_of(method: Method, cohort: Cohort, context: Context) -> Images:
    """Fit as a run does (two folds of alternate subjects where it is trained), and transform."""
    out: Images = {}
    for fold in range(2) if method.needs.folds else (None,):
        test = cohort.subjects if fold is None else cohort.subjects[fold::2]
        train = [s for s in cohort.subjects if s not in test] if fold is not None else test
        method.fit(cohort.select(train), None, context)
        for scan in cohort.select(test).scans:
            place = scan.subject, scan.scanner
            out[place] = method.transform(seeing(method, scan, cohort)).voxels()
    return {(s.subject, s.scanner): out[s.subject, s.scanner] for s in cohort.scans}


def rows_of(metric: Any, images: Images, made: Made) -> list[tuple[str, Row]]:
    """Rows of a metric with their subjects, as a run gets them."""
    cohort = made.cohort
    scans = {p: cohort.scan(*p).with_voxels(v) for p, v in images.items()}  # type: ignore[union-attr]
    if metric.level == "cohort":
        return [(r.subject, r) for r in metric.score(tuple(scans.values()), None, made.context)]
    states = [metric.prepare(scan, made.context) for scan in scans.values()]
    state = metric.merge(states, made.context)
    own = {s: tuple(v for (name, _), v in scans.items() if name == s) for s in cohort.subjects}
    return [(s, row) for s, some in own.items() for row in metric.score(some, state, made.context)]


def scored(metric: Any, images: Images, made: Made) -> dict[tuple[str, ...], float]:
    """Scores of a metric of scans or pairs, by subject and scanners."""
    rows = rows_of(metric, images, made)
    assert {row.status for _, row in rows} == {"ok"}
    return {(subject, row.scanner, row.reference_scanner): row.value for subject, row in rows}  # type: ignore[misc]


def guarded(metric: Any, structure: str, images: Images, made: Made) -> list[float]:
    """Values of one structure of a guard."""
    rows = [row for _, row in rows_of(metric, images, made) if row.structure == structure]
    assert {row.status for row in rows} == {"ok"}
    return [row.value for row in rows if row.value is not None]


def ssim(images: Images, made: Made) -> dict[tuple[str, ...], float]:
    return scored(SSIM(), images, made)


def energy(voxels: np.ndarray, brain: np.ndarray) -> float:
    """Gradient energy at least two voxels within the brain, plainly."""
    inside = ndimage.binary_erosion(brain, iterations=2)
    return float(sum((g[inside] ** 2).sum() for g in np.gradient(voxels.astype(np.float64))))


def recognized(images: Images, brain: np.ndarray) -> float:
    """How often the nearest scan on another scanner is the same subject's, by Pearson r."""
    hits = []
    scanners = list(dict.fromkeys(scanner for _, scanner in images))
    for here, there in permutations(scanners, 2):
        for subject, scanner in images:
            if scanner != here:
                continue
            gallery = [name for name, other in images if other == there]
            r = [
                np.corrcoef(images[subject, here][brain], images[name, there][brain])[0, 1]
                for name in gallery
            ]
            hits.append(gallery[int(np.argmax(r))] == subject)
    return float(np.mean(hits))


def between_subjects(images: Images, brain: np.ndarray) -> float:
    """Root mean variance between subjects of their means over scanners."""
    subjects = dict.fromkeys(subject for subject, _ in images)
    means = [
        np.mean([v[brain] for (name, _), v in images.items() if name == subject], axis=0)
        for subject in subjects
    ]
    return float(np.sqrt(np.var(means, axis=0, ddof=1).mean()))


def mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROLES)
def test_is_registered_with_its_role(name: str) -> None:
    method = build(find("methods", name))
    assert isinstance(method, Harmonizer)
    needs = method.needs
    assert needs.role == ROLES[name]
    assert (needs.role in CONTROLS) == (name != "histogram")
    assert needs.sees == SEES.get(name, "scan")
    assert needs.folds == (name == "histogram")
    assert needs.group == (name == "shuffle")
    assert ("segmentation" in needs.quick_reads) == (name in SEGMENTED)
    assert "image" in needs.quick_reads


@pytest.mark.parametrize("name", ROLES)
def test_holds_the_contract_and_survives_saving_bit_for_bit(
    name: str, made: Made, tmp_path: Path
) -> None:
    method = build(find("methods", name))
    images = images_of(method, made.cohort, made.context)
    method.save(tmp_path)
    loaded = type(method).load(tmp_path)
    assert loaded == method
    last = made.cohort.select(made.cohort.subjects[1::2])  # whom the last fit tests
    for scan in last.scans:
        voxels = images[scan.subject, scan.scanner]
        assert voxels.dtype == np.float32
        assert check_image(voxels, made.brain, name) == 0
        again = loaded.transform(seeing(method, scan, made.cohort)).voxels()
        np.testing.assert_array_equal(again, voxels)
    afresh = images_of(type(method)(), made.cohort, made.context)
    for place, voxels in images.items():
        np.testing.assert_array_equal(afresh[place], voxels)


@pytest.mark.parametrize("method", [Histogram(), Template(), Shrink(), Shuffle(), Mismatch()])
def test_cannot_be_used_before_it_is_fitted(method: Method, made: Made) -> None:
    scan = seeing(method, made.cohort.scans[0], made.cohort)
    with pytest.raises(MethodError, match="call fit or load"):
        method.transform(scan)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Shrink(keep=1.2), "shrink cannot use .* keep: expected a number from 0 to 1, found 1.2"),
        (Blur(fwhm=0.0), "blur cannot use .* fwhm: expected a number of mm above 0, found 0.0"),
        (BlurNoise(fwhm=-1.0, seed=-1), "blur-noise .* fwhm: .* seed: expected a whole number"),
        (Histogram(quantiles=1), "quantiles: expected a whole number of at least 2, found 1"),
    ],
)
def test_refuses_parameters_that_mean_nothing(method: Method, message: str, made: Made) -> None:
    with pytest.raises(SettingsError, match=message):
        method.check()
    with pytest.raises(SettingsError, match=message):
        method.fit(made.cohort, None, made.context).transform(made.cohort.scans[0])


@pytest.mark.parametrize("method", [Invert(), Blur(), BlurNoise()])
def test_a_brain_without_contrast_is_refused(method: Method, made: Made) -> None:
    flat = made.cohort.scans[0].with_voxels(np.ones(made.brain.shape, dtype=np.float32))
    with pytest.raises(MethodError, match=r"expected a brain with contrast .* found the one value"):
        method.transform(flat)
    broken = flat.with_voxels(np.full(made.brain.shape, np.nan, dtype=np.float32))
    with pytest.raises(MethodError, match="expected finite intensities"):
        method.transform(broken)


# --- averages -------------------------------------------------------------------------------------


def test_oracle_is_the_mean_of_the_subjects_own_scans(made: Made) -> None:
    images = images_of(Oracle(), made.cohort, made.context)
    for scan in made.cohort.scans:
        own = [made.raw[s.subject, s.scanner] for s in made.cohort.of(scan.subject)]
        expected = np.mean(own, axis=0, dtype=np.float64)
        np.testing.assert_allclose(images[scan.subject, scan.scanner], expected, rtol=1e-6)
    with pytest.raises(MethodError, match=r"expected the scans of 01 in scan\.others, found none"):
        Oracle().transform(made.cohort.scans[0])


def test_nobody_agrees_better_than_the_oracle(made: Made) -> None:
    best = ssim(images_of(Oracle(), made.cohort, made.context), made)
    assert min(best.values()) == pytest.approx(1, abs=1e-6)
    assert max(ssim(made.raw, made).values()) < 0.999
    for name in ROLES:
        images = images_of(build(find("methods", name)), made.cohort, made.context)
        assert all(best[place] >= value - 1e-6 for place, value in ssim(images, made).items())


def test_template_is_one_image_for_everyone(made: Made) -> None:
    images = images_of(Template(), made.cohort, made.context)
    expected = np.mean(list(made.raw.values()), axis=0, dtype=np.float64).astype(np.float32)
    for voxels in images.values():
        np.testing.assert_array_equal(voxels, expected)
    assert between_subjects(images, made.brain) < 1e-6 * between_subjects(made.raw, made.brain)


def test_template_refuses_another_grid(made: Made, fine: Made) -> None:
    method = Template().fit(made.cohort, None, made.context)
    with pytest.raises(MethodError, match="expected the grid that the template was fitted on"):
        method.transform(fine.cohort.scans[0])
    mixed = Cohort((made.cohort.scans[0], fine.cohort.scans[1]))
    with pytest.raises(MethodError, match="expected all scans on one grid"):
        Template().fit(mixed, None, made.context)
    with pytest.raises(MethodError, match="expected scans to average, found none"):
        Template().fit(Cohort(()), None, made.context)


@pytest.mark.parametrize("keep", [0.2, 0.05])
def test_shrink_wins_agreement_and_loses_the_individual(made: Made, keep: float) -> None:
    images = images_of(Shrink(keep=keep), made.cohort, made.context)
    template = np.mean(list(made.raw.values()), axis=0, dtype=np.float64)
    for place, voxels in made.raw.items():
        expected = keep * voxels + (1 - keep) * template
        np.testing.assert_allclose(images[place], expected, atol=1e-6)
    shrunk, raw = ssim(images, made), ssim(made.raw, made)
    assert all(shrunk[place] > value for place, value in raw.items())
    assert recognized(images, made.brain) == recognized(made.raw, made.brain) == 1  # blind to it
    kept = between_subjects(images, made.brain) / between_subjects(made.raw, made.brain)
    assert kept == pytest.approx(keep, rel=1e-4)


def test_shrink_goes_from_template_to_raw(made: Made) -> None:
    everything = images_of(Shrink(keep=1.0), made.cohort, made.context)
    nothing = images_of(Shrink(keep=0.0), made.cohort, made.context)
    template = images_of(Template(), made.cohort, made.context)
    for place, voxels in made.raw.items():
        np.testing.assert_array_equal(everything[place], voxels)
        np.testing.assert_array_equal(nothing[place], template[place])


# --- strangers ------------------------------------------------------------------------------------


def test_shuffle_has_raws_scores_under_other_names(made: Made) -> None:
    method = Shuffle()
    images = images_of(method, made.cohort, made.context)
    donors = method.donors_
    assert sorted(donors.values()) == sorted(donors) == sorted(made.cohort.subjects)
    assert all(subject != donor for subject, donor in donors.items())
    for metric in (SSIM(), AUROC()):
        raw, found = scored(metric, made.raw, made), scored(metric, images, made)
        assert found == {place: raw[donors[place[0]], *place[1:]] for place in raw}
        assert sorted(found.values()) == sorted(raw.values())
    assert recognized(images, made.brain) == 1  # cannot tell: only biology can


def test_shuffle_gives_each_group_donors_of_both(made: Made) -> None:
    counts = set()
    for seed in range(20):
        method = Shuffle().fit(made.cohort, None, replace(made.context, seed=seed))
        group = {s: made.cohort.of(s)[0].values["group"] for s in made.cohort.subjects}
        crossing = sum(group[s] == "high" and group[d] == "low" for s, d in method.donors_.items())
        back = sum(group[s] == "low" and group[d] == "high" for s, d in method.donors_.items())
        assert crossing == back
        counts.add(crossing)
    assert counts == {1, 2}  # of 3: the nearest to 3 x 3 / 6, from both sides


def test_shuffle_takes_the_effect_away_on_average(made: Made) -> None:
    """A planted difference of the groups is gone, up to half a crossing; RAW has all of it."""
    value = {s: float(i % 2 == 0) for i, s in enumerate(made.cohort.subjects)}  # 1 in "high"
    differences = []
    for seed in range(40):
        donors = Shuffle().fit(made.cohort, None, replace(made.context, seed=seed)).donors_
        high, low = ([value[donors[s]] for s in value if value[s] == g] for g in (1, 0))
        differences.append(mean(high) - mean(low))
    assert max(np.abs(differences)) == pytest.approx(1 / 3)
    assert abs(mean(differences)) < 0.15


def test_shuffle_does_without_groups(made: Made) -> None:
    context = replace(made.context, group=None)
    drawn = [Shuffle().fit(made.cohort, None, replace(context, seed=s)).donors_ for s in range(5)]
    assert all(sorted(d.values()) == sorted(d) and all(a != b for a, b in d.items()) for d in drawn)
    assert any(d != drawn[0] for d in drawn)


@given(data=st.data(), subjects=st.integers(2, 7), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_shuffle_is_a_derangement_on_every_scanner_whoever_is_missing(
    data: st.DataObject, subjects: int, seed: int
) -> None:
    seen = data.draw(arrays(bool, (subjects, 3)))
    seen[:, 0] = True  # everybody was somewhere
    seen[:2] = True  # two or more were everywhere
    cohort = tokens(seen)
    method = Shuffle().fit(cohort, None, context_of(seed))
    for k, scanner in enumerate("ABC"):
        takers = [str(i) for i in np.flatnonzero(seen[:, k])]
        givers = [giver(method, cohort, name, scanner) for name in takers]
        assert sorted(givers) == sorted(takers)
        assert all(a != b for a, b in zip(givers, takers, strict=True))


def tokens(seen: np.ndarray) -> Cohort:
    """Scans of one voxel whose value is the subject's number."""
    return Cohort(
        tuple(
            Scan(str(i), "ABC"[k], Path("none"), memory=np.full((1, 1, 1), i + 1, np.float32))
            for i in range(seen.shape[0])
            for k in range(seen.shape[1])
            if seen[i, k]
        )
    )


def context_of(seed: int) -> Context:
    return Context(seed=seed, atlas=None, scratch=Path())  # type: ignore[arg-type]


def giver(method: Method, cohort: Cohort, subject: str, scanner: str) -> str:
    scan = cohort.scan(subject, scanner)
    assert scan is not None
    return str(int(method.transform(replace(scan, others=cohort.scans)).voxels().item()) - 1)


def test_mismatch_breaks_every_pair(made: Made) -> None:
    method = Mismatch()
    images = images_of(method, made.cohort, made.context)
    for subject in made.cohort.subjects:
        donors = [method.donors_[scanner][subject] for scanner in made.cohort.scanners]
        assert subject not in donors
        assert len(set(donors)) == len(donors)
    for scanner, donors in method.donors_.items():
        assert sorted(donors.values()) == sorted(donors) == sorted(made.cohort.subjects)
        for subject, donor in donors.items():
            np.testing.assert_array_equal(images[subject, scanner], made.raw[donor, scanner])
    found, raw = ssim(images, made), ssim(made.raw, made)
    assert all(found[place] < raw[place] for place in raw)
    assert recognized(images, made.brain) == 0


def test_mismatch_draws_each_scanner_by_itself(made: Made) -> None:
    """No rule such as "the next but one" joins the scanners: step from scanner to scanner."""
    cohort = made.cohort
    drawn = [Mismatch().fit(cohort, None, replace(made.context, seed=s)).donors_ for s in range(9)]
    assert len({str(d) for d in drawn}) == len(drawn)
    steps = {
        tuple((int(d["Philips"][s]) - int(d["GE"][s])) % 6 for s in cohort.subjects) for d in drawn
    }
    assert len(steps) == len(drawn)
    assert any(len(set(step)) > 1 for step in steps)


def test_mismatch_needs_more_subjects_than_scanners(made: Made) -> None:
    few = made.cohort.select(made.cohort.subjects[:4])
    reason = "expected more subjects than scanners, .* found 4 subjects on 4 scanners"
    assert Mismatch().unsuited(made.cohort) is None
    with pytest.raises(MethodError, match=reason):
        Mismatch().fit(few, None, made.context)
    assert "found 4 subjects on 4 scanners" in str(Mismatch().unsuited(few))


def test_strangers_are_needed(made: Made) -> None:
    alone = made.cohort.select(made.cohort.subjects[:1])
    assert Shuffle().unsuited(made.cohort) is None
    assert Shuffle().unsuited(alone) == "expected at least 2 subjects, found 1"
    with pytest.raises(MethodError, match="expected at least 2 subjects, found 1"):
        Shuffle().fit(alone, None, made.context)
    seen = np.array([[True, True], [True, False], [True, False]])
    cohort = tokens(seen)
    for method in (Shuffle(), Mismatch()):
        method.fit(cohort, None, context_of(0))
        assert giver(method, cohort, "0", "A") != "0"
        with pytest.raises(MethodError, match=r"expected a (scan of somebody else on B|donor)"):
            giver(method, cohort, "0", "B")
        new = replace(cohort.scans[0], subject="new", others=cohort.scans)
        with pytest.raises(MethodError, match="expected a donor for new"):
            method.transform(new)


@given(
    n=st.integers(2, 40),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_cyclic_orders_cross_groups_as_chance_would(n: int, seed: int, share: float) -> None:
    first = np.arange(n) < round(share * n)
    order = cyclic_order(first, np.random.default_rng(seed))
    assert sorted(order) == list(range(n))
    donor = np.empty(n, dtype=int)
    donor[order] = np.roll(order, -1)
    assert (donor != np.arange(n)).all()
    assert sorted(donor) == list(range(n))
    crossings = np.count_nonzero(first & ~first[donor])
    wanted = first.sum() * (~first).sum() / n
    # the nearest count that a cycle can have: it crosses at least once where there are two groups
    possible = range(1 if 0 < first.sum() < n else 0, min(first.sum(), (~first).sum()) + 1)
    assert abs(crossings - wanted) == min(abs(c - wanted) for c in possible)


@given(scanners=st.integers(1, 6), more=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_donors_differ_wherever_there_are_more_subjects_than_scanners(
    scanners: int, more: int, seed: int
) -> None:
    n = scanners + more
    donors = unlike_donors(np.ones((n, scanners), dtype=bool), np.random.default_rng(seed))
    for subject, own in enumerate(donors):
        assert len({subject, *own.tolist()}) == scanners + 1
    for column in donors.T:
        assert sorted(column) == list(range(n))


@given(seen=arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 4))), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_donors_were_there_and_are_nobody_themselves(seen: np.ndarray, seed: int) -> None:
    donors = unlike_donors(seen, np.random.default_rng(seed))
    for k in range(seen.shape[1]):
        there = np.flatnonzero(seen[:, k])
        assert (donors[~seen[:, k], k] == NOBODY).all()
        if there.size < 2:
            assert (donors[there, k] == NOBODY).all()
        else:
            assert sorted(donors[there, k]) == there.tolist()
            assert (donors[there, k] != there).all()


# --- degraded -------------------------------------------------------------------------------------


def test_invert_turns_the_contrast_round(made: Made) -> None:
    images = images_of(Invert(), made.cohort, made.context)
    for place, voxels in made.raw.items():
        inside, raw = images[place][made.brain], voxels[made.brain]
        np.testing.assert_allclose(inside, raw.min() + raw.max() - raw, rtol=1e-6)
        assert not images[place][~made.brain].any()
    raw_auroc, found = scored(AUROC(), made.raw, made), scored(AUROC(), images, made)
    assert min(raw_auroc.values()) > 0.7
    for place, value in raw_auroc.items():
        assert found[place] == pytest.approx(1 - value, abs=1e-4)


def test_blur_equals_its_definition_on_a_grid_of_unequal_sides(tmp_path: Path) -> None:
    """A weighted mean over the brain alone, by distance in mm; slowly, voxel by voxel."""
    rng = np.random.default_rng(3)
    shape, sizes = (7, 6, 5), np.array([1.0, 2.0, 3.0])
    grid = Grid.make(shape, np.diag([-1.0, 2.0, 3.0, 1.0]))
    brain = rng.random(shape) < 0.7
    voxels = np.where(brain, rng.normal(5, 1, shape), 0).astype(np.float32)
    write_image(tmp_path / "t1.nii.gz", voxels, grid)
    write_image(tmp_path / "mask.nii.gz", brain, grid)
    scan = Scan("01", "A", tmp_path / "t1.nii.gz", tmp_path / "mask.nii.gz")
    found = Blur(fwhm=3.0).transform(scan).voxels()
    sigma = 3.0 / 2.354820045
    where = np.argwhere(brain)
    for at in where:
        squared = (((where - at) * sizes) ** 2).sum(axis=1)
        weight = np.exp(-squared / (2 * sigma**2))
        expected = (weight * voxels[brain]).sum() / weight.sum()
        assert found[tuple(at)] == pytest.approx(expected, rel=2e-4)  # scipy cuts off at 4 sigma
    assert not found[~brain].any()


@given(
    brain=arrays(bool, (5, 6, 4)),
    level=st.floats(0.5, 100, width=32),
    fwhm=st.floats(0.1, 20),
)
@settings(deadline=None, max_examples=40)
def test_blur_keeps_a_constant_brain_as_it_is(brain: np.ndarray, level: float, fwhm: float) -> None:
    voxels = np.where(brain, level, 1e4).astype(np.float32)
    found = smooth_within(voxels, brain, np.array([1.0, 1.5, 3.0]), fwhm)
    np.testing.assert_allclose(found, np.where(brain, level, 0), rtol=1e-5)


def test_blur_loses_gradients_the_more_the_wider(fine: Made) -> None:
    raw = fine.raw
    before = {place: energy(voxels, fine.brain) for place, voxels in raw.items()}
    for fwhm in (3.0, 4.0, 6.0):
        images = images_of(Blur(fwhm=fwhm), fine.cohort, fine.context)
        after = {place: energy(voxels, fine.brain) for place, voxels in images.items()}
        assert all(after[place] < 0.9 * before[place] for place in raw)
        before = after
    # a mean within the mask keeps the brain's level, up to what its edge is like
    for place, voxels in images.items():
        assert voxels[fine.brain].mean() == pytest.approx(raw[place][fine.brain].mean(), rel=0.02)


def test_blur_noise_has_raws_gradient_energy(fine: Made) -> None:
    images = images_of(BlurNoise(), fine.cohort, fine.context)
    blurred = images_of(Blur(), fine.cohort, fine.context)
    for place, voxels in fine.raw.items():
        wanted = energy(voxels, fine.brain)
        assert energy(blurred[place], fine.brain) < 0.6 * wanted
        assert energy(images[place], fine.brain) == pytest.approx(wanted, rel=1e-4)
        assert not images[place][~fine.brain].any()


def test_blur_noise_is_shared_by_a_subject_and_by_nobody_else(fine: Made) -> None:
    images = images_of(BlurNoise(), fine.cohort, fine.context)
    blurred = images_of(Blur(), fine.cohort, fine.context)
    other = images_of(BlurNoise(seed=1), fine.cohort, fine.context)
    noise = {p: (v - blurred[p])[fine.brain] for p, v in images.items()}
    for a, b in combinations(noise, 2):
        r = np.corrcoef(noise[a], noise[b])[0, 1]
        assert r > 0.9999 if a[0] == b[0] else abs(r) < 0.02
    for place, values in noise.items():
        again = (other[place] - blurred[place])[fine.brain]
        assert abs(np.corrcoef(values, again)[0, 1]) < 0.02
        sd = values.std()  # Gaussian: 68.3 and 95.4% within one and two SD
        assert np.mean(np.abs(values) < sd) == pytest.approx(0.683, abs=0.01)
        assert np.mean(np.abs(values) < 2 * sd) == pytest.approx(0.954, abs=0.01)
    # sharing noise makes scans agree better than the same noise drawn anew for each
    rng = np.random.default_rng(0)
    fresh = {
        p: np.where(fine.brain, blurred[p] + noise[p].std() * rng.normal(size=v.shape), 0).astype(
            np.float32
        )
        for p, v in blurred.items()
    }
    shared, anew = ssim(images, fine), ssim(fresh, fine)
    assert all(value > anew[place] for place, value in shared.items())


def test_blur_noise_is_the_same_in_every_process(made: Made) -> None:
    """Python's own hash of a name changes from one process to the next."""
    scan = made.cohort.scans[0]
    code = (
        "import hashlib, sys; from pathlib import Path; from harmobench.cohort import Scan; "
        "from harmobench.methods.controls import BlurNoise; "
        "scan = Scan(*sys.argv[1:3], *map(Path, sys.argv[3:])); "
        "print(hashlib.sha256(BlurNoise().transform(scan).voxels().tobytes()).hexdigest())"
    )
    names = [scan.subject, scan.scanner, str(scan.image), str(scan.mask)]
    there = subprocess.run(
        [sys.executable, "-c", code, *names],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = hashlib.sha256(BlurNoise().transform(scan).voxels().tobytes()).hexdigest()
    assert there.stdout.strip() == here


GRADIENTS = arrays(np.float64, (3, 5), elements=st.floats(-10, 10))


@given(there=GRADIENTS, noise=GRADIENTS, wanted=GRADIENTS)
@settings(deadline=None, max_examples=60)
def test_noise_brings_the_energy_that_is_lacking(
    there: np.ndarray, noise: np.ndarray, wanted: np.ndarray
) -> None:
    amount = noise_amount(wanted, there, noise)
    have, want = (there**2).sum(), (wanted**2).sum()
    assert amount >= 0
    if have >= want or not (noise**2).sum():
        assert amount == 0
    elif (noise**2).sum() > 1e-3:
        reached = ((there + amount * noise) ** 2).sum()
        assert reached == pytest.approx(want, rel=1e-6, abs=1e-6)


# --- histogram ------------------------------------------------------------------------------------


def by_numpy(scans: Sequence[Scan], count: int = 1001) -> np.ndarray:
    q = np.linspace(0, 1, count)
    values = [np.quantile(s.voxels()[s.brain()].astype(np.float64), q) for s in scans]
    return np.mean(values, axis=0)


def test_histogram_learns_the_training_scans_quantiles_and_nothing_else(made: Made) -> None:
    train = made.cohort.select(made.cohort.subjects[:3])
    validation = made.cohort.select(made.cohort.subjects[3:4])
    method = Histogram().fit(train, validation, made.context)
    np.testing.assert_allclose(method.landmarks_, by_numpy(train.scans), rtol=1e-10)
    assert {k for k in vars(method) if k.endswith("_")} == {"landmarks_"}


def test_histogram_maps_each_test_brain_onto_training_brains(made: Made) -> None:
    """In each of two folds, the quantiles of the other fold's scans come out, on every scanner."""
    images = images_of(Histogram(), made.cohort, made.context)
    levels = np.linspace(0, 1, 101)
    for fold in range(2):
        test = made.cohort.subjects[fold::2]
        train = made.cohort.select([s for s in made.cohort.subjects if s not in test])
        wanted = by_numpy(train.scans, 101)
        for place, voxels in images.items():
            if place[0] in test:
                found = np.quantile(voxels[made.brain], levels)
                np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_histogram_removes_what_scanners_do_to_quantiles(made: Made) -> None:
    def spread(images: Images) -> float:
        q = np.array(
            [np.quantile(v[made.brain], np.linspace(0.01, 0.99, 50)) for v in images.values()]
        )
        by_scanner = q.reshape(6, 4, -1)
        return float(by_scanner.std(axis=1).mean())

    images = images_of(Histogram(), made.cohort, made.context)
    assert spread(images) < 0.05 * spread(made.raw)


def test_histogram_never_changes_the_order_of_voxels(made: Made) -> None:
    images = images_of(Histogram(), made.cohort, made.context)
    for place, voxels in made.raw.items():
        order = np.argsort(voxels[made.brain], kind="stable")
        assert (np.diff(images[place][made.brain][order]) >= 0).all()
    raw, found = scored(AUROC(), made.raw, made), scored(AUROC(), images, made)
    assert all(found[place] == pytest.approx(value, abs=1e-4) for place, value in raw.items())


VALUES = arrays(np.float32, st.integers(2, 60), elements=st.integers(-9, 9).map(float))


@given(values=VALUES, count=st.integers(2, 30))
@settings(deadline=None, max_examples=60)
def test_quantiles_are_numpys(values: np.ndarray, count: int) -> None:
    expected = np.quantile(values.astype(np.float64), np.linspace(0, 1, count))
    np.testing.assert_allclose(quantiles_of(values, count), expected, atol=1e-9)


@given(values=VALUES, others=VALUES, count=st.integers(2, 30))
@settings(deadline=None, max_examples=60)
def test_matching_rises_with_the_values_and_stays_in_range(
    values: np.ndarray, others: np.ndarray, count: int
) -> None:
    own, onto = quantiles_of(values, count), quantiles_of(others, count)
    found = matched(np.sort(values), own, onto)
    assert (np.diff(found) >= -1e-9).all()
    assert found.min() >= onto.min() - 1e-9
    assert found.max() <= onto.max() + 1e-9
    np.testing.assert_allclose(matched(values, own, own), values, atol=1e-5)  # onto itself


def test_histogram_refuses_what_it_cannot_learn_from(made: Made) -> None:
    with pytest.raises(MethodError, match="expected training scans, found none"):
        Histogram().fit(Cohort(()), None, made.context)
    flat = made.cohort.scans[0].with_voxels(np.ones(made.brain.shape, dtype=np.float32))
    with pytest.raises(MethodError, match="found the one value 1 in its mask"):
        Histogram().fit(Cohort((flat,)), None, made.context)


# --- each control is caught by the guard that is there for it -------------------------------------


def test_identifiability_catches_template_and_mismatch(made: Made) -> None:
    def found(method: Method) -> list[float]:
        images = images_of(method, made.cohort, made.context)
        return guarded(Identifiability(), "all", images, made)

    chance = 1 / len(made.cohort.subjects)
    assert found(Template()) == pytest.approx([chance] * 6)
    assert max(found(Mismatch())) <= chance
    # and it is blind to these
    for method in (Oracle(), Shrink(keep=0.05), Shuffle(), Invert(), Blur(), BlurNoise()):
        assert found(method) == [1.0] * 6


@pytest.mark.parametrize("keep", [0.2, 0.05])
def test_individuality_catches_shrink(made: Made, keep: float) -> None:
    def found(method: Method) -> float:
        images = images_of(method, made.cohort, made.context)
        return guarded(Individuality(), "brain", images, made)[0]

    assert found(Shrink(keep=keep)) == pytest.approx(keep, rel=0.1)
    assert found(Template()) < 1e-3
    for method in (Oracle(), Shuffle(), Histogram()):
        assert found(method) == pytest.approx(1, abs=0.1)


def test_guards_find_that_invert_lost_the_contrast(made: Made) -> None:
    images = images_of(Invert(), made.cohort, made.context)
    for metric in (Sharpness(), Noise(), Individuality()):
        rows = rows_of(metric, images, made)
        assert rows
        for _, row in rows:
            assert row.status == "undefined"
            assert row.reason.startswith("contrast_lost")


def test_sharpness_catches_blur_and_noise_catches_blur_noise(fine: Made) -> None:
    blur = images_of(Blur(), fine.cohort, fine.context)
    both = images_of(BlurNoise(), fine.cohort, fine.context)
    for images in (blur, both):
        assert max(guarded(Sharpness(), "brain", images, fine)) < 0.8
    assert max(guarded(Noise(), "wm", blur, fine)) < 0.8
    assert min(guarded(Noise(), "wm", both, fine)) > 1.2
    histogram = images_of(Histogram(), fine.cohort, fine.context)  # loses nothing
    assert guarded(Sharpness(), "brain", histogram, fine) == pytest.approx([1] * 4, abs=0.2)
    assert guarded(Noise(), "wm", histogram, fine) == pytest.approx([1] * 4, abs=0.2)
