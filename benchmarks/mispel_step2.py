"""MISPEL's step 2: on embeddings that are computed once, against running the frozen encoders.

Plain: every epoch runs each scanner's frozen float32 encoder on its whole slices, without
gradients, and trains the decoders for one value of lambda4. harmobench: slices cropped to the
brain, embeddings computed once, all values of lambda4 side by side. Both on one thread, in turns,
in one process. A plain epoch takes so long that a few are timed; the total for T2 epochs (100 in
the paper) is that mean times T2, against harmobench's measured total, encoding included.

    python benchmarks/mispel_step2.py --epochs 100
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from ellipsoids import subject
from mispel_step1 import BATCH, LATENT, cropped_slices, whole_slices
from torch.nn import functional

from harmobench.imaging.volume import FloatArray
from harmobench.methods.mispel import course, harmonizing, network, slices

GRID = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # the paper's values of lambda4
RATE = 1e-3


def plain_epoch(units: network.Units, images: FloatArray, lambda4: float, seed: int) -> float:
    """Train the decoders for one epoch the obvious way; return the seconds."""
    data = torch.from_numpy(images)
    decoders = [w.detach().clone().requires_grad_() for w in units.decoders]
    optimizer = torch.optim.Adam(decoders, lr=RATE)
    start = time.perf_counter()
    for chosen in torch.from_numpy(np.random.default_rng(seed).permutation(len(data))).split(BATCH):
        x = [data[chosen][:, s, None] for s in range(data.shape[1])]
        with torch.no_grad():
            z = [encoder(a) for encoder, a in zip(units.encoders, x, strict=True)]
        y = [functional.conv2d(e, w[:, :, None, None]) for e, w in zip(z, decoders, strict=True)]
        recon = sum((a - b).abs().mean() for a, b in zip(x, y, strict=True))
        pairs = [(y[i] - y[k]).abs().mean() for k in range(len(y)) for i in range(k)]
        loss = recon + lambda4 * torch.stack(pairs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def own_training(
    units: network.Units, images: FloatArray, grid: Sequence[float], epochs: int
) -> tuple[float, float]:
    """Encode once and train all values of lambda4; return the seconds of each."""
    groups = course.to_groups([slices.Matched(tuple(range(images.shape[1])), images)], "cpu")
    start = time.perf_counter()
    encoded = harmonizing.encode_groups(units, groups, "bfloat16")
    middle = time.perf_counter()
    schedule = course.Schedule(epochs, None, BATCH, RATE, "constant", None)
    plan = course.Training(schedule, np.random.default_rng(0))
    harmonizing.harmonize(list(units.decoders), encoded, (1.0, grid), 0.0, plan)
    return middle - start, time.perf_counter() - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scanners", type=int, default=4)
    parser.add_argument("--resolution", type=float, default=2.0, help="mm")
    parser.add_argument("--epochs", type=int, default=100, help="T2")
    parser.add_argument("--plain-epochs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    scans, brain = subject(given.scanners, given.resolution, 0)
    whole, cropped = whole_slices(scans), cropped_slices(scans, brain)
    units = network.make_units(given.scanners, LATENT, 0, "cpu")
    plain = [plain_epoch(units, whole, 4.0, seed) for seed in range(given.plain_epochs)]
    total = float(np.mean(plain)) * given.epochs
    encoding, one = own_training(units, cropped, (4.0,), given.epochs)
    encoding_again, six = own_training(units, cropped, GRID, given.epochs)
    print(
        f"{len(whole)} slices of {whole.shape[2:]}; cropped, {len(cropped)} of {cropped.shape[2:]}"
    )
    print(f"plain, encoders each epoch {np.mean(plain):8.3f} s an epoch, {total:8.1f} s in all")
    print(
        f"harmobench, one lambda4    {one / given.epochs:8.3f} s an epoch, "
        f"{encoding + one:8.1f} s in all, {encoding:.1f} s of it encoding"
    )
    print(
        f"harmobench, six            {six / given.epochs:8.3f} s an epoch, "
        f"{encoding_again + six:8.1f} s in all"
    )
    print(f"ratio of an epoch          {np.mean(plain) / (one / given.epochs):8.1f}")
    print(f"ratio in all               {total / (encoding + one):8.1f}   (wanted: at least 100)")
    print(
        f"six values over one        {(encoding_again + six) / (encoding + one):8.2f}"
        "   (wanted: below 2)"
    )


if __name__ == "__main__":
    main()
