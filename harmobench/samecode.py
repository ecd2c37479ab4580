"""Whether the code that runs here is that of the run: a worker may have another installation."""

from __future__ import annotations

from collections.abc import Iterator

import harmobench
from harmobench.errors import StoppedError
from harmobench.job import Job
from harmobench.provenance import environment, kernel_digest
from harmobench.registry import Plugin

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
    here = environment()
    for name in sorted({*here, *job.environment}):
        then, now = (versions.get(name, "none") for versions in (job.environment, here))
        if then != now:
            yield f"{name} {now} for {then}"
    for kind in KINDS:
        for part in getattr(job, kind):
            if part.images:  # made elsewhere
                continue
            plugin = Plugin(part.name, kind, part.target, part.distribution)
            if plugin.digest() != part.digest:
                yield f"another {part.name}"
