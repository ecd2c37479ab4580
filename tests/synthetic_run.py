"""A finished run made of random numbers, for tests of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.imaging.mosaics import mosaic_file, write_mosaics
from harmobench.imaging.slices import picture_of
from harmobench.imaging.volume import Grid
from harmobench.interface import Design, Finished, Group, Reference
from harmobench.metrics.statistics.paper import Paper
from harmobench.metrics.statistics.rigorous import Rigorous
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    FAILURE_COLUMNS,
    SCORE_COLUMNS,
    table,
)

if TYPE_CHECKING:
    import pandas as pd

AFFINE = np.array([[5, 0, 0, -72.5], [0, 5, 0, -87.5], [0, 0, 5, -72.5], [0, 0, 0, 1]])
SHAPE = (30, 36, 30)
METHODS = ("raw", "whitestripe", "ravel", "ravel-cv", "calamiti", "mispel")
SCANNERS = ("GE", "Philips", "SiemensP", "SiemensT")
BIOMARKERS = {"entorhinal": "mm", "inferior_temporal": "mm", "hippocampus": "ml", "amygdala": "ml"}
CONTROLS = {"oracle": "ceiling", "template": "degenerate", "blur": "degradation"}
BETTER = {
    "ssim": "higher",
    "auroc": "higher",
    "volume": "equal",
    "dice": "higher",
    "biomarker": "equal",
    "slice_consistency": "higher",
    "sharpness": "one",
    "noise": "one",
    "identifiability": "higher",
    "individuality": "one",
}
TRUTH = {"volume_error": "zero", "truth_dice": "higher", "truth_rmse": "lower"}
RANGES = {
    "ssim": (-1.0, 1.0),
    "auroc": (0.0, 1.0),
    "dice": (0.0, 1.0),
    "identifiability": (0.0, 1.0),
}
TRAINED = ("ravel-cv", "calamiti", "mispel")
# what a control keeps of the scanners' effect, of what sets subjects apart, and of edges
KEEPS = {"oracle": (0.02, 1, 0.9), "template": (0, 0.05, 0.6), "blur": (0.5, 0.9, 0.5)}


def finished(
    folder: Path,
    methods: Sequence[str] = METHODS,
    scanners: Sequence[str] = SCANNERS,
    subjects: Sequence[str] = ("01", "02", "03", "04", "05", "06"),
    *,
    biomarkers: bool = True,
    failed: str = "",
    pictures: bool = True,
    tools: Sequence[str] = ("hmrf",),
    controls: Sequence[str] = (),
    resamples: int = 100,
    repeats: int = 1,
    margins: Mapping[str, float] | None = None,
    same: Sequence[str] = (),
    truth: bool = False,
    **settings: Any,
) -> Finished:
    """Return a run whose scanner effect shrinks from method to method; `failed` has no score.

    `controls` are of `CONTROLS`; trained methods are scored `repeats` times; methods named in
    `same` have RAW's scores. `truth`: the phantom's metrics too.
    """
    methods = (*methods, *controls)
    rng = np.random.default_rng(7)
    rows: list[dict[str, object]] = []
    for method, repeat in _trainings(methods, repeats):
        place = methods.index(method)
        effect, keeps, edges = KEEPS.get(method, (1 / (1 + place), 1.0, 1 - 0.02 * place))
        start = len(rows)
        rows += _cohort(rng, method, subjects, keeps, chance=1 / len(subjects))
        for count, subject in enumerate(subjects):
            own = keeps * (1.7 * ((count * 0.618) % 1) - 0.85)
            for scanner in scanners:
                rows += _scan(rng, method, subject, scanner, scanners, effect, own, tools)
                rows += _biomarkers(rng, method, subject, scanner, effect, own, biomarkers)
                rows += _guards(rng, method, subject, scanner, edges)
            for a, b in combinations(scanners, 2):
                rows += _pair(rng, method, subject, a, b, effect, tools)
        rows += _errors(rows[start:]) if truth else []
        for row in rows[start:]:
            row["repeat"] = repeat
    for row in rows:
        if row["method"] == failed:
            row.update(value=None, status="failed", reason="the loss was not finite")
    raws = [row for row in rows if row["method"] == "raw"]
    rows = [row for row in rows if row["method"] not in same]
    rows += [row | {"method": method} for method in same for row in raws]
    group = Group("svd", "high", "low") if biomarkers else None
    design = Design(
        tuple(scanners),
        tuple(subjects),
        {m: CONTROLS.get(m, "baseline" if m == "raw" else "contender") for m in methods},
        group,
        {s: ("high", "low")[i % 2] for i, s in enumerate(subjects)} if group else {},
        {s: i % 3 for i, s in enumerate(subjects)},
        BETTER | (TRUTH if truth else {}),  # type: ignore[arg-type]
        RANGES,
        declared=frozenset(methods),
        trained=frozenset(methods) & frozenset(TRAINED),
        saw_group=frozenset(methods) & {"ravel"} if group else frozenset(),
        margins=margins or {},
    )
    scores = table(rows, SCORE_COLUMNS)
    statistics = (Paper(), Rigorous(resamples=resamples))
    slices = _pictures(folder, methods, scanners, subjects, failed) if pictures else {}
    return Finished(
        folder,
        _settings(methods, scanners, subjects) | settings,
        scores,
        _together([s.aggregate(scores, design) for s in statistics], AGGREGATE_COLUMNS),
        _together([s.compare(scores, design) for s in statistics], COMPARISON_COLUMNS),
        table(_costs(methods), COST_COLUMNS),
        table(_failures(failed), FAILURE_COLUMNS),
        design,
        slices,
        _references(methods),
        _histories(methods),
        _mosaics(folder, slices),
    )


def _trainings(methods: Sequence[str], repeats: int) -> list[tuple[str, int]]:
    first = [(method, 0) for method in methods]
    return first + [(m, r) for r in range(1, repeats) for m in methods if m in TRAINED]


def _together(frames: Sequence[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    return table([row for frame in frames for row in frame.to_dict("records")], columns)


def _row(method: str, subject: str, **more: object) -> dict[str, object]:
    blank = {
        "config": "default",
        "fold": -1,
        "repeat": 0,
        "tool": "",
        "space": "template",
    } | dict.fromkeys(("units", "reference_scanner", "reason"), "")
    return blank | {"method": method, "subject": subject, "status": "ok", "level": "scan"} | more


def _scan(
    rng: np.random.Generator,
    method: str,
    subject: str,
    scanner: str,
    scanners: Sequence[str],
    effect: float,
    own: float,
    tools: Sequence[str],
) -> list[dict[str, object]]:
    shift = scanners.index(scanner) * effect
    rows = [
        _row(
            method,
            subject,
            scanner=scanner,
            metric="auroc",
            structure="gm-wm",
            value=0.95 - 0.03 * shift + rng.normal(0, 0.005),
        )
    ]
    for plane in ("axial", "sagittal", "coronal"):
        value = 1 - 0.01 * rng.random() * (method != "raw")
        rows.append(
            _row(
                method,
                subject,
                scanner=scanner,
                metric="slice_consistency",
                structure=plane,
                value=value,
            )
        )
    for tool in tools:
        for tissue, size in (("gm", 600), ("wm", 500), ("csf", 300)):
            rows.append(
                _row(
                    method,
                    subject,
                    scanner=scanner,
                    metric="volume",
                    structure=tissue,
                    tool=tool,
                    space="native",
                    units="ml",
                    value=size + 30 * own + 12 * shift + rng.normal(0, 4),
                )
            )
    return rows


def _guards(
    rng: np.random.Generator, method: str, subject: str, scanner: str, edges: float
) -> list[dict[str, object]]:
    where = {"scanner": scanner, "structure": "brain"}
    if method == "raw":
        edges, jitter = 1.0, 0.0
    else:
        jitter = 0.01
    sharp = _row(method, subject, metric="sharpness", **where)
    noise = _row(method, subject, metric="noise", **where | {"structure": "wm"})
    if method == "template" and scanner.endswith("T"):
        lost = {"status": "undefined", "reason": "contrast_lost: the scan has none", "value": None}
        return [sharp | lost, noise | lost]
    return [
        sharp | {"value": edges + rng.normal(0, 1) * jitter},
        noise | {"value": edges**2 + rng.normal(0, 1) * jitter},
    ]


def _errors(rows: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """Return what the phantom's truth says of these volumes and images."""
    found: list[dict[str, object]] = []
    people = list(dict.fromkeys(row["subject"] for row in rows if row["subject"]))
    for row in rows:
        if row["metric"] == "volume":
            size = {"gm": 600, "wm": 500, "csf": 300}[row["structure"]]
            true = size + 30 * (1.7 * ((people.index(row["subject"]) * 0.618) % 1) - 0.85)
            error = row | {"metric": "volume_error", "value": row["value"] - true}
            found += [error, error | {"structure": f"{row['structure']}_true", "value": true}]
        if row["metric"] == "volume" and row["structure"] != "csf":
            found.append(row | {"metric": "truth_dice", "units": "", "value": 0.9})
        if row["metric"] == "sharpness":
            found.append(row | {"metric": "truth_rmse", "value": 0.1})
    return found


