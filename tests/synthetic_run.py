"""A finished run made of random numbers, for tests of reports."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.interface import Design, Finished, Group, Reference
from harmobench.metrics.statistics.paper import Paper
from harmobench.results import COST_COLUMNS, FAILURE_COLUMNS, SCORE_COLUMNS, table

METHODS = ("raw", "whitestripe", "ravel", "ravel-cv", "calamiti", "mispel")
SCANNERS = ("GE", "Philips", "SiemensP", "SiemensT")
BIOMARKERS = {"entorhinal": "mm", "inferior_temporal": "mm", "hippocampus": "ml", "amygdala": "ml"}
BETTER = {
    "ssim": "higher",
    "auroc": "higher",
    "volume": "equal",
    "dice": "higher",
    "biomarker": "equal",
    "slice_consistency": "higher",
}


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
    **settings: Any,
) -> Finished:
    """Return a run whose scanner effect shrinks from method to method; `failed` has no score."""
    rng = np.random.default_rng(7)
    rows: list[dict[str, object]] = []
    for place, method in enumerate(methods):
        effect = 1 / (1 + place)
        for subject in subjects:
            own = rng.normal(0, 1)
            for scanner in scanners:
                rows += _scan(rng, method, subject, scanner, scanners, effect, own, tools)
                rows += _biomarkers(rng, method, subject, scanner, effect, own, biomarkers)
            for a, b in combinations(scanners, 2):
                rows += _pair(rng, method, subject, a, b, effect, tools)
    for row in rows:
        if row["method"] == failed:
            row.update(value=None, status="failed", reason="the loss was not finite")
    group = Group("svd", "high", "low") if biomarkers else None
    design = Design(
        tuple(scanners),
        tuple(subjects),
        {m: "baseline" if m == "raw" else "contender" for m in methods},
        group,
        {s: ("high", "low")[i % 2] for i, s in enumerate(subjects)} if group else {},
        {s: i % 3 for i, s in enumerate(subjects)},
        BETTER,  # type: ignore[arg-type]
    )
    scores = table(rows, SCORE_COLUMNS)
    statistic = Paper()
    return Finished(
        folder,
        _settings(methods, scanners, subjects) | settings,
        scores,
        statistic.aggregate(scores, design),
        statistic.compare(scores, design),
        table(_costs(methods), COST_COLUMNS),
        table(_failures(failed), FAILURE_COLUMNS),
        design,
        _pictures(folder, methods, scanners, subjects, failed) if pictures else {},
        _references(methods),
        _histories(methods),
    )


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
    rng = np.random.default_rng(3)
    store = folder / "pictures"
    store.mkdir(parents=True, exist_ok=True)
    found = {}
    for key in ((m, s, c) for m in methods if m != failed for s in subjects for c in scanners):
        path = store / f"{len(found)}.npz"
        arrays: dict[str, Any] = {}
        for axis, shape in (("axial", (60, 72)), ("coronal", (60, 60)), ("sagittal", (72, 60))):
            x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
            brain = x**2 + y**2 < 0.8
            wave = np.sin(7 * x) * np.cos(5 * y) + scanners.index(key[2]) * 0.3
            noise = rng.normal(0, 0.1, shape)
            arrays[axis] = np.where(brain, wave + noise, -5).astype("float32")
            arrays[f"{axis}_brain"] = brain
        np.savez(path, **arrays)
        found[key] = path
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
