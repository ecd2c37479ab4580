"""What the processes of all kinds of plugins share: build the plugin, make scans of plain data."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from harmobench.atlas import read_atlas
from harmobench.cohort import TISSUES, Cohort, Measure, Scan, Segmentation
from harmobench.interface import Context, Group, Reference
from harmobench.parts import plugin_part
from harmobench.registry import Plugin, build

HEAVY = (
    *("torch", "tensorflow", "keras", "jax", "monai", "ants", "SimpleITK", "pandas", "pyarrow"),
    *("matplotlib", "skimage", "sklearn", "statsmodels", "pingouin", "nilearn", "dask"),
    *("distributed", "cv2", "numba", "xgboost", "lightgbm"),
)
PRESET = "quick"


class Act:
    """A plugin at work in this process.

    Parameters
    ----------
    job
        What `harmobench.testing.play` wrote.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job
        self.plugin = Plugin(**job["plugin"])
        self.scratch = Path(job["scratch"])

    def build(self) -> Any:
        """Construct the plugin as a run does."""
        return build(self.plugin, self.job["parameters"], PRESET)

    def imported(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Import the plugin, and describe it as a run does."""
        before = set(sys.modules)
        cls = self.plugin.load()
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        reference = getattr(cls, "reference", None)
        return {
            "heavy": sorted(new & set(HEAVY)),
            "part": asdict(plugin_part(self.plugin, self.job["parameters"], PRESET)),
            "class": cls.__name__,
            "fields": [f.name for f in fields(cls)] if is_dataclass(cls) else None,
            "cited": isinstance(reference, Reference),
            **self.traits(cls),
        }

    def traits(self, cls: Any) -> dict[str, Any]:
        """Say more of a kind."""
        return {}

    def context(self, step: Mapping[str, Any], **more: Any) -> Context:
        """Context of a step."""
        group = step.get("group")
        return Context(
            seed=int(step.get("seed", 0)),
            atlas=read_atlas(Path(self.job["atlas"])),
            scratch=self.scratch,
            device="cpu",
            scanners=tuple(step.get("scanners", ())),
            group=Group(**group) if group else None,
            **more,
        )


def scan_of(spec: Mapping[str, Any]) -> Scan:
    """Make a scan of plain data."""
    maps = spec.get("maps")
    measures = spec.get("measures")
    return Scan(
        subject=spec["subject"],
        scanner=spec["scanner"],
        image=Path(spec["image"]),
        mask=Path(spec["mask"]),
        values=dict(spec.get("values", {})),
        inputs={name: Path(path) for name, path in spec.get("inputs", {}).items()},
        others=tuple(scan_of(other) for other in spec.get("others", ())),
        segmentation=_segmentation(maps, spec.get("space", "template")) if maps else None,
        measures=tuple(Measure(**m) for m in measures) if measures is not None else None,
    )


def _segmentation(maps: Mapping[str, str], space: str) -> Segmentation:
    return Segmentation("hmrf", space, {tissue: Path(maps[tissue]) for tissue in TISSUES})


def cohort_of(specs: Iterable[Mapping[str, Any]]) -> Cohort:
    """Make a cohort of plain data."""
    return Cohort(tuple(scan_of(spec) for spec in specs), "the check's")


def fingerprint(scans: Iterable[Scan], context: Context | None = None) -> dict[str, str]:
    """Hash what a plugin could change in memory: shared masks, and the scans' values."""
    found = {}
    for scan in scans:
        found[f"the brain mask of {scan}"] = _hash(scan.brain().tobytes())
        found[f"scan.values of {scan}"] = repr(sorted(scan.values.items()))
        found[f"scan.inputs of {scan}"] = repr(sorted(scan.inputs.items()))
    if context is not None:
        for tissue in TISSUES:
            found[f"the atlas's {tissue}"] = _hash(context.atlas.tissue(tissue).tobytes())
        found["the atlas's brain"] = _hash(context.atlas.brain().tobytes())
    return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name what differs."""
    return [name for name, value in before.items() if after.get(name) != value]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
