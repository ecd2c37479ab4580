"""The four networks of CALAMITI (Zuo et al., NeuroImage 2021), for slices of any size.

Slices are (batch, channel, height, width), height and width divisible by 16.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.01
DISCRIMINATOR_SLOPE = 0.2  # with less, five normalized layers leave no signal
LOG_VARIANCE = -6.0  # where that of theta starts
FAINT = 0.1  # start of what a U-Net brings up from coarser levels
LEVELS = 4


def block(
    channels_in: int, channels_out: int, normalize: bool, doubling: bool = False
) -> nn.Sequential:
    """3x3 convolution, instance normalization (affine) where asked for, LeakyReLU 0.01.

    With `doubling`, of a slice of twice the height and width. Instance normalization is that of
    groups of one channel, which torch does on channels-last maps without copying them.
    """
    convolution = (
        DoublingConv(channels_in, channels_out)
        if doubling
        else nn.Conv2d(channels_in, channels_out, 3, padding=1)
    )
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
    norm = [nn.GroupNorm(channels_out, channels_out)] if normalize else []
    return nn.Sequential(convolution, *norm, nn.LeakyReLU(SLOPE, inplace=True))


class DoublingConv(nn.Conv2d):
    """Nearest-neighbour doubling of both sides and a 3x3 convolution, as one operation.

    Each doubled pixel is read twice or once by the 3x3 kernel, so that the two together are a
    transposed convolution of stride 2 whose 4x4 kernel holds sums of the nine weights: 16 products
    for four pixels instead of 36, and no doubled maps in memory.
    """

    sums: Tensor

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)
        sums = [[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]
        self.register_buffer("sums", torch.tensor(sums), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, h, w) to (n, channels_out, 2h, 2w)."""
        kernel = torch.einsum("ak,bl,oikl->ioab", self.sums, self.sums, self.weight)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class UNet(nn.Module):
    """U-Net of four levels below the first, channels doubling from `base`; linear output.

    Levels from `normalized_from` down have instance normalization, 0 being the finest.
    """

    def __init__(
        self, channels_in: int, channels_out: int, base: int, normalized_from: int = 0
    ) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(LEVELS + 1)]
        normal = [level >= normalized_from for level in range(LEVELS + 1)]
        self.down = nn.ModuleList(
            nn.Sequential(block(a, b, norm), block(b, b, norm))
            for a, b, norm in zip([channels_in, *widths[:-1]], widths, normal, strict=True)
        )
        rising = range(LEVELS - 1, -1, -1)
        self.up = nn.ModuleList(
            block(widths[level + 1], widths[level], normal[level], doubling=True)
            for level in rising
        )
        self.merge = nn.ModuleList(
            nn.Sequential(
                block(2 * widths[level], widths[level], normal[level]),
                block(widths[level], widths[level], normal[level]),
            )
            for level in rising
        )
        self.out = nn.Conv2d(base, channels_out, 3, padding=1)
        self._start_shallow()

    def _start_shallow(self) -> None:
        """Let what comes up from below start faint, so that local intensities are learned first."""
        layers = [layer for up in self.up for layer in up.children()]
        for convolution, after in itertools.pairwise(layers):
            if isinstance(after, nn.GroupNorm):
                nn.init.constant_(after.weight, FAINT)
            elif isinstance(convolution, nn.Conv2d):
                with torch.no_grad():
                    convolution.weight.mul_(FAINT)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, h, w) to (n, channels_out, h, w)."""
        skips: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return self.out(x)  # type: ignore[no-any-return]


class ThetaEncoder(nn.Module):
    """A slice to mean and log-variance of its contrast theta.

    It has no normalization layers: they would take out what it is to find. The last convolution is
    as large as the map that four strides leave of a slice; its sum is divided by the map's area, so
    that steps of one learning rate move theta alike whatever the slices' size. Theta starts almost
    free of noise, for a decoder leaves noise aside.
    """

    def __init__(self, shape: tuple[int, int], theta_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((1, 32, 64, 128, 128)):
            convolution = nn.Conv2d(a, b, 4, stride=2, padding=1)
            nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
            layers += [convolution, nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers, nn.Conv2d(128, 32, 1), nn.LeakyReLU(SLOPE))
        left = shape[0] // 16, shape[1] // 16
        self.area = left[0] * left[1]
        self.head = nn.Conv2d(32, 2 * theta_dim, left)
        nn.init.normal_(self.head.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, h, w) to mean and log-variance, each (n, theta_dim)."""
        outputs = self.head(self.features(x)).float().flatten(1) / self.area
        mean, log_variance = outputs.chunk(2, dim=1)
        return mean, log_variance + LOG_VARIANCE


