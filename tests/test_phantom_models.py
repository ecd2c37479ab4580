"""The phantom's parts: signal equation, scanners, interpolation, deformations, disease."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.errors import HarmobenchError, SettingsError
from harmobench.phantom.anatomy import Tissues, make_anatomy, tissues_at
from harmobench.phantom.deformation import (
    LOW,
    SPACING,
    Deformation,
    apply_matrix,
    exponential,
    invert,
    lattice_points,
    lattice_shape,
    random_displacement,
    random_velocity,
    sample,
    smooth_noise,
)
from harmobench.phantom.folder import stream
from harmobench.phantom.interpolation import trilinear
from harmobench.phantom.real import contrast_curve, map_contrast
from harmobench.phantom.scan import (
    NativeScan,
    clean_signal,
    displacement,
    draw_position,
    scan_native,
)
from harmobench.phantom.scanners import REFERENCE, SCANNERS, acquire, choose_scanners
from harmobench.phantom.signal import TISSUES, Protocol, longitudinal, signal, tissue_signal
from harmobench.phantom.simulate import draw_deformation, draw_subject
from harmobench.phantom.subject import DISEASE, GROUPS, make_subject
from harmobench.phantom.template import base_maps, grid_points
from harmobench.phantom.truth import Truth, cohens_d, effects, true_scan

protocols = st.builds(
    Protocol,
    tr=st.floats(1500, 3000),
    ti=st.floats(600, 1100),
    te=st.floats(1, 6),
    flip=st.floats(2, 20),
    spacing=st.floats(3, 8),
    train=st.integers(1, 140),
    efficiency=st.floats(0.7, 1.0),
)


def by_pulses(t1: float, protocol: Protocol, repetitions: int = 60) -> float:
    """Longitudinal magnetization at the train's centre, pulse by pulse from equilibrium."""

    def relax(m: float, time: float) -> float:
        return 1 - (1 - m) * float(np.exp(-time / t1))

    m, centre = 1.0, 0.0
    for _ in range(repetitions):
        m = relax(-protocol.efficiency * m, protocol.before)
        for pulse in range(protocol.train):
            if pulse == protocol.train // 2:
                centre = m
            m = relax(m * float(np.cos(np.deg2rad(protocol.flip))), protocol.spacing)
        m = relax(m, protocol.after)
    return centre


@given(protocols, st.floats(400, 4500))
@settings(deadline=None, max_examples=25)
def test_closed_form_is_the_steady_state_of_the_pulses(protocol: Protocol, t1: float) -> None:
    assume(protocol.before >= 0 and protocol.after >= 0)
    found = float(longitudinal(np.array(t1), protocol))
    assert found == pytest.approx(by_pulses(t1, protocol), abs=1e-9)


def test_one_long_repetition_is_inversion_recovery() -> None:
    protocol = Protocol(tr=1e6, ti=700, te=0.0, flip=90, spacing=1.0, train=1, efficiency=1.0)
    t1 = np.array([500.0, 1000.0, 4000.0])
    np.testing.assert_allclose(longitudinal(t1, protocol), 1 - 2 * np.exp(-700 / t1), atol=1e-12)


@given(protocols, st.floats(400, 4500), st.floats(0.1, 1), st.floats(20, 500))
@settings(deadline=None, max_examples=30)
def test_signal_is_bounded_and_falls_with_echo_time(
    protocol: Protocol, t1: float, density: float, t2star: float
) -> None:
    assume(protocol.before >= 0 and protocol.after >= 0)
    found = float(signal(np.array(t1), density, t2star, protocol))
    assert 0 <= found <= density * np.sin(np.deg2rad(protocol.flip)) + 1e-12
    later = Protocol(**{**vars(protocol), "te": protocol.te + 5})
    ratio = float(signal(np.array(t1), density, t2star, later))
    assert ratio == pytest.approx(found * np.exp(-5 / t2star))


def test_a_train_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match="fits between"):
        longitudinal(np.array(1000.0), Protocol(1000, 300, 3, 8, 7, 176))


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda s: s.name)
def test_every_scanner_shows_t1_contrast(scanner: object) -> None:
    assert isinstance(scanner, type(SCANNERS[0]))
    shown = {name: float(tissue_signal(name, scanner.protocol)) for name in TISSUES}
    assert 0 < shown["csf"] < 0.6 * shown["gm"]
    assert shown["gm"] < 0.8 * shown["wm"]
    assert shown["gm"] < shown["lesion"] < 0.85 * shown["wm"]


