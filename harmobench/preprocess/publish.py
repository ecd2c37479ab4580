"""What preprocessing leaves for a person and for a run: BIDS derivatives, manifest, tables."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.atlas import Atlas
from harmobench.bids.describe import Dataset, describe, sources_of, write_people
from harmobench.bids.publish import space_label
from harmobench.cohort import bids_labels
from harmobench.manifest import is_file_column
from harmobench.preprocess.request import MANIFEST, Native, Request
from harmobench.preprocess.steps import QUALITY, Measured
from harmobench.provenance import environment
from harmobench.store import Store, link, read_json, write_json, write_text
from harmobench.task import Task

WHAT = "T1 images registered, bias-corrected, masked and scaled"
README = """RAW, written by harmobench: `matched.csv` lists the images for `harmobench run`, and
`quality.html` shows how well each was registered. The session is the scanner;
`sub-*/sub-*_sessions.tsv` has its name in full. Transforms (`*_xfm`) are displacement fields in mm
in RAS axes; BIDS does not name them yet."""
IGNORED = (
    *("*_xfm.nii.gz", "/atlas", "/store", "/running", "/logs", "/.lock"),
    *("matched.csv", "quality.csv", "quality.html", "failures.csv"),
)
FAR = 3.0  # robust SDs from the median: what is further stands out
# Which way each number is bad, and the smallest distance from the median worth a look.
WATCHED = {
    "correlation": (-1, 0.03),
    "overlap": (-1, 0.02),
    "round_trip": (-1, 0.02),
    "stretch": (1, 0.05),
    "bias": (1, 0.1),
    "folded": (1, 1e-4),
}
LEAST = {"correlation": 0.5, "overlap": 0.95}  # below it a scan stands out whatever the others
WORDS = {
    "correlation": "correlation with the template",
    "overlap": "overlap with the atlas's brain",
    "round_trip": "correlation after the way there and back",
    "stretch": "stretching by the transform",
    "bias": "correction by N4",
    "folded": "folding by the transform",
}


@dataclass(frozen=True)
class Row:
    """One preprocessed scan: its published image, how well it went, and what stands out."""

    subject: str
    scanner: str
    image: Path
    measured: Measured
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """Everything that was published: the manifest, its rows, and (scan, reason) of the failed."""

    manifest: Path
    rows: Sequence[Row]
    failed: Sequence[tuple[str, str]]
    quality: str


def publish(
    request: Request,
    atlas: Atlas,
    scans: Sequence[Native],
    tasks: Mapping[str, Task],
    failed: Mapping[str, str],
) -> Made:
    """Link finished images under BIDS names and write the manifest, quality.csv, failures.csv."""
    folder = request.out.absolute()
    for old in folder.glob("sub-*"):  # links into the store, of an earlier manifest
        shutil.rmtree(old)
    store = Store(folder / "store")
    space = space_label(atlas.name)
    mask = folder / f"tpl-{space}" / f"tpl-{space}_desc-brain_mask.nii.gz"
    link(atlas.mask, mask)
    about = {"Description": f"Brain of the atlas {atlas.name}", "Type": "Brain"}
    write_json(mask.with_name(mask.name.replace(".nii.gz", ".json")), about)
    done = [(n, key) for n, key in zip(scans, tasks, strict=True) if store.has(key)]
    measured = [Measured(**read_json(store.path(key) / "quality.json")) for _, key in done]
    flags = outliers(measured)
    subjects = bids_labels(native.scan.subject for native in scans)
    scanners = bids_labels(native.scan.scanner for native in scans)
    rows, lines = [], []
    natives = [native.scan.image for native, _ in done]
    sources, links = sources_of(natives, folder, request.source.parent)
    for (native, key), found, odd in zip(done, measured, flags, strict=True):
        scan = native.scan
        names = f"sub-{subjects[scan.subject]}", f"ses-{scanners[scan.scanner]}"
        paths = _link(folder, store.path(key), names, space)
        made_of = [sources[scan.image], f"bids::{mask.relative_to(folder)}"]
        _describe(paths["image"], request, native, made_of)
        rows.append(Row(scan.subject, scan.scanner, paths["image"], found, odd))
        lines.append(_line(native, {**paths, "mask": mask}, folder))
    bad = [(tasks[key].label.partition(" ")[2], reason) for key, reason in failed.items()]
    describe(_dataset(request, atlas, folder, links))
    write_people(folder, [native.scan for native, _ in done], subjects, scanners)
    write_text(folder / MANIFEST, _csv(lines))
    write_text(folder / "quality.csv", _csv([_numbers(row) for row in rows]))
    write_text(folder / "failures.csv", _csv([{"scan": s, "reason": r} for s, r in bad]))
    return Made(folder / MANIFEST, rows, bad, request.quality)


def outliers(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Return what stands out of each scan: numbers far on the bad side of the median of all.

    Far is more than 3 robust SDs (1.4826 times the median absolute deviation) and than a least
    distance, below which nobody could see it. A correlation below .5 and an overlap below .95
    always stand out.
    """
    flags: list[list[str]] = [[] for _ in measured]
    for name, (sign, least) in WATCHED.items():
        values = np.array([_number(getattr(each, name)) for each in measured])
        if np.isnan(values).all():
            continue
        middle = np.nanmedian(values)
        far = max(least, FAR * 1.4826 * float(np.nanmedian(np.abs(values - middle))))
        for i, value in enumerate(values):
            if sign * (value - middle) > far or value < LEAST.get(name, -np.inf):
                flags[i].append(f"{WORDS[name]} {value:.3g} (median {middle:.3g})")
    for i, each in enumerate(measured):
        if each.search:
            flags[i].append("the first start went astray: does its header tell the orientation?")
    return [tuple(each) for each in flags]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _link(folder: Path, stored: Path, names: tuple[str, str], space: str) -> dict[str, Path]:
    anat = folder / names[0] / names[1] / "anat"
    stem = "_".join(names)
    files = {
        "image": ("image", f"{stem}_space-{space}_desc-preproc_T1w.nii.gz"),
        "from_native": ("forward", f"{stem}_from-T1w_to-{space}_mode-image_xfm.nii.gz"),
        "to_native": ("inverse", f"{stem}_from-{space}_to-T1w_mode-image_xfm.nii.gz"),
    }
    for source, name in files.values():
        link(stored / f"{source}.nii.gz", anat / name)
    return {role: anat / name for role, (_, name) in files.items()}


