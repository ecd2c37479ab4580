"""Images and tissue maps of a run as BIDS derivatives: a dataset for each method."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from harmobench.atlas import BUILTIN
from harmobench.bids.describe import Dataset, describe, sources_of, write_people
from harmobench.cohort import TISSUES, Scan, bids_labels
from harmobench.job import Job
from harmobench.plan import Plan
from harmobench.store import Store, link, read_json, write_json

HARMONIZED, SEGMENTED = "harmonized", "segmentations"
NATIVE = "the native T1 image of the same scan"
README = """{what}, written by harmobench {version} for {scans} scans of {subjects} subjects on
{scanners} scanners. The session is the scanner; `sub-*/sub-*_sessions.tsv` has its name in full.

    harmobench cohort from-bids FOLDER

makes a manifest of this folder."""


class Run(Protocol):
    """What is read of a run: see `harmobench.finish.Run`."""

    @property
    def folder(self) -> Path:
        """The run folder."""

    @property
    def job(self) -> Job:
        """What was asked for."""

    @property
    def plan(self) -> Plan:
        """Its tasks."""

    @property
    def store(self) -> Store:
        """Their results."""


def space_label(name: str) -> str:
    """Return the name of an atlas as a BIDS label; the built-in one has a standard name there."""
    if name == BUILTIN:
        return "MNI152NLin2009aSym"
    return re.sub(r"[^A-Za-z0-9]", "", name) or "atlas"


def publish_images(run: Run) -> Iterator[Path]:
    """Link harmonized images into a dataset for each method; yield every file."""
    by_method: dict[str, list[tuple[Scan, int, str]]] = {}
    for (method, repeat, subject, scanner), key in run.plan.images.items():
        scan = run.job.cohort.scan(subject, scanner)
        if scan is not None and run.store.has(key):
            by_method.setdefault(method, []).append((scan, repeat, key))
    labels = bids_labels(part.name for part in run.job.methods)
    masks: dict[Path, Path] = {}
    for method, made in by_method.items():
        yield from _publish_method(run, method, labels[method], made, masks)
    if by_method:
        yield from _outer(run, sorted(by_method))


def _publish_method(
    run: Run,
    method: str,
    label: str,
    made: Sequence[tuple[Scan, int, str]],
    masks: dict[Path, Path],
) -> Iterator[Path]:
    folder = run.folder / HARMONIZED / method
    cohort = run.job.cohort
    subjects, scanners = bids_labels(cohort.subjects), bids_labels(cohort.scanners)
    scans = list(dict.fromkeys(scan for scan, _, _ in made))
    space = space_label(run.job.atlas["name"])
    stems = {scan: _stem(folder, subjects[scan.subject], scanners[scan.scanner]) for scan in scans}
    brains = dict(_publish_masks(folder, space, stems, masks))
    base = Path(run.job.source).parent
    sources, links = sources_of([scan.image for scan in scans], folder, base)
    for scan, repeat, key in made:
        again = f"R{repeat}" if repeat else ""
        stem = f"{stems[scan]}_space-{space}_desc-{label}{again}_T1w"
        stored = run.store.path(key)
        link(stored / "image.nii.gz", Path(f"{stem}.nii.gz"))
        known = read_json(stored / "image.json")
        sidecar = _sidecar(known, sources[scan.image], run, brains.get(scan), folder)
        write_json(Path(f"{stem}.json"), sidecar)
        yield from (Path(f"{stem}.nii.gz"), Path(f"{stem}.json"))
    yield from brains.values()
    for brain in set(brains.values()):
        yield _describe_mask(brain)
    yield from describe(_dataset(run, folder, f"T1 images harmonized by {method}", links))
    yield from write_people(folder, scans, subjects, scanners)


def _stem(folder: Path, subject: str, scanner: str) -> Path:
    sub, ses = f"sub-{subject}", f"ses-{scanner}"
    return folder / sub / ses / "anat" / f"{sub}_{ses}"


def _sidecar(
    known: Mapping[str, Any], source: str, run: Run, brain: Path | None, folder: Path
) -> dict[str, Any]:
    method = str(known.get("method", ""))
    return {
        **known,
        "Description": f"RAW harmonized by {method}; {known.get('background', 0)} outside the mask",
        "SkullStripped": True,
        "Sources": [source],
        "SpatialReference": f"bids::{brain.relative_to(folder).as_posix()}"
        if brain is not None
        else run.job.atlas["space"],
    }


def _publish_masks(
    folder: Path, space: str, stems: Mapping[Scan, Path], masks: dict[Path, Path]
) -> Iterator[tuple[Scan, Path]]:
    """Write each mask once, and link it from there: the shared one as the template's."""
    own = {scan: scan.mask for scan in stems if scan.mask is not None and scan.mask.is_file()}
    shared = len(own) == len(stems) and len(set(own.values())) == 1
    for scan, mask in own.items():
        suffix = ".nii.gz" if mask.name.endswith(".gz") else ".nii"
        place = Path(f"{stems[scan]}_space-{space}_desc-brain_mask{suffix}")
        if shared:
            place = folder / f"tpl-{space}" / f"tpl-{space}_desc-brain_mask{suffix}"
        if mask in masks:
            link(masks[mask], place)
        else:
            _copy(mask, place)
            masks[mask] = place
        yield scan, place


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)  # never a link to what is the user's
    target.chmod(0o444)


