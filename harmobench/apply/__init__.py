"""Harmonize scans outside the cohort with a method of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from harmobench.apply import model
from harmobench.apply.checks import check_scan, read_scans
from harmobench.apply.request import Request, check_request, final_job
from harmobench.apply.scans import harmonize
from harmobench.cluster.where import read_where
from harmobench.folder import locked, refuse_system_errors
from harmobench.watcher import Watcher

__all__ = ["Applied", "Request", "apply"]


class Applied(NamedTuple):
    """What came of it: how many images were written, and how many scans failed.

    `model` is the folder of the final model of so many `subjects`, `trained` whether it was trained
    now; it is None for a method that learns nothing.
    """

    model: Path | None
    trained: bool
    subjects: int
    written: int
    failed: int


def apply(request: Request, watcher: Watcher) -> Applied:
    """Harmonize one image, or every image of a manifest, with a method of a run.

    The first time, the method is fitted on all subjects of the run's cohort; but not before the new
    scans are known to be like the cohort's.

    Raises
    ------
    HarmobenchError
        It was refused, or the method could not be trained or applied: no image was written.
    """
    with refuse_system_errors():
        check_request(request)
        job = final_job(request)
        check_scan(request, job)
    final = model.recall(request, job)
    trained = False
    if final is not None:
        scans = read_scans(request, job, final, watcher)
    else:
        job = model.for_site(job, read_where(request.where), watcher)
        with locked(request.run):
            final, left = model.prepare(request, job, watcher)
            scans = read_scans(request, job, final, watcher)
            trained = final.fit in left
            if trained:
                model.train(request, job, final, left, watcher)
            model.keep(request, job, final)
    failed = harmonize(request, job, final, scans, watcher)
    folder = model.model_folder(request) if final.fit else None
    return Applied(folder, trained, final.subjects, len(scans) - failed, failed)