def _cohort(
    rng: np.random.Generator, method: str, subjects: Sequence[str], keeps: float, chance: float
) -> list[dict[str, object]]:
    level = {"level": "cohort", "metric": "identifiability"}
    rows = []
    for subject in subjects:
        loss = 0 if method in ("raw", "oracle") else 0.2 * rng.random()
        found = chance if keeps < 0.1 else 1 - loss
        rows += [
            _row(method, subject, **level, structure="fold", value=found),
            _row(method, subject, **level, structure="fold_chance", value=2 * chance),
            _row(method, subject, **level, structure="all_chance", value=chance),
        ]
        every = _row(method, subject, **level, structure="all", value=found)
        if method in TRAINED:
            reason = "scans of one fold share a model"
            every |= {"value": None, "status": "not_measured", "reason": reason}
        rows.append(every)
        left = {"structure": "brain_without", "value": keeps * (1 + 0.02 * rng.normal(0, 1))}
        rows.append(_row(method, subject, level="cohort", metric="individuality", **left))
    whole = {"level": "cohort", "metric": "individuality", "structure": "brain"}
    return [*rows, _row(method, "", **whole, value=keeps)]


def _biomarkers(
    rng: np.random.Generator,
    method: str,
    subject: str,
    scanner: str,
    effect: float,
    own: float,
    known: bool,
) -> list[dict[str, object]]:
    missing = {"value": None, "status": "not_measured", "reason": "no FreeSurfer folder was given"}
    return [
        _row(
            method,
            subject,
            scanner=scanner,
            metric="biomarker",
            structure=structure,
            tool="freesurfer",
            space="native",
            units=units,
        )
        | ({"value": 6 + own + rng.normal(0, 0.4 * effect)} if known else missing)
        for structure, units in BIOMARKERS.items()
    ]


