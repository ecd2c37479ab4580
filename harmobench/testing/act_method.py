"""A method at work: fitted, saved, loaded, applied."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.base import Method
from harmobench.cohort import Scan
from harmobench.errors import PluginError
from harmobench.imaging.volume import write_image
from harmobench.testing.acts import Act, changed, cohort_of, fingerprint, scan_of


class MethodAct(Act):
    """A method; `fit` or `load` comes before `transform`."""

    method: Any = None

    def fit(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Fit on the step's scans; save where the step says where."""
        train, others = cohort_of(step["train"]), step["validation"]
        validation = cohort_of(others) if others is not None else None
        method = self.build()
        if isinstance(method, Method):
            why = method.unsuited(train)
            if why is not None:
                return {"unsuited": why}
            method.check(train.scanners)
        context = self.context(
            {**step, "scanners": train.scanners},
            covariates=tuple(step["covariates"]),
            target=train.scanners[0] if step["target"] else None,
        )
        before = fingerprint(train.scans, context)
        self.method = method.fit(train, validation, context)
        after = fingerprint(train.scans, context)
        if not isinstance(self.method, type(method)):
            found = type(self.method).__name__
            raise PluginError(f"expected fit to return self, found {found}: end it by return self")
        self.method.save(Path(step["model"]))
        return {"changed": changed(before, after), "torch": "torch" in sys.modules}

    def load(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Load what another process saved."""
        self.method = type(self.build()).load(Path(step["model"]))
        return {}

    def transform(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Transform one scan and keep the voxels in the step's file."""
        scan = scan_of(step["scan"])
        grid, before = scan.grid, fingerprint([scan])
        out = self.method.transform(scan)
        facts: dict[str, Any] = {"changed": changed(before, fingerprint([scan]))}
        if not isinstance(out, Scan) or out.memory is None:
            return {**facts, "returned": type(out).__name__}
        voxels = np.asarray(out.memory)
        facts |= {"dtype": str(voxels.dtype), "kind": voxels.dtype.kind}
        rows = np.round(out.grid.affine[:3], 3).tolist()
        facts["grid"] = "" if out.grid.matches(grid) else f"{out.grid}, affine {rows}"
        if voxels.dtype.kind in "iufb":
            np.save(step["out"], voxels, allow_pickle=False)
        return facts

    def shared(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Write the images that other methods ask for by Needs.inputs."""
        method = self.build()
        for spec, path in zip(step["scans"], step["outs"], strict=True):
            scan = scan_of(spec)
            voxels = np.asarray(method.transform(scan).memory, dtype=np.float32)
            write_image(Path(path), voxels, scan.grid)
        return {}


def act_of(job: Mapping[str, Any]) -> Act:
    """Return the act of this kind."""
    return MethodAct(job)
