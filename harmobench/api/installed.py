"""What is installed, by name."""

from __future__ import annotations

from harmobench.api.shown import Names
from harmobench.registry import plugins


def list_methods() -> Names:
    """Return every installed method, and what it is.

    >>> list_methods()["raw"]
    'Images as the cohort has them: registered, N4-corrected, masked, scaled by their mean.'
    """
    return about("methods", "measure_methods")


def list_metrics() -> Names:
    """Return every installed metric, and what it measures."""
    return about("metrics")


def about(*kinds: str) -> Names:
    """Return the first line of the documentation of each plugin of these kinds."""
    return Names(
        {name: plugin.summary() for kind in kinds for name, plugin in plugins(kind).items()}
    )
