"""What holds for all metrics: symmetry, identity, and that a growing scanner effect is seen.

The phantom's own scanners, put to a strength between an ideal scanner (0) and themselves (1), look
at the phantom's scanner-free brains. Their bias field is left in: RAW keeps 15% of it.
"""

from dataclasses import astuple, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.atlas import builtin_atlas
from harmobench.imaging.canonical import canonical
from harmobench.imaging.volume import write_image
from harmobench.interface import Context, Scan, Segmentation
from harmobench.phantom.folder import stream
from harmobench.phantom.real import fill_outside, rescan
from harmobench.phantom.scan import (
    RESIDUAL_BIAS,
    draw_position,
    reference_image,
    scan_native,
)
from harmobench.phantom.scanners import REFERENCE, SCANNERS, Scanner
from harmobench.phantom.signal import Protocol
from harmobench.phantom.simulate import draw_deformation, draw_subject
from harmobench.phantom.template import template
from harmobench.phantom.truth import stored_fractions
from harmobench.registry import build, find, plugins
from harmobench.tools.hmrf import HMRF

RESOLUTION = 6.0
SUBJECTS = ("01", "02", "03")
USED = SCANNERS[:3]
STRENGTHS = (0.0, 0.25, 0.5, 1.0)
TISSUES = ("csf", "gm", "wm")


SMALLER = {"slice_consistency": {"least": 60}}  # slices of 6 mm voxels have few


def metric(name):
    return build(find("metrics", name), SMALLER.get(name))


def weakened(scanner, strength, bias=1.0):
    """Put a scanner to a strength from 0, the ideal one with the reference's contrast, to 1."""
    pairs = zip(astuple(REFERENCE), astuple(scanner.protocol), strict=True)
    timing = [a + strength * (b - a) for a, b in pairs]
    tr, ti, te, flip, spacing, train, efficiency = timing
    return Scanner(
        name=scanner.name,
        protocol=Protocol(tr, ti, te, flip, spacing, round(train), efficiency),
        blur=strength * scanner.blur,
        bias=strength * scanner.bias * bias,
        noise=strength * scanner.noise,
        gamma=1 + strength * (scanner.gamma - 1),
        scale=1.0,
    )