def _pair(
    rng: np.random.Generator,
    method: str,
    subject: str,
    a: str,
    b: str,
    effect: float,
    tools: Sequence[str],
) -> list[dict[str, object]]:
    where = {"scanner": a, "reference_scanner": b, "level": "pair"}
    value = 0.97 - 0.15 * effect + rng.normal(0, 0.01)
    rows = [_row(method, subject, **where, metric="ssim", structure="brain", value=value)]
    for tool in tools:
        for tissue in ("gm", "wm"):
            value = 0.92 - 0.1 * effect + rng.normal(0, 0.01)
            more = {"metric": "dice", "structure": tissue, "tool": tool, "value": value}
            rows.append(_row(method, subject, **where, **more))
    return rows


def _settings(
    methods: Sequence[str], scanners: Sequence[str], subjects: Sequence[str]
) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "run_id": "0123456789ab",
        "command": "harmobench run --methods all --cohort matched.csv",
        "seed": 0,
        "preset": "quick",
        "methods": {
            name: {
                "class": "x:Y",
                "role": "contender",
                "needs": {
                    "matched": name in ("calamiti", "mispel"),
                    "folds": name in ("calamiti", "mispel", "ravel-cv"),
                    "target": name == "calamiti",
                    "group": name == "ravel",
                    "sees": "scan",
                },
                "individual": name in ("raw", "whitestripe"),
                "parameters": {"k": 1, "rate": 0.001, "names": ["a", "b"]},
            }
            for name in methods
        },
        "metrics": list(BETTER),
        "segmenters": ["hmrf"],
        "atlas": {"name": "ICBM152", "space": "MNI", "reference": {}},
        "cohort": {"source": "matched.csv", "subjects": len(subjects), "complete": True},
        "cohort_hash": "fedcba9876543210",
        "target": scanners[-1],
        "device": "cpu",
        "environment": {"numpy": "2.3.5", "torch": "2.9.0"},
        "notes": [],
    }