def test_choose_scanners_keeps_the_order() -> None:
    names = [s.name for s in choose_scanners(4)]
    assert names == ["GE", "Philips", "SiemensP", "SiemensT"]
    assert len({s.name for s in choose_scanners(7)}) == 7


def test_noise_is_rician() -> None:
    """Mean square of a Rician is signal squared plus twice the channel variance."""
    scanner = SCANNERS[2]
    assert scanner.gamma == 1.0
    clean = np.full((40, 40, 40), 0.5, dtype=np.float32)
    rng = np.random.default_rng(3)
    image = acquire(clean, np.zeros_like(clean), 1.0, scanner, np.ones(3), rng) / scanner.scale
    expected = 0.25 + 2 * scanner.noise**2
    assert float((image.astype(np.float64) ** 2).mean()) == pytest.approx(expected, rel=1e-3)
    empty = acquire(0 * clean, 0 * clean, 1.0, scanner, np.ones(3), rng) / scanner.scale
    assert float(empty.mean()) == pytest.approx(scanner.noise * np.sqrt(np.pi / 2), rel=0.02)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_trilinear_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(2, 5, 6, 4)).astype(np.float32)
    index = rng.uniform(-2, 8, size=(3, 7, 9))
    expected = [ndimage.map_coordinates(f, index, order=1, mode="nearest") for f in fields]
    np.testing.assert_allclose(trilinear(fields, index), np.stack(expected), atol=1e-5)


def test_smooth_noise_has_unit_spread_and_the_asked_smoothness() -> None:
    noise = smooth_noise(np.random.default_rng(0), 8.0)[0]
    assert noise.shape == lattice_shape()
    assert float(noise.std()) == pytest.approx(1.0, abs=1e-3)
    neighbours = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    # a Gaussian of SD s correlates exp(-d^2 / 4 s^2) at distance d
    assert neighbours == pytest.approx(np.exp(-(SPACING**2) / (4 * 8.0**2)), abs=0.02)


@pytest.fixture(scope="module", params=[0, 1, 2])
def pair(request: pytest.FixtureRequest) -> tuple[Deformation, Deformation]:
    return draw_deformation(request.param, 0)


def test_deformations_do_not_fold(pair: tuple[Deformation, Deformation]) -> None:
    jacobian = pair[0].jacobian()
    assert 0.1 < float(jacobian.min()) < 0.9
    assert 1.1 < float(jacobian.max()) < 5
    moved = np.sqrt((pair[0].displacement ** 2).sum(axis=0).mean())
    assert 2 < float(moved) < 8


def test_jacobian_of_a_linear_map_is_its_determinant() -> None:
    matrix = np.array([[0.1, 0.02, 0.0], [0.03, -0.1, 0.01], [0.0, 0.05, 0.2]])
    points = lattice_points()
    field = np.einsum("ij,jxyz->ixyz", matrix, points).astype(np.float32)
    expected = np.linalg.det(np.eye(3) + matrix)
    np.testing.assert_allclose(Deformation(field).jacobian(), expected, rtol=1e-3)


def test_inverse_is_the_inverse(pair: tuple[Deformation, Deformation]) -> None:
    forward, guess = pair
    rng = np.random.default_rng(0)
    points = rng.uniform([-70, -105, -50], [70, 70, 80], size=(5000, 3)).T
    back = forward.inverse(points, guess(points))
    assert np.abs(forward(back) - points).max() < 0.05  # mm: a twentieth of the smallest voxel
    assert np.abs(forward.inverse(forward(points)) - points).max() < 0.1
    assert np.abs(guess(forward(points)) - points).max() < 1.5  # the guess is near


def test_exponential_of_nothing_and_of_a_shift() -> None:
    still = exponential(np.zeros((3, *lattice_shape()), dtype=np.float32))
    assert not still.displacement.any()
    shift = np.zeros((3, *lattice_shape()), dtype=np.float32)
    shift[1] = 2.5
    np.testing.assert_allclose(exponential(shift).displacement[1], 2.5, atol=1e-5)


