"""Where a subject's images stand in the page, for links to them."""

from __future__ import annotations

from collections.abc import Iterable

from harmobench.cohort import bids_labels


def anchors(subjects: Iterable[str]) -> dict[str, str]:
    """Return the id of each subject's images in the page, unlike for unlike subjects.

    >>> anchors(["01", "02"])
    {'01': 'images-01', '02': 'images-02'}
    """
    return {name: f"images-{label}" for name, label in bids_labels(subjects).items()}