def _describe_mask(mask: Path) -> Path:
    sidecar = mask.with_name(mask.name.partition(".")[0] + ".json")
    write_json(sidecar, {"Description": "Brain mask that the manifest named", "Type": "Brain"})
    return sidecar


def _dataset(run: Run, folder: Path, what: str, links: Mapping[str, str]) -> Dataset:
    cohort = run.job.cohort
    readme = README.format(
        what=what,
        version=run.job.version,
        scans=len(cohort),
        subjects=len(cohort.subjects),
        scanners=len(cohort.scanners),
    )
    return Dataset(folder, what, readme, links, {})


def _outer(run: Run, methods: Sequence[str]) -> Iterator[Path]:
    """Describe the folder around the datasets: itself one that has nothing of its own."""
    folder = run.folder / HARMONIZED
    text = "One BIDS dataset for each method: " + ", ".join(methods)
    text += (
        ". Each validates by itself, has its own participants and describes how it was made. "
        "The images are the same scans in each; only their intensities differ."
    )
    ignored = tuple(f"/{method}" for method in methods)
    yield from describe(Dataset(folder, "harmonized images", text, {}, {}, ignored))


def publish_tissues(run: Run) -> Iterator[Path]:
    """Link tissue maps into a dataset for each segmenter and method; yield every file."""
    cohort = run.job.cohort
    subjects, scanners = bids_labels(cohort.subjects), bids_labels(cohort.scanners)
    found: dict[tuple[str, str], list[tuple[Scan, str]]] = {}
    spaces = {"template": space_label(run.job.atlas["name"])}
    for task in run.plan.of_kind("segment"):
        args = task.args
        tool, method = args["tool"], args["method"]
        folder = run.folder / SEGMENTED / tool / method
        stem = _stem(folder, subjects[args["subject"]], scanners[args["scanner"]])
        again = f"_desc-R{args['repeat']}" if args["repeat"] else ""
        for name in TISSUES:
            space = spaces.get(args["space"], args["space"])
            label = f"space-{space}_label-{name.upper()}{again}"
            path = Path(f"{stem}_{label}_probseg.nii.gz")
            link(run.store.path(task.key) / f"{name}.nii.gz", path)
            yield path
        scan = cohort.scan(args["subject"], args["scanner"])
        if scan is not None:
            found.setdefault((tool, method), []).append((scan, args["space"]))
    for (tool, method), made in found.items():
        folder = run.folder / SEGMENTED / tool / method
        references = {
            spaces.get(space, space): run.job.atlas["space"] if space in spaces else NATIVE
            for space in sorted({space for _, space in made})
        }
        yield from _describe_tissues(run, folder, (tool, method), references)
        scans = list(dict.fromkeys(scan for scan, _ in made))
        yield from write_people(folder, scans, subjects, scanners)


def _describe_tissues(
    run: Run, folder: Path, names: tuple[str, str], references: Mapping[str, str]
) -> Iterator[Path]:
    tool, method = names
    what = f"Tissue probabilities by {tool}, of images harmonized by {method}"
    yield from describe(_dataset(run, folder, what, {}))
    for name, (space, reference) in product(TISSUES, references.items()):
        path = folder / f"space-{space}_label-{name.upper()}_probseg.json"
        about = f"Probability of {name.upper()} by {tool}, 0 to 1"
        write_json(path, {"Description": about, "SpatialReference": reference})
        yield path
