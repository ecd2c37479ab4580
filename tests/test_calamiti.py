"""CALAMITI: shapes, every rule of its training, and what it makes of a tiny cohort."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch.nn import functional as F  # noqa: N812

from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Cohort, Context, Harmonizer, Scan
from harmobench.methods.calamiti import Calamiti, slices
from harmobench.methods.calamiti.checking import VGG_LAYERS
from harmobench.methods.calamiti.fitting import Fitted, keep, plan_models, stages_of, theta_images
from harmobench.methods.calamiti.inference import harmonize, restore, sizes
from harmobench.methods.calamiti.networks import Sizes, build
from harmobench.methods.calamiti.training import (
    Trainer,
    batch_of,
    harmonizer_losses,
    intensity_classes,
    steady,
)

SHAPE = (37, 45, 8)  # neither side divides by 16
CONTRASTS = {"A": (0.2, 0.5), "B": (0.35, 0.7), "T": (0.15, 0.62), "C": (0.1, 0.4), "D": (0.3, 0.6)}
TINY: dict[str, Any] = {"beta_base": 2, "decoder_base": 2, "batch": 2, "steps": 4}


def anatomy(subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Tissue labels 0..2 and brain of a blob that differs between subjects."""
    x, y, z = np.indices(SHAPE).astype(float)
    r = ((x - 18) / 15) ** 2 + ((y - 22) / 19) ** 2 + ((z - 3.5) / 3.6) ** 2
    brain = r < 1
    wavy = r + 0.12 * np.sin(0.5 * x + subject) * np.cos(0.4 * y + 0.3 * z)
    return np.digitize(-wavy, [-0.75, -0.4]), brain


def cohort(folder: Path, scanners: str, subjects: int = 3) -> Cohort:
    """White-Striped scans of blobs: white matter about 0, stripe SD 1, background constant."""
    grid = Grid.make(SHAPE, np.eye(4))
    scans = []
    for s in range(subjects):
        labels, brain = anatomy(s)
        write_image(folder / f"m{s}.nii.gz", brain, grid)
        for scanner in scanners:
            rng = np.random.default_rng([s, ord(scanner)])
            raw = np.array([*CONTRASTS[scanner], 1.0])[labels] + 0.02 * rng.standard_normal(SHAPE)
            striped = np.where(brain, (raw - 1) * 50, -50).astype(np.float32)
            image, white = folder / f"{s}{scanner}.nii.gz", folder / f"{s}{scanner}_ws.nii.gz"
            write_image(image, np.where(brain, raw, 0).astype(np.float32), grid)
            write_image(white, striped, grid)
            mask, inputs = folder / f"m{s}.nii.gz", {"whitestripe": white}
            scans.append(Scan(f"s{s}", scanner, image, mask, inputs=inputs))
    return Cohort(tuple(scans))


def context(target: str | None = "T", seed: int = 3) -> Context:
    return Context(seed=seed, atlas=None, scratch=Path(), target=target)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return cohort(tmp_path_factory.mktemp("three"), "ABT")


@pytest.fixture(scope="module")
def fitted(three: Cohort) -> Calamiti:
    return Calamiti(**TINY).fit(three, None, context())


@pytest.fixture(scope="module")
def prepared(three: Cohort) -> tuple[slices.Stack, dict[str, slices.Pairs]]:
    scales = {n: slices.robust_range(s for s in three.scans if s.scanner == n) for n in "ABT"}
    box = slices.brain_box(scan.brain() for scan in three.scans)
    stacked = slices.stack(three.scans, box, scales, 0.1)
    return stacked, plan_models(Calamiti(), three, "T", stacked)


def trainer(prepared: tuple[slices.Stack, dict[str, slices.Pairs]], **fields: Any) -> Trainer:
    method = Calamiti(**(TINY | fields))
    height, width = prepared[0].images.shape[2:]
    sizes = Sizes((height, width), 3, 4, 2, method.beta_base, method.decoder_base)
    return Trainer(build(sizes, 1), method, 5)


