"""A trained unit on slices of one scan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from harmobench.imaging.volume import FloatArray
from harmobench.methods.mispel.network import decode, from_arrays
from harmobench.methods.mispel.runtime import torch_settings, usable_device

CHUNK = 8  # slices at once


@torch.no_grad()
def harmonize_slices(
    weights: Mapping[str, np.ndarray],
    scanner: int,
    slices: FloatArray,
    activation: str,
    threads: int,
    device: str,
) -> FloatArray:
    """Harmonize slices (n, height, width) of one scanner, in float32."""
    with torch_settings(threads):
        units = from_arrays(weights, usable_device(device)).eval()
        parts = []
        for first in range(0, len(slices), CHUNK):
            x = torch.from_numpy(slices[first : first + CHUNK, None]).to(usable_device(device))
            y = decode(units.encode(scanner, x, "float32"), units.decoders[scanner], activation)
            parts.append(y[:, 0].cpu().numpy())
    return np.concatenate(parts)
