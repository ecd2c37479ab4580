"""CALAMITI: an epoch of training, harmobench's against a plain version of the same.

Both sides train the same four networks by the same losses in float32 on one thread, in turns, in
one process, on the pairs of one scanner and its target. The plain version takes every axial slice
of the whole grid, padded to a multiple of 16 (`--pad 16`) or to the research code's 288 x 288
(`--pad 288`), and works image by image as the description reads: doubling, then a convolution;
both encoders with their graphs in every batch; the discriminator once for joint and once for
rolled pairs; gradients for all networks; torch's InstanceNorm and Adam as they come. harmobench's
is what the `default` preset does. First the losses of both on one batch of the same weights,
slices and random numbers are compared. The brain is an ellipsoid of the size of a head's.

    python benchmarks/calamiti.py --resolution 2 --subjects 2 --pad 16
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ellipsoids import brain_mask
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harmobench.imaging.volume import FloatArray, Grid, write_image
from harmobench.interface import Cohort, Scan
from harmobench.methods.calamiti import Calamiti, losses, slices
from harmobench.methods.calamiti.fitting import plan_models
from harmobench.methods.calamiti.networks import DoublingConv, Networks, Sizes, UNet, build
from harmobench.methods.calamiti.training import (
    Batch,
    Trainer,
    batch_of,
    batches,
    discriminator_loss,
    harmonizer_losses,
)

SCANNERS = ("A", "T")
Losses = dict[str, Tensor]


# -- the plain version


def plain(module: nn.Module, x: Tensor) -> Tensor:
    """Run a layer, or a row of layers, as torch has them."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = plain(layer, x)
        return x
    if isinstance(module, DoublingConv):
        return F.conv2d(F.interpolate(x, scale_factor=2), module.weight, module.bias, padding=1)
    if isinstance(module, nn.GroupNorm):
        return F.instance_norm(x, weight=module.weight, bias=module.bias)
    out: Tensor = module(x)
    return out


def plain_unet(net: UNet, x: Tensor) -> Tensor:
    skips = []
    for level, down in enumerate(net.down):
        x = plain(down, F.max_pool2d(x, 2) if level else x)
        skips.append(x)
    skips.pop()
    for up, merge in zip(net.up, net.merge, strict=True):
        x = plain(merge, torch.cat([skips.pop(), plain(up, x)], dim=1))
    return plain(net.out, x)


def plain_betas(
    networks: Networks, images: tuple[Tensor, Tensor], tau: float, generator: torch.Generator
) -> list[Tensor]:
    logits = [plain_unet(networks.beta, image) for image in images]
    uniform = torch.rand((2 * len(images[0]), *logits[0].shape[1:]), generator=generator)
    gumbel = -torch.log(-torch.log(uniform.clamp_min(1e-38)))
    betas = []
    for values, noise in zip(logits, gumbel.chunk(2), strict=True):
        soft = F.softmax((values + noise) / tau, dim=1)
        hard = F.one_hot(soft.argmax(dim=1), soft.shape[1]).permute(0, 3, 1, 2)
        betas.append(hard - soft.detach() + soft)
    return betas


