"""What a worker does: one function a kind of task, each from stored folders to a new folder."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.atlas import bring_atlas
from harmobench.cohort import TISSUES, Measure, Scan, Segmentation, place_of
from harmobench.errors import MeasurementError, MethodError, PluginError
from harmobench.imaging.canonical import canonical
from harmobench.imaging.mosaics import write_mosaics
from harmobench.imaging.slices import picture_of
from harmobench.imaging.volume import (
    BoolArray,
    FloatArray,
    Grid,
    at_least,
    read_grid,
    read_labels,
    read_voxels,
    write_image,
)
from harmobench.imaging.warp import carry, field_indices, read_field
from harmobench.interface import Cohort, Source
from harmobench.job import Job, read_job
from harmobench.measure_tasks import KINDS as MEASURE_KINDS
from harmobench.originals import Originals
from harmobench.parts import Part
from harmobench.place import atlas_digest, read_atlas_source
from harmobench.rows import checked_rows
from harmobench.samecode import refuse_other_code
from harmobench.store import Store, read_json, write_json
from harmobench.task import Task
from harmobench.work import Work, declared_by, load_fitted, scanners_of, showing

PROBABILITY_STEPS = 250  # maps are stored in steps of 1/250, rounded down, so that .8 stays .8
TISSUE_THRESHOLD = 0.8
SMALLEST_SHARE = 0.9  # of the brain that must arrive in native space
BLOCK = 4  # voxels


def do(run_id: str, run: Path, task: Task, folder: Path) -> None:
    """Do one task of a run into a folder: the job is in the run's run.json."""
    job = _own_job(run, run_id)
    originals = Originals(job.contents)
    KINDS[task.kind](Work(job, Store(run / "store"), task, folder, originals))
    originals.check()


def _own_job(run: Path, run_id: str) -> Job:
    """Read a run's job, which this process must be able to do as its keys claim."""
    job = read_job(run, run_id)
    if run_id not in _same_code:
        refuse_other_code(job)
        _same_code.add(run_id)
    return job


_same_code: set[str] = set()  # runs whose code is that of this process


def space(work: Work) -> None:
    """Bring the atlas to the cohort's grid and intersect all brain masks."""
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        own = read_atlas_source(work.job.atlas["source"], Path(scratch))
        if atlas_digest(own) != work.job.atlas["digest"]:
            raise MeasurementError(
                "expected the atlas that the run began with, found other files: it changed while "
                "the run was going on; give the same command again"
            )
        cohort = work.job.cohort
        grid = cohort.scans[0].grid
        atlas = bring_atlas(own, grid, work.folder / "atlas")
    brain = atlas.brain().copy()
    for path in sorted({scan.mask for scan in cohort.scans if scan.mask is not None}):
        brain &= read_voxels(work.originals.file(path)) > 0
    write_image(work.folder / "brain.nii.gz", brain, grid)


