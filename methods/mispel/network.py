"""The network: a U-Net encoder and a linear decoder for each scanner (paper, section 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.3  # Keras's LeakyReLU
DECODER_SD = 0.05  # of the decoder's first weights

# (inputs, outputs) of the 12 convolutions before the one that makes the embeddings
WIDTHS = (
    (1, 32),
    (32, 32),
    (32, 64),
    (64, 64),
    (64, 128),
    (128, 128),
    (128, 64),
    (128, 64),
    (64, 64),
    (64, 32),
    (64, 32),
    (32, 32),
)


class Encoder(nn.Module):
    """Slices (n, 1, height, width) to embeddings (n, latent, height, width).

    Height and width are multiples of 4. Convolutions are 3 x 3 with LeakyReLU, but for the two
    that follow the upsampling, which have no activation.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        widths = (*WIDTHS, (32, latent))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in widths)

    def _conv(self, number: int, x: Tensor) -> Tensor:
        convolved: Tensor = self.convs[number - 1](x)
        return functional.leaky_relu(convolved, SLOPE)

    def _up(self, number: int, x: Tensor, skip: Tensor) -> Tensor:
        larger = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return torch.cat([skip, self.convs[number - 1](larger)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of slices."""
        fine = self._conv(2, self._conv(1, x))
        middle = self._conv(4, self._conv(3, functional.max_pool2d(fine, 2)))
        coarse = self._conv(6, self._conv(5, functional.max_pool2d(middle, 2)))
        middle = self._conv(9, self._conv(8, self._up(7, coarse, middle)))
        fine = self._conv(12, self._conv(11, self._up(10, middle, fine)))
        return self._conv(13, fine)


class Units(nn.Module):
    """One encoder and one decoder a scanner.

    Parameters
    ----------
    scanners
        How many.
    latent
        Embeddings of a slice: L of the paper.
    """

    def __init__(self, scanners: int, latent: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Encoder(latent) for _ in range(scanners))
        self.decoders = nn.ParameterList(torch.zeros(1, latent) for _ in range(scanners))

    def encode(self, scanner: int, x: Tensor, precision: str) -> Tensor:
        """Embeddings of one scanner's slices, float32; the arithmetic is of `precision`."""
        bfloat16 = precision == "bfloat16"
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            z: Tensor = self.encoders[scanner](x)
        return z.float()


def decode(z: Tensor, weights: Tensor, activation: str) -> Tensor:
    """Slices from embeddings: y = sum over l of w_l z_l, without bias.

    Parameters
    ----------
    z
        Embeddings (n, latent, height, width).
    weights
        Decoders (candidates, latent), each of which gives one channel of the output.
    activation
        "linear" as in the paper, or "relu" as in the published code.
    """
    y = functional.conv2d(z, weights[:, :, None, None])
    return functional.relu(y) if activation == "relu" else y


def initialize(units: Units, generator: torch.Generator) -> None:
    """Glorot-uniform kernels, zero biases, decoders normal with SD 0.05."""
    with torch.no_grad():
        for module in units.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        for weights in units.decoders:
            nn.init.normal_(weights, std=DECODER_SD, generator=generator)


def make_units(scanners: int, latent: int, seed: int, device: str) -> Units:
    """Units with first weights that follow from the seed alone."""
    units = Units(scanners, latent)
    initialize(units, torch.Generator().manual_seed(seed))
    return _place(units, device)


def _place(units: Units, device: str) -> Units:
    for module in units.modules():
        if isinstance(module, nn.Conv2d):  # with such weights a CPU takes 20% less time
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return units.to(device)


def to_arrays(units: Units) -> dict[str, np.ndarray]:
    """Weights by name, float32."""
    return {name: value.detach().cpu().numpy() for name, value in units.state_dict().items()}


def from_arrays(arrays: Mapping[str, np.ndarray], device: str) -> Units:
    """Units from what `to_arrays` gave."""
    state = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    decoders = [value for name, value in state.items() if name.startswith("decoders.")]
    units = Units(len(decoders), decoders[0].shape[1])
    units.load_state_dict(state)
    return _place(units, device)
