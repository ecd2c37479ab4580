"""From trained networks to images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.methods.calamiti import losses
from harmobench.methods.calamiti.networks import Networks, Sizes, build
from harmobench.methods.calamiti.training import autocast

BATCH = 16


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
        means = [networks.theta(part.to(device))[0] for part in chosen.split(BATCH)]
    return torch.cat(means).mean(dim=0).cpu().numpy().astype(np.float32)


def harmonize(
    networks: Networks, slices: FloatArray, theta: FloatArray, precision: str
) -> FloatArray:
    """Slices (z, height, width) with their own anatomy and the contrast `theta`."""
    device = next(networks.parameters()).device
    contrasts = torch.from_numpy(np.array(theta))[None].to(device)
    made = []
    with torch.inference_mode(), autocast(device, precision):
        for part in torch.from_numpy(slices)[:, None].split(BATCH):
            beta = losses.one_hot(networks.beta(part.to(device)))
            out = networks.decoder(beta, contrasts.expand(len(part), -1))
            made.append(out.float()[:, 0].cpu())
    return torch.cat(made).numpy()