def image(work: Work) -> None:
    """Harmonize one scan and hold the method to its contract."""
    subject, scanner = work.args["subject"], work.args["scanner"]
    part = work.job.part("methods", work.args["method"])
    scan = work.shown(subject, scanner, work.job.columns_of(part))
    scan = scan.lying_on(work.scan(subject, scanner).grid)
    brain = scan.brain()
    if part.images:
        path = Path(part.images[place_of(subject, scanner)])
        made = read_voxels(work.originals.file(path, work.args["content"])) * brain
    elif part.name == "raw":
        work.originals.file(scan.image)
        made = _transformed(part.build(), scan.with_voxels(scan.voxels() * brain), part)
    else:
        own = work.need("raw") / "image.nii.gz"
        scan = replace(scan, image=own, inputs=_inputs(work), others=_others(work))
        method = part.build() if part.individual else load_fitted(part, work.need("fit") / "model")
        made = _transformed(method, scan, part)
    if made.dtype.kind not in "iufb":
        raise PluginError(f"method '{part.name}' returned voxels of type {made.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as inf
        made = made.astype(np.float32)
    background = check_image(made, brain, part.name)
    write_image(work.folder / "image.nii.gz", made, scan.grid)
    write_json(work.folder / "image.json", {"background": background, "method": part.name})


def _inputs(work: Work) -> dict[str, Path]:
    return {name: _input_file(folder) for name, folder in work.roles("input").items()}


def _others(work: Work) -> tuple[Scan, ...]:
    """RAW of the scans that a control declared to look at."""
    columns = work.job.columns_of(work.job.part("methods", work.args["method"]))
    folders = work.roles("other")
    if "everyone" in work.task.needs:
        listed = read_json(work.need("everyone") / "everyone.json")
        folders = {place_of(*scan): work.store.path(key) for *scan, key in listed}
    found = []
    for place, folder in folders.items():
        subject, scanner = json.loads(place)
        found.append(replace(work.shown(subject, scanner, columns), image=folder / "image.nii.gz"))
    return tuple(found)


def everyone(work: Work) -> None:
    """List where RAW of every scan lies."""
    keys = work.task.needs
    listed = [[*scan, keys[f"raw:{place_of(*scan)}"]] for scan in work.args["order"]]
    write_json(work.folder / "everyone.json", listed)


def _input_file(folder: Path) -> Path:
    tissue = folder / "tissue.nii.gz"
    return tissue if tissue.is_file() else folder / "image.nii.gz"


def _transformed(method: Any, scan: Scan, part: Part) -> FloatArray:
    out = method.transform(scan)
    if not isinstance(out, Scan) or out.memory is None:
        raise PluginError(
            f"method '{part.name}': expected transform to return scan.with_voxels(array), "
            f"found {type(out).__name__}"
        )
    return np.asarray(out.memory)


def check_image(voxels: FloatArray, brain: BoolArray, method: str) -> float:
    """Hold a harmonized image to the contract and return its value outside the brain.

    Raises
    ------
    PluginError
        Another shape, NaN or inf, no contrast in the brain, or several values outside it.
    """
    if voxels.shape != brain.shape:
        raise PluginError(
            f"method '{method}' returned {voxels.shape} voxels, expected {brain.shape}"
        )
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        raise PluginError(f"method '{method}' returned {broken} NaN or inf voxels")
    inside = voxels[brain]
    if inside.min() == inside.max():
        raise PluginError(f"method '{method}' returned one value for the whole brain")
    outside = voxels[~brain]
    if outside.size and outside.min() != outside.max():
        raise PluginError(
            f"method '{method}' returned several values outside the brain mask "
            f"({outside.min():g} to {outside.max():g}), expected one"
        )
    return float(outside[0]) if outside.size else 0.0


def fit(work: Work) -> None:
    """Train a method on one fold, or on all scans, from its pieces where it has some."""
    part = work.job.part("methods", work.args["method"])
    folders = work.roles("piece")
    pieces = [load_fitted(part, folders[str(i)] / "model") for i in range(len(part.pieces))]
    train, validation = _training_scans(work)
    declared = declared_by(work.job, part, train.scanners)
    with work.context(**declared, pieces=tuple(pieces)) as context:
        method = part.build().fit(train, validation, context)
        method.save(work.folder / "model")
    _write_facts(work, method)


def piece(work: Work) -> None:
    """Train one piece of a method."""
    part = work.job.part("methods", work.args["method"])
    train, validation = _training_scans(work)
    with work.context(**declared_by(work.job, part, train.scanners)) as context:
        method = part.piece(work.args["piece"]).build().fit_piece(train, validation, context)
        method.save(work.folder / "model")
    _write_facts(work, method)


def _training_scans(work: Work) -> tuple[Cohort, Cohort | None]:
    validation = work.args["validation"]
    return (
        _cohort(work, "train", work.args["training"]),
        _cohort(work, "validation", validation) if validation else None,
    )


def _write_facts(work: Work, method: Any) -> None:
    facts = {name: work.args[name] for name in ("method", "fold", "repeat", "seed")}
    facts["history"] = list(getattr(method, "history_", []))
    facts["parameters"] = int(getattr(method, "parameters_", -1))
    write_json(work.folder / "fit.json", facts)


def _cohort(work: Work, role: str, subjects: list[str]) -> Cohort:
    raws = work.roles(role)
    part = work.job.part("methods", work.args["method"])
    names, columns = part.needs["inputs"], work.job.columns_of(part)
    scans = []
    for scan in work.job.cohort.select(subjects).scans:
        where = place_of(scan.subject, scan.scanner)
        inputs = {name: _input_file(work.need(f"input:{name}:{where}")) for name in names}
        file = raws[where] / "image.nii.gz"
        own = replace(scan, image=file, mask=work.brain, inputs=inputs)
        scans.append(showing(own, columns))
    return Cohort(tuple(scans), work.job.source)


def tissue(work: Work) -> None:
    """Tissue labels of RAW: the manifest's, else the built-in segmenter's at p >= .8."""
    if "segmentation" in work.task.needs:
        folder = work.need("segmentation")
        maps = {name: read_voxels(folder / f"{name}.nii.gz") for name in TISSUES}
        labels = np.zeros(maps["gm"].shape, dtype=np.uint8)
        for code, name in enumerate(TISSUES, start=1):
            labels[at_least(maps[name], TISSUE_THRESHOLD)] = code
        grid = work.scan(work.args["subject"], work.args["scanner"]).grid
    else:
        scan = work.scan(work.args["subject"], work.args["scanner"])
        path = work.originals.file(Path(scan.values["tissue"]))
        grid = scan.grid
        if not read_grid(path).matches(grid):
            raise MethodError(
                f"column tissue: expected {grid} for {scan}, found {read_grid(path)} in {path}"
            )
        labels = read_labels(path).astype(np.uint8)
    write_image(work.folder / "tissue.nii.gz", labels, grid)


def segment(work: Work) -> None:
    """Segment one image, in template space or carried to native space."""
    part = work.job.part("segmenters", work.args["tool"])
    with work.context(scanners=(work.args["scanner"],)) as context:
        given = _given(work, context.scratch)
        maps = part.build().segment(given, context)
        for name in TISSUES:
            probability = _checked_map(maps, name, given.brain(), part.name)
            steps = np.floor(probability * PROBABILITY_STEPS + 1e-4).astype(np.uint8)
            file = work.folder / f"{name}.nii.gz"
            write_image(file, steps, given.grid, scale=1 / PROBABILITY_STEPS)


def _given(work: Work, scratch: Path) -> Scan:
    """Make the canonical image that segmenters and morphometry tools get, in the task's space."""
    scan = work.scan(work.args["subject"], work.args["scanner"])
    voxels = read_voxels(work.need("image") / "image.nii.gz")
    brain, grid = seen(scan.brain(), read_voxels(work.need("raw") / "image.nii.gz")), scan.grid
    if work.args["space"] == "native":
        field = work.originals.file(Path(scan.values["to_native"]))
        voxels, brain, grid = to_native(voxels, brain, grid, field)
    mask = scratch / "brain.nii.gz"
    write_image(mask, brain, grid)
    own = replace(scan, image=mask, mask=mask).with_voxels(canonical(voxels, brain))
    return showing(own, ())


def seen(brain: BoolArray, raw: FloatArray) -> BoolArray:
    """Brain voxels that a scan has: those where RAW is 0, and their neighbours, were cut off.

    An atlas's mask reaches beyond a brain that was stripped more tightly; there a segmenter would
    take the nothing for a tissue of its own.
    """
    from scipy import ndimage

    missing = brain & (raw == 0)
    reach = np.ones((3, 3, 3), dtype=bool)  # of linear interpolation
    return np.asarray(brain & ~ndimage.binary_dilation(missing, reach))


def to_native(
    voxels: FloatArray, brain: BoolArray, grid: Grid, to_native: Path
) -> tuple[FloatArray, BoolArray, Grid]:
    """Carry a template-space image (linear) and mask (nearest) to native space.

    Every method goes the same way, RAW too (paper, section 2.5). Voxels outside the brain are
    filled from the nearest brain voxel first, so that no background bleeds into the edge.

    Raises
    ------
    MeasurementError
        The brain does not reach the native grid: the field is of another image.
    """
    from scipy import ndimage

    field, native = read_field(to_native)
    nearest = ndimage.distance_transform_edt(~brain, return_distances=False, return_indices=True)
    filled = voxels[tuple(nearest)]
    mask = carry(brain, grid, field, native, "nearest") > 0.5
    share = brain_reached(brain, grid, field, native)
    if share < SMALLEST_SHARE:
        raise MeasurementError(
            f"expected the way back to native space in {to_native.name}, found one that brings "
            f"only {share:.0%} of the brain there: is it of another image, or its grid too small?"
        )
    return carry(filled, grid, field, native) * mask, mask, native


def brain_reached(brain: BoolArray, grid: Grid, field: FloatArray, native: Grid) -> float:
    """Share of the template's brain voxels that some native voxel takes its value from.

    Counted on blocks of at least 4 voxels an edge, and of one and a half native ones, so that a
    coarser native grid, such as one of thick slices, leaves no holes.
    """
    size = max(BLOCK, math.ceil(1.5 * native.voxel_sizes.max() / grid.voxel_sizes.min()))
    index = np.rint(field_indices(field, native, grid)).reshape(3, -1).astype(np.int64)
    shape = np.array(grid.shape)[:, None]
    inside = index[:, ((index >= 0) & (index < shape)).all(axis=0)] // size
    reached = np.zeros([-(-n // size) for n in grid.shape], dtype=bool)
    reached[tuple(inside)] = True
    blocks = np.unique(np.stack(np.nonzero(brain)) // size, axis=1)
    return float(reached[tuple(blocks)].mean()) if blocks.size else 0.0


def _checked_map(maps: Any, name: str, brain: BoolArray, tool: str) -> FloatArray:
    if name not in maps:
        raise MeasurementError(f"segmenter '{tool}' returned no map of {name}")
    probability = np.asarray(maps[name], dtype=np.float32)
    if probability.shape != brain.shape:
        raise MeasurementError(
            f"segmenter '{tool}' returned {probability.shape} voxels, expected {brain.shape}"
        )
    if not np.isfinite(probability).all() or probability.min() < -1e-3 or probability.max() > 1.001:
        raise MeasurementError(f"segmenter '{tool}' returned {name} outside 0 to 1")
    return np.clip(probability, 0, 1) * brain


def regions(work: Work) -> None:
    """Carry the atlas's region labels to where a scan's measures are taken."""
    atlas = work.atlas
    if atlas.regions is None:
        raise MeasurementError(f"expected regions in atlas '{atlas.name}', found none")
    labels, grid = read_labels(atlas.regions), atlas.grid
    if work.args["space"] == "native":
        scan = work.scan(work.args["subject"], work.args["scanner"])
        field, native = read_field(work.originals.file(Path(scan.values["to_native"])))
        labels, grid = np.rint(carry(labels, grid, field, native, "nearest")), native
    write_image(work.folder / "regions.nii.gz", labels.astype(np.int32), grid)


def measure(work: Work) -> None:
    """Measure regions of one scan, or read what was measured before."""
    part = work.job.part("morphometry", work.args["tool"])
    if "files" in work.args:
        contents = work.args["contents"]
        files = {
            role: work.originals.file(Path(text), contents[role])
            for role, text in work.args["files"].items()
        }
        found = list(part.build().measure(Source(files, work.args["row"])))
    else:
        found = _measured(work, part.build())
    _check_measures(found, part)
    write_json(work.folder / "measures.json", [dataclasses.asdict(measure) for measure in found])


def _measured(work: Work, tool: Any) -> list[Measure]:
    with work.context(scanners=(work.args["scanner"],)) as context:
        if "segmentation" not in work.task.needs:
            return list(tool.measure(_given(work, context.scratch), context))
        scan = work.shown(work.args["subject"], work.args["scanner"])
        scan = _segmented(scan, work.need("segmentation"), tool.segmenter, work)
        inputs = {"regions": work.need("regions") / "regions.nii.gz"}
        return list(tool.measure(replace(scan, inputs=inputs), context))


def _check_measures(found: list[Measure], part: Part) -> None:
    """Refuse other structures or units than a tool declared, and numbers that are none."""
    units = {measure.structure: measure.units for measure in found}
    if units != dict(part.structures) or len(units) != len(found):
        raise MeasurementError(
            f"expected from '{part.name}' {_listed(part.structures)}, each once, found "
            f"{_listed(units)}"
        )
    for each in found:
        if not (np.isfinite(each.value) and each.value >= 0):
            raise MeasurementError(
                f"expected a number of at least 0 for {each.structure}, found {each.value:g}"
            )


def _listed(units: Mapping[str, str]) -> str:
    return ", ".join(f"{name} in {unit}" for name, unit in sorted(units.items())) or "nothing"


def picture(work: Work) -> None:
    """Keep what is needed to show a scan without its 3-D image."""
    voxels = read_voxels(work.need("image") / "image.nii.gz")
    brain = np.asarray(read_voxels(work.brain) > 0)
    tissues = {name: work.atlas.tissue(name) for name in ("gm", "wm")}
    kept = picture_of(voxels, brain, tissues, read_grid(work.brain))
    np.savez_compressed(work.folder / "slices.npz", **kept)


def mosaic(work: Work) -> None:
    """Draw a small picture of each scan of a method, all in one grey window."""
    folders = work.roles("picture")
    places = [folders[place_of(*scan)] / "slices.npz" for scan in work.args["order"]]
    write_mosaics(places, work.folder)


def summary(work: Work) -> None:
    """Summarize one scan for a metric."""
    metric = work.job.part("metrics", work.args["metric"]).build()
    names = work.args["subject"], work.args["scanner"]
    with work.context(scanners=names[1:]) as context:
        state = metric.prepare(_read_scan(work, metric, *names, work.need("read")), context)
    np.savez_compressed(work.folder / "state.npz", **(state or {}))


def merge(work: Work) -> None:
    """Merge the summaries of a method's scans."""
    metric = work.job.part("metrics", work.args["metric"]).build()
    folders = dict(sorted(work.roles("state").items()))  # the key knows no order
    scanners = tuple(dict.fromkeys(json.loads(place)[1] for place in folders))
    with work.context(scanners=scanners) as context:
        state = metric.merge(States(tuple(folders.values())), context)
    np.savez_compressed(work.folder / "state.npz", **state)


@dataclass(frozen=True)
class States(Sequence[dict[str, Any]]):
    """Summaries of scans, each read when it is asked for: those of a cohort fill the memory."""

    folders: tuple[Path, ...]

    def __len__(self) -> int:
        """Count them."""
        return len(self.folders)

    def __getitem__(self, place: Any) -> Any:
        """Read one, or give those of a slice, unread."""
        if isinstance(place, slice):
            return States(self.folders[place])
        return _state(self.folders[place])


def _state(folder: Path) -> dict[str, Any]:
    with np.load(folder / "state.npz", allow_pickle=False) as file:
        return dict(file)


def score(work: Work) -> None:
    """Score one subject's scans, or a method's."""
    metric = work.job.part("metrics", work.args["metric"]).build()
    scans, raws = [], {}
    for subject, scanner in work.args["order"]:
        where = place_of(subject, scanner)
        scan = _read_scan(work, metric, subject, scanner, work.need(f"read:{where}"))
        raw = work.need(f"raw:{where}") / "image.nii.gz"
        raws[subject, scanner] = replace(_of_metric(work, metric, subject, scanner), image=raw)
        scans.append(scan)
    state = _state(work.need("state")) if "state" in work.task.needs else None
    more: dict[str, Any] = {"raws": raws, "scanners": scanners_of(scans)}
    if metric.level == "cohort":
        more["folds"] = work.job.folds[work.args["repeat"]]
        more["trained"] = work.job.trained(work.args["method"])
    with work.context(**more) as context:
        found = metric.score(tuple(scans), state, context)
        rows = checked_rows(found, metric, work.args["metric"], scans)
    write_json(work.folder / "rows.json", rows)


def _of_metric(work: Work, metric: Any, subject: str, scanner: str) -> Scan:
    scan = work.shown(subject, scanner, tuple(getattr(metric, "truth", ())))
    for text in scan.values.values():  # a column of truth names a file
        work.originals.file(Path(text))
    return scan


def _read_scan(work: Work, metric: Any, subject: str, scanner: str, folder: Path) -> Scan:
    scan = _of_metric(work, metric, subject, scanner)
    measures = folder / "measures.json"
    if measures.is_file():
        return replace(scan, measures=tuple(Measure(**row) for row in read_json(measures)))
    if (folder / "gm.nii.gz").is_file():
        return _segmented(scan, folder, str(work.args["tool"]), work)
    return replace(scan, image=folder / "image.nii.gz")


def _segmented(scan: Scan, folder: Path, tool: str, work: Work) -> Scan:
    maps = {name: folder / f"{name}.nii.gz" for name in TISSUES}
    return replace(scan, segmentation=Segmentation(tool, str(work.args["space"]), maps))


KINDS: dict[str, Callable[[Work], None]] = {
    **MEASURE_KINDS,
    "space": space,
    "image": image,
    "everyone": everyone,
    "piece": piece,
    "fit": fit,
    "tissue": tissue,
    "segment": segment,
    "regions": regions,
    "measure": measure,
    "picture": picture,
    "mosaic": mosaic,
    "summary": summary,
    "merge": merge,
    "score": score,
}