def test_a_fold_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(HarmobenchError, match="does not fold"):
        random_displacement(rng, 4.0, 20.0)
    points = np.zeros((3, 1)) + 10.0
    with pytest.raises(HarmobenchError, match="inverted"):
        invert(lambda p: -2.0 * p, points, points)


def test_residual_has_the_asked_size() -> None:
    residual = random_displacement(np.random.default_rng(1), 8.0, 0.4)
    assert np.sqrt((residual.displacement**2).sum(axis=0).mean()) == pytest.approx(0.4, rel=1e-3)
    assert random_velocity(np.random.default_rng(1), 8.0, 0.4).shape == (3, *lattice_shape())


def test_sample_extends_the_edges() -> None:
    field = smooth_noise(np.random.default_rng(0), 8.0)
    far = np.reshape(LOW, (3, 1)) - 50.0
    assert sample(field, far)[0, 0] == field[0, 0, 0, 0]


def test_subjects_follow_from_seed_and_number() -> None:
    people = [make_subject(n, stream(0, "subject", n)) for n in range(40)]
    assert people[7] == make_subject(7, stream(0, "subject", 7))
    assert [p.group for p in people] == list(GROUPS) * 20
    assert [p.name for p in people[:3]] == ["01", "02", "03"]
    for arm, group in enumerate(GROUPS):
        sexes = [p.sex for p in people if p.group == group]
        assert sexes.count("F") == sexes.count("M") == 10
        shift = np.mean([p.disease.ventricle for p in people if p.group == group])
        assert float(shift) == pytest.approx(DISEASE["ventricle"][0][arm], abs=0.4)


@pytest.fixture(scope="module")
def template_volumes() -> list[Truth]:
    """Of four people in template space, where neither head size nor deformation hides disease."""
    rows = []
    for number in range(4):
        person, anatomy = draw_subject(number, 0)
        base = anatomy.base
        points = grid_points(base.grid)[:, base.brain]
        found = true_scan(tissues_at(anatomy, points), points, base.grid.voxel_ml, person.name, "")
        rows += found.volumes
    return rows


def test_disease_moves_the_structures_it_names(template_volumes: list[Truth]) -> None:
    groups = {f"{n + 1:02d}": GROUPS[n % 2] for n in range(4)}
    rows = effects(template_volumes, groups, GROUPS)
    d = {(t.structure, t.quantity): float(t.value) for t in rows if t.value != ""}
    assert d["hippocampus", "cohens_d_of_volume_sum"] > 1
    assert d["ventricles", "cohens_d_of_volume_sum"] < -1
    assert d["lesions", "cohens_d_of_volume_sum"] < -1


def test_lesions_have_the_drawn_volume(template_volumes: list[Truth]) -> None:
    found = {t.subject: float(t.value) for t in template_volumes if _is_lesion(t)}
    for number in range(4):
        person = make_subject(number, stream(0, "subject", number))
        assert found[person.name] == pytest.approx(person.disease.lesion, rel=0.15)


def _is_lesion(row: Truth) -> bool:
    return (row.structure, row.quantity) == ("lesions", "volume_sum")


@pytest.fixture(scope="module")
def native() -> NativeScan:
    person, anatomy = draw_subject(0, 0)
    shape = draw_deformation(0, 0)
    position = draw_position(*shape, person.size, stream(0, "position", 0, 0))
    streams = stream(0, "scan", 0, 0), stream(0, "bias", 0)
    return scan_native(anatomy, position, SCANNERS[0], 4.0, *streams)


def test_boundaries_differ_from_the_template_and_between_people() -> None:
    base = base_maps()
    points = grid_points(base.grid)[:, base.brain]

    def white(number: int) -> NDArray[np.bool_]:
        return np.asarray(tissues_at(draw_subject(number, 0)[1], points).wm >= 0.5)

    first, second = white(0), white(2)
    average = base.wm[base.brain] > np.maximum(base.csf[base.brain], 0)
    for a, b in ((first, second), (first, average)):
        dice = 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
        assert 0.75 < dice < 0.97


def test_tissues_sum_to_one(native: NativeScan) -> None:
    tissues: Tissues = native.tissues
    np.testing.assert_allclose(tissues.csf + tissues.gm + tissues.wm, 1, atol=1e-5)
    for fraction in (tissues.csf, tissues.gm, tissues.wm, tissues.lesion, tissues.shell):
        assert float(fraction.min()) >= 0
        assert float(fraction.max()) <= 1
    assert np.isfinite(native.image).all()
    assert float(np.abs(tissues.variation).max()) < 0.4  # within the table of signals


