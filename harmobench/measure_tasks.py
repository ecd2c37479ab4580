"""What a worker does for methods that change measures: learn from scores of RAW, and change them.

A method of images is fitted on images; one of measures, such as ComBat, on what a metric gave for
the training subjects' RAW, and it is given the measures of one scan at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harmobench.errors import PluginError
from harmobench.interface import Row
from harmobench.measure_plan import COLUMNS
from harmobench.rows import checked_rows, value_faults
from harmobench.store import read_json, write_json
from harmobench.work import Work, declared_by, load_fitted

if TYPE_CHECKING:
    import pandas as pd

    from harmobench.cohort import Scan


def calibrate(work: Work) -> None:
    """Fit a method on the measures of the training subjects' RAW."""
    part = work.job.part("methods", work.args["method"])
    folders = work.roles("train")
    rows = {subject: read_json(folders[subject] / "rows.json") for subject in work.args["training"]}
    table = measured(rows, {subject: _shown(work, subject) for subject in rows})
    scanners = tuple(table["scanner"].unique())
    with work.context(**declared_by(work.job, part, scanners)) as context:
        part.build().fit(table, context).save(work.folder / "model")


def rescore(work: Work) -> None:
    """Change the measures of one scan."""
    part = work.job.part("methods", work.args["method"])
    metric = work.job.part("metrics", work.args["metric"]).build()
    subject, scanner = work.args["subject"], work.args["scanner"]
    scores = read_json(work.need("scores") / "rows.json")
    found = [row for row in scores if row["scanner"] == scanner]
    method = part.build() if part.individual else load_fitted(part, work.need("fit") / "model")
    scan = _shown(work, subject)[scanner]
    table = measured({subject: found}, {subject: {scanner: scan}})
    values = _changed(method, table, part.name) if len(table) else {}
    rows = [_row(row, values, metric.range, part.name) for row in found]
    write_json(work.folder / "rows.json", checked_rows(rows, metric, work.args["metric"], [scan]))


def measured(
    rows: Mapping[str, Iterable[Mapping[str, Any]]], scans: Mapping[str, Mapping[str, Scan]]
) -> pd.DataFrame:
    """Return measures as a method gets them.

    Parameters
    ----------
    rows
        A metric's rows of each subject; those without a value are left out.
    scans
        Subject and scanner to a scan, whose columns are numbers and go along.
    """
    import pandas as pd

    first = next((scan for own in scans.values() for scan in own.values()), None)
    names = list(first.values) if first is not None else []
    found = [
        [subject, row["scanner"], row["structure"], row["units"], row["value"]]
        + [scans[subject][row["scanner"]].covariate(name) for name in names]
        for subject, own in rows.items()
        for row in own
        if row["status"] == "ok"
    ]
    return pd.DataFrame(found, columns=[*COLUMNS, *names])


def _shown(work: Work, subject: str) -> dict[str, Scan]:
    """Return scans of a subject as the method sees them, by scanner."""
    columns = work.job.columns_of(work.job.part("methods", work.args["method"]))
    scans = work.job.cohort.of(subject)
    return {scan.scanner: work.shown(subject, scan.scanner, columns) for scan in scans}


def _changed(method: Any, table: pd.DataFrame, name: str) -> dict[str, float]:
    """Harmonized value of each structure of one scan."""
    given = table.copy(deep=True)
    out = method.transform(given)
    if not {"structure", "value"} <= set(getattr(out, "columns", ())):
        raise PluginError(
            f"method '{name}': expected transform to return the table that it was given, found "
            f"{type(out).__name__} without the columns structure and value"
        )
    if list(out["structure"]) != list(table["structure"]):
        raise PluginError(
            f"method '{name}': expected rows of {', '.join(table['structure'])}, found "
            f"{', '.join(map(str, out['structure'])) or 'none'}"
        )
    return dict(zip(out["structure"], map(float, out["value"]), strict=True))


def _row(
    row: Mapping[str, Any], values: Mapping[str, float], limits: tuple[float, float], method: str
) -> Row:
    """Return a row with its changed value; one that is no such measure has none, and says why."""
    own = {name: v for name, v in row.items() if name in Row.__dataclass_fields__}
    if row["status"] != "ok":
        return Row(**own)
    changed = Row(**{**own, "value": values[row["structure"]]})
    fault = next(value_faults(changed, limits), "")
    if fault:
        reason = f"{method} gave {fault}"
        return Row(**{**own, "value": None, "status": "undefined", "reason": reason})
    return changed


KINDS: dict[str, Callable[[Work], None]] = {"calibrate": calibrate, "rescore": rescore}
