"""A segmenter at work, on images in the one form in which all methods' images reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.cohort import TISSUES, Scan
from harmobench.imaging.canonical import canonical
from harmobench.testing.acts import Act, changed, fingerprint, scan_of


class ToolAct(Act):
    """A program behind a class: whether it is there, and which."""

    def look(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Ask whether it can run here, and for its version where it can."""
        tool = self.build()
        missing = tool.available()
        return {"missing": missing, "version": tool.version() if missing is None else None}


class SegmenterAct(ToolAct):
    """A segmenter."""

    def segment(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Segment one scan and keep the maps in the step's folder."""
        scan = canonical_scan(step["scan"])
        context = self.context({"seed": 7, "scanners": (scan.scanner,)})
        before = fingerprint([scan], context)
        maps = self.build().segment(scan, context)
        facts = {"changed": changed(before, fingerprint([scan], context))}
        if not isinstance(maps, Mapping):
            return {**facts, "returned": type(maps).__name__, "names": []}
        Path(step["out"]).mkdir(parents=True)
        for name in (name for name in TISSUES if name in maps):
            array = np.asarray(maps[name])
            if array.dtype.kind in "iufb":
                np.save(Path(step["out"]) / f"{name}.npy", array, allow_pickle=False)
        return {**facts, "names": [str(name) for name in maps]}


def canonical_scan(spec: Mapping[str, Any]) -> Scan:
    """Make a scan whose voxels are the canonical image, as a run does."""
    scan = scan_of(spec)
    return replace(scan, image=Path(spec["mask"])).with_voxels(
        canonical(scan.voxels(), scan.brain())
    )


def act_of(job: Mapping[str, Any]) -> Act:
    """Return the act of this kind."""
    return SegmenterAct(job)
