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
