"""A morphometry tool at work, on the image or the segmentation that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harmobench.atlas import read_atlas
from harmobench.errors import PluginError
from harmobench.testing.act_segmenter import ToolAct, canonical_scan
from harmobench.testing.acts import Act, changed, fingerprint, scan_of

KINDS = ("image", "segmentation", "files")


class MorphometryAct(ToolAct):
    """A morphometry tool."""

    def traits(self, cls: Any) -> dict[str, Any]:
        """Return what it reads, and what is wrong with that."""
        reads = getattr(self.build(), "reads", None)  # may be a property
        wrong = reads not in KINDS
        return {
            "takes": reads,
            "declared": [f"reads is {reads!r}, expected image or segmentation"] if wrong else [],
        }

    def measure(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Measure one scan."""
        tool, spec = self.build(), step["scan"]
        image = tool.reads == "image"
        scan = canonical_scan(spec) if image else scan_of(spec)
        atlas = read_atlas(Path(self.job["atlas"]))
        if not image:
            if atlas.regions is None:
                raise PluginError("expected regions in the check's atlas, found none")
            scan = replace(scan, inputs={"regions": atlas.regions})
        context = self.context({"seed": 7, "scanners": (scan.scanner,)})
        before = fingerprint([scan], context)
        rows = [asdict(measure) for measure in tool.measure(scan, context)]
        return {
            "rows": [row | {"value": float(row["value"])} for row in rows],
            "units": dict(tool.structures(tuple(atlas.labels))),
            "changed": changed(before, fingerprint([scan], context)),
        }


def act_of(job: Mapping[str, Any]) -> Act:
    """Return the act of this kind."""
    return MorphometryAct(job)
