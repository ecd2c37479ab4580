"""A travelling-subjects cohort with known truth, written as a folder with a matched.csv.

Every subject lies in every scanner. Random numbers come from streams named by (seed, what,
subject, scanner), so that a scan does not depend on how many others are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from harmobench.cohort import Progress, no_progress
from harmobench.errors import SettingsError
from harmobench.imaging.volume import write_image
from harmobench.imaging.warp import write_field
from harmobench.phantom.anatomy import Anatomy, make_anatomy
from harmobench.phantom.declared import parameters
from harmobench.phantom.deformation import (
    DEFORMATION_RMS,
    DEFORMATION_SIGMA,
    Deformation,
    exponential,
    random_velocity,
)
from harmobench.phantom.folder import refuse_full, stream, write_manifest
from harmobench.phantom.real import simulate_from
from harmobench.phantom.scan import (
    NativeScan,
    bring_to_template,
    draw_position,
    reference_image,
    scan_native,
)
from harmobench.phantom.scanners import Scanner, choose_scanners
from harmobench.phantom.subject import GROUPS, Subject, make_subject
from harmobench.phantom.template import base_maps, template
from harmobench.phantom.truth import (
    STEPS,
    Truth,
    effects,
    scanner_means,
    true_scan,
    write_truth,
)

COLUMNS = (
    *("subject", "scanner", "image", "mask", "group", "age", "sex", "native_image", "to_native"),
    *("truth_csf", "truth_gm", "truth_wm", "truth_labels", "truth_to_native", "truth_image"),
    "simulated",
)
MASK = "mask.nii.gz"


@dataclass(frozen=True)
class Job:
    """One subject to simulate: all that a worker needs."""

    out: Path
    number: int
    scanners: tuple[Scanner, ...]
    resolution: float
    seed: int


@dataclass(frozen=True)
class Done:
    """Of one subject: the manifest's rows, true volumes, and RMS of the residual warps, mm."""

    rows: list[dict[str, str]]
    truths: list[Truth]
    residuals: dict[str, float]
    subject: Subject


def simulate(
    out: Path,
    subjects: int,
    scanners: int,
    resolution: float,
    seed: int,
    progress: Progress = no_progress,
    workers: int = 1,
) -> Path:
    """Simulate a matched cohort with known truth.

    Parameters
    ----------
    out
        Folder to make; it must be empty or not exist.
    subjects
        At least 2.
    scanners
        2 to 7, in the order of `scanners.SCANNERS`.
    resolution
        Voxel size of all images, mm: 1, 2, ... 8, as nilearn makes the template.
    seed
        Everything follows from it: two calls write the same bytes.
    progress
        Called with (scans done, scans in all, what).
    workers
        Processes; the result does not depend on it.

    Returns
    -------
    Path
        out/matched.csv. Beside it: `truth.csv`, `truth.json` and the images, as `COLUMNS` names
        them. `to_native` is the inverse of the registration that made RAW, residual included;
        `truth_to_native` is the deformation itself.

    Raises
    ------
    SettingsError
        Numbers that cannot be used, or a folder that is not empty.
    """
    chosen = check_settings(out, subjects, scanners, resolution, seed, workers)
    grid, brain = template(resolution)
    out.mkdir(parents=True, exist_ok=True)
    write_image(out / MASK, brain, grid)
    jobs = [Job(out, n, chosen, resolution, seed) for n in range(subjects)]
    done = []
    for finished in _run(jobs, workers):
        done.append(finished)
        name = f"simulated subject {finished.subject.name}"
        progress(len(done) * scanners, subjects * scanners, name)
    _write_tables(out, done)
    residuals = {d.subject.name: d.residuals for d in done}
    declared = parameters(seed, resolution, chosen, [d.subject for d in done], residuals)
    text = json.dumps(declared, indent=2, sort_keys=True)
    (out / "truth.json").write_text(text + "\n", encoding="utf-8")
    return write_manifest(out, [row for d in done for row in d.rows], COLUMNS)


def check_settings(
    out: Path, subjects: int, scanners: int, resolution: float, seed: int, workers: int
) -> tuple[Scanner, ...]:
    """Refuse settings that cannot be used, before anything is written."""
    chosen = choose_scanners(scanners)
    if subjects < 2:
        raise SettingsError(f"expected at least 2 subjects, found {subjects}: a cohort has several")
    if not (1.0 <= resolution <= 8.0 and float(resolution).is_integer()):
        raise SettingsError(f"expected a resolution of 1, 2, ... 8 mm, found {resolution:g} mm")
    if seed < 0:
        raise SettingsError(f"expected a seed of 0 or more, found {seed}")
    if workers < 1:
        raise SettingsError(f"expected at least 1 worker, found {workers}")
    refuse_full(out)
    return chosen