def _costs(methods: Sequence[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i, method in enumerate(methods):
        base = {"method": method, "device": "cpu", "peak_mb": 300.0 + i}
        rows += [base | {"task": "image", "seconds": 0.5 + i, "fold": -1}] * 3
        if method in ("mispel", "calamiti"):
            own = base | {"task": "fit", "seconds": 31.0, "parameters": 518854}
            rows += [own | {"fold": k} for k in range(3)]
    return rows


def _failures(method: str) -> list[dict[str, object]]:
    if not method:
        return []
    reason = "the loss was not finite"
    return [{"task": "fit", "method": method, "fold": k, "reason": reason} for k in range(3)]


def _pictures(
    folder: Path,
    methods: Sequence[str],
    scanners: Sequence[str],
    subjects: Sequence[str],
    failed: str,
) -> dict[tuple[str, str, str], Path]:
    """Keep slices of brains of 5 mm that differ as scores do; each method in its own units."""
    rng = np.random.default_rng(3)
    store = folder / "pictures"
    store.mkdir(parents=True, exist_ok=True)
    grid = Grid.make(SHAPE, AFFINE)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    brain = x**2 + y**2 + z**2 < 0.8
    own = {s: rng.normal(0, 0.4, 3) for s in subjects}
    found = {}
    for method, subject, scanner in product(methods, subjects, scanners):
        if method == failed:
            continue
        effect = scanners.index(scanner) * 0.3 / (1 + methods.index(method))
        a, b, c = own[subject]
        white = np.sin(7 * x + a) * np.cos(5 * y + b) * np.cos(4 * z + c) > 0
        noisy = 1 + white * (1 + effect * y) + rng.normal(0, 0.1, grid.shape) + effect
        voxels = np.where(brain, noisy * (1 + methods.index(method)), -5).astype("float32")
        tissues = {"gm": brain & ~white, "wm": brain & white}
        path = store / f"{len(found)}.npz"
        np.savez(path, **picture_of(voxels, brain, tissues, grid))
        found[method, subject, scanner] = path
    return found


def _mosaics(
    folder: Path, pictures: Mapping[tuple[str, str, str], Path]
) -> dict[tuple[str, str, str], Path]:
    found = {}
    for method in dict.fromkeys(key[0] for key in pictures):
        keys = [key for key in pictures if key[0] == method]
        store = folder / "mosaics" / str(len(found))
        store.mkdir(parents=True, exist_ok=True)
        write_mosaics([pictures[key] for key in keys], store)
        found |= {key: store / mosaic_file(place) for place, key in enumerate(keys)}
    return found


def _references(methods: Sequence[str]) -> dict[str, Reference]:
    paper = Reference("MISPEL", "Torbati et al.", 2023, "Medical Image Analysis", "10.1/x", "t")
    known = {
        f"method:{m}": Reference(f"On {m}", "A. Author", 2020, "Journal", f"10.1/{m}", m)
        for m in methods
    }
    return {**known, "metric:ssim": paper, "metric:auroc": paper, "segmenter:hmrf": paper}


def _histories(methods: Sequence[str]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    rows = [
        {"stage": stage, "step": step, "loss": 1 / (step + 1), "harm": 0.5 / (step + 1)}
        for stage in ("one", "two")
        for step in range(20)
    ]
    return {("mispel", fold): rows for fold in range(3)} if "mispel" in methods else {}