def _describe(image: Path, request: Request, native: Native, sources: Sequence[str]) -> None:
    sidecar = image.with_name(image.name.removesuffix(".nii.gz") + ".json")
    write_json(
        sidecar,
        {
            "Description": "SyN to the atlas, N4, brain mask, divided by the mean within it",
            "SkullStripped": True,
            "SpatialReference": sources[-1],
            "Sources": list(sources),
            "InputShowedSkull": native.skull,
            "Quality": {"Name": request.quality, **asdict(QUALITY[request.quality])},
        },
    )


def _line(native: Native, paths: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    scan = native.scan
    kept = {k: v for k, v in scan.values.items() if not is_file_column(k)}
    return {
        "subject": scan.subject,
        "scanner": scan.scanner,
        "image": paths["image"].relative_to(folder),
        "mask": paths["mask"].relative_to(folder),
        "native_image": scan.image.absolute(),
        "to_native": paths["to_native"].relative_to(folder),
        **kept,
    }


def _numbers(row: Row) -> dict[str, Any]:
    numbers = {
        name: "n/a" if value is None else value if isinstance(value, bool) else f"{value:.6g}"
        for name, value in asdict(row.measured).items()
    }
    head = {"subject": row.subject, "scanner": row.scanner}
    return {**head, **numbers, "stands_out": "; ".join(row.flags)}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _dataset(request: Request, atlas: Atlas, folder: Path, links: Mapping[str, str]) -> Dataset:
    more = {
        "Atlas": {"Name": atlas.name, "Space": atlas.space, "Reference": atlas.reference},
        "Quality": request.quality,
        "Environment": environment(),
    }
    return Dataset(folder, WHAT, README, links, more, IGNORED)
