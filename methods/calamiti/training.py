"""The alternating training of one model: even batches the discriminator, odd ones the rest."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harmobench.errors import MethodError
from harmobench.imaging.volume import FloatArray
from harmobench.methods.calamiti import losses
from harmobench.methods.calamiti.networks import Networks
from harmobench.methods.calamiti.slices import Indices, Pairs

if TYPE_CHECKING:
    from harmobench.methods.calamiti.plugin import Calamiti

ROWS = 100  # of a training curve, at most
History = list[dict[str, float]]


class Batch(NamedTuple):
    """Both images of n matched slices, the first n the scanners', the last n the target's.

    Attributes
    ----------
    anatomy
        (2n, 1, h, w): the slices.
    contrast
        (2n, 1, h, w): another slice of each image.
    label
        (2n,): index of each image's scanner.
    """

    anatomy: Tensor
    contrast: Tensor
    label: Tensor


@contextmanager
def steady(threads: int) -> Iterator[None]:
    """Fix what a network's numbers depend on: the thread count and cuDNN's choice of algorithm."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(before)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 arithmetic where asked for; weights and losses stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def batches(pairs: Pairs, size: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Draw batches without end: every pair of slices once an epoch, in a new order each time."""
    while True:
        order = rng.permutation(len(pairs))
        for start in range(0, len(order), size):
            yield order[start : start + size]


def batch_of(images: Tensor, pairs: Pairs, index: Indices, rng: np.random.Generator) -> Batch:
    """Gather matched slices and, for theta, another slice of the same images."""
    scans = torch.from_numpy(pairs.scans[index].T.reshape(-1)).to(images.device)
    labels = torch.from_numpy(pairs.labels[index].T.reshape(-1)).to(images.device)
    z = torch.from_numpy(np.tile(pairs.z[index], 2)).to(images.device)
    other = torch.from_numpy(np.tile(pairs.other(index, rng), 2)).to(images.device)
    return Batch(images[scans, z][:, None], images[scans, other][:, None], labels)


