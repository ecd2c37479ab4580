"""What every parameter may be, and a VGG16 weights file that can be used; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harmobench.errors import SettingsError
from harmobench.imaging.volume import FloatArray
from harmobench.limits import choice, number, refuse, switch, whole

if TYPE_CHECKING:
    from harmobench.methods.calamiti.plugin import Calamiti

CHOICES = {
    "models": ("each", "one"),
    "theta": ("random", "mean"),
    "beta": ("argmax", "softmax"),
    "precision": ("float32", "bfloat16"),
}
WHOLE = {  # least value; the networks need two channels, and steps both kinds of batches
    "beta_channels": 2,
    "theta_dim": 1,
    "beta_base": 1,
    "decoder_base": 1,
    "batch": 1,
    "epochs": 1,
    "steps": 2,
    "least_steps": 0,
    "shared_steps": 0,
    "warm_up": 0,
}
POSITIVE = ("learning_rate", "temperature_floor")
WEIGHTS = ("reconstruction", "beta_similarity", "kl", "adversarial", "perceptual")
SWITCHES = ("anneal", "through_network")
OPTIONAL = ("steps",)
VGG_LAYERS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)}  # features up to relu2_2


def check(method: Calamiti) -> None:
    """Refuse parameters that cannot be used, all of them at once.

    Raises
    ------
    SettingsError
        What was expected of each, and what was found.
    """
    given = vars(method)
    faults = [choice(name, given[name], known) for name, known in CHOICES.items()]
    for name, least in WHOLE.items():
        if given[name] is not None or name not in OPTIONAL:
            faults.append(whole(name, given[name], least))
    for name in POSITIVE:
        faults.append(number(name, given[name], lambda x: x > 0, "a number above 0"))
    for name in (*WEIGHTS, "temperature_decay"):
        faults.append(number(name, given[name], lambda x: x >= 0, "a number of at least 0"))
    share = "a share of at least 0 and below 1"
    faults.append(number("min_brain", method.min_brain, lambda x: 0 <= x < 1, share))
    faults += [switch(name, given[name]) for name in SWITCHES]
    if not isinstance(method.vgg_weights, str):
        faults.append(f"vgg_weights: expected a path, or empty, found {method.vgg_weights!r}")
    refuse("CALAMITI", *faults)
    if method.vgg_weights:
        perceptual_weights(method.vgg_weights)


def perceptual_weights(path: str) -> dict[str, FloatArray]:
    """Weights and biases of VGG16's first four convolutions, by torchvision's names.

    Parameters
    ----------
    path
        A safetensors file with torchvision's names, features.0.weight and so on.

    Raises
    ------
    SettingsError
        No file, another format, weights that are missing, of another shape, or not finite.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise SettingsError(f"expected VGG16 weights in vgg_weights, found no file at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            found = {name: file.get_tensor(name) for name in _vgg_shapes() if name in names}
    except (SafetensorError, TypeError) as error:  # TypeError: of a number format without numpy's
        raise SettingsError(
            f"expected a safetensors file of float32 in {path}, found none: {error}"
        ) from error
    for name, shape in _vgg_shapes().items():
        seen = found[name].shape if name in found else "nothing"
        if seen != shape:
            raise SettingsError(
                f"expected {name} of shape {shape}, found {seen} in {path}: save torchvision's "
                "VGG16 with safetensors"
            )
        if not np.isfinite(found[name]).all():
            raise SettingsError(
                f"expected finite weights in {name} of {path}, found NaN or inf: the file is "
                "damaged, save it again"
            )
    return {name: array.astype(np.float32) for name, array in found.items()}


def _vgg_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (channels_in, channels_out) in VGG_LAYERS.items():
        shapes[f"features.{index}.weight"] = (channels_out, channels_in, 3, 3)
        shapes[f"features.{index}.bias"] = (channels_out,)
    return shapes
