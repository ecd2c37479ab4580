"""`harmobench.run(...)`: a run from Python, with the names of the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from harmobench.api.cohorts import manifest_of
from harmobench.api.given import command_of, path_of, plain_options
from harmobench.api.runs import Run
from harmobench.api.watch import watcher_here
from harmobench.cohort import Cohort
from harmobench.options import read_options

Place = str | PathLike[str]
Names = str | Iterable[str]
Pairs = str | Iterable[str] | Mapping[str, Any]


def run(
    cohort: Cohort | Place,
    methods: Names | None = None,
    *,
    out: Place | None = None,
    atlas: Place | None = None,
    preset: str | None = None,
    segmenters: Names | None = None,
    metrics: Names | None = None,
    folds: int | None = None,
    seed: int | None = None,
    repeats: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    memory: str | None = None,
    scheduler: str | None = None,
    slurm: str | Mapping[str, Any] | None = None,
    cluster: Place | None = None,
    target: str | None = None,
    group: str | tuple[str, str, str] | None = None,
    covariates: Names | None = None,
    set: Pairs | None = None,
    config: Place | None = None,
    measures: Pairs | None = None,
    biomarkers: Place | None = None,
    precomputed: Pairs | None = None,
    margin: Pairs | None = None,
    controls: str | bool | None = None,
    time_limit: str | None = None,
    quiet: bool = False,
) -> Run:
    """Run every method on a matched cohort, score all by the same suite, and write a report.

    What each option means, and what it is where it is not given, says `harmobench run --help`.
    The same call goes on where an earlier one stopped. Processes are started as the command line
    does; a script needs no `if __name__ == "__main__"` for them.

    Parameters
    ----------
    cohort
        A manifest, or what `harmobench.read_cohort` gave. Of a selection of it, the manifest is
        written beside `out`.
    methods, metrics, segmenters, covariates
        A list of names, or text with commas; "all" and "none" as on the command line.
    out
        Run folder; else one named after the manifest, in the working directory.
    set
        Parameters: {"ravel": {"k": 2}}, or texts "ravel.k=2".
    measures, precomputed, margin
        {"freesurfer": "SUBJECTS_DIR"}, {"lab": "lab/{subject}_{scanner}.nii.gz"}, {"ssim": 0.01},
        or texts with "=".
    group
        ("group", "patient", "control"), or text "group:patient,control".
    slurm
        {"queue": "short", "jobs": "1:50"}, or text "queue=short,jobs=1:50".
    config
        These options in a TOML file; what is given here goes before.
    quiet
        Show failures alone.

    Returns
    -------
    Run
        The finished run. Scores that failed are no error: see its `failures`.

    Raises
    ------
    HarmobenchError
        It was refused, and nothing was written; its text says what to do.
    StoppedError
        The system stopped it half-way, by a full disk say.
    """
    given = {k: v for k, v in locals().items() if k not in ("cohort", "config", "quiet")}
    typed = plain_options(given)
    if isinstance(cohort, Cohort):
        typed["cohort"] = manifest_of(cohort, typed.get("out"))
    else:
        typed["cohort"] = path_of("cohort", cohort)
    options = read_options(typed, path_of("config", config) if config is not None else None)
    options = replace(options, out=options.out.absolute())  # a notebook may change its folder
    return Run(_run(options, quiet))


def _run(options: Any, quiet: bool) -> Path:
    from harmobench.benchmark import run as run_all

    with watcher_here(quiet) as watcher, main_unseen():
        return run_all(options, command_of(options), watcher).folder


@contextmanager
def main_unseen() -> Iterator[None]:
    """Keep processes that start in this block from executing the user's script again.

    A spawned process imports the file of `__main__`, to find what was defined there; a worker needs
    nothing of it, and a script without a guard would start a run in each of them.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {n: x for n, x in vars(main).items() if n in ("__file__", "__spec__")}
    vars(main).pop("__file__", None)
    vars(main)["__spec__"] = None
    try:
        yield
    finally:
        vars(main).update(hidden)
