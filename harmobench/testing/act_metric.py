"""A metric at work: summaries of scans, one of all, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from harmobench.errors import MeasurementError
from harmobench.interface import Better, Context
from harmobench.rows import checked_rows
from harmobench.testing.acts import Act, changed, cohort_of, fingerprint, scan_of

DECLARED: dict[str, tuple[str, ...]] = {
    "level": ("scan", "pair", "cohort"),
    "reads": ("image", "segmentation", "measures"),
    "space": ("template", "native"),
    "better": get_args(Better),
}
ATTRIBUTES = (*DECLARED, "range", "units", "structures", "truth", "symmetric")


class MetricAct(Act):
    """A metric; `prepare` and `merge` come before `score`."""

    state: Any = None

    def traits(self, cls: Any) -> dict[str, Any]:
        """Return what a metric declares, and what is wrong with it."""
        metric = self.build()
        own = {name: getattr(metric, name) for name in ATTRIBUTES if hasattr(metric, name)}
        return {"declared": list(declared_faults(own)), "metric": own}

    def prepare(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Summarize scans, one by one, and store the summaries as a run does."""
        metric, context = self.build(), self._context(step)
        scans = [scan_of(spec) for spec in step["scans"]]
        before, self.files = fingerprint(scans, context), []
        faults: list[str] = []
        for number, scan in enumerate(scans):
            state = metric.prepare(scan, context)
            faults += state_faults(state)
            if state is not None and not faults:
                self.files.append(self.scratch / f"state-{number}.npz")
                np.savez_compressed(self.files[-1], **state)
        return {"faults": faults, "changed": changed(before, fingerprint(scans, context))}

    def merge(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Merge the summaries, in the order of the scans or from the last one on."""
        if not self.files:
            return {"faults": []}
        files = self.files[::-1] if step["reversed"] else self.files
        state = self.build().merge([_stored(file) for file in files], self._context(step))
        faults = list(state_faults(state))
        if not faults and state is not None:
            np.savez_compressed(self.scratch / "merged.npz", **state)
            self.state = _stored(self.scratch / "merged.npz")
        return {"faults": faults}

    def score(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Score each group of scans, a subject's or all."""
        metric, rows, faults = self.build(), [], []
        for specs in step["groups"]:
            cohort = cohort_of(specs)
            found = list(metric.score(cohort.scans, self.state, self._context({"scans": specs})))
            try:
                checked = checked_rows(found, metric, self.plugin.name, cohort.scans)
            except MeasurementError as error:
                faults.append(str(error))
                continue
            rows += [{"of": cohort.scans[0].subject, **row} for row in checked]
        return {"rows": rows, "faults": faults}

    def _context(self, step: Mapping[str, Any]) -> Context:
        specs = step["scans"]
        scans = [scan_of({**spec, "image": spec["raw"]}) for spec in specs]
        subjects = tuple(dict.fromkeys(scan.subject for scan in scans))
        return self.context(
            {"scanners": tuple(dict.fromkeys(scan.scanner for scan in scans))},
            raws={(scan.subject, scan.scanner): scan for scan in scans},
            folds=dict.fromkeys(subjects, 0),
        )


def declared_faults(own: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with a metric's class attributes."""
    for name, known in DECLARED.items():
        if own.get(name) not in known:
            yield f"{name} is {own.get(name)!r}, expected one of {', '.join(known)}"
    limits = own.get("range")
    if not (isinstance(limits, tuple) and len(limits) == 2 and limits[0] < limits[1]):
        yield f"range is {limits!r}, expected the smallest and the largest value"
    if not isinstance(own.get("units"), str):
        yield f"units is {own.get('units')!r}, expected a text"
    names = own.get("structures")
    if not (isinstance(names, tuple) and names and all(isinstance(name, str) for name in names)):
        yield f"structures is {names!r}, expected a tuple of names"


def state_faults(state: Any) -> Iterator[str]:
    """Say what is wrong with a summary; None is a sound one."""
    if state is None:
        return
    if not isinstance(state, Mapping):
        yield f"found {type(state).__name__}"
        return
    for name, value in state.items():
        if not isinstance(name, str):
            yield f"found the name {name!r}"
        elif np.asarray(value).dtype.hasobject:
            yield f"found objects in '{name}'"


def _stored(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as data:
        return dict(data)


def act_of(job: Mapping[str, Any]) -> Act:
    """Return the act of this kind."""
    return MetricAct(job)