def discriminator_loss(
    networks: Networks, batch: Batch, tau: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Tell anatomy with its own scanner's label from anatomy with the other image's."""
    with torch.no_grad():
        beta = losses.gumbel_one_hot(networks.beta(batch.anatomy), tau, generator)
    joint, marginal = judged(networks, beta, batch.label)
    return {"discriminator": losses.binary(joint, 1) + losses.binary(marginal, 0)}


def judged(networks: Networks, beta: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of anatomies with their own scanner's label and, rolled, with the other image's."""
    both = torch.cat([label, label.roll(len(label) // 2)])
    joint, marginal = networks.discriminator(torch.cat([beta, beta]), both).chunk(2)
    return joint, marginal


def harmonizer_losses(
    networks: Networks,
    batch: Batch,
    tau: float,
    generator: torch.Generator,
    perceptual: losses.Perceptual | None = None,
    adversary: bool = True,
) -> dict[str, Tensor]:
    """Every term of the loss of encoders and decoder, without its weight."""
    beta = losses.gumbel_one_hot(networks.beta(batch.anatomy), tau, generator)
    mean, log_variance = networks.theta(batch.contrast)
    theta = losses.sample_theta(mean, log_variance, generator)
    made = networks.decoder(swap(beta, generator), theta).float()
    first, second = beta.chunk(2)
    terms = {
        "reconstruction": F.l1_loss(made, batch.anatomy),
        "beta": F.l1_loss(first, second),
        "kl": losses.divergence(mean, log_variance),
    }
    if adversary:
        joint, marginal = judged(networks, beta, batch.label)
        terms["adversarial"] = losses.binary(joint, 0) + losses.binary(marginal, 1)
    if perceptual is not None:
        terms["perceptual"] = perceptual(made, batch.anatomy)
    return terms


def intensity_classes(slices: Tensor, edges: Tensor) -> Tensor:
    """Class (n, h, w) of each pixel of slices (n, 1, h, w) by bounds (n, classes - 1)."""
    return (slices > edges[:, :, None, None]).sum(dim=1)


def warm_up_losses(
    networks: Networks, batch: Batch, classes: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Cross-entropy of the anatomy's logits, and L1 of images made from the classes (n, h, w)."""
    logits = networks.beta(batch.anatomy)
    hot = F.one_hot(classes, logits.shape[1]).movedim(-1, 1).float()
    mean, log_variance = networks.theta(batch.contrast)
    theta = losses.sample_theta(mean, log_variance, generator)
    made = networks.decoder(swap(hot, generator), theta).float()
    return {
        "warm_up": F.cross_entropy(logits.float(), classes),
        "reconstruction": F.l1_loss(made, batch.anatomy),
    }


def swap(beta: Tensor, generator: torch.Generator) -> Tensor:
    """Exchange the anatomies of a random half of the pairs: matched images share theirs."""
    half = len(beta) // 2
    keep = torch.rand(half, generator=generator, device=beta.device) < 0.5
    own = torch.arange(half, device=beta.device)
    partner = own + half
    return beta[torch.cat([torch.where(keep, own, partner), torch.where(keep, partner, own)])]


class Trainer:
    """One model in training: networks, optimizers, random numbers and the count of batches.

    Parameters
    ----------
    networks
        What is trained, on its device.
    method
        Learning rate, loss weights, temperature, precision.
    seed
        Of everything random.
    perceptual
        VGG16, where a weights file was given.
    step
        Batches that these networks were trained on before.
    """

    def __init__(
        self,
        networks: Networks,
        method: Calamiti,
        seed: int,
        perceptual: losses.Perceptual | None = None,
        step: int = 0,
    ) -> None:
        self.networks, self.method, self.perceptual = networks, method, perceptual
        self.device = next(networks.parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.step = step
        self.adversary = method.adversarial > 0
        rate = method.learning_rate
        self.adam = torch.optim.Adam(networks.harmonizers(), lr=rate, fused=True)
        judge = networks.discriminator.parameters()
        self.adam_discriminator = torch.optim.Adam(judge, lr=rate, fused=True)

    def follow(self, other: Trainer) -> None:
        """Go on with the moments of another model's optimizers, whose copy this one trains."""
        self.adam.load_state_dict(copy.deepcopy(other.adam.state_dict()))
        state = other.adam_discriminator.state_dict()
        self.adam_discriminator.load_state_dict(copy.deepcopy(state))

    def train_batch(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """Take one step of the discriminator (even batches) or of the rest (odd ones).

        Where the adversarial term has no weight, every batch trains the rest.
        """
        method, even = self.method, self.adversary and self.step % 2 == 0
        done = self.step // 2 if self.adversary else self.step
        tau = losses.temperature(done, method.temperature_decay, method.temperature_floor)
        # odd batches need no gradients of the discriminator's weights and leave its norms alone
        self.networks.discriminator.train(even).requires_grad_(even)
        with autocast(self.device, method.precision):
            if even:
                terms = discriminator_loss(self.networks, batch, tau, self.generator)
                total = terms["discriminator"]
            else:
                terms = harmonizer_losses(
                    self.networks, batch, tau, self.generator, self.perceptual, self.adversary
                )
                weights = method.loss_weights()
                total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
                terms["total"] = total
        self.descend(self.adam_discriminator if even else self.adam, total, rate)
        self.step += 1
        return {name: term.detach() for name, term in terms.items()}

    def descend(self, adam: torch.optim.Adam, total: Tensor, rate: float) -> None:
        """Descend one gradient step with one of the optimizers."""
        for group in adam.param_groups:
            group["lr"] = rate
        adam.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        adam.step()

    def warm_up(self, images: Tensor, pairs: Pairs, edges: FloatArray, steps: int) -> History:
        """Start all but the discriminator from classes of intensity in place of the anatomy.

        The anatomy encoder learns each pixel's class by its scan's bounds `edges`, and the decoder
        to make the images of those classes. An untrained decoder's gradients would otherwise
        undo what anatomy there is; a budget of some hundred batches cannot wait for both.
        """
        bounds = torch.from_numpy(edges).to(self.device)
        drawn = batches(pairs, self.method.batch, self.rng)
        history: History = []
        for step in range(1, steps + 1):
            index = next(drawn)
            batch = batch_of(images, pairs, index, self.rng)
            scans = torch.from_numpy(pairs.scans[index].T.reshape(-1)).to(self.device)
            classes = intensity_classes(batch.anatomy, bounds[scans])
            with autocast(self.device, self.method.precision):
                terms = warm_up_losses(self.networks, batch, classes, self.generator)
            total = terms["warm_up"] + self.method.reconstruction * terms["reconstruction"]
            self.descend(self.adam, total, self.method.learning_rate)
            history.append({"step": step} | {k: float(v.detach()) for k, v in terms.items()})
        return history

    def train(
        self, images: Tensor, pairs: Pairs, steps: int, last: int, tick: Callable[[int], None]
    ) -> History:
        """Train on `steps` batches; return at most 100 rows of mean losses.

        `last` is the batch, counted from the model's first, at which an annealed rate reaches 0.

        Raises
        ------
        MethodError
            The loss is no longer finite.
        """
        every = max(2, 2 * math.ceil(steps / (2 * ROWS)))
        seen: dict[str, list[Tensor]] = {}
        history: History = []
        drawn = batches(pairs, self.method.batch, self.rng)
        for done in range(1, steps + 1):
            batch = batch_of(images, pairs, next(drawn), self.rng)
            rate = self.method.learning_rate
            if self.method.anneal:
                rate *= 0.5 * (1 + math.cos(math.pi * self.step / last))
            for name, term in self.train_batch(batch, rate).items():
                seen.setdefault(name, []).append(term)
            if done % every == 0 or done == steps:
                history.append({"step": self.step, **_means(seen)})
                seen.clear()
                tick(done)
        return history


def _means(seen: dict[str, list[Tensor]]) -> dict[str, float]:
    means = {name: float(torch.stack(terms).mean()) for name, terms in sorted(seen.items())}
    if not np.isfinite(list(means.values())).all():
        raise MethodError(f"training diverged, losses {means}: lower calamiti.learning_rate")
    return means
