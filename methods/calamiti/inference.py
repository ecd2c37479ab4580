"""From trained networks to images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.methods.calamiti import losses
from harmobench.methods.calamiti.networks import Networks, Sizes, build
from harmobench.methods.calamiti.slices import Box, slice_shape
from harmobench.methods.calamiti.training import steady

if TYPE_CHECKING:
    from harmobench.methods.calamiti.plugin import Calamiti

BATCH = 16
BETWEEN = "/"  # model and weight, in the names of saved weights


def sizes(method: Calamiti, box: Box, scanners: Sequence[str]) -> Sizes:
    """Shapes of the networks of a fitted method."""
    return Sizes(
        slice_shape(box),
        len(scanners),
        method.beta_channels,
        method.theta_dim,
        method.beta_base,
        method.decoder_base,
    )


def export(networks: Networks) -> dict[str, FloatArray]:
    """Return the weights that harmonizing needs, by name: beta, theta and decoder."""
    kept = {k: v for k, v in networks.state_dict().items() if not k.startswith("discriminator.")}
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in kept.items()}


def restore(weights: Mapping[str, FloatArray], sizes: Sizes, device: torch.device) -> Networks:
    """Networks with the weights that `export` gave; the discriminator is untrained."""
    networks = build(sizes, seed=0)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    networks.load_state_dict(tensors, strict=False)
    return networks.to(device).eval()


def contrast(networks: Networks, slices: FloatArray, useful: BoolArray) -> FloatArray:
    """Mean theta (theta_dim,) over the useful slices (z, height, width) of one image."""
    device = next(networks.parameters()).device
    chosen = torch.from_numpy(slices[useful])[:, None]
    with torch.inference_mode():
        means = [networks.theta(part.to(device))[0] for part in torch.split(chosen, BATCH)]
    return torch.cat(means).mean(dim=0).cpu().numpy().astype(np.float32)


def harmonize(
    networks: Networks, slices: FloatArray, theta: FloatArray, beta: str = "argmax"
) -> FloatArray:
    """Slices (z, height, width) with their own anatomy and the contrast `theta`.

    The anatomy is one-hot ("argmax") or the probability of each channel ("softmax").
    """
    anatomy = losses.one_hot if beta == "argmax" else partial(torch.softmax, dim=1)
    device = next(networks.parameters()).device
    contrasts = torch.from_numpy(np.array(theta))[None].to(device)
    made = []
    with torch.inference_mode():
        for part in torch.split(torch.from_numpy(slices)[:, None], BATCH):
            maps = anatomy(networks.beta(part.to(device)))
            out = networks.decoder(maps, contrasts.expand(len(part), -1))
            made.append(out[:, 0].cpu())
    return torch.cat(made).numpy()


def weights_of(method: Calamiti, name: str) -> dict[str, FloatArray]:
    """Weights of one model of a fitted method, by their names within it.

    Raises
    ------
    MethodError
        Weights that are not finite: the anatomy's largest channel would hide them.
    """
    prefix = f"{name}{BETWEEN}"
    found = {k.removeprefix(prefix): v for k, v in method.weights_.items() if k.startswith(prefix)}
    for key, array in found.items():
        if not np.isfinite(array).all():
            raise MethodError(
                f"expected finite weights of the model trained on {name}, found NaN or inf in "
                f"{key}: the weights are damaged, train it again"
            )
    return found


def apply(method: Calamiti, names: Sequence[str], slices: FloatArray) -> FloatArray:
    """Mean over the named models of what they make of slices (z, height, width)."""
    wanted = method.device_ if torch.cuda.is_available() else "cpu"
    shapes = sizes(method, method.box(), method.scanners_)
    made = []
    with steady(method.threads_):
        for name in names:
            networks = restore(weights_of(method, name), shapes, torch.device(wanted))
            made.append(harmonize(networks, slices, method.theta_[name], method.beta))
    return mean(made)


def mean(arrays: Sequence[FloatArray]) -> FloatArray:
    """Mean of arrays of one shape, summed in double precision."""
    return np.asarray(np.mean(np.stack(arrays), axis=0, dtype=np.float64), dtype=np.float32)
