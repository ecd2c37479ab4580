"""Torch's process-wide settings, set for one piece of work and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Fix the thread count and what a GPU's convolutions may choose from; restore afterwards.

    Everything else that this method runs gives the same bytes for the same thread count.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True):
            yield
    finally:
        torch.set_num_threads(count)


def usable_device(device: str) -> str:
    """Return the device a model was fitted on where it can be had, else the CPU."""
    return device if device != "cuda" or torch.cuda.is_available() else "cpu"