class Bench:
    """The phantom's brains, their scans at any strength, and what metrics need to score them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.grid, self.brain = template(RESOLUTION)
        self.mask = folder / "mask.nii.gz"
        write_image(self.mask, self.brain, self.grid)
        self.atlas = builtin_atlas(folder / "atlas", RESOLUTION)
        bodies = [draw_subject(n, seed)[1] for n in range(len(SUBJECTS))]
        self.truths = [reference_image(body, self.grid, self.brain) for body in bodies]
        for name, truth in zip(SUBJECTS, self.truths, strict=True):
            write_image(folder / f"truth_{name}.nii.gz", truth, self.grid)

    def scans(self, strength: float) -> list[tuple[Scan, ...]]:
        """Scans of each subject, segmented in template space."""
        return [
            tuple(self._scan(n, k, strength) for k in range(len(USED)))
            for n in range(len(SUBJECTS))
        ]

    def _scan(self, subject: int, scanner: int, strength: float) -> Scan:
        box, relative = fill_outside(self.truths[subject], self.brain)
        voxels = np.zeros(self.grid.shape, dtype=np.float32)
        voxels[box] = rescan(
            relative,
            self.brain[box],
            self.grid.voxel_sizes,
            weakened(USED[scanner], strength, bias=1 / RESIDUAL_BIAS),
            stream(self.seed, "scan", subject, scanner),
            stream(self.seed, "bias", scanner),
        )
        name = f"{SUBJECTS[subject]}_{USED[scanner].name}_{strength}"
        path = self.folder / f"{name}.nii.gz"
        write_image(path, voxels, self.grid)
        values = {"truth_image": str(self.folder / f"truth_{SUBJECTS[subject]}.nii.gz")}
        scan = Scan(SUBJECTS[subject], USED[scanner].name, path, self.mask, values)
        return replace(scan, segmentation=segmented(scan, "template"))

    def context(self, scans: list[tuple[Scan, ...]]) -> Context:
        """Return a context in which these scans are RAW."""
        raws = {(scan.subject, scan.scanner): scan for own in scans for scan in own}
        folds = dict.fromkeys(SUBJECTS, 0)
        return Context(0, self.atlas, self.folder, raws=raws, folds=folds)


def segmented(scan: Scan, space: str) -> Segmentation:
    """Segment a scan with the built-in tool and write its maps as a run does."""
    given_scan = scan.with_voxels(canonical(scan.voxels(), scan.brain()))
    maps = {}
    for tissue, probability in HMRF().segment(given_scan, None).items():
        steps = np.floor(probability * 250 + 1e-4).astype(np.uint8)
        maps[tissue] = scan.image.with_name(f"{scan.image.name}.{tissue}.nii.gz")
        write_image(maps[tissue], steps, scan.grid, scale=1 / 250)
    return Segmentation("hmrf", space, maps)


def by_subject(name, scans, context):
    """Values of each structure, a list a subject (of level "cohort" one list)."""
    built = metric(name)
    states = [built.prepare(scan, context) for own in scans for scan in own]
    state = None if states[0] is None else built.merge(states, context)
    groups = scans
    if built.level == "cohort":
        groups = [tuple(scan for own in scans for scan in own)]
    found: dict[str, list[list[float]]] = {}
    for own in groups:
        rows = list(built.score(own, state, context))
        assert {row.status for row in rows} == {"ok"}, [row.reason for row in rows]
        low, high = built.range
        assert all(low - 1e-6 <= row.value <= high + 1e-6 for row in rows)
        for structure in built.structures:
            found.setdefault(structure, []).append(
                [row.value for row in rows if row.structure == structure]
            )
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"), 0)


@pytest.fixture(scope="module")
def raw(bench):
    """Scans at full strength, and the context in which they are RAW."""
    scans = bench.scans(1.0)
    return scans, bench.context(scans)


def scored_metrics(*reads):
    """Registered metrics of harmobench that read images or segmentations, or one of them."""
    own = [p for p in plugins("metrics").values() if p.target.startswith("harmobench.")]
    return [p.name for p in own if p.load().reads in (reads or ("image", "segmentation"))]


def values(found):
    return [value for rows in found.values() for row in rows for value in row]


@pytest.mark.parametrize("name", ["ssim", "dice"])
@given(st.sampled_from(range(3)), st.sampled_from(list(combinations(range(3), 2))))
@settings(deadline=None, max_examples=5)
def test_pairs_are_symmetric(raw, name, subject, pair):
    scans, context = raw
    a, b = (scans[subject][k] for k in pair)
    forth, back = (by_subject(name, [pair], context) for pair in ((a, b), (b, a)))
    assert values(forth) == pytest.approx(values(back), abs=1e-6)


@pytest.mark.parametrize("name", ["ssim", "dice"])
def test_a_scan_is_wholly_like_itself(raw, name):
    scans, context = raw
    twice = [(own[0], replace(own[0], scanner="again")) for own in scans]
    found = values(by_subject(name, twice, context))
    assert found == pytest.approx([1.0] * len(found), abs=1e-5)


@pytest.mark.parametrize("name", ["sharpness", "noise", "slice_consistency", "individuality"])
def test_raw_against_raw_is_one(raw, name):
    found = values(by_subject(name, *raw))
    assert found == pytest.approx([1.0] * len(found), abs=1e-6)


def test_the_true_image_has_no_error(bench, raw):
    scans, context = raw
    true = [
        tuple(scan.with_voxels(2 * truth + 1) for scan in own)
        for own, truth in zip(scans, bench.truths, strict=True)
    ]
    found = values(by_subject("truth_rmse", true, context))
    assert found == pytest.approx([0.0] * 9, abs=1e-5)


def test_the_true_segmentation_has_no_error_but_the_thresholds(raw):
    scans, context = raw
    true = [tuple(in_native(scan, scan.segmentation.maps) for scan in own) for own in scans]
    errors = by_subject("volume_error", true, context)
    for tissue in TISSUES:
        assert errors[f"{tissue}_p80"] == [[0.0] * len(USED)] * len(SUBJECTS)
        assert any(np.ravel(errors[tissue]))
    assert values(by_subject("truth_dice", true, context)) == [1.0] * 18


def in_native(scan, true):
    """Return a scan whose segmentation is taken for native, and whose truth are these maps."""
    values = {f"truth_{tissue}": str(path) for tissue, path in true.items()}
    return replace(scan, values=values, segmentation=replace(scan.segmentation, space="native"))


@pytest.mark.parametrize("name", scored_metrics())
def test_the_order_of_scans_changes_nothing(raw, name):
    """Neither that of subjects, nor that of a subject's scans."""
    scans, context = raw
    if "truth_gm" in getattr(metric(name), "truth", ()):
        scans = [tuple(in_native(scan, own[0].segmentation.maps) for scan in own) for own in scans]
    turned = [own[::-1] for own in scans[::-1]]
    before, after = (by_subject(name, each, context) for each in (scans, turned))
    for structure in metric(name).structures:
        forth, back = (sorted(np.concatenate(found[structure])) for found in (before, after))
        assert forth == pytest.approx(back, abs=1e-9)


