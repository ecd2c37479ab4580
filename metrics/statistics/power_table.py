"""Spread of paired differences, method minus RAW, on the phantom: what plans are made with.

Standard deviations over 16 subjects, median of White Stripe and RAVEL, at 2 mm, with the built-in
segmenter; inputs of a plan, no results of a comparison. AUROC is RAVEL's alone, since White Stripe
leaves it as it is. Measured with version 0.1.0 by

    harmobench simulate plan --subjects 16 --scanners 7 --resolution 2
    harmobench run --cohort plan/matched.csv --out RUN --methods raw,whitestripe,ravel
        --metrics ssim,auroc,volume,dice --measures none --controls off --group group:low,high
    python benchmarks/power.py --measure RUN
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["bias", "mean", "change of d"]
Key = tuple[Kind, str, str, str, str]  # kind, metric, structure, tool, units

SCANNERS = (2, 3, 4, 5, 6, 7)  # each over all choices of as many of the seven
MEASURED: dict[Key, tuple[float, ...]] = {
    ("bias", "volume", "gm", "hmrf", "ml"): (1.9, 1.46, 1.27, 1.16, 1.08, 1.03),
    ("bias", "volume", "wm", "hmrf", "ml"): (1.52, 1.12, 0.935, 0.82, 0.739, 0.679),
    ("bias", "volume", "csf", "hmrf", "ml"): (2.19, 1.72, 1.52, 1.41, 1.34, 1.29),
    ("mean", "ssim", "brain", "", ""): (0.00903, 0.0075, 0.00676, 0.0063, 0.00598, 0.00574),
    ("change of d", "volume", "gm", "hmrf", ""): (0.0321, 0.0311, 0.0305, 0.0302, 0.03, 0.0298),
    ("change of d", "volume", "wm", "hmrf", ""): (0.0349, 0.0335, 0.0328, 0.0324, 0.0321, 0.0318),
    ("change of d", "volume", "csf", "hmrf", ""): (0.0854, 0.0801, 0.0773, 0.0755, 0.0744, 0.0735),
    ("mean", "dice", "gm", "hmrf", ""): (0.00677, 0.00651, 0.00639, 0.00632, 0.00628, 0.00624),
    ("mean", "dice", "wm", "hmrf", ""): (0.00236, 0.00227, 0.00223, 0.00221, 0.00219, 0.00218),
    ("mean", "auroc", "gm-wm", "", ""): (0.00558, 0.0055, 0.00546, 0.00544, 0.00542, 0.00541),
    ("mean", "auroc_spread", "gm-wm", "", ""): (
        0.00194,
        0.00158,
        0.00141,
        0.00131,
        0.00124,
        0.00119,
    ),
}
ABOUT = (
    "SDs: the phantom's, 16 subjects at 2 mm, White Stripe and RAVEL against RAW; your scanners "
    "and methods scatter otherwise: plan with --run RUN once there is a pilot"
)