class Discriminator(nn.Module):
    """Whether an anatomy and a scanner belong together: a map of logits.

    Five convolutions with spectral normalization, the first three of stride 2. No instance
    normalization: it would take out the label, which is constant over a slice.
    """

    def __init__(self, beta_channels: int, scanners: int) -> None:
        super().__init__()
        widths = (beta_channels + scanners, 16, 64, 64, 16, 1)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            conv = nn.Conv2d(a, b, 4, stride=2, padding=1) if i < 3 else nn.Conv2d(a, b, 1)
            layers += [spectral_norm(conv), nn.LeakyReLU(DISCRIMINATOR_SLOPE)]
        self.layers = nn.Sequential(*layers[:-1])
        self.scanners = scanners

    def forward(self, beta: Tensor, label: Tensor) -> Tensor:
        """Anatomies (n, channels, h, w) and scanner indices (n,) to logits (n, 1, h/8, w/8)."""
        hot = F.one_hot(label, self.scanners).to(beta.dtype)[:, :, None, None]
        maps = hot.expand(-1, -1, *beta.shape[2:])
        return self.layers(torch.cat([beta, maps], dim=1))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Anatomy and contrast to a slice.

    The finest level has no normalization: it would erase theta, which is constant over a slice,
    and let intensities depend on how much of the slice is brain.
    """

    def __init__(self, beta_channels: int, theta_dim: int, base: int) -> None:
        super().__init__()
        self.net = UNet(beta_channels + theta_dim, 1, base, normalized_from=1)

    def forward(self, beta: Tensor, theta: Tensor) -> Tensor:
        """(n, beta_channels, h, w) and (n, theta_dim) to (n, 1, h, w)."""
        maps = theta[:, :, None, None].expand(-1, -1, *beta.shape[2:])
        return self.net(torch.cat([beta, maps.to(beta.dtype)], dim=1))  # type: ignore[no-any-return]


class Sizes(NamedTuple):
    """What fixes the shapes of all weights.

    Attributes
    ----------
    shape
        Height and width of the slices.
    scanners
        How many labels the discriminator tells apart.
    beta_channels, theta_dim
        Channels of the anatomy, numbers of the contrast.
    beta_base, decoder_base
        Channels of the first level of the two U-Nets.
    """

    shape: tuple[int, int]
    scanners: int
    beta_channels: int = 4
    theta_dim: int = 2
    beta_base: int = 8
    decoder_base: int = 16


class Networks(nn.Module):
    """All four networks of one model."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.beta = UNet(1, sizes.beta_channels, sizes.beta_base)
        self.theta = ThetaEncoder(sizes.shape, sizes.theta_dim)
        self.decoder = Decoder(sizes.beta_channels, sizes.theta_dim, sizes.decoder_base)
        self.discriminator = Discriminator(sizes.beta_channels, sizes.scanners)

    def harmonizers(self) -> list[nn.Parameter]:
        """Weights that odd batches train: all but the discriminator's."""
        return [p for part in (self.beta, self.theta, self.decoder) for p in part.parameters()]


def build(sizes: Sizes, seed: int) -> Networks:
    """Networks with weights that follow from the seed alone; the global generator is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(sizes)
    # on a CPU layers of 8 and 16 channels are up to three times faster so
    networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks
