"""Named sets of parameters, and what a parameter may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harmobench.errors import SettingsError, nearest
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
OPTIONAL_COUNTS = ("steps", "steps2", "slices2")
WEIGHTS = ("lambda1", "lambda2", "lambda3", "lambda4")
RATES = ("learning_rate", "learning_rate2", "clip")


def check_parameters(method: Mispel, scanners: Sequence[str]) -> None:
    """Refuse parameters that cannot be used, here on a cohort of `scanners` where given.

    Raises
    ------
    SettingsError
        What was expected, and what was found.
    """
    for name, known in CHOICES.items():
        value = getattr(method, name)
        _refuse(value not in known, name, f"one of {', '.join(known)}", value)
    for name in COUNTS + OPTIONAL_COUNTS:
        value = getattr(method, name)
        wrong = not (value is None and name in OPTIONAL_COUNTS) and not _is_number(value, 1, int)
        _refuse(wrong, name, "a whole number of at least 1", value)
    for name in RATES:
        value = getattr(method, name)
        wrong = value is not None and not (_is_number(value, 0) and value > 0)
        _refuse(wrong, name, "a number above 0", value)
    for name in WEIGHTS:
        value = getattr(method, name)
        _refuse(not _is_number(value, 0), name, "a number of at least 0", value)
    _check_grids(method)
    value = method.warm_steps
    _refuse(not _is_number(value, 0, int), "warm_steps", "a whole number of at least 0", value)
    for name in ("tolerance", "min_brain"):
        share = getattr(method, name)
        _refuse(not (_is_number(share, 0) and share <= 1), name, "a share from 0 to 1", share)
    if scanners and method.target:
        hint = nearest(method.target, scanners)
        wanted = f"one of the scanners {', '.join(scanners)}"
        _refuse(method.target not in scanners, "target", wanted, method.target, hint)


def _check_grids(method: Mispel) -> None:
    for name, least, kind in (("latents", 1, int), ("lambda2s", 0, float), ("lambda4s", 0, float)):
        value = getattr(method, name)
        wrong = not all(_is_number(v, least, kind) for v in value) or len(set(value)) < len(value)
        _refuse(wrong, name, f"different numbers of at least {least}", value)
    value = method.orientations
    wrong = not value or len(set(value)) < len(value) or not set(value) <= set(ORIENTATIONS)
    _refuse(wrong, "orientations", f"some of {', '.join(ORIENTATIONS)}, each once", value)


def _is_number(value: object, least: float, kind: type = float) -> bool:
    known = (int,) if kind is int else (int, float)
    return isinstance(value, known) and not isinstance(value, bool) and value >= least


def _refuse(wrong: bool, name: str, expected: str, found: object, hint: str = "") -> None:
    if wrong:
        raise SettingsError(f"expected mispel.{name} to be {expected}, found {found!r}{hint}")
