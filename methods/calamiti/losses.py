"""Gumbel-softmax, and every term of CALAMITI's loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harmobench.methods.calamiti.checking import VGG_LAYERS, perceptual_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
TINY = torch.finfo(torch.float32).tiny


def temperature(step: int, decay: float, floor: float) -> float:
    """Gumbel-softmax temperature exp(-decay step), at least `floor`."""
    return max(math.exp(-decay * step), floor)


def one_hot(logits: Tensor) -> Tensor:
    """One-hot of the largest channel (n, channels, h, w)."""
    largest = logits.max(dim=1, keepdim=True).indices  # on a CPU many times faster than argmax
    return torch.zeros_like(logits).scatter_(1, largest, 1.0)


def gumbel_one_hot(logits: Tensor, tau: float, generator: torch.Generator) -> Tensor:
    """Sample one-hot channels; gradients are those of the softmax at temperature `tau`.

    Jang et al., ICLR 2017 (straight-through Gumbel-softmax).
    """
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
    exponential = uniform.clamp_min_(TINY).log_().neg_()
    soft = F.softmax((logits.float() - exponential.log_()) / tau, dim=1)
    return one_hot(soft.detach()) + soft - soft.detach()


def sample_theta(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draw theta from its posterior, differentiably (n, theta_dim)."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + noise * torch.exp(0.5 * log_variance)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal, mean over slices."""
    terms = 1 + log_variance - mean.square() - log_variance.exp()
    return -0.5 * terms.sum(dim=1).mean()


def binary(logits: Tensor, truth: float) -> Tensor:
    """Binary cross-entropy of logits against one truth value."""
    return F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits.float(), truth)
    )


class Perceptual(nn.Module):
    """L1 distance of VGG16 features at relu2_2 (Johnson et al., ECCV 2016)."""

    mean: Tensor
    sd: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {str(i): nn.Conv2d(a, b, 3, padding=1) for i, (a, b) in VGG_LAYERS.items()}
        )
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(shape))
        self.register_buffer("sd", torch.tensor(IMAGENET_SD).reshape(shape))
        self.requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """Slices (n, 1, h, w), about 0 to 1, to features (n, 128, h/2, w/2)."""
        x = (x.float() - self.mean) / self.sd
        for index, convolution in self.convolutions.items():
            if index == "5":
                x = F.max_pool2d(x, 2)
            x = F.relu(convolution(x))
        return x

    def forward(self, made: Tensor, truth: Tensor) -> Tensor:
        """Mean absolute difference of the features of two batches of slices."""
        return F.l1_loss(self.features(made), self.features(truth))


def read_perceptual(path: str, device: torch.device) -> Perceptual:
    """VGG16 from a safetensors file with torchvision's names (features.0.weight and so on).

    Raises
    ------
    SettingsError
        A file that cannot be used.
    """
    network = Perceptual()
    weights = perceptual_weights(path)
    tensors = {k.removeprefix("features."): torch.from_numpy(v) for k, v in weights.items()}
    network.convolutions.load_state_dict(tensors)
    return network.to(device)
