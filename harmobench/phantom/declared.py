"""What truth.json declares: every parameter that a phantom was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import harmobench
from harmobench.phantom import anatomy as anatomy_model
from harmobench.phantom import scan as scan_model
from harmobench.phantom.deformation import DEFORMATION_RMS, DEFORMATION_SIGMA
from harmobench.phantom.scanners import REFERENCE, Scanner
from harmobench.phantom.signal import TISSUES
from harmobench.phantom.subject import DISEASE, GROUPS, SIZE, SIZE_SD, Subject
from harmobench.phantom.template import OFFSETS
from harmobench.phantom.truth import LABELS


def parameters(
    seed: int,
    resolution: float,
    scanners: Sequence[Scanner],
    subjects: Sequence[Subject],
    residuals: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Every parameter by name, ready for JSON.

    Parameters
    ----------
    seed, resolution, scanners, subjects
        What was asked for, and who was drawn.
    residuals
        RMS in the brain of the registration's error, mm, by subject and scanner.
    """
    return {
        "program": f"harmobench {harmobench.__version__}",
        "seed": seed,
        "resolution_mm": resolution,
        "scanners": [asdict(s) for s in scanners],
        "reference_protocol": asdict(REFERENCE),
        "tissues": {name: asdict(t) for name, t in TISSUES.items()},
        "subjects": [asdict(s) for s in subjects],
        "group": {"column": "group", "first": GROUPS[0], "second": GROUPS[1]},
        "designed_effects": {
            name: dict(zip(GROUPS, means, strict=True)) | {"sd": sd}
            for name, (means, sd) in DISEASE.items()
        },
        "labels": LABELS,
        "deformation": {"velocity_sigma_mm": DEFORMATION_SIGMA, "velocity_rms_mm": DEFORMATION_RMS},
        "head_position": {
            "rotation_sd_degrees": scan_model.ROTATION,
            "shift_sd_mm": scan_model.SHIFT,
        },
        "residual_warp": {
            "sigma_mm": scan_model.RESIDUAL_SIGMA,
            "rms_mm": scan_model.RESIDUAL_RMS,
            "rms_in_brain_mm": residuals,
        },
        "bias_field": {
            "sigma_mm": scan_model.BIAS_SIGMA,
            "share_of_the_scan": scan_model.BIAS_OWN,
            "share_left_in_raw": scan_model.RESIDUAL_BIAS,
        },
        "scale_sd_log": scan_model.SCALE_SPREAD,
        "head_size": {"mean": SIZE, "sd": SIZE_SD},
        "sharpening": {"steepness": anatomy_model.STEEPNESS, "offsets_log_odds": OFFSETS},
        "atrophy_log_odds_a_year": anatomy_model.ATROPHY,
        "boundary_noise": {
            "sigma_mm": anatomy_model.BOUNDARY_SIGMA,
            "sd_log_odds": anatomy_model.BOUNDARY,
        },
    }
