"""MISPEL: against the published Keras program's outputs, and on small synthetic cohorts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.cohort import Cohort, Scan
from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context
from harmobench.methods.mispel import Mispel, slices

torch = pytest.importorskip("torch")

from harmobench.methods.mispel import course, losses, network, selection, training, watch  # noqa: E402
from harmobench.methods.mispel.harmonizing import encode_groups, harmonize, step2_terms  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"
FIXTURE = SHARED / "reference" / "mispel_fixture.npz"
needs_fixture = pytest.mark.skipif(not FIXTURE.is_file(), reason="no reference outputs beside")
SHAPE = (18, 23, 6)  # in the plane not divisible by 4
TINY = {
    "precision": "float32",
    "steps": 4,
    "steps2": 6,
    "warm_steps": 2,
    "batch": 2,
    "lambda4s": (),
    "latent": 4,
}


# --- the published program ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras() -> dict[str, np.ndarray]:
    with np.load(FIXTURE) as data:
        return {name: data[name] for name in data.files}


def units_from(keras: dict[str, np.ndarray], prefix: str = "w") -> network.Units:
    units = network.Units(4, 6)
    with torch.no_grad():
        for i in range(4):
            for k, conv in enumerate(units.encoders[i].convs, start=1):
                kernel = keras[f"{prefix}/{i}_conv{k}/kernel"].transpose(3, 2, 0, 1)
                conv.weight.copy_(torch.from_numpy(kernel.copy()))
                conv.bias.copy_(torch.from_numpy(keras[f"{prefix}/{i}_conv{k}/bias"]))
            units.decoders[i].copy_(torch.from_numpy(keras[f"{prefix}/dec_{i}/w"])[None])
    return units


def keras_layout(units: network.Units, gradient: bool) -> dict[str, np.ndarray]:
    pick = (lambda p: p.grad) if gradient else (lambda p: p.detach())
    out = {}
    for i in range(4):
        for k, conv in enumerate(units.encoders[i].convs, start=1):
            out[f"{i}_conv{k}/kernel"] = pick(conv.weight).numpy().transpose(2, 3, 1, 0)
            out[f"{i}_conv{k}/bias"] = pick(conv.bias).numpy()
        out[f"dec_{i}/w"] = pick(units.decoders[i]).numpy()[0]
    return out


def batch_of(keras: dict[str, np.ndarray]) -> list[Any]:
    return [torch.from_numpy(keras[f"x_{i}"].transpose(0, 3, 1, 2).copy()) for i in range(4)]


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@needs_fixture
def test_forward_agrees_with_keras(keras: dict[str, np.ndarray]) -> None:
    units = units_from(keras)
    with torch.no_grad():
        for i, x in enumerate(batch_of(keras)):
            z = units.encode(i, x, "float32")
            y = network.decode(z, units.decoders[i], "relu")
            assert relative(z.numpy().transpose(0, 2, 3, 1), keras[f"z_{i}"]) < 1e-4
            assert relative(y.numpy().transpose(0, 2, 3, 1), keras[f"y_{i}"]) < 1e-4


@needs_fixture
def test_losses_agree_with_keras(keras: dict[str, np.ndarray]) -> None:
    units, x = units_from(keras), batch_of(keras)
    l1, l2, l3, l4 = keras["lambdas"]
    with torch.no_grad():
        recon, coup, y = training.step1_terms(units, range(4), x, "relu", "float32")
        harm = losses.harmonization(y, "scanners")[0]
    assert float(recon) == pytest.approx(sum(keras[f"loss_recon_{i}"] for i in range(4)), rel=1e-4)
    assert float(coup) == pytest.approx(float(keras["loss_coup"]), rel=1e-4)
    assert float(harm) == pytest.approx(float(keras["loss_harm"]), rel=1e-4)
    assert float(l1 * recon + l2 * coup) == pytest.approx(float(keras["loss_step1"]), rel=1e-4)
    assert float(l3 * recon + l4 * harm) == pytest.approx(float(keras["loss_step2"]), rel=1e-4)
    # six pairs of four scanners: the paper divides by 6 where the published code divides by 4
    assert float(losses.harmonization(y)[0]) == pytest.approx(float(harm) * 4 / 6, rel=1e-6)


@needs_fixture
def test_step1_gradients_agree_with_keras(keras: dict[str, np.ndarray]) -> None:
    units = units_from(keras)
    recon, coup, _ = training.step1_terms(units, range(4), batch_of(keras), "relu", "float32")
    (keras["lambdas"][0] * recon + keras["lambdas"][1] * coup).backward()
    for name, gradient in keras_layout(units, gradient=True).items():
        assert relative(gradient, keras[f"g1/{name}"]) < 5e-4, name


@needs_fixture
def test_step2_gradients_agree_with_keras_with_the_harmonization_loss_in_it(
    keras: dict[str, np.ndarray],
) -> None:
    units, x = units_from(keras), batch_of(keras)
    with torch.no_grad():
        z = [units.encode(i, a, "float32") for i, a in enumerate(x)]
    decoders = [w.detach().clone().requires_grad_() for w in units.decoders]
    recon, harm, _ = step2_terms(decoders, range(4), x, z, course.Objective("relu", "scanners"))
    (keras["lambdas"][2] * recon + keras["lambdas"][3] * harm).sum().backward()
    for i, weights in enumerate(decoders):
        assert weights.grad is not None
        assert relative(weights.grad.numpy()[0], keras[f"g2/dec_{i}"]) < 1e-4


@needs_fixture
def test_one_adam_step_agrees_with_keras(keras: dict[str, np.ndarray]) -> None:
    units = units_from(keras)
    rate = float(keras["lr"])
    recon, coup, _ = training.step1_terms(units, range(4), batch_of(keras), "relu", "float32")
    loss = keras["lambdas"][0] * recon + keras["lambdas"][1] * coup
    optimizer = training.adam(list(units.parameters()), rate)
    training.descend(optimizer, loss, rate, None)
    after = keras_layout(units, gradient=False)
    compared = 0
    for name, weights in after.items():
        gradient = np.abs(keras[f"g1/{name}"])
        # Adam's first step is the gradient's sign: where it is next to 0, epsilon and rounding rule
        clear = gradient > 5e-3
        compared += int(clear.sum())
        step = (weights - keras[f"w/{name}"])[clear]
        expected = (keras[f"after/{name}"] - keras[f"w/{name}"])[clear]
        np.testing.assert_allclose(step, expected, rtol=1e-3, err_msg=name)
    assert compared > 4_000


def test_network_has_the_published_number_of_parameters() -> None:
    count = sum(p.numel() for p in network.Encoder(6).parameters())
    assert count == 518_854


# --- losses ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    scanners=st.integers(2, 7),
    candidates=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_losses_agree_with_numpy(scanners: int, candidates: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(scanners, 2, 1, 4, 5))
    y = rng.normal(size=(scanners, 2, candidates, 4, 5))
    tensors = [torch.from_numpy(a) for a in x], [torch.from_numpy(a) for a in y]
    recon = np.abs(x - y).mean(axis=(1, 3, 4)).sum(axis=0)
    np.testing.assert_allclose(losses.reconstruction(*tensors), recon)
    np.testing.assert_allclose(losses.coupling(tensors[1]), y.var(axis=0).mean())
    pairs = [np.abs(y[i] - y[k]).mean(axis=(0, 2, 3)) for i in range(scanners) for k in range(i)]
    np.testing.assert_allclose(losses.harmonization(tensors[1]), np.mean(pairs, axis=0))


@settings(deadline=None, max_examples=30)
@given(
    box=st.tuples(st.integers(0, 4), st.integers(9, 18), st.integers(0, 5), st.integers(10, 23)),
    seed=st.integers(0, 2**31),
)
def test_slices_go_back_where_they_came_from(box: slices.Box, seed: int) -> None:
    volume = np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
    cut = slices.to_slices(volume, box)
    assert cut.shape[0] == SHAPE[2]
    assert cut.shape[1] % 4 == 0
    assert cut.shape[2] % 4 == 0
    back = slices.from_slices(cut, box, SHAPE)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[box[0] : box[1], box[2] : box[3]] = True
    np.testing.assert_array_equal(back, np.where(inside, volume, 0))


# --- small cohorts -----------------------------------------------------------------------------


def make_cohort(
    folder: Path,
    subjects: int = 3,
    scanners: int = 2,
    missing: tuple[tuple[int, int], ...] = (),
    scale: float = 1.0,
) -> Cohort:
    grid = Grid.make(SHAPE, np.eye(4))
    x, y, z = np.indices(SHAPE, dtype=float)
    brain = ((x - 8.5) / 7.6) ** 2 + ((y - 11) / 10.4) ** 2 + ((z - 2.5) / 3) ** 2 < 1
    write_image(folder / "mask.nii.gz", brain, grid)
    scans = []
    for i in range(subjects):
        rng = np.random.default_rng(i)
        anatomy = 1 + 0.5 * np.sin(x / (2 + rng.random())) * np.cos(y / (2 + rng.random()))
        for k in range(scanners):
            if (i, k) in missing:
                continue
            voxels = (anatomy ** (1 + 0.15 * k) + 0.02 * rng.normal(size=SHAPE)) * brain * scale
            path = folder / f"{i}_{k}.nii.gz"
            write_image(path, voxels.astype(np.float32), grid)
            scans.append(Scan(f"s{i}", f"scanner {k}", path, folder / "mask.nii.gz"))
    return Cohort(tuple(scans))


def context(folder: Path, seed: int = 0) -> Context:
    return Context(seed=seed, atlas=None, scratch=folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def fitted(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Mispel:
    return Mispel(**TINY).fit(cohort, None, context(tmp_path_factory.mktemp("scratch")))


def test_plugin_module_does_not_import_torch() -> None:
    code = "import sys, harmobench.methods.mispel as m; m.Mispel(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_preset_is_made_of_parameters() -> None:
    assert {"quick", "default", "paper"} <= set(Mispel.presets)
    for preset in Mispel.presets.values():
        Mispel(**preset).check()
    paper = Mispel(**Mispel.presets["paper"])
    assert (paper.lambda1, paper.lambda3, paper.batch, paper.learning_rate) == (1, 1, 4, 0.01)
    assert len(paper.latent_grid) * len(paper.lambda2_grid) == 15


def test_harmonized_image_keeps_grid_and_mask(cohort: Cohort, fitted: Mispel) -> None:
    scan = cohort.scans[1]
    out = fitted.transform(scan)
    voxels, brain = out.voxels(), scan.brain()
    assert voxels.shape == SHAPE
    assert voxels.dtype == np.float32
    assert np.isfinite(voxels).all()
    assert not voxels[~brain].any()
    assert np.count_nonzero(voxels[brain]) > 0.9 * brain.sum()
    assert (out.subject, out.scanner) == (scan.subject, scan.scanner)


def test_whole_brain_is_covered_also_outside_the_training_box(
    cohort: Cohort, fitted: Mispel, tmp_path: Path
) -> None:
    scan = cohort.scans[0]
    everywhere = np.ones(SHAPE, dtype=bool)
    write_image(tmp_path / "mask.nii.gz", everywhere, scan.grid)
    voxels = np.full(SHAPE, 1.0, dtype=np.float32)
    out = fitted.transform(replace(scan, mask=tmp_path / "mask.nii.gz", memory=voxels)).voxels()
    assert np.count_nonzero(out) > 0.99 * out.size


def test_transform_sees_one_scan_and_gives_the_network_output(
    cohort: Cohort, fitted: Mispel
) -> None:
    scan = cohort.scans[0]
    units = network.from_arrays(slices.part_of(fitted.weights_, "axial"), "cpu")
    padded = np.zeros((1, 1, 20, 24), dtype=np.float32)
    x0, x1, y0, y1 = fitted.boxes_["axial"]
    middle = (scan.voxels() / np.float32(fitted.scale_))[x0:x1, y0:y1, 3]
    padded = padded[:, :, : -(-(x1 - x0) // 4) * 4, : -(-(y1 - y0) // 4) * 4]
    padded[0, 0, : x1 - x0, : y1 - y0] = middle
    with torch.no_grad():
        z = units.encode(0, torch.from_numpy(padded), "float32")
        y = network.decode(z, units.decoders[0], "linear")[0, 0].numpy()
    expected = np.zeros(SHAPE[:2], dtype=np.float32)
    expected[x0:x1, y0:y1] = y[: x1 - x0, : y1 - y0] * np.float32(fitted.scale_)
    expected *= scan.brain()[:, :, 3]
    np.testing.assert_allclose(fitted.transform(scan).voxels()[:, :, 3], expected, atol=1e-6)


def test_same_seed_gives_the_same_bytes(cohort: Cohort, fitted: Mispel, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    again = Mispel(**TINY).fit(cohort, None, context(tmp_path))
    assert torch.get_num_threads() == before
    other = Mispel(**TINY).fit(cohort, None, context(tmp_path, seed=1))
    assert again.history_ == fitted.history_
    for name, weights in fitted.weights_.items():
        assert weights.tobytes() == again.weights_[name].tobytes()
    name = "axial/encoders.0.convs.0.weight"
    assert not np.array_equal(other.weights_[name], fitted.weights_[name])


def test_saved_model_gives_the_same_image(cohort: Cohort, fitted: Mispel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded = Mispel.load(tmp_path / "model")
    assert loaded == fitted
    assert loaded.history_ == fitted.history_
    assert loaded.chosen_ == json.loads(json.dumps(fitted.chosen_))
    scan = cohort.scans[2]
    np.testing.assert_array_equal(loaded.transform(scan).voxels(), fitted.transform(scan).voxels())


@pytest.mark.parametrize("scanners", [2, 7])
def test_any_number_of_scanners(scanners: int, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, subjects=1, scanners=scanners)  # one subject is enough
    model = Mispel(**TINY).fit(cohort, None, context(tmp_path))
    assert model.scanners_ == [f"scanner {k}" for k in range(scanners)]
    per_unit = sum(p.numel() for p in network.Encoder(4).parameters()) + 4
    assert model.parameters_ == scanners * per_unit
    assert np.isfinite(model.transform(cohort.scans[-1]).voxels()).all()


def test_uneven_subjects_train_on_the_scanners_they_have(tmp_path: Path) -> None:
    # s0 on 0, 1, 2; s1 on 0, 2; s2 on 1 alone, which trains nothing
    missing = ((1, 1), (2, 0), (2, 2))
    cohort = make_cohort(tmp_path, subjects=3, scanners=3, missing=missing)
    crop = slices.plan_crop(cohort, 0.05)
    names = list(cohort.scanners)
    groups = slices.matched_slices(cohort, names, crop, lambda *_: None)
    assert [group.scanners for group in groups] == [(0, 1, 2), (0, 2)]
    model = Mispel(**TINY).fit(cohort, None, context(tmp_path))
    for scan in cohort.scans:
        assert np.isfinite(model.transform(scan).voxels()).all()


def test_a_scanner_of_unmatched_subjects_only_is_not_learned(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, subjects=2, scanners=3, missing=((0, 2), (1, 0), (1, 1)))
    model = Mispel(**TINY).fit(cohort, None, context(tmp_path))
    with pytest.raises(MethodError, match="scanner 0, scanner 1, found subject s1 on scanner 2"):
        model.transform(cohort.scans[-1])


def test_no_matched_subject_is_refused(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, subjects=2, scanners=2, missing=((0, 1), (1, 0)))
    with pytest.raises(MethodError, match="at least 2 scanners"):
        Mispel(**TINY).fit(cohort, None, context(tmp_path))


def test_another_grid_is_refused(cohort: Cohort, fitted: Mispel) -> None:
    scan = replace(cohort.scans[0], mask=None, memory=np.ones((5, 5, 5), dtype=np.float32))
    with pytest.raises(MethodError, match="same grid"):
        fitted.transform(scan)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "half"),
        ("batch", 0),
        ("batch", 2.5),
        ("batch", True),
        ("steps", -1),
        ("steps2", "many"),
        ("learning_rate", -1.0),
        ("learning_rate2", 0.0),
        ("lambda4", -1.0),
        ("lambda2s", (0.1, 0.1)),
        ("latents", (4, "six")),
        ("selection", "best"),
        ("tolerance", 2.0),
        ("orientations", ()),
        ("orientations", ("axial", "oblique")),
        ("orientations", ("axial", "axial")),
        ("warm_steps", -1),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, value: object, cohort: Cohort) -> None:
    with pytest.raises(SettingsError, match=rf"MISPEL cannot .*: {name}: expected .*, found"):
        Mispel(**(TINY | {name: value})).check()
    with pytest.raises(SettingsError, match=name):
        Mispel(**(TINY | {name: value})).fit(cohort, None, context(Path()))


def test_a_misspelt_target_is_refused_before_a_run() -> None:
    Mispel(target="GE").check(["GE", "Philips"])
    with pytest.raises(
        SettingsError, match=r"target: expected GE or Philips, found 'Phillips'; is 'Phi"
    ):
        Mispel(target="Phillips").check(["GE", "Philips"])


@pytest.mark.parametrize("kind", ["constant", "negative", "few levels", "empty"])
def test_odd_images_of_one_scanner_train_or_say_what_is_wrong(
    kind: str, cohort: Cohort, tmp_path: Path
) -> None:
    def odd(scan: Scan) -> Scan:
        voxels, brain = scan.voxels(), scan.brain()
        changed = {
            "constant": np.where(brain, 1.0, 0.0),
            "negative": np.where(brain, voxels - 2.0, 0.0),
            "few levels": np.round(voxels * 3) / 3,
            "empty": np.zeros_like(voxels),
        }[kind]
        return scan.with_voxels(changed.astype(np.float32))

    scans = tuple(odd(scan) if scan.scanner == "scanner 1" else scan for scan in cohort.scans)
    model = Mispel(**TINY).fit(Cohort(scans), None, context(tmp_path))
    out = model.transform(scans[1]).voxels()
    assert np.isfinite(out).all()
    assert (out[~scans[1].brain()] == 0).all()


def test_empty_training_images_are_refused(cohort: Cohort, tmp_path: Path) -> None:
    scans = tuple(scan.with_voxels(np.zeros_like(scan.voxels())) for scan in cohort.scans)
    with pytest.raises(MethodError, match="expected training scans with a brain"):
        Mispel(**TINY).fit(Cohort(scans), None, context(tmp_path))


def test_scale_of_the_input_does_not_matter(tmp_path: Path) -> None:
    plain, large = (
        make_cohort(tmp_path / name, subjects=1, scale=scale)
        for name, scale in (("a", 1.0), ("b", 1024.0))
    )
    first = Mispel(**TINY).fit(plain, None, context(tmp_path)).transform(plain.scans[0])
    second = Mispel(**TINY).fit(large, None, context(tmp_path)).transform(large.scans[0])
    np.testing.assert_allclose(second.voxels(), 1024 * first.voxels(), rtol=1e-3, atol=0.05)


def test_one_broken_voxel_does_not_wreck_the_rest(cohort: Cohort, tmp_path: Path) -> None:
    voxels = cohort.scans[0].voxels()
    voxels[8, 11, 2] = 1e9
    broken = Cohort((replace(cohort.scans[0], memory=voxels), *cohort.scans[1:]))
    model = Mispel(**TINY).fit(broken, None, context(tmp_path))
    assert model.scale_ == pytest.approx(1.0, abs=0.2)
    assert max(row["loss"] for row in model.history_ if "loss" in row) < 100
    assert np.abs(model.transform(broken.scans[0]).voxels()).max() < 100


# --- training ----------------------------------------------------------------------------------


def test_divergence_is_noticed_and_restarted_lower(cohort: Cohort, tmp_path: Path) -> None:
    wild = TINY | {"warm_steps": 0, "steps": 10, "clip": None, "decay": "constant"}
    with pytest.warns(UserWarning, match="diverged"):
        model = Mispel(**wild, learning_rate=0.1).fit(cohort, None, context(tmp_path))
    restarts = [row for row in model.history_ if row.get("event") == "diverged"]
    assert 1 <= len(restarts) <= 5
    assert restarts[0]["stage"] == "step 1"
    assert restarts[0]["learning_rate"] == 0.1
    assert model.chosen_["axial"]["learning_rate"] == pytest.approx(0.1 * 0.3 ** len(restarts))
    assert all(np.isfinite(weights).all() for weights in model.weights_.values())


def test_divergence_at_every_rate_is_an_error(cohort: Cohort, tmp_path: Path) -> None:
    wild = TINY | {"warm_steps": 0, "steps": 10, "clip": None, "decay": "constant"}
    with (
        pytest.warns(UserWarning, match="diverged"),
        pytest.raises(MethodError, match="diverged 6 times"),
    ):
        Mispel(**wild, learning_rate=1e12).fit(cohort, None, context(tmp_path))


def test_dead_outputs_are_noticed() -> None:
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    watch.refuse_dead([x], [x * 0.9], 100)
    for dead in (torch.zeros_like(x), torch.full_like(x, 0.5), x + 10):
        with pytest.raises(watch.DivergedError, match="dead"):
            watch.refuse_dead([x], [dead], 100)


def test_training_learns_to_reconstruct_and_to_harmonize(cohort: Cohort, tmp_path: Path) -> None:
    budget = {"steps": 60, "steps2": 60, "warm_steps": 0, "learning_rate": 3e-3, "batch": 4}
    model = Mispel(**(TINY | budget)).fit(cohort, None, context(tmp_path))
    curve = [row for row in model.history_ if row["stage"] == "step 1"]
    assert curve[-1]["reconstruction"] < 0.6 * curve[0]["reconstruction"]
    raw, harmonized = [], []
    for subject in cohort.subjects:
        a, b = cohort.of(subject)
        raw.append(np.abs(a.voxels() - b.voxels())[a.brain()].mean())
        outs = [model.transform(scan).voxels() for scan in (a, b)]
        harmonized.append(np.abs(outs[0] - outs[1])[a.brain()].mean())
    assert np.mean(harmonized) < np.mean(raw)


def step2_data(seed: int = 0) -> tuple[network.Units, list[Any]]:
    images = np.random.default_rng(seed).random((6, 3, 8, 8)).astype(np.float32)
    units = network.make_units(3, 4, seed, "cpu")
    groups = course.to_groups([slices.Matched((0, 1, 2), images)], "cpu")
    return units, encode_groups(units, groups, "float32")


def run_step2(units: network.Units, encoded: list[Any], grid: list[float], epochs: int) -> Any:
    schedule = course.Schedule(epochs, None, 4, 0.01, "constant", None)
    plan = course.Training(schedule, np.random.default_rng(3))
    return harmonize(list(units.decoders), encoded, (1.0, grid), 0.0, plan)


def test_step2_weights_reconstruction_against_harmonization() -> None:
    units, encoded = step2_data()
    decoders, rows = run_step2(units, encoded, [0.0, 4.0], 20)
    scores = selection.step2_scores(decoders, encoded, course.Objective())
    free, tied = scores
    assert tied["harmonization"] < 0.8 * free["harmonization"]
    assert free["reconstruction"] < tied["reconstruction"]
    assert len(rows) == 40
    assert not any(w.requires_grad for w in decoders)


def test_candidates_side_by_side_are_as_if_alone() -> None:
    units, encoded = step2_data()
    together, _ = run_step2(units, encoded, [1.0, 6.0], 5)
    alone, _ = run_step2(units, encoded, [6.0], 5)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:], b, rtol=1e-5, atol=1e-6)


def test_step2_ends_when_the_loss_stops_changing() -> None:
    units, encoded = step2_data()
    schedule = course.Schedule(50, None, 6, 1e-9, "constant", None)
    plan = course.Training(schedule, np.random.default_rng(3))
    _, rows = harmonize(list(units.decoders), encoded, (1.0, [4.0]), 1e-3, plan)
    assert len(rows) == 2


def test_encoders_are_frozen_in_step2(cohort: Cohort, tmp_path: Path) -> None:
    short, long = (
        Mispel(**(TINY | {"steps2": steps})).fit(cohort, None, context(tmp_path))
        for steps in (1, 5)
    )
    for name, weights in short.weights_.items():
        assert np.array_equal(weights, long.weights_[name]) == name.startswith("axial/encoders"), (
            name
        )


def test_bfloat16_stays_near_float32() -> None:
    units = network.make_units(2, 6, 0, "cpu")
    x = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact, fast = (units.encode(0, x, p) for p in ("float32", "bfloat16"))
    assert float((exact - fast).abs().max() / exact.abs().max()) < 0.03


def test_every_slice_is_in_an_epoch_once_and_batches_hold_one_group() -> None:
    batches = course.epoch_batches([5, 3], 2, np.random.default_rng(0))
    seen = sorted((group, int(i)) for group, chosen in batches for i in chosen)
    assert seen == [(0, i) for i in range(5)] + [(1, i) for i in range(3)]
    assert len(batches) == 5


# --- orientations, a target, pieces ------------------------------------------------------------


@given(orientation=st.sampled_from(sorted(slices.ORIENTATIONS)), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_a_turned_volume_is_turned_back(orientation: str, seed: int) -> None:
    volume = np.random.default_rng(seed).random((3, 4, 5))
    turned = slices.turn(volume, orientation)
    assert turned.shape[2] == volume.shape[slices.ORIENTATIONS[orientation]]
    np.testing.assert_array_equal(slices.turn_back(turned, orientation), volume)


def test_slices_are_cut_across_the_axis_of_their_orientation(cohort: Cohort) -> None:
    for orientation, axis in slices.ORIENTATIONS.items():
        crop = slices.plan_crop(cohort, 0.0, orientation)
        (group,) = slices.matched_slices(cohort, list(cohort.scanners), crop, lambda *_: None)
        brain = cohort.scans[0].brain()
        depth = int(brain.any(axis=tuple(k for k in range(3) if k != axis)).sum())
        assert group.images.shape[0] == depth * len(cohort.subjects)
        inside = [
            np.flatnonzero(brain.any(axis=tuple(k for k in range(3) if k != a)))
            for a in range(3)
            if a != axis
        ]
        wanted = tuple(-(-(int(i[-1]) - int(i[0]) + 1) // 4) * 4 for i in inside)
        assert group.images.shape[2:] == wanted


def test_three_orientations_are_fused_by_the_median(cohort: Cohort, tmp_path: Path) -> None:
    three = ("axial", "coronal", "sagittal")
    scan = cohort.scans[3]
    alone = []
    for orientation in three:
        model = Mispel(**TINY, orientations=(orientation,)).fit(cohort, None, context(tmp_path))
        alone.append(model.transform(scan).voxels())
    fused = Mispel(**TINY, orientations=three).fit(cohort, None, context(tmp_path))
    expected = np.median(np.stack(alone), axis=0)
    np.testing.assert_allclose(fused.transform(scan).voxels(), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    assert {row.get("orientation") for row in fused.history_} == set(three)
    fused.save(tmp_path / "model")
    loaded = Mispel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(scan).voxels(), fused.transform(scan).voxels())


def test_pieces_trained_apart_give_the_same_bytes(cohort: Cohort, tmp_path: Path) -> None:
    grid = {"latents": (2, 4), "lambda2s": (0.1, 0.5), "lambda4s": (1.0, 6.0), "warm_steps": 0}
    whole = Mispel(**(TINY | grid), orientations=("axial", "coronal"))
    train, validation = cohort.select(["s0", "s1"]), cohort.select(["s2"])
    pieces = []
    for number, changed in enumerate(whole.pieces()):
        piece = replace(whole, **changed)
        assert piece.pieces() == []
        piece.fit_piece(train, validation, context(tmp_path)).save(tmp_path / str(number))
        pieces.append(Mispel.load(tmp_path / str(number)))
    assert len(pieces) == 8
    given = replace(context(tmp_path), pieces=tuple(pieces))
    apart = replace(whole).fit(train, validation, given)
    together = replace(whole).fit(train, validation, context(tmp_path))
    assert apart.chosen_ == together.chosen_
    assert apart.history_ == together.history_
    for name, weights in together.weights_.items():
        assert weights.tobytes() == apart.weights_[name].tobytes(), name


def test_one_candidate_needs_no_pieces() -> None:
    assert Mispel().pieces() == []
    assert len(Mispel(**Mispel.presets["paper"]).pieces()) == 15
    assert Mispel(**Mispel.presets["published-code"]).pieces() == []


def test_mapping_loss_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    y = [rng.random((2, 3, 4, 4)).astype(np.float32) for _ in range(3)]
    target = rng.random((2, 1, 4, 4)).astype(np.float32)
    found = losses.mapping([torch.from_numpy(a) for a in y], torch.from_numpy(target), 1)
    expected = [
        np.mean([np.abs(y[i][:, c : c + 1] - target).mean() for i in (0, 2)]) for c in range(3)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_a_target_draws_the_others_towards_its_images() -> None:
    units, encoded = step2_data()
    x, z = encoded[0].slices(np.arange(6)), encoded[0].latents(np.arange(6))
    toward = course.Objective(target=1)
    errors = []
    for objective in (course.Objective(), toward):
        schedule = course.Schedule(49, None, 6, 0.02, "constant", None)
        plan = course.Training(schedule, np.random.default_rng(3), objective)
        decoders, _ = harmonize(list(units.decoders), encoded, (1.0, [4.0]), 0.0, plan)
        errors.append(float(step2_terms(decoders, (0, 1, 2), x, z, toward)[1]))
    assert errors[1] < 0.97 * errors[0]


def test_subjects_without_the_target_are_left_out_of_step_2(tmp_path: Path) -> None:
    # s0 on 0, 1, 2; s1 on 0, 2
    cohort = make_cohort(tmp_path, subjects=2, scanners=3, missing=((1, 1),))
    model = Mispel(**TINY, target="scanner 1").fit(cohort, None, context(tmp_path))
    assert np.isfinite(model.transform(cohort.scans[0]).voxels()).all()
    with pytest.raises(MethodError, match=r"mispel\.target 'scanner 3', found .* scanner 0, scan"):
        Mispel(**TINY, target="scanner 3").fit(cohort, None, context(tmp_path))


# --- search ------------------------------------------------------------------------------------


def test_rules_of_selection() -> None:
    first = [
        {"reconstruction": 1.00, "coupling": 0.1, "unit_coupling": 0.5},
        {"reconstruction": 1.05, "coupling": 0.1, "unit_coupling": 0.3},
        {"reconstruction": 2.00, "coupling": 0.1, "unit_coupling": 0.1},
    ]
    assert selection.well_reconstructed(first) == 1
    weights = [{"reconstruction": 1.0, "coupling": w} for w in (1.0, 2.0, 0.1)]
    assert selection.weighted_loss(first, weights) == 0
    # as they were, in the middle, dead
    second = [
        {"own": 0.0, "between": 1.0},
        {"own": 0.5, "between": 0.0},
        {"own": 4.0, "between": 0.0},
    ]
    assert selection.even_handed(second) == 1


def test_scores_of_step2_agree_with_numpy() -> None:
    units, encoded = step2_data()
    (score,) = selection.step2_scores(
        list(units.decoders), encoded, course.Objective(average="scanners")
    )
    z, x = encoded[0].embeddings.numpy(), encoded[0].images.numpy()
    w = np.stack([d.detach().numpy()[0] for d in units.decoders])  # (scanner, latent)
    y = np.einsum("nslhw,sl->nshw", z, w)
    pairs = [np.abs(y[:, i] - y[:, k]).mean() for i, k in ((0, 1), (0, 2), (1, 2))]
    own = np.abs(y - x).mean()
    expected = {
        "reconstruction": 3 * own,
        "harmonization": sum(pairs) / 3,
        "own": own,
        "between": np.mean(pairs),
    }
    assert score == pytest.approx(expected, rel=1e-5)


def test_unit_coupling_does_not_change_with_the_size_of_embeddings() -> None:
    units, encoded = step2_data()
    before = selection.step1_scores(list(units.decoders), encoded, "linear")
    larger = [replace(group, embeddings=group.embeddings * 10) for group in encoded]
    after = selection.step1_scores(list(units.decoders), larger, "linear")
    assert after["coupling"] == pytest.approx(100 * before["coupling"], rel=1e-4)
    assert after["unit_coupling"] == pytest.approx(before["unit_coupling"], rel=1e-4)
    z = encoded[0].embeddings.numpy().astype(np.float64)  # (slice, scanner, latent, height, width)
    ratio = z.var(axis=1).mean(axis=(0, 2, 3)) / z.var(axis=(0, 1, 3, 4))
    assert before["unit_coupling"] == pytest.approx(float(ratio.mean()), rel=1e-5)


@pytest.mark.parametrize("rule", ["weighted", "unweighted"])
def test_search_chooses_on_the_validation_subjects(
    rule: str, cohort: Cohort, tmp_path: Path
) -> None:
    grid = {"latents": (2, 4), "lambda2s": (0.1, 0.5), "lambda4s": (1.0, 6.0), "selection": rule}
    train, validation = cohort.select(["s0", "s1"]), cohort.select(["s2"])
    small = TINY | {"warm_steps": 0, "steps": 2, "steps2": 3} | grid
    model = Mispel(**small).fit(train, validation, context(tmp_path))
    judged = [row for row in model.history_ if row.get("event") == "validation"]
    assert [row["stage"] for row in judged] == ["step 1"] * 4 + ["step 2"] * 2
    chosen = model.chosen_["axial"]
    assert chosen["latent"] in (2, 4)
    assert model.weights_["axial/decoders.0"].shape == (1, chosen["latent"])
    assert ("grows with its weight" in chosen["note"]) == (rule == "weighted")
    first = [row for row in judged if row["stage"] == "step 1"]
    if rule == "weighted":
        best = min(first, key=lambda r: 0.3 * r["reconstruction"] + r["lambda2"] * r["coupling"])
        assert (best["latent"], best["lambda2"]) == (chosen["latent"], chosen["lambda2"])


def test_cuda_model_falls_back_to_the_cpu_where_there_is_none() -> None:
    from harmobench.methods.mispel.runtime import usable_device

    assert usable_device("cuda") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert usable_device("cpu") == "cpu"
