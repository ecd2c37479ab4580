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
from torch.nn import functional as F  # noqa: N812

from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Cohort, Context, Harmonizer, Scan
from harmobench.methods.calamiti import Calamiti, losses, slices
from harmobench.methods.calamiti.fitting import plan_models, stages_of, theta_images
from harmobench.methods.calamiti.networks import Networks, Sizes, build
from harmobench.methods.calamiti.training import (
    Trainer,
    batch_of,
    harmonizer_losses,
    intensity_classes,
    steady,
    swap,
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


# -- networks


def convolution(a: int, b: int, kernel: int = 3) -> int:
    return a * b * kernel**2 + b


def unet(channels_in: int, channels_out: int, base: int, normalized_from: int) -> int:
    """Count of weights of the U-Net as the method's description has it, counted by hand."""
    widths = [base * 2**level for level in range(5)]
    total = convolution(base, channels_out)
    for level, width in enumerate(widths):
        before = widths[level - 1] if level else channels_in
        norm = 2 * width if level >= normalized_from else 0
        total += convolution(before, width) + convolution(width, width) + 2 * norm
        if level < 4:
            total += convolution(2 * width, width) * 2 + convolution(width, width) + 3 * norm
    return total


def test_networks_have_the_published_sizes() -> None:
    networks = Networks(Sizes((288, 288), 2))
    counts = {n: sum(p.numel() for p in part.parameters()) for n, part in networks.named_children()}
    assert counts["beta"] == unet(1, 4, 8, 0)
    assert counts["decoder"] == unet(6, 1, 16, 1)
    assert networks.theta.head.weight.shape == (4, 32, 18, 18)
    strided = [m for m in networks.theta.features if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in strided] == [32, 64, 128, 128, 32]
    assert [m.stride[0] for m in strided] == [2, 2, 2, 2, 1]
    judged = [m for m in networks.discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in judged] == [16, 64, 64, 16, 1]
    assert judged[0].in_channels == 4 + 2
    for layer in judged:  # spectral norm: the largest singular value is about 1
        matrix = layer.weight.detach().flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("shape", [(32, 48), (80, 96)])
def test_shapes(shape: tuple[int, int]) -> None:
    networks = build(Sizes(shape, 2, 4, 3, 2, 2), 0)
    x = torch.rand(2, 1, *shape)
    beta = networks.beta(x)
    mean, log_variance = networks.theta(x)
    assert beta.shape == (2, 4, *shape)
    assert mean.shape == log_variance.shape == (2, 3)
    assert networks.decoder(beta, mean).shape == x.shape
    assert networks.discriminator(beta, torch.tensor([0, 1])).shape[:2] == (2, 1)


def test_the_decoder_sees_theta_away_from_the_borders() -> None:
    networks = build(Sizes((96, 96), 2, 4, 2, 2, 2), 0)
    beta = losses.one_hot(torch.randn(1, 4, 96, 96, generator=torch.Generator().manual_seed(0)))
    out = [networks.decoder(beta, torch.full((1, 2), v))[..., 40:56, 40:56] for v in (0.0, 1.0)]
    assert (out[0] - out[1]).abs().mean() > 1e-3


def test_weights_follow_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    a, b, c = (build(Sizes((32, 32), 2), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["beta.out.weight"], c["beta.out.weight"])


# -- losses


def test_gumbel_samples_are_one_hot_and_follow_the_softmax() -> None:
    logits = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))[None, :, None, None]
    wide = logits.expand(1, 4, 200, 200).clone().requires_grad_()
    sample = losses.gumbel_one_hot(wide, 0.7, torch.Generator().manual_seed(0))
    hard = sample.detach()
    torch.testing.assert_close(hard.sum(1), torch.ones(1, 200, 200))
    assert ((hard - hard.round()).abs() < 1e-5).all()
    np.testing.assert_allclose(hard.mean((0, 2, 3)).numpy(), [0.1, 0.2, 0.3, 0.4], atol=0.01)
    (sample * torch.tensor([1.0, 2, 3, 4])[None, :, None, None]).sum().backward()  # type: ignore[no-untyped-call]
    assert wide.grad is not None
    assert wide.grad.abs().sum() > 0
    again = losses.gumbel_one_hot(wide.detach(), 0.7, torch.Generator().manual_seed(0))
    assert torch.equal(again, losses.gumbel_one_hot(wide, 0.7, torch.Generator().manual_seed(0)))


def test_one_hot_takes_the_largest_channel() -> None:
    logits = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    hot = losses.one_hot(logits)
    assert torch.equal(hot.sum(1), torch.ones(2, 5, 6))
    assert torch.equal(hot.argmax(1), logits.argmax(1))


def test_temperature_falls_to_its_floor() -> None:
    assert losses.temperature(0, 2e-4, 0.5) == 1
    assert losses.temperature(1000, 2e-4, 0.5) == pytest.approx(np.exp(-0.2))
    assert losses.temperature(10**6, 2e-4, 0.5) == 0.5


def test_divergence_is_that_of_torch() -> None:
    rng = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(5, 2, generator=rng), torch.randn(5, 2, generator=rng)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros(5, 2), torch.ones(5, 2))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(losses.divergence(mean, log_variance), expected)