def _run(jobs: Sequence[Job], workers: int) -> Iterator[Done]:
    if workers == 1:
        yield from map(simulate_subject, jobs)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(simulate_subject, jobs)


def simulate_subject(job: Job) -> Done:
    """Simulate and write all scans of one subject."""
    person, body = draw_subject(job.number, job.seed)
    shape = draw_deformation(job.number, job.seed)
    grid, brain = template(job.resolution)
    write_image(job.out / _truth_image(person), reference_image(body, grid, brain), grid)
    done = Done([], [], {}, person)
    for index, scanner in enumerate(job.scanners):
        position = draw_position(
            *shape, person.size, stream(job.seed, "position", job.number, index)
        )
        own = stream(job.seed, "scan", job.number, index)
        shared = stream(job.seed, "bias", index)
        scan = scan_native(body, position, scanner, job.resolution, own, shared)
        raw = bring_to_template(scan, position, grid, brain)
        row = _row(person, scanner, job.seed)
        write_image(job.out / row["image"], raw, grid)
        done.rows.append(row)
        done.residuals[scanner.name] = round(scan.residual_rms(), 4)
        done.truths.extend(_write_scan(job.out, row, scan))
    return done


def draw_subject(number: int, seed: int) -> tuple[Subject, Anatomy]:
    """Return subject `number` (from 0) and its anatomy."""
    person = make_subject(number, stream(seed, "subject", number))
    body = make_anatomy(person, base_maps(), stream(seed, "anatomy", number))
    return person, body


def draw_deformation(number: int, seed: int) -> tuple[Deformation, Deformation]:
    """Return the deformation of subject `number` (from 0) and, nearly, its inverse."""
    rng = stream(seed, "deformation", number)
    velocity = random_velocity(rng, DEFORMATION_SIGMA, DEFORMATION_RMS)
    return exponential(velocity), exponential(-velocity)


def _truth_image(person: Subject) -> str:
    return f"truth/sub-{person.name}_desc-scannerfree_T1w.nii.gz"


def _row(person: Subject, scanner: Scanner, seed: int) -> dict[str, str]:
    name = f"sub-{person.name}_ses-{scanner.name}"
    row = {
        "subject": person.name,
        "scanner": scanner.name,
        "image": f"raw/{name}_desc-raw_T1w.nii.gz",
        "mask": MASK,
        "group": person.group,
        "age": f"{person.age:g}",
        "sex": person.sex,
        "native_image": f"native/{name}_T1w.nii.gz",
        "to_native": f"native/{name}_to_native.nii.gz",
        "truth_labels": f"truth/{name}_labels.nii.gz",
        "truth_to_native": f"truth/{name}_to_native.nii.gz",
        "truth_image": _truth_image(person),
        "simulated": f"phantom of harmobench simulate, seed {seed}",
    }
    return row | {f"truth_{t}": f"truth/{name}_{t}.nii.gz" for t in ("csf", "gm", "wm")}


def _write_scan(out: Path, row: Mapping[str, str], scan: NativeScan) -> list[Truth]:
    write_image(out / row["native_image"], scan.image, scan.grid)
    write_field(out / row["to_native"], scan.registered, scan.grid)
    write_field(out / row["truth_to_native"], scan.to_template, scan.grid)
    who = (row["subject"], row["scanner"])
    truth = true_scan(scan.tissues, scan.points, scan.grid.voxel_ml, *who)
    for name, steps in truth.fractions.items():
        write_image(out / row[f"truth_{name}"], steps, scan.grid, scale=1 / STEPS)
    write_image(out / row["truth_labels"], truth.labels, scan.grid)
    return truth.volumes


def _write_tables(out: Path, done: Sequence[Done]) -> None:
    scans = [truth for d in done for truth in d.truths]
    rows = scans + scanner_means(scans)
    groups = {d.subject.name: d.subject.group for d in done}
    write_truth(out / "truth.csv", rows + effects(rows, groups, GROUPS))


__all__ = [
    "COLUMNS",
    "check_settings",
    "draw_deformation",
    "draw_subject",
    "simulate",
    "simulate_from",
]