# -- slices


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 50), st.integers(1, 5)),
    st.integers(0, 2**31),
)
def test_cropping_can_be_undone(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.3
    mask[tuple(rng.integers(0, n) for n in shape)] = True
    volume = np.where(mask, rng.standard_normal(shape), 0).astype(np.float32)
    box = slices.brain_box([mask])
    cropped = slices.crop(volume, box)
    assert cropped.shape == (shape[2], *slices.slice_shape(box))
    assert all(n % 16 == 0 and n >= 32 for n in cropped.shape[1:])
    np.testing.assert_array_equal(slices.uncrop(cropped, box, shape), volume)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_theta_comes_from_another_slice_of_the_same_scans(
    prepared: tuple[slices.Stack, dict[str, slices.Pairs]], seed: int
) -> None:
    pairs = slices.joined(list(prepared[1].values()))
    rng = np.random.default_rng(seed)
    index = rng.permutation(len(pairs))
    other = pairs.other(index, rng)
    assert (other != pairs.z[index]).all()
    stacked = prepared[0]
    for i, z in zip(index, other, strict=True):
        assert stacked.useful[pairs.scans[i], z].all()


def test_pairs_share_subject_and_slice(
    three: Cohort, prepared: tuple[slices.Stack, dict[str, slices.Pairs]]
) -> None:
    stacked, plan = prepared
    assert list(plan) == ["A", "B"]
    for name, pairs in plan.items():
        for (a, b), labels in zip(pairs.scans, pairs.labels, strict=True):
            assert three.scans[a].subject == three.scans[b].subject
            assert (three.scans[a].scanner, three.scans[b].scanner) == (name, "T")
            assert tuple(labels) == ("ABT".index(name), 2)
    assert not stacked.useful[:, 0].any()  # a few voxels of brain only
    assert stacked.useful[:, 3].all()
    joint = slices.joined(list(plan.values()))
    batch = batch_of(
        torch.from_numpy(stacked.images), joint, np.arange(len(joint)), np.random.default_rng(0)
    )
    expected = stacked.images[joint.scans[:, 0], joint.z]
    np.testing.assert_array_equal(batch.anatomy[: len(joint), 0].numpy(), expected)
    assert (batch.anatomy != batch.contrast).flatten(1).any(1).all()


def test_one_wild_voxel_stays_bounded(three: Cohort) -> None:
    voxels, brain = slices.striped(three.scans[0])
    voxels[18, 22, 4] = 1e9
    assert np.abs(slices.to_network(voxels, brain, (-50.0, 1.0))).max() <= 3


def one_image(values: np.ndarray) -> np.ndarray:
    """A scan of one slice, 0 around the values."""
    image = np.zeros((1, 40, 40), np.float32)
    image[0, 10:30, 10:30] = values.reshape(20, 20)
    return image


def test_classes_lose_least_of_the_targets_intensities() -> None:
    tissues = np.repeat([0.2, 0.5, 0.6, 0.9], [40, 160, 120, 80])
    target = tissues + 0.01 * np.random.default_rng(0).standard_normal(400)
    source = 3 * target**2 + 1  # another contrast, the same order of the tissues
    both = np.stack([one_image(target), one_image(source)]).astype(np.float32)
    stacked = slices.Stack(both, np.ones((2, 1), bool), {})
    edges = slices.intensity_edges(stacked, [0], 4)
    assert edges.shape == (2, 3)
    np.testing.assert_allclose(edges[0], [0.35, 0.55, 0.75], atol=0.15)
    classes = intensity_classes(torch.from_numpy(both), torch.from_numpy(edges)).numpy()
    for found in classes:
        np.testing.assert_array_equal(
            found[10:30, 10:30].ravel(), np.repeat(range(4), [40, 160, 120, 80])
        )
        assert not found[:10].any()  # background is of the darkest


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**31))
def test_classes_of_any_image_can_be_told(channels: int, levels: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(1, levels + 1, 400).astype(np.float32)
    stacked = slices.Stack(one_image(values)[None], np.ones((1, 1), bool), {})
    edges = slices.intensity_edges(stacked, [0], channels)
    assert np.isfinite(edges).all()
    assert (np.diff(edges) >= 0).all()
    classes = intensity_classes(
        torch.from_numpy(stacked.images[0])[:, None], torch.from_numpy(edges)
    )
    assert 0 <= classes.min() <= classes.max() < channels


# -- training


def test_even_batches_train_the_discriminator_and_odd_ones_the_rest(
    prepared: tuple[slices.Stack, dict[str, slices.Pairs]],
) -> None:
    stacked, plan = prepared
    one = trainer(prepared)
    images, rng = torch.from_numpy(stacked.images), np.random.default_rng(0)
    for step in range(4):
        before = {k: v.clone() for k, v in one.networks.named_parameters()}
        norms = {k: v.clone() for k, v in one.networks.named_buffers() if k.endswith("._u")}
        batch = batch_of(images, plan["A"], np.array([step, step + 1]), rng)
        terms = one.train_batch(batch, 1e-2)
        moved = {
            k.split(".")[0]
            for k, v in one.networks.named_parameters()
            if not torch.equal(v, before[k])
        }
        found = dict(one.networks.named_buffers())
        iterated = [not torch.equal(found[k], u) for k, u in norms.items() if u.numel() > 1]
        assert iterated == [step % 2 == 0] * len(iterated)
        assert len(iterated) == 4  # of five layers; the last has one row
        if step % 2 == 0:
            assert moved == {"discriminator"}
            assert set(terms) == {"discriminator"}
        else:
            assert moved == {"beta", "theta", "decoder"}
            weights = one.method.loss_weights()
            total = sum(weights[k] * v.item() for k, v in terms.items() if k != "total")
            assert terms["total"].item() == pytest.approx(total, rel=1e-5)


def test_the_loss_falls(prepared: tuple[slices.Stack, dict[str, slices.Pairs]]) -> None:
    one = trainer(prepared, learning_rate=5e-3, anneal=True, beta_base=4, decoder_base=8)
    images, pairs = torch.from_numpy(prepared[0].images), prepared[1]["A"]
    batch = batch_of(images, pairs, np.arange(len(pairs)), np.random.default_rng(0))
    edges = slices.intensity_edges(prepared[0], [2], 4)

    def reconstruction() -> float:
        with torch.no_grad():
            noise = torch.Generator().manual_seed(0)
            return harmonizer_losses(one.networks, batch, 1, noise, None)["reconstruction"].item()

    before = reconstruction()
    with steady(1):
        warm = one.warm_up(images, pairs, edges, 30)
        history = one.train(images, pairs, 100, 100, lambda done: None)
    assert np.mean([r["warm_up"] for r in warm[-5:]]) < 0.7 * warm[0]["warm_up"]
    assert reconstruction() < 0.7 * before
    assert {"discriminator", "adversarial", "beta", "kl", "total"} <= set(history[0])


def test_divergence_is_reported(prepared: tuple[slices.Stack, dict[str, slices.Pairs]]) -> None:
    one = trainer(prepared)
    images = torch.full(prepared[0].images.shape, torch.nan)
    with pytest.raises(MethodError, match="diverged"):
        one.train(images, prepared[1]["A"], 2, 2, lambda done: None)


def test_bfloat16_trains_too(three: Cohort) -> None:
    model = Calamiti(**TINY, precision="bfloat16").fit(three, None, context())
    assert np.isfinite([row["total"] for row in model.history_]).all()
    assert all(w.dtype == np.float32 for w in model.weights_.values())


def test_threads_are_restored(three: Cohort) -> None:
    before = torch.get_num_threads()
    with steady(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


# -- the method


def test_it_is_a_harmonizer_and_imports_without_torch() -> None:
    assert isinstance(Calamiti(), Harmonizer)
    code = (
        "import sys, harmobench.methods.calamiti as c; c.Calamiti();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for preset in Calamiti.presets.values():
        Calamiti(**preset)


def test_what_is_learned(fitted: Calamiti, three: Cohort) -> None:
    assert fitted.target_ == "T"
    assert fitted.models_ == {"A": "A", "B": "B"}
    assert set(fitted.theta_) == {"A", "B"}
    assert all(v.shape == (2,) and v.dtype == np.float32 for v in fitted.theta_.values())
    assert set(fitted.networks_) == {"beta", "theta", "decoder", "discriminator"}
    assert fitted.parameters_ == 2 * sum(fitted.networks_.values())  # a model for A, one for B
    assert [row["scanner"] for row in fitted.history_] == ["A", "A", "B", "B"]
    assert [row["step"] for row in fitted.history_] == [2, 4, 2, 4]
    json.dumps(fitted.history_)
    assert fitted.perceptual_.startswith("off")
    assert not any(name.startswith("A/discriminator") for name in fitted.weights_)


def test_harmonized_images_keep_the_contract(fitted: Calamiti, three: Cohort) -> None:
    for scan in three.scans:
        out, brain = fitted.transform(scan).voxels(), scan.brain()
        assert out.shape == SHAPE
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert np.unique(out[~brain]).tolist() == [-50.0]
        own = np.array_equal(out, scan.input("whitestripe"))
        assert own == (scan.scanner == "T")
        assert all(np.ptp(out[..., z][brain[..., z]]) > 0 for z in range(8) if brain[..., z].any())


def test_the_target_can_go_through_the_networks(fitted: Calamiti, three: Cohort) -> None:
    scan = three.scan("s0", "T")
    assert scan is not None
    through = replace(fitted, through_network=True)
    vars(through).update({k: v for k, v in vars(fitted).items() if k.endswith("_")})
    out = through.transform(scan).voxels()
    assert not np.array_equal(out, scan.input("whitestripe"))
    parts = []
    for only in "AB":  # the mean of what each model makes of it
        through.models_ = {only: only}
        parts.append(through.transform(scan).voxels())
    np.testing.assert_allclose(out, np.mean(parts, axis=0), atol=1e-4)


def test_same_seed_same_bytes(fitted: Calamiti, three: Cohort) -> None:
    torch.manual_seed(99)  # the global generator must not matter
    again = Calamiti(**TINY).fit(three, None, context())
    other = Calamiti(**TINY).fit(three, None, context(seed=4))
    assert again.history_ == fitted.history_
    for name, weights in fitted.weights_.items():
        assert again.weights_[name].tobytes() == weights.tobytes()
    assert any(not np.array_equal(other.weights_[k], w) for k, w in fitted.weights_.items())
    scan = three.scans[0]
    assert again.transform(scan).voxels().tobytes() == fitted.transform(scan).voxels().tobytes()


def test_save_and_load(fitted: Calamiti, three: Cohort, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Calamiti.load(tmp_path)
    assert loaded.history_ == fitted.history_
    for scan in three.scans[:3]:
        np.testing.assert_array_equal(
            loaded.transform(scan).voxels(), fitted.transform(scan).voxels()
        )


def test_theta_policies(
    three: Cohort, prepared: tuple[slices.Stack, dict[str, slices.Pairs]]
) -> None:
    own = [i for i, scan in enumerate(three.scans) if scan.scanner == "T"]
    assert theta_images(Calamiti(theta="mean"), three, "T", prepared[0], 0) == own
    drawn = [theta_images(Calamiti(), three, "T", prepared[0], s) for s in range(20)]
    assert {i for (i,) in drawn} == set(own)
    assert drawn[3] == theta_images(Calamiti(), three, "T", prepared[0], 3)


def test_two_scanners(tmp_path: Path) -> None:
    small = cohort(tmp_path, "AT", subjects=2)
    model = Calamiti(**TINY).fit(small, None, context())
    assert model.models_ == {"A": "A"}
    assert np.isfinite(model.transform(small.scans[0]).voxels()).all()


@pytest.mark.parametrize("models", ["each", "one"])
def test_five_scanners(tmp_path: Path, models: str) -> None:
    five = cohort(tmp_path, "ABTCD", subjects=2)
    fields = TINY | {"steps": 2, "shared_steps": 2, "warm_up": 1, "models": models}
    model = Calamiti(**fields).fit(five, None, context())
    names = {"A", "B", "C", "D"} if models == "each" else {"all"}
    assert set(model.models_) == {"A", "B", "C", "D"}
    assert set(model.models_.values()) == set(model.theta_) == names
    for scan in five.of("s0"):
        assert np.isfinite(model.transform(scan).voxels()).all()


def test_shared_steps_come_first_and_steps_count_on(three: Cohort) -> None:
    seen: list[tuple[int, int, str]] = []
    fields = TINY | {"steps": 2, "shared_steps": 4, "warm_up": 2}
    quiet = replace(context(), progress=lambda *what: seen.append(what))
    model = Calamiti(**fields).fit(three, None, quiet)
    rows = [(row["scanner"], row["step"]) for row in model.history_]
    assert rows == [("all", 1), ("all", 2), ("all", 4), ("all", 6), ("A", 8), ("B", 8)]
    assert seen[-1][:2] == (8, 8)


def test_epochs_fix_the_number_of_batches(
    prepared: tuple[slices.Stack, dict[str, slices.Pairs]],
) -> None:
    plan = prepared[1]
    method = Calamiti(batch=4, epochs=3)
    stages = stages_of(method, plan)
    assert [s.steps for s in stages] == [3 * -(-len(p) // 4) for p in plan.values()]
    for least, steps in ((0, stages[0].steps), (5, stages[0].steps), (500, 500)):
        assert stages_of(Calamiti(batch=4, epochs=3, least_steps=least), plan)[0].steps == steps
    assert stages_of(Calamiti(steps=7, least_steps=500), plan)[0].steps == 7


def test_a_subject_missing_on_one_scanner(three: Cohort) -> None:
    kept = tuple(s for s in three.scans if (s.subject, s.scanner) not in {("s0", "A"), ("s1", "T")})
    uneven = Cohort(kept)
    model = Calamiti(**TINY).fit(uneven, None, context())
    assert set(model.models_) == {"A", "B"}
    assert np.isfinite(model.transform(three.scans[0]).voxels()).all()


def test_a_scanner_without_any_pair_has_no_model(three: Cohort) -> None:
    kept = [s for s in three.scans if s.scanner != "B"]
    lone = three.scan("s2", "B")
    assert lone is not None
    kept = [s for s in kept if (s.subject, s.scanner) != ("s2", "T")]
    model = Calamiti(**TINY).fit(Cohort((*kept, lone)), None, context())
    assert set(model.models_) == {"A"}
    with pytest.raises(MethodError, match=r"A, T \(the target\); found 'B'"):
        model.transform(lone)


def test_missing_targets_and_pairs(three: Cohort) -> None:
    with pytest.raises(MethodError, match="--target"):
        Calamiti(**TINY).fit(three, None, context(None))
    with pytest.raises(MethodError, match="'Z'"):
        Calamiti(**TINY).fit(three, None, context("Z"))
    apart = [s for s in three.scans if (s.subject == "s0") == (s.scanner == "T")]
    with pytest.raises(MethodError, match="fewer folds"):
        Calamiti(**TINY).fit(Cohort(tuple(apart)), None, context())


def test_an_unknown_scanner_is_refused(fitted: Calamiti, three: Cohort) -> None:
    with pytest.raises(MethodError, match=r"A, B, T \(the target\)"):
        fitted.transform(replace(three.scans[0], scanner="Q"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"theta": "median"}, "theta: expected random or mean"),
        ({"theta": 3}, "theta: expected"),
        ({"beta": "max"}, "beta: expected argmax or softmax"),
        ({"models": "two"}, "models: expected"),
        ({"precision": "half"}, "precision: expected"),
        ({"batch": 0}, "batch: expected a whole number of at least 1, found 0"),
        ({"batch": 2.0}, "batch: expected a whole number"),
        ({"batch": "8"}, "batch: expected a whole number .* found '8'"),
        ({"batch": True}, "batch: expected"),
        ({"epochs": None}, "epochs: expected"),
        ({"steps": 1}, "steps: expected a whole number of at least 2"),
        ({"steps": -1}, "steps: expected"),
        ({"shared_steps": -1}, "shared_steps: expected"),
        ({"beta_channels": 1}, "beta_channels: expected"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected"),
        ({"learning_rate": "fast"}, "learning_rate: expected"),
        ({"temperature_floor": 0}, "temperature_floor: expected"),
        ({"kl": -1.0}, "kl: expected"),
        ({"min_brain": 1.0}, "min_brain: expected"),
        ({"anneal": "yes"}, "anneal: expected true or false"),
        ({"vgg_weights": 7}, "vgg_weights: expected"),
        ({"vgg_weights": "/nowhere"}, "vgg_weights"),
        ({"batch": 0, "theta": "x"}, "theta: .*; batch: "),
    ],
)
def test_bad_parameters(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Calamiti(**(TINY | fields)).check()


def test_good_parameters_and_presets_pass_and_fit_checks_them(three: Cohort) -> None:
    for preset in Calamiti.presets.values():
        Calamiti(**preset).check()
    Calamiti(learning_rate=1, kl=0, min_brain=0, steps=2).check()
    with pytest.raises(SettingsError, match=r"CALAMITI cannot .*: batch"):
        Calamiti(batch=0).fit(three, None, context())


def test_constant_and_broken_images_are_refused(three: Cohort, tmp_path: Path) -> None:
    grid = Grid.make(SHAPE, np.eye(4))
    first = three.scans[0]
    for value, words in ((0.0, "one value"), (np.nan, "finite")):
        path = tmp_path / f"{words[:3]}.nii.gz"
        write_image(path, np.full(SHAPE, value, np.float32), grid)
        with pytest.raises(MethodError, match=words):
            slices.striped(replace(first, inputs={"whitestripe": path}))


def edited(scan: Scan, folder: Path, change: Any) -> Scan:
    """The scan with its White-Striped brain changed in place by `change(voxels, brain)`."""
    voxels, brain = scan.input("whitestripe"), scan.brain()
    change(voxels, brain)
    path = folder / f"{scan.subject}{scan.scanner}_edited.nii.gz"
    write_image(path, voxels, Grid.make(SHAPE, np.eye(4)))
    return replace(scan, inputs={"whitestripe": path})


def one_wild_voxel(voxels: np.ndarray, brain: np.ndarray) -> None:
    voxels[18, 22, 4] = 1e9


def few_levels(voxels: np.ndarray, brain: np.ndarray) -> None:
    voxels[brain] = np.digitize(voxels[brain], [-35, -20, -10]) * 10.0 - 35


def far_below_zero(voxels: np.ndarray, brain: np.ndarray) -> None:
    voxels[brain] = voxels[brain] * 3 - 200


@pytest.mark.parametrize("change", [one_wild_voxel, few_levels, far_below_zero])
def test_odd_images_are_trained_on_and_harmonized(
    three: Cohort, tmp_path: Path, change: Any
) -> None:
    scans = tuple(
        edited(s, tmp_path, change) if s.scanner == "A" and s.subject == "s0" else s
        for s in three.scans
    )
    model = Calamiti(**TINY).fit(Cohort(scans), None, context())
    out, brain = model.transform(scans[0]).voxels(), scans[0].brain()
    assert scans[0].scanner == "A"
    assert np.isfinite(out).all()
    assert np.ptp(out[brain]) > 0
    assert np.abs(out[brain]).max() < 1e4


def test_a_wild_voxel_harms_its_neighbourhood_alone(
    fitted: Calamiti, three: Cohort, tmp_path: Path
) -> None:
    scan = three.scans[0]
    clean = fitted.transform(scan).voxels()
    wild = fitted.transform(edited(scan, tmp_path, one_wild_voxel)).voxels()
    np.testing.assert_array_equal(np.delete(wild, 4, axis=2), np.delete(clean, 4, axis=2))
    assert np.abs(wild - clean).max() < 3 * np.ptp(clean)


def test_one_training_subject_is_enough(three: Cohort) -> None:
    model = Calamiti(**TINY).fit(three.select(["s0"]), None, context())
    assert set(model.models_) == {"A", "B"}
    assert np.isfinite(model.transform(three.scans[-2]).voxels()).all()


def test_a_brain_outside_the_training_box_is_harmonized_whole(
    fitted: Calamiti, three: Cohort, tmp_path: Path
) -> None:
    grid, everywhere = Grid.make(SHAPE, np.eye(4)), np.ones(SHAPE, dtype=bool)
    scan = three.scans[0]
    voxels = np.where(scan.brain(), scan.input("whitestripe"), -20).astype(np.float32)
    write_image(tmp_path / "mask.nii.gz", everywhere, grid)
    write_image(tmp_path / "big.nii.gz", voxels, grid)
    big = replace(
        scan, mask=tmp_path / "mask.nii.gz", inputs={"whitestripe": tmp_path / "big.nii.gz"}
    )
    out = fitted.transform(big).voxels()
    assert np.isfinite(out).all()
    assert not (out == -50).any()


def test_damaged_weights_are_reported(fitted: Calamiti, three: Cohort, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    damaged = Calamiti.load(tmp_path)
    damaged.weights_["A/beta.out.weight"][:] = np.nan
    with pytest.raises(MethodError, match="weights are damaged"):
        damaged.transform(three.scans[0])


def test_a_blank_decoder_is_reported(
    three: Cohort, prepared: tuple[slices.Stack, dict[str, slices.Pairs]]
) -> None:
    networks = trainer(prepared).networks
    empty = Fitted((0, 1, 0, 1), {}, {}, {}, {}, [], {})
    keep(empty, "A", networks, prepared[0], [2])
    with torch.no_grad():
        networks.decoder.net.out.weight.zero_()
    with pytest.raises(MethodError, match=r"blank.*learning_rate"):
        keep(empty, "A", networks, prepared[0], [2])


def test_images_are_made_from_one_hot_anatomies_unless_asked(
    fitted: Calamiti, three: Cohort
) -> None:
    networks = build(sizes(fitted, fitted.box(), fitted.scanners_), 3)
    images = np.random.default_rng(0).random((2, *slices.slice_shape(fitted.box())), np.float32)
    theta, x = np.array([0.3, -0.2], np.float32), torch.from_numpy(images)[:, None]
    with torch.no_grad():
        logits, contrast = networks.beta(x), torch.from_numpy(theta).expand(2, -1)
        hard = F.one_hot(logits.argmax(1), 4).permute(0, 3, 1, 2).float()
        expected = [networks.decoder(b, contrast)[:, 0] for b in (hard, logits.softmax(1))]
    for beta, wanted in zip(("argmax", "softmax"), expected, strict=True):
        made = harmonize(networks, images, theta, beta)
        np.testing.assert_allclose(made, wanted.numpy(), atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_the_likelier_channels_are_used_by_transform(fitted: Calamiti, three: Cohort) -> None:
    soft = replace(fitted, beta="softmax")
    vars(soft).update({k: v for k, v in vars(fitted).items() if k.endswith("_")})
    scan = three.scans[0]
    assert not np.array_equal(soft.transform(scan).voxels(), fitted.transform(scan).voxels())


def test_theta_is_that_of_the_image_drawn(
    fitted: Calamiti, three: Cohort, prepared: tuple[slices.Stack, dict[str, slices.Pairs]]
) -> None:
    shapes = sizes(fitted, fitted.box(), fitted.scanners_)
    weights = {k[2:]: v for k, v in fitted.weights_.items() if k.startswith("A/")}
    networks = restore(weights, shapes, torch.device("cpu"))
    stacked = prepared[0]
    for theta in ("random", "mean"):
        shown = theta_images(Calamiti(theta=theta), three, "T", stacked, 3)
        assert {three.scans[i].scanner for i in shown} == {"T"}
        each = []
        for i in shown:
            useful = torch.from_numpy(stacked.images[i][stacked.useful[i]])[:, None]
            with torch.no_grad():
                each.append(networks.theta(useful)[0].mean(0).numpy())
        if theta == "random":
            np.testing.assert_allclose(fitted.theta_["A"], each[0], atol=1e-5)
    again = Calamiti(**TINY, theta="mean").fit(three, None, context())
    np.testing.assert_allclose(again.theta_["A"], np.mean(each, axis=0), atol=1e-5)


def test_the_perceptual_term_joins_with_weights(three: Cohort, tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    rng = np.random.default_rng(0)
    weights = {}
    for i, (a, b) in VGG_LAYERS.items():
        weights[f"features.{i}.weight"] = rng.normal(size=(b, a, 3, 3)).astype(np.float32) / 9
        weights[f"features.{i}.bias"] = np.zeros(b, np.float32)
    save_file(weights, str(path))
    fields = TINY | {"steps": 2, "vgg_weights": str(path)}
    model = Calamiti(**fields).fit(three, None, context())
    assert model.perceptual_ == "vgg.safetensors"
    assert all(row["perceptual"] > 0 for row in model.history_)
