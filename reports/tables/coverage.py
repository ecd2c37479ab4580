"""How often each kind of interval held the truth in simulated cohorts: for the notes of tables.

The figures are those of docs/calibration.md, which `benchmarks/calibration.py` prints: 10,000
cohorts of 18 subjects on 4 scanners. A test holds them to that page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Coverage(NamedTuple):
    """Share of 95% intervals that held the truth, %.

    Attributes
    ----------
    estimand
        Its row in docs/calibration.md, and its name in notes.
    normal
        Where subjects and noise are normal.
    uneven
        Where subjects are skewed and differ in noise; None where that was not simulated.
    """

    estimand: str
    normal: float
    uneven: float | None = None


COVERAGE = {
    "difference": Coverage("difference of two methods", 95.2, 94.7),
    "mean": Coverage("mean", 95.0, 93.2),
    "bias": Coverage("bias", 94.7, 94.1),
    "rmsd": Coverage("RMSD", 94.8, 91.3),
    "cov": Coverage("within-subject CoV", 94.3, 92.1),
    "icc": Coverage("ICC, these scanners", 99.0, 94.4),
    "component_scanner": Coverage("component, scanner", 95.3, 95.5),
    "component_subject": Coverage("component, subject", 94.1, 87.6),
    "component_residual": Coverage("component, residual", 95.3, 91.0),
    "share_scanner": Coverage("share, scanner", 95.8, 92.5),
    "share_subject": Coverage("share, subject", 94.4, 90.3),
    "share_residual": Coverage("share, residual", 94.4, 92.5),
    "slope": Coverage("slope on RAW", 94.2, 93.7),
    "cohen_d": Coverage("Cohen's d", 96.3, 95.2),
    "hedges_g": Coverage("Hedges' g", 96.3, 95.5),
    "cohen_d_change": Coverage("change of Cohen's d", 95.7, 96.5),
    "individuality": Coverage("individuality", 95.8),
    "sd_seed": Coverage("SD of seed, 3 repeats", 95.0),
    "sd_subject": Coverage("SD of subject, 3 repeats", 94.9),
    "sd_residual": Coverage("SD of residual, 3 repeats", 94.8),
}


def coverage_note(aggregates: Iterable[str]) -> str:
    """Say how often the intervals of these aggregates held the truth when that was measured.

    >>> coverage_note(["slope", "unheard of"])
    'Measured coverage, % (uneven subjects): slope on RAW 94.2 (93.7); see docs/calibration.md.'
    """
    known = [COVERAGE[name] for name in dict.fromkeys(aggregates) if name in COVERAGE]
    if not known:
        return ""
    said = "; ".join(f"{each.estimand} {_percent(each)}" for each in known)
    return f"Measured coverage, % (uneven subjects): {said}; see docs/calibration.md."


def _percent(each: Coverage) -> str:
    return f"{each.normal:.1f}" + ("" if each.uneven is None else f" ({each.uneven:.1f})")
