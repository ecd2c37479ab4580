"""MISPEL's step 1: an epoch as harmobench trains it, against the plain version.

Plain: a float32 module for each scanner, all slices whole, one optimizer; nothing else. harmobench:
slices cropped to the brain, near-empty ones left out, bfloat16 arithmetic in the encoders,
channels_last. Both start from the same weights, see the same images and run on one thread, in
turns, in one process.

Losses are compared twice: on one batch with equal weights, in both precisions; and after an epoch
of the same (cropped) slices, as the mean absolute error of the brain's voxels of a subject that
neither has seen, since a mean over whole slices would count the background.

    python benchmarks/mispel_step1.py --subjects 2 --scanners 4 --resolution 2
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from ellipsoids import subject
from torch import Tensor
from torch.nn import functional

from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.methods.mispel import Mispel, course, network, slices, training

LATENT, BATCH = 6, 4
LAMBDAS = (0.3, 1.0)


def whole_slices(scans: list[FloatArray]) -> FloatArray:
    """Cut whole axial slices (slice, scanner, height, width), zero-padded to multiples of 4."""
    box = (0, scans[0].shape[0], 0, scans[0].shape[1])
    return np.stack([slices.to_slices(scan, box) for scan in scans], axis=1)


def cropped_slices(scans: list[FloatArray], brain: BoolArray) -> FloatArray:
    """Cut the slices that harmobench trains on from the same scans."""
    area = brain.sum(axis=(0, 1))
    keep = area >= Mispel.min_brain * area.max()
    box = slices.bounding_box(brain)
    return np.stack([slices.to_slices(scan, box)[keep] for scan in scans], axis=1)


def plain_epoch(units: network.Units, images: FloatArray, rng: np.random.Generator) -> float:
    """Train one epoch the obvious way; return the seconds."""
    data = torch.from_numpy(images)
    encoders = [encoder.to(memory_format=torch.contiguous_format) for encoder in units.encoders]
    optimizer = torch.optim.Adam(units.parameters(), lr=Mispel.learning_rate, eps=1e-7)
    start = time.perf_counter()
    for _, chosen in course.epoch_batches([len(data)], BATCH, rng):
        x = [data[chosen][:, s, None] for s in range(data.shape[1])]
        recon, coup = plain_losses(encoders, list(units.decoders), x)
        optimizer.zero_grad()
        (LAMBDAS[0] * recon + LAMBDAS[1] * coup).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - start


def plain_losses(
    encoders: list[torch.nn.Module], decoders: list[Tensor], x: list[Tensor]
) -> tuple[Tensor, Tensor]:
    z = [encoder(a) for encoder, a in zip(encoders, x, strict=True)]
    y = [functional.conv2d(e, w[:, :, None, None]) for e, w in zip(z, decoders, strict=True)]
    recon = torch.stack([(a - b).abs().mean() for a, b in zip(x, y, strict=True)]).sum()
    return recon, torch.stack(z).var(dim=0, correction=0).mean()


def own_epoch(units: network.Units, images: FloatArray, rng: np.random.Generator) -> float:
    """Train one epoch as harmobench does; return the seconds."""
    groups = course.to_groups([slices.Matched(tuple(range(images.shape[1])), images)], "cpu")
    schedule = course.Schedule(1, None, BATCH, Mispel.learning_rate, "constant", None)
    plan = course.Training(schedule, rng, precision=Mispel.precision)
    start = time.perf_counter()
    training.learn_embeddings(units, groups, LAMBDAS, plan)
    return time.perf_counter() - start


@torch.no_grad()
def brain_error(units: network.Units, scans: list[FloatArray], brain: BoolArray) -> float:
    """Mean absolute error of the brain's voxels over scanners, in float32."""
    box = slices.bounding_box(brain)
    total = 0.0
    for s, scan in enumerate(scans):
        x = torch.from_numpy(slices.to_slices(scan, box))[:, None]
        parts = [
            network.decode(units.encode(s, part, "float32"), units.decoders[s], "linear")
            for part in x.split(8)
        ]
        made = slices.from_slices(torch.cat(parts)[:, 0].numpy(), box, scan.shape)
        total += float(np.abs(made - scan)[brain].mean())
    return total / len(scans)


@torch.no_grad()
def same_batch(scans: list[FloatArray], brain: BoolArray) -> dict[str, float]:
    """Relative difference of step 1's loss from the plain one, on one batch with equal weights."""
    images = torch.from_numpy(cropped_slices(scans, brain)[10 : 10 + BATCH])
    x = [images[:, s, None] for s in range(images.shape[1])]
    units = network.make_units(len(scans), LATENT, 0, "cpu")
    found = {}
    for precision in ("float32", "bfloat16"):
        recon, coup, _ = training.step1_terms(units, range(len(x)), x, "linear", precision)
        found[precision] = float(LAMBDAS[0] * recon + LAMBDAS[1] * coup)
    encoders = [e.to(memory_format=torch.contiguous_format) for e in units.encoders]
    recon, coup = plain_losses(encoders, list(units.decoders), x)
    plain = float(LAMBDAS[0] * recon + LAMBDAS[1] * coup)
    return {name: abs(value - plain) / plain for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--scanners", type=int, default=4)
    parser.add_argument("--resolution", type=float, default=2.0, help="mm")
    parser.add_argument("--turns", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    people = [subject(given.scanners, given.resolution, seed) for seed in range(given.subjects + 1)]
    held_out, people = people[-1], people[:-1]
    whole = np.concatenate([whole_slices(scans) for scans, _ in people])
    cropped = np.concatenate([cropped_slices(scans, brain) for scans, brain in people])
    plain_s = own_s = 0.0
    for turn in range(given.turns):
        plain, own = (network.make_units(given.scanners, LATENT, turn, "cpu") for _ in range(2))
        plain_s += plain_epoch(plain, whole, np.random.default_rng(turn))
        own_s += own_epoch(own, cropped, np.random.default_rng(turn))
    alike = network.make_units(given.scanners, LATENT, given.turns - 1, "cpu")
    plain_epoch(alike, cropped, np.random.default_rng(given.turns - 1))
    print(f"plain       {plain_s:8.2f} s   {len(whole)} slices of {whole.shape[2:]}")
    print(f"harmobench  {own_s:8.2f} s   {len(cropped)} slices of {cropped.shape[2:]}")
    print(f"ratio       {plain_s / own_s:8.2f}   (wanted: at least 3)")
    for name, difference in same_batch(*held_out).items():
        limit = {"float32": 1e-5, "bfloat16": 2e-2}[name]
        print(f"loss on one batch, {name}: relative difference {difference:.1e} (<= {limit:g})")
    first, second = (brain_error(units, *held_out) for units in (alike, own))
    print(
        f"brain error of a new subject after an epoch of the same slices: plain {first:.4f}, "
        f"harmobench {second:.4f} (wanted: within 10%)"
    )


if __name__ == "__main__":
    main()