def test_swapping_keeps_pairs_together() -> None:
    beta = torch.arange(12.0)[:, None, None, None]
    out = swap(beta, torch.Generator().manual_seed(0)).flatten()
    assert sorted(out.tolist()) == list(range(12))
    assert torch.equal(out[:6] % 6, torch.arange(6.0))
    assert torch.equal((out[:6] + 6) % 12, out[6:])
    assert not torch.equal(out, torch.arange(12.0))


def vgg(path: Path) -> Path:
    from safetensors.torch import save_file

    rng = torch.Generator().manual_seed(0)
    weights = {}
    for i, (a, b) in losses.VGG_LAYERS.items():
        weights[f"features.{i}.weight"] = torch.randn(b, a, 3, 3, generator=rng) / (3 * a**0.5)
        weights[f"features.{i}.bias"] = torch.zeros(b)
    save_file(weights, str(path))
    return path


def test_vgg_features_and_their_errors(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path, cpu = vgg(tmp_path / "vgg.safetensors"), torch.device("cpu")
    network = losses.read_perceptual(str(path), cpu)
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    assert network.features(x).shape == (2, 128, 16, 16)
    assert network(x, x).item() == 0
    assert network(x, x.flip(-1)).item() > 0
    weights = load_file(str(path))
    first = F.conv2d(
        ((x.expand(-1, 3, -1, -1) - network.mean) / network.sd),
        weights["features.0.weight"],
        weights["features.0.bias"],
        padding=1,
    )
    by_hand = F.relu(first)
    for i in (2, 5, 7):
        by_hand = F.max_pool2d(by_hand, 2) if i == 5 else by_hand
        w, b = weights[f"features.{i}.weight"], weights[f"features.{i}.bias"]
        by_hand = F.relu(F.conv2d(by_hand, w, b, padding=1))
    torch.testing.assert_close(network.features(x), by_hand)
    with pytest.raises(SettingsError, match="no file"):
        losses.read_perceptual(str(tmp_path / "none"), cpu)
    del weights["features.7.weight"]
    save_file(weights, str(path))
    with pytest.raises(SettingsError, match=r"features\.7\.weight"):
        losses.read_perceptual(str(path), cpu)
    path.write_bytes(b"no tensors")
    with pytest.raises(SettingsError, match="safetensors"):
        losses.read_perceptual(str(path), cpu)


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


def test_intensity_classes_split_the_brain_evenly() -> None:
    x = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0)) + 0.01
    x[..., :10] = 0
    classes = intensity_classes(x, 4)
    shares = [(classes[..., 10:] == k).float().mean().item() for k in range(4)]
    np.testing.assert_allclose(shares, 0.25, atol=0.01)
    assert (classes[..., :10] == 0).all()


# -- training


def test_even_batches_train_the_discriminator_and_odd_ones_the_rest(
    prepared: tuple[slices.Stack, dict[str, slices.Pairs]],
) -> None:
    stacked, plan = prepared
    one = trainer(prepared)
    images, rng = torch.from_numpy(stacked.images), np.random.default_rng(0)
    for step in range(4):
        before = {k: v.clone() for k, v in one.networks.named_parameters()}
        batch = batch_of(images, plan["A"], np.array([step, step + 1]), rng)
        terms = one.train_batch(batch, 1e-2)
        moved = {
            k.split(".")[0]
            for k, v in one.networks.named_parameters()
            if not torch.equal(v, before[k])
        }
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

    def reconstruction() -> float:
        with torch.no_grad():
            noise = torch.Generator().manual_seed(0)
            return harmonizer_losses(one.networks, batch, 1, noise, None)["reconstruction"].item()

    before = reconstruction()
    with steady(1):
        warm = one.warm_up(images, pairs, 30)
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
        ({"theta": "median"}, "calamiti.theta"),
        ({"models": "two"}, "calamiti.models"),
        ({"precision": "half"}, "calamiti.precision"),
        ({"batch": 0}, "calamiti.batch"),
        ({"steps": 1}, "calamiti.steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"vgg_weights": "/nowhere"}, "vgg_weights"),
    ],
)
def test_bad_parameters(three: Cohort, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Calamiti(**(TINY | fields)).fit(three, None, context())


def test_constant_and_broken_images_are_refused(three: Cohort, tmp_path: Path) -> None:
    grid = Grid.make(SHAPE, np.eye(4))
    first = three.scans[0]
    for value, words in ((0.0, "one value"), (np.nan, "finite")):
        path = tmp_path / f"{words[:3]}.nii.gz"
        write_image(path, np.full(SHAPE, value, np.float32), grid)
        with pytest.raises(MethodError, match=words):
            slices.striped(replace(first, inputs={"whitestripe": path}))


def test_the_perceptual_term_joins_with_weights(three: Cohort, tmp_path: Path) -> None:
    path = vgg(tmp_path / "vgg.safetensors")
    fields = TINY | {"steps": 2, "vgg_weights": str(path)}
    model = Calamiti(**fields).fit(three, None, context())
    assert model.perceptual_ == "vgg.safetensors"
    assert all(row["perceptual"] > 0 for row in model.history_)
