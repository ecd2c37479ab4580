"""Whether the code that runs here is that of the run: a worker may have another installation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import harmobench
from harmobench.errors import StoppedError
from harmobench.job import Job
from harmobench.parts import Part
from harmobench.provenance import differing, environment, kernel_digest
from harmobench.registry import plugins

KINDS = ("methods", "metrics", "segmenters", "morphometry")
SHOWN = 3


def refuse_other_code(job: Job) -> None:
    """Refuse to work on a run whose keys claim other code than would do it.

    Raises
    ------
    StoppedError
        harmobench, a plugin or a numerical library is another here.
    """
    found = list(_differences(job))
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise StoppedError(
            "expected on every worker the code that the run began with, found "
            f"{', '.join(found[:SHOWN])}{more}: give workers the same installation"
        )


def _differences(job: Job) -> Iterator[str]:
    if kernel_digest() != job.kernel:
        yield f"harmobench {harmobench.__version__} in another state than that of {job.version}"
    for name, then, now in differing(job.environment, environment()):
        yield f"{name} {now} for {then}"
    for part, state in other_parts(job, KINDS):
        yield f"no {part.name}" if state == "absent" else f"another {part.name}"


def other_parts(
    job: Job, kinds: Sequence[str]
) -> Iterator[tuple[Part, Literal["absent", "changed"]]]:
    """Yield plugins of a run that are not those that are installed, images made elsewhere aside."""
    for kind in kinds:
        for part in getattr(job, kind):
            group = "measure_methods" if part.changes == "measures" else kind
            plugin = plugins(group).get(part.name)
            if part.images:
                continue
            if plugin is None or plugin.target != part.target:
                yield part, "absent"
            elif plugin.digest() != part.digest:
                yield part, "changed"
