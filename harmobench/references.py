"""Publications that more than one room stands on."""

from __future__ import annotations

from harmobench.interface import Reference

# The evaluation's source, and MISPEL's: one object, so that a bibliography lists it once.
TORBATI_2023 = Reference(
    title="MISPEL: A supervised deep learning harmonization method for multi-scanner "
    "neuroimaging data",
    authors="Torbati ME, Minhas DS, Laymon CM, Maillard P, Wilson JD, Chen CL, Crainiceanu CM, "
    "DeCarli CS, Hwang SJ, Tudorascu DL",
    year=2023,
    venue="Medical Image Analysis 89, 102926",
    doi="10.1016/j.media.2023.102926",
    key="torbati2023mispel",
)

ZHANG_2001 = Reference(
    title="Segmentation of brain MR images through a hidden Markov random field model and the "
    "expectation-maximization algorithm",
    authors="Zhang, Y. and Brady, M. and Smith, S.",
    year=2001,
    venue="IEEE Transactions on Medical Imaging 20(1), 45-57",
    doi="10.1109/42.906424",
    key="zhang2001hmrf",
)

# What harmobench itself defines: controls and guards.
OWN = Reference(
    title="harmobench: benchmark MRI harmonization methods on matched multi-scanner cohorts",
    authors="The harmobench developers",
    year=2026,
    venue="Software",
    key="harmobench",
)
