"""Named sets of parameters, and what a parameter may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harmobench.limits import choice, number, refuse, whole
from harmobench.methods.mispel.slices import ORIENTATIONS

if TYPE_CHECKING:
    from harmobench.methods.mispel.plugin import Mispel

CHOICES: Mapping[str, tuple[str, ...]] = {
    "decay": ("constant", "cosine"),
    "decoder_activation": ("linear", "relu"),
    "harmonization_average": ("pairs", "scanners"),
    "selection": ("weighted", "unweighted"),
    "precision": ("float32", "bfloat16"),
}
# what the paper and the published code agree on
PUBLISHED: Mapping[str, Any] = {
    "lambda1": 1.0,
    "learning_rate": 0.01,
    "decay": "constant",
    "clip": None,
    "epochs1": 100,
    "epochs2": 100,
    "precision": "float32",
}
# lambda1 = .3 and lambda2 = 1, the default, are those of the published README
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {
        "warm_steps": 70,
        "steps": 50,
        "steps2": 200,
        "slices2": 96,
        "learning_rate": 2e-3,
        "learning_rate2": 5e-3,
        "lambda4s": (),
    },
    "default": {},
    "paper": {
        **PUBLISHED,
        "latents": (4, 6, 8),
        "lambda2s": (0.1, 0.2, 0.3, 0.4, 0.5),
        "lambda4s": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        "selection": "weighted",
    },
    "published-code": {
        **PUBLISHED,
        "lambda2": 0.3,
        "lambda4s": (),
        "decoder_activation": "relu",
        "harmonization_average": "scanners",
    },
}

COUNTS = ("latent", "batch", "epochs1", "epochs2")
RATES = ("learning_rate", "learning_rate2", "clip")  # None: as another one is, or none at all
LIMITS = ("steps", "steps2", "slices2")  # None: not limited
WEIGHTS = ("lambda1", "lambda2", "lambda3", "lambda4")


def check_parameters(method: Mispel, scanners: Sequence[str]) -> None:
    """Refuse parameters that cannot be used, here on a cohort of `scanners` where given.

    Raises
    ------
    SettingsError
        What was expected, and what was found.
    """
    given = vars(method)
    faults = [choice(name, given[name], known) for name, known in CHOICES.items()]
    faults += [whole(name, given[name], 1) for name in COUNTS]
    faults += [whole(name, given[name], 1) for name in LIMITS if given[name] is not None]
    faults.append(whole("warm_steps", method.warm_steps, 0))
    for name in RATES:
        if given[name] is not None or name == "learning_rate":
            faults.append(number(name, given[name], lambda x: x > 0, "a number above 0"))
    for name in WEIGHTS:
        faults.append(number(name, given[name], lambda x: x >= 0, "a number of at least 0"))
    for name in ("tolerance", "min_brain"):
        faults.append(number(name, given[name], lambda x: 0 <= x <= 1, "a share from 0 to 1"))
    faults += [*_grid_faults(method), _orientation_fault(method)]
    if method.target and scanners:
        faults.append(choice("target", method.target, tuple(scanners)))
    refuse("MISPEL", *faults)


def _grid_faults(method: Mispel) -> list[str]:
    faults = [whole("latents", value, 1) for value in method.latents]
    for name in ("lambda2s", "lambda4s"):
        for value in getattr(method, name):
            faults.append(number(name, value, lambda x: x >= 0, "numbers of at least 0"))
    for name in ("latents", "lambda2s", "lambda4s"):
        grid = getattr(method, name)
        if len(set(grid)) < len(grid):
            faults.append(f"{name}: expected each candidate once, found {grid}")
    return faults


def _orientation_fault(method: Mispel) -> str:
    asked = method.orientations
    if asked and len(set(asked)) == len(asked) and set(asked) <= set(ORIENTATIONS):
        return ""
    return f"orientations: expected some of {', '.join(ORIENTATIONS)}, each once, found {asked}"