def test_mixture_is_linear_in_the_fractions() -> None:
    one, zero = np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.float32)
    inside = np.ones(1, dtype=bool)

    def shown(csf: float, gm: float, wm: float, lesion: float) -> float:
        a, b, c, d = (np.full(1, v, dtype=np.float32) for v in (csf, gm, wm, lesion))
        tissues = Tissues(a, b, c, d, variation=zero, brain=inside, shell=one, ventricle=inside)
        return float(clean_signal(tissues, REFERENCE)[0])

    pure = {t: float(tissue_signal(t, REFERENCE)) for t in TISSUES}
    assert shown(1, 0, 0, 0) == pytest.approx(pure["csf"], rel=1e-5)
    assert shown(0, 1, 0, 0) == pytest.approx(pure["gm"], rel=1e-5)
    assert shown(0, 0, 1, 1) == pytest.approx(pure["lesion"], rel=1e-5)
    half = 0.5 * pure["gm"] + 0.5 * (0.25 * pure["lesion"] + 0.75 * pure["wm"])
    assert shown(0, 0.5, 0.5, 0.25) == pytest.approx(half, rel=1e-5)


def test_position_maps_are_inverse_to_each_other() -> None:
    shape = draw_deformation(1, 0)
    position = draw_position(*shape, 0.93, stream(0, "position", 1, 0))
    rng = np.random.default_rng(0)
    points = rng.uniform([-60, -90, -40], [60, 60, 70], size=(2000, 3)).T
    native_points = position.to_native(points)
    assert np.abs(position.to_template(native_points) - points).max() < 0.05
    registered = position.residual(position.to_template(position.registered_to_native(points)))
    assert np.abs(registered - points).max() < 0.05
    assert displacement(native_points, points).shape == (2000, 3)
    assert np.linalg.det(position.head[:3, :3]) == pytest.approx(0.93**3)
    np.testing.assert_allclose(apply_matrix(np.eye(4), points), points)


def test_anatomy_is_drawn_from_its_stream() -> None:
    person, first = draw_subject(3, 0)
    again = make_anatomy(person, base_maps(), stream(0, "anatomy", 3))
    np.testing.assert_array_equal(first.maps, again.maps)


@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=8),
    st.lists(st.floats(-50, 50), min_size=2, max_size=8),
)
@settings(deadline=None, max_examples=50)
def test_cohens_d_is_pingouins(first: list[float], second: list[float]) -> None:
    import pingouin

    assume(np.std(first) > 1e-3 or np.std(second) > 1e-3)
    expected = pingouin.compute_effsize(first, second, eftype="cohen")
    assert cohens_d(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_cohens_d_needs_two_of_each() -> None:
    assert cohens_d([1.0], [2.0, 3.0]) is None
    assert cohens_d([1.0, 1.0], [1.0, 1.0]) is None


@given(st.sampled_from(SCANNERS), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_contrast_mapping_rises_and_keeps_white(scanner: object, seed: int) -> None:
    assert isinstance(scanner, type(SCANNERS[0]))
    values = np.sort(np.random.default_rng(seed).uniform(0, 1.6, 200)).astype(np.float32)
    mapped = map_contrast(values, scanner.protocol)
    assert (np.diff(mapped) >= -1e-6).all()
    assert float(map_contrast(np.ones(1, np.float32), scanner.protocol)[0]) == pytest.approx(1.0)
    assert float(map_contrast(np.zeros(1, np.float32), scanner.protocol)[0]) == 0.0


def test_contrast_mapping_of_the_reference_is_the_identity() -> None:
    values = np.linspace(0, 1.5, 50, dtype=np.float32)
    np.testing.assert_allclose(map_contrast(values, REFERENCE), values, atol=1e-5)
    before, after = contrast_curve(SCANNERS[0].protocol)
    grey = float(tissue_signal("gm", REFERENCE) / tissue_signal("wm", REFERENCE))
    shown = SCANNERS[0].protocol
    expected = float(tissue_signal("gm", shown) / tissue_signal("wm", shown))
    assert float(np.interp(grey, before, after)) == pytest.approx(expected, abs=1e-6)