def plain_losses(
    networks: Networks, batch: Batch, tau: float, generator: torch.Generator, even: bool
) -> Losses:
    """Compute the losses of an even or an odd batch, image by image."""
    first, second = batch.anatomy.chunk(2)
    betas = plain_betas(networks, (first, second), tau, generator)
    thetas = [networks.theta(image) for image in batch.contrast.chunk(2)]
    both = torch.cat([beta.detach() for beta in betas] if even else betas)
    joint = networks.discriminator(both, batch.label)
    marginal = networks.discriminator(both, batch.label.roll(len(batch.label) // 2))
    if even:
        return {"discriminator": losses.binary(joint, 1) + losses.binary(marginal, 0)}
    noise = torch.randn((len(both), thetas[0][0].shape[1]), generator=generator).chunk(2)
    keep = (torch.rand(len(first), generator=generator) < 0.5)[:, None, None, None]
    made, divergences = [], []
    for i, (mean, log_variance) in enumerate(thetas):
        theta = mean + noise[i] * torch.exp(0.5 * log_variance)
        beta = torch.where(keep, betas[i], betas[1 - i])
        maps = theta[:, :, None, None].repeat(1, 1, *beta.shape[2:])
        made.append(plain_unet(networks.decoder.net, torch.cat([beta, maps], dim=1)))
        divergences.append(losses.divergence(mean, log_variance))
    return {
        "reconstruction": (F.l1_loss(made[0], first) + F.l1_loss(made[1], second)) / 2,
        "beta": F.l1_loss(betas[0], betas[1]),
        "kl": (divergences[0] + divergences[1]) / 2,
        "adversarial": losses.binary(joint, 0) + losses.binary(marginal, 1),
    }


class PlainTrainer:
    """The alternating training, plainly."""

    def __init__(self, networks: Networks, method: Calamiti, seed: int) -> None:
        networks.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.networks, self.weights = networks, method.loss_weights()
        self.generator = torch.Generator().manual_seed(seed)
        self.adam = torch.optim.Adam(networks.harmonizers(), lr=method.learning_rate)
        self.judge = torch.optim.Adam(networks.discriminator.parameters(), lr=method.learning_rate)
        self.step = 0

    def train_batch(self, batch: Batch) -> None:
        """Take one step of the discriminator or of the rest."""
        even = self.step % 2 == 0
        terms = plain_losses(self.networks, batch, 1.0, self.generator, even)
        total = torch.stack([self.weights.get(k, 1.0) * v for k, v in terms.items()]).sum()
        self.networks.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        (self.judge if even else self.adam).step()
        self.step += 1


# -- the cohort


def cohort(folder: Path, subjects: int, resolution: float) -> Cohort:
    """Write smooth anatomies, White-Striped, on two scanners of different contrast."""
    brain = brain_mask(resolution)
    shape = brain.shape
    grid = Grid.make(shape, np.diag([resolution] * 3 + [1]))
    write_image(folder / "mask.nii.gz", brain, grid)
    scans = []
    for subject in range(subjects):
        rng = np.random.default_rng(subject)
        field = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 4 / resolution)
        field = np.clip(0.6 + 0.2 * field / field[brain].std(), 0, 1)
        for k, scanner in enumerate(SCANNERS):
            noise = rng.normal(scale=0.03, size=shape)
            striped = np.where(brain, 60 * (field ** (1 + 0.3 * k) + noise - 1), -60)
            path = folder / f"{subject}{scanner}.nii.gz"
            write_image(path, striped.astype(np.float32), grid)
            inputs = {"whitestripe": path}
            scans.append(Scan(str(subject), scanner, path, folder / "mask.nii.gz", inputs=inputs))
    return Cohort(tuple(scans))


class Side:
    """Slices and their pairs, cropped as harmobench does, or whole."""

    def __init__(self, train: Cohort, method: Calamiti, pad: int | None) -> None:
        scales = {s.scanner: slices.robust_range([s]) for s in train.scans}
        box, least = slices.brain_box(s.brain() for s in train.scans), method.min_brain
        if pad is not None:
            x, y, _ = train.scans[0].brain().shape
            box, least = (0, x, 0, y), 0.0
        stacked = slices.stack(train.scans, box, scales, least)
        if pad is not None:
            stacked.useful[:] = True
            stacked = slices.Stack(enlarged(stacked.images, pad), stacked.useful, stacked.where)
        self.pairs = plan_models(method, train, SCANNERS[-1], stacked)[SCANNERS[0]]
        self.images = torch.from_numpy(stacked.images)
        self.shape: tuple[int, int] = stacked.images.shape[2:]

    def batches(self, size: int, seed: int) -> Iterator[Callable[[], Batch]]:
        """Draw the batches of one epoch, each gathered when it is called."""
        rng = np.random.default_rng(seed)
        drawn = batches(self.pairs, size, rng)
        for _ in range(-(-len(self.pairs) // size)):
            yield partial(batch_of, self.images, self.pairs, next(drawn), rng)


def enlarged(images: FloatArray, pad: int) -> FloatArray:
    """Pad slices to at least `pad` on both sides."""
    more = [max(0, pad - n) for n in images.shape[2:]]
    widths = [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in more)]
    return np.pad(images, widths)


# -- the comparison


def largest_difference(networks: Networks, batch: Batch) -> float:
    """Largest relative difference of a loss of one batch between the two versions."""
    networks.eval()  # the discriminator's spectral norms stay as they are
    found = []
    with torch.no_grad():
        for even, step in ((True, discriminator_loss), (False, harmonizer_losses)):
            ours = step(networks, batch, 1.0, torch.Generator().manual_seed(0))
            theirs = plain_losses(networks, batch, 1.0, torch.Generator().manual_seed(0), even)
            found += [abs(float(ours[k] / theirs[k]) - 1) for k in theirs]
    networks.train()
    return max(found)


def fresh(side: Side, method: Calamiti) -> Networks:
    sizes = Sizes(side.shape, len(SCANNERS), method.beta_channels, method.theta_dim)
    return build(sizes._replace(beta_base=method.beta_base, decoder_base=method.decoder_base), 0)


def race(runs: Mapping[str, Sequence[Callable[[], None]]]) -> dict[str, float]:
    """Seconds of each list of batches; a part of one, then a part of the other, and so on."""
    seconds = dict.fromkeys(runs, 0.0)
    turns = min(len(run) for run in runs.values())
    for turn in range(turns):
        for name, run in runs.items():
            start, stop = (len(run) * k // turns for k in (turn, turn + 1))
            began = time.perf_counter()
            for train in run[start:stop]:
                train()
            seconds[name] += time.perf_counter() - began
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--resolution", type=float, default=2.0, help="mm")
    parser.add_argument("--pad", type=int, choices=(16, 288), default=16, help="the plain slices'")
    given = parser.parse_args()
    torch.set_num_threads(1)
    method = Calamiti(**Calamiti.presets["default"])
    with tempfile.TemporaryDirectory() as folder:
        train = cohort(Path(folder), given.subjects, given.resolution)
        own, whole = Side(train, method, None), Side(train, method, given.pad)
    first = next(own.batches(method.batch, 1))()
    difference = largest_difference(fresh(own, method), first)
    ours = Trainer(fresh(own, method), method, 0)
    theirs = PlainTrainer(fresh(whole, method), method, 0)

    def train_ours(batch: Callable[[], Batch]) -> None:
        ours.train_batch(batch(), method.learning_rate)

    def train_theirs(batch: Callable[[], Batch]) -> None:
        theirs.train_batch(batch())

    runs = {
        "harmobench": [partial(train_ours, batch) for batch in own.batches(method.batch, 0)],
        "plain": [partial(train_theirs, batch) for batch in whole.batches(method.batch, 0)],
    }
    seconds = race(runs)
    for name, side in (("harmobench", own), ("plain", whole)):
        print(
            f"{name:10} {seconds[name]:8.2f} s   {len(runs[name])} batches of {method.batch} of "
            f"{len(side.pairs)} pairs of slices, {side.shape[0]} x {side.shape[1]}"
        )
    print(f"ratio      {seconds['plain'] / seconds['harmobench']:8.2f}   (wanted: at least 2)")
    print(f"largest relative difference of a loss {difference:.1e}   (wanted: at most 1e-4)")


if __name__ == "__main__":
    main()
