"""harmobench: benchmark MRI harmonization methods on matched multi-scanner cohorts.

>>> import harmobench as hb
>>> cohort = hb.read_cohort("matched.csv")  # doctest: +SKIP
>>> run = hb.run(cohort, methods=["raw", "ravel"])  # doctest: +SKIP
>>> run.table("HB-T2")  # doctest: +SKIP
>>> run.figure("ssim")  # doctest: +SKIP

What stands in `__all__` is imported when it is first used. Its types are in `__init__.pyi`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "Cohort": "harmobench.api.cohorts",
    "HarmobenchError": "harmobench.errors",
    "Run": "harmobench.api.runs",
    "list_methods": "harmobench.api.installed",
    "list_metrics": "harmobench.api.installed",
    "open_run": "harmobench.api.runs",
    "read_cohort": "harmobench.api.cohorts",
    "run": "harmobench.api.running",
    "simulate": "harmobench.api.cohorts",
}
__all__ = [
    "Cohort",
    "HarmobenchError",
    "Run",
    "__version__",
    "list_methods",
    "list_metrics",
    "open_run",
    "read_cohort",
    "run",
    "simulate",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'harmobench' has no attribute '{name}'")
    found = getattr(importlib.import_module(place), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
