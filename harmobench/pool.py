"""One function over many files, in a few threads: reading, unpacking and hashing run beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 4  # each holds an image or two in memory


def each(do: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the function's results in the order of the items.

    Where the caller stops early, as at Ctrl-C, what has not begun is not begun.
    """
    pool = ThreadPoolExecutor(min(MOST_THREADS, _cores()))
    try:
        yield from pool.map(do, items)
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