@pytest.mark.parametrize("name", scored_metrics("image"))
@given(st.floats(0.01, 100), st.floats(-10, 10))
@settings(deadline=None, max_examples=4)
def test_an_affine_map_of_all_images_of_a_method_changes_nothing(raw, name, scale, shift):
    scans, context = raw
    mapped = [
        tuple(scan.with_voxels(np.float32(scale * (scan.voxels() + shift))) for scan in own)
        for own in scans
    ]
    before, after = (values(by_subject(name, each, context)) for each in (scans, mapped))
    assert after == pytest.approx(before, abs=5e-3)


RISING = ("volume", "auroc", "truth_rmse")  # spreads and errors; the others fall


def amount(name, rows):
    """How far scanners are apart: one number a structure, the mean over subjects."""
    if name == "auroc":  # the spread over a subject's scanners
        return np.mean([np.std(row, ddof=1) for row in rows])
    if name == "volume":
        return np.mean([abs(a - b) for row in rows for a, b in combinations(row, 2)])
    return np.mean(rows)


@pytest.fixture(scope="module", params=[1, 2])
def growing(request, tmp_path_factory):
    """Scans at growing strength, and their context, of several cohorts."""
    bench = Bench(tmp_path_factory.mktemp("growing"), request.param)
    found = [bench.scans(strength) for strength in STRENGTHS]
    return [(scans, bench.context(scans)) for scans in found]


@pytest.mark.parametrize("name", ["ssim", "dice", "volume", "auroc", "truth_rmse"])
def test_a_growing_scanner_effect_is_seen(growing, name):
    steps = [by_subject(name, *step) for step in growing]
    for structure in metric(name).structures:
        course = [amount(name, step[structure]) for step in steps]
        if name in RISING:
            assert course[0] == pytest.approx(0, abs=1e-5)
            course = [-x for x in course]
        else:
            assert course[0] == pytest.approx(1, abs=1e-5)
        falls = np.diff(course)
        assert (falls < 0).all(), (structure, course)


def test_without_a_scanner_effect_everyone_is_recognized(growing):
    found = values(by_subject("identifiability", *growing[0]))
    assert found == [1.0] * len(found)


@pytest.fixture(scope="module")
def person():
    return draw_subject(0, 0), draw_deformation(0, 0)


@pytest.mark.parametrize("scanner", USED[:2], ids=lambda scanner: scanner.name)
def test_a_scanner_leads_away_from_the_true_tissue(person, tmp_path, scanner):
    """Native scans by the phantom's whole machinery: position, point spread, bias field, noise.

    Only from none to the whole of it: in mixed voxels of an ideal image the segmenter is not
    perfect either, and a quarter of the effect may help it. Errors of volumes may cancel.
    """
    ideal, real = (native_scan(*person, scanner, s, tmp_path / str(s)) for s in (0.0, 1.0))
    better, worse = (by_subject("truth_dice", [(scan,)], None) for scan in (ideal, real))
    for tissue in ("gm", "wm"):
        assert 1 > better[tissue][0][0] > worse[tissue][0][0] + 0.02


def native_scan(subject, shape, scanner, strength, folder):
    """Write the native scan and true maps of one subject, and segment it."""
    person, body = subject
    position = draw_position(*shape, person.size, stream(0, "position", 0, 0))
    streams = stream(0, "scan", 0, 0), stream(0, "bias", 0)
    native = scan_native(body, position, weakened(scanner, strength), RESOLUTION, *streams)
    write_image(folder / "t1.nii.gz", native.image, native.grid)
    write_image(folder / "mask.nii.gz", native.tissues.brain, native.grid)
    true = {}
    for tissue, steps in stored_fractions(native.tissues).items():
        true[tissue] = folder / f"truth_{tissue}.nii.gz"
        write_image(true[tissue], steps, native.grid, scale=1 / 250)
    scan = Scan("01", scanner.name, folder / "t1.nii.gz", folder / "mask.nii.gz")
    return in_native(replace(scan, segmentation=segmented(scan, "native")), true)
