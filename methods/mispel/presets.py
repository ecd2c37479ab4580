"""Named sets of parameters, and what a parameter may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
