"""Publications that more than one room stands on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harmobench.interface import Finished, Reference

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

# The template of the built-in atlas, ICBM152 (2009a, symmetric), which comes with nilearn.
FONOV_2011 = Reference(
    title="Unbiased average age-appropriate atlases for pediatric studies",
    authors="Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL, "
    "Brain Development Cooperative Group",
    year=2011,
    venue="NeuroImage 54(1), 313-327",
    doi="10.1016/j.neuroimage.2010.07.033",
    key="fonov2011atlases",
)

FONOV_2009 = Reference(
    title="Unbiased nonlinear average age-appropriate brain templates from birth to adulthood",
    authors="Fonov VS, Evans AC, McKinstry RC, Almli CR, Collins DL",
    year=2009,
    venue="NeuroImage 47(Supplement 1), S102",
    doi="10.1016/S1053-8119(09)70884-5",
    key="fonov2009templates",
)

# What harmobench itself defines: controls and guards.
OWN = Reference(
    title="harmobench: benchmark MRI harmonization methods on matched multi-scanner cohorts",
    authors="The harmobench developers",
    year=2026,
    venue="Software",
    key="harmobench",
)

BUILTIN_ATLAS = {"atlas:builtin": FONOV_2011, "atlas:builtin (2009)": FONOV_2009}


def atlas_references(atlas: Mapping[str, Any]) -> dict[str, Reference]:
    """Return what to cite for an atlas, as run.json describes it.

    An atlas of the user's own says in one text whom to cite: it is kept as it is, and year and DOI
    are read from it.

    >>> atlas_references({"name": "own", "reference": "A. Author, 2020, doi:10.1/x."})["atlas:own"]
    Reference(title='A. Author, 2020', authors='', year=2020, venue='', doi='10.1/x', key='')
    """
    if atlas.get("source") == "builtin":
        return dict(BUILTIN_ATLAS)
    text = " ".join(str(atlas.get("reference") or "").split())
    if not text:
        return {}
    doi = re.search(r"\b10\.\d+/[^\s,;]+", text)
    year = re.search(r"\b(1[89]|20)\d\d\b", text[: doi.start()] if doi else text)
    title = (
        re.sub(r"[\s,;(]*(https?://)?(dx\.)?(doi)?(\.org/)?:?\s*$", "", text[: doi.start()])
        if doi
        else text
    )
    return {
        f"atlas:{atlas.get('name', '')}": Reference(
            title=title or text,
            authors="",
            year=int(year[0]) if year else 0,
            doi=doi[0].rstrip(".)]") if doi else "",
        )
    }


def cited(run: Finished) -> dict[str, Reference]:
    """Return what to cite for a run: metrics and tools that gave a score, and all else that ran."""
    return {key: ref for key, ref in run.references.items() if _used(run, key)}


def _used(run: Finished, key: str) -> bool:
    kind, _, name = key.partition(":")
    given = run.scores[run.scores["status"] == "ok"]
    if kind == "metric":
        return bool((given["metric"] == name).any())
    if kind not in ("segmenter", "morphometry"):
        return True
    names = [name]
    if kind == "segmenter":  # a tool that measures regions may measure them in its maps
        names += [tool for tool, part in _parts(run) if _parameter(part, "segmenter") == name]
    return bool(given["tool"].isin(names).any())


def _parts(run: Finished) -> list[tuple[str, Any]]:
    tools = run.settings.get("morphometry")
    return list(tools.items()) if isinstance(tools, Mapping) else []


def _parameter(part: Mapping[str, Any], name: str) -> Any:
    return (part.get("parameters") or {}).get(name)
