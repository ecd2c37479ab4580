"""CALAMITI's networks and losses: shapes, sizes, and every rule of one batch's training."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harmobench.errors import SettingsError
from harmobench.methods.calamiti import Calamiti, losses, training
from harmobench.methods.calamiti.checking import VGG_LAYERS
from harmobench.methods.calamiti.networks import (
    DISCRIMINATOR_SLOPE,
    Discriminator,
    DoublingConv,
    Networks,
    Sizes,
    build,
)
from harmobench.methods.calamiti.training import (
    Batch,
    Trainer,
    discriminator_loss,
    harmonizer_losses,
    judged,
    swap,
)

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "calamiti.py"
SMALL = Sizes((48, 64), 2, 4, 2, 4, 4)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_batch(pairs: int = 3, seed: int = 0) -> Batch:
    """Slices with a brain of noise; the first half of scanner 0, the second of scanner 1."""
    images = torch.rand(2, 2 * pairs, 1, *SMALL.shape, generator=noise(seed))
    images[..., :8, :] = 0
    return Batch(images[0], images[1], torch.arange(2).repeat_interleave(pairs))


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


def of_kind(module: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, kind)]


@pytest.mark.parametrize(("preset", "beta", "decoder"), [("default", 8, 16), ("paper", 16, 32)])
def test_networks_have_the_published_sizes(preset: str, beta: int, decoder: int) -> None:
    method = Calamiti(**Calamiti.presets[preset])
    assert (method.beta_base, method.decoder_base) == (beta, decoder)
    networks = Networks(Sizes((288, 288), 2, beta_base=beta, decoder_base=decoder))
    counts = {n: sum(p.numel() for p in part.parameters()) for n, part in networks.named_children()}
    assert counts["beta"] == unet(1, 4, beta, 0)
    assert counts["decoder"] == unet(6, 1, decoder, 1)
    assert networks.theta.head.weight.shape == (4, 32, 18, 18)
    strided = of_kind(networks.theta.features, nn.Conv2d)
    assert [m.out_channels for m in strided] == [32, 64, 128, 128, 32]
    assert [m.stride[0] for m in strided] == [2, 2, 2, 2, 1]
    assert [m.kernel_size[0] for m in strided] == [4, 4, 4, 4, 1]
    judged = of_kind(networks.discriminator, nn.Conv2d)
    assert [m.out_channels for m in judged] == [16, 64, 64, 16, 1]
    assert [m.kernel_size[0] for m in judged] == [4, 4, 4, 1, 1]
    assert [m.stride[0] for m in judged] == [2, 2, 2, 1, 1]
    assert judged[0].in_channels == 4 + 2
    for layer in judged:  # spectral norm: the largest singular value is about 1
        matrix = layer.weight.detach().flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.25)


def test_slopes_and_normalization_are_the_published_ones_but_for_the_departures() -> None:
    networks = Networks(SMALL)
    for name, part in networks.named_children():
        slope = DISCRIMINATOR_SLOPE if name == "discriminator" else 0.01
        assert {m.negative_slope for m in of_kind(part, nn.LeakyReLU)} == {slope}
    for norm in of_kind(networks, nn.GroupNorm):
        assert norm.num_groups == norm.num_channels  # instance normalization
        assert norm.affine
        x = torch.rand(2, norm.num_channels, 5, 6, generator=noise())
        expected = F.instance_norm(x, weight=norm.weight, bias=norm.bias)
        torch.testing.assert_close(norm(x), expected)
    count = {name: len(of_kind(part, nn.GroupNorm)) for name, part in networks.named_children()}
    # the decoder's finest level: two layers down, one up, two that merge
    assert count == {"beta": 22, "theta": 0, "decoder": 22 - 5, "discriminator": 0}


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.integers(1, 5)] * 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99)
)
def test_doubling_is_nearest_neighbours_and_a_convolution(
    sizes: tuple[int, int, int], height: int, width: int, seed: int
) -> None:
    n, a, b = sizes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = DoublingConv(a, b).double()
        x = torch.randn(n, a, height, width, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(out, expected)
    wanted = (x, *layer.parameters())
    ours = torch.autograd.grad(out.square().sum(), wanted)
    theirs = torch.autograd.grad(expected.square().sum(), wanted)
    torch.testing.assert_close(ours, theirs)


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
    beta = losses.one_hot(torch.randn(1, 4, 96, 96, generator=noise()))
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
    sample = losses.gumbel_one_hot(wide, 0.7, noise())
    hard = sample.detach()
    torch.testing.assert_close(hard.sum(1), torch.ones(1, 200, 200))
    assert ((hard - hard.round()).abs() < 1e-5).all()
    np.testing.assert_allclose(hard.mean((0, 2, 3)).numpy(), [0.1, 0.2, 0.3, 0.4], atol=0.01)
    (sample * torch.tensor([1.0, 2, 3, 4])[None, :, None, None]).sum().backward()  # type: ignore[no-untyped-call]
    assert wide.grad is not None
    assert wide.grad.abs().sum() > 0
    again = losses.gumbel_one_hot(wide.detach(), 0.7, noise())
    assert torch.equal(again, losses.gumbel_one_hot(wide, 0.7, noise()))


def test_one_hot_takes_the_largest_channel() -> None:
    logits = torch.randn(2, 4, 5, 6, generator=noise())
    hot = losses.one_hot(logits)
    assert torch.equal(hot.sum(1), torch.ones(2, 5, 6))
    assert torch.equal(hot.argmax(1), logits.argmax(1))


def test_temperature_falls_to_its_floor() -> None:
    assert losses.temperature(0, 2e-4, 0.5) == 1
    assert losses.temperature(1000, 2e-4, 0.5) == pytest.approx(np.exp(-0.2))
    assert losses.temperature(10**6, 2e-4, 0.5) == 0.5


def test_divergence_is_that_of_torch() -> None:
    rng = noise()
    mean, log_variance = torch.randn(5, 2, generator=rng), torch.randn(5, 2, generator=rng)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros(5, 2), torch.ones(5, 2))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(losses.divergence(mean, log_variance), expected)


def test_swapping_keeps_pairs_together() -> None:
    beta = torch.arange(12.0)[:, None, None, None]
    out = swap(beta, noise()).flatten()
    assert sorted(out.tolist()) == list(range(12))
    assert torch.equal(out[:6] % 6, torch.arange(6.0))
    assert torch.equal((out[:6] + 6) % 12, out[6:])
    assert not torch.equal(out, torch.arange(12.0))


def vgg(path: Path) -> Path:
    from safetensors.torch import save_file

    rng = noise()
    weights = {}
    for i, (a, b) in VGG_LAYERS.items():
        weights[f"features.{i}.weight"] = torch.randn(b, a, 3, 3, generator=rng) / (3 * a**0.5)
        weights[f"features.{i}.bias"] = torch.zeros(b)
    save_file(weights, str(path))
    return path


def test_vgg_features_and_their_errors(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path, cpu = vgg(tmp_path / "vgg.safetensors"), torch.device("cpu")
    network = losses.read_perceptual(str(path), cpu)
    x = torch.rand(2, 1, 32, 32, generator=noise(1))
    assert network.features(x).shape == (2, 128, 16, 16)
    assert network(x, x).item() == 0
    assert network(x, x.flip(-1)).item() > 0
    weights = load_file(str(path))
    kept = {name: tensor.clone() for name, tensor in weights.items()}
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
    kept["features.2.weight"][0, 0, 0, 0] = torch.nan
    save_file(kept, str(path))
    with pytest.raises(SettingsError, match=r"features\.2\.weight.*NaN"):
        losses.read_perceptual(str(path), cpu)
    path.write_bytes(b"no tensors")
    with pytest.raises(SettingsError, match="safetensors"):
        losses.read_perceptual(str(path), cpu)


# -- one batch


class Judge(nn.Module):
    """A discriminator that knows: the first half of what it is shown has its own label."""

    def __init__(self, certainty: float) -> None:
        super().__init__()
        self.certainty, self.labels = certainty, torch.empty(0)

    def forward(self, beta: Tensor, label: Tensor) -> Tensor:
        self.labels = label
        half = len(label) // 2
        logits = torch.cat([torch.ones(half), -torch.ones(half)]) * self.certainty
        return logits[:, None, None, None] + 0 * beta.mean()


def test_rolled_pairs_carry_the_other_images_label() -> None:
    networks, judge = build(SMALL, 0), Judge(20)
    networks.discriminator = judge  # type: ignore[assignment]
    batch = random_batch()
    joint, marginal = judged(networks, torch.rand(6, 4, 8, 8), batch.label)
    assert len(joint) == len(marginal) == 6
    assert judge.labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    # a discriminator that is right loses nothing; the anatomy encoder then loses all
    assert discriminator_loss(networks, batch, 1, noise())["discriminator"].item() < 1e-6
    assert harmonizer_losses(networks, batch, 1, noise())["adversarial"].item() > 39


def test_the_discriminator_can_tell_the_scanner_from_the_anatomy() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        discriminator = Discriminator(4, 2)
    adam, random = torch.optim.Adam(discriminator.parameters(), lr=2e-3), noise()
    label = torch.arange(2).repeat_interleave(8)
    for _ in range(60):
        logits = torch.randn(8, 4, 24, 24, generator=random).repeat(2, 1, 1, 1)
        logits[label == 1, 1] += 0.5  # a channel that one scanner has more of
        beta = torch.cat([losses.one_hot(logits)] * 2)
        joint, marginal = discriminator(beta, torch.cat([label, label.roll(8)])).chunk(2)
        loss = losses.binary(joint, 1) + losses.binary(marginal, 0)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    assert loss.item() < 0.6 * 2 * np.log(2)  # of chance


def test_contrast_is_read_from_the_other_slice() -> None:
    networks, batch = build(SMALL, 0), random_batch()
    one = harmonizer_losses(networks, batch, 1, noise())
    two = harmonizer_losses(networks, batch._replace(contrast=batch.anatomy), 1, noise())
    three = harmonizer_losses(networks, batch._replace(anatomy=batch.contrast), 1, noise())
    assert one["kl"].item() != two["kl"].item()
    assert one["kl"].item() == three["kl"].item()
    assert one["beta"].item() == two["beta"].item() != three["beta"].item()


def test_images_are_made_from_swapped_anatomies_and_own_contrasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks, batch, seen = build(SMALL, 0), random_batch(), {}

    def decoder(beta: Tensor, theta: Tensor) -> Tensor:
        seen["beta"], seen["theta"] = beta.detach(), theta.detach()
        return beta[:, :1]

    monkeypatch.setattr(training, "swap", lambda beta, random: beta.roll(len(beta) // 2, 0))
    monkeypatch.setattr(networks.decoder, "forward", decoder)
    harmonizer_losses(networks, batch, 1, noise())
    beta = losses.gumbel_one_hot(networks.beta(batch.anatomy), 1, noise()).detach()
    torch.testing.assert_close(seen["beta"], beta.roll(3, 0))
    mean, _ = networks.theta(batch.contrast)
    assert (seen["theta"] - mean).abs().max() < 0.5  # the noise starts small


def test_the_published_training_is_that_of_paper_and_nearly_that_of_default() -> None:
    for preset in ("default", "paper"):
        method = Calamiti(**Calamiti.presets[preset])
        assert method.learning_rate == {"default": 1.5e-3, "paper": 4e-4}[preset]
        assert (method.batch, method.epochs, method.steps) == (8, 20, None)
        assert (method.beta_channels, method.theta_dim) == (4, 2)
        assert method.loss_weights() == {
            "reconstruction": 4, "beta": 3e-2, "kl": 1e-7, "adversarial": 3e-2, "perceptual": 4e-2,
        }  # fmt: skip
        assert (method.temperature_decay, method.temperature_floor) == (2e-4, 0.5)
        assert (method.theta, method.beta, method.models) == ("random", "argmax", "each")
        own = {"default": (150, 0, True), "paper": (0, 0, False)}[preset]
        assert (method.warm_up, method.shared_steps, method.anneal) == own
    adam = Trainer(build(SMALL, 0), method, 0).adam
    assert adam.defaults["betas"] == (0.9, 0.999)
    assert adam.defaults["weight_decay"] == 0


def test_temperature_counts_pairs_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(step: int, decay: float, floor: float) -> float:
        seen.append(step)
        return 1.0

    monkeypatch.setattr(losses, "temperature", spy)
    for adversarial, expected in ((0.03, [0, 0, 1, 1]), (0.0, [0, 1, 2, 3])):
        trainer = Trainer(build(SMALL, 0), Calamiti(adversarial=adversarial), 0)
        seen.clear()
        for _ in range(4):
            trainer.train_batch(random_batch(1), 1e-3)
        assert seen == expected


def test_without_weight_of_the_adversary_every_batch_trains_the_rest() -> None:
    trainer = Trainer(build(SMALL, 0), Calamiti(adversarial=0.0), 0)
    before = {k: v.clone() for k, v in trainer.networks.state_dict().items()}
    terms = trainer.train_batch(random_batch(1), 1e-2)
    assert set(terms) == {"reconstruction", "beta", "kl", "total"}
    after = trainer.networks.state_dict()
    moved = {k.split(".")[0] for k, v in after.items() if not torch.equal(v, before[k])}
    assert moved == {"beta", "theta", "decoder"}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_calamiti", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)  # it shares its brain with the scripts beside it
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("even", [True, False])
def test_losses_and_gradients_are_those_of_the_plain_version(
    benchmark: ModuleType, even: bool
) -> None:
    networks, batch = build(SMALL, 0).eval(), random_batch()
    step = discriminator_loss if even else harmonizer_losses
    ours = step(networks, batch, 0.8, noise())
    theirs = benchmark.plain_losses(networks, batch, 0.8, noise(), even)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name].item() == pytest.approx(value.item(), rel=1e-4)
    wanted = list(networks.discriminator.parameters()) if even else networks.harmonizers()
    found = []
    for terms in (ours, theirs):
        total = torch.stack(list(terms.values())).sum()
        slopes = torch.autograd.grad(total, wanted)
        found.append(torch.cat([slope.flatten() for slope in slopes]))
    assert (found[0] - found[1]).norm() < 1e-3 * found[1].norm()
