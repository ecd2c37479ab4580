"""A method of measures at work: fitted, saved, loaded, applied to one scan's measures at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmobench.errors import PluginError
from harmobench.testing.acts import Act

if TYPE_CHECKING:
    import pandas as pd


class MeasuresAct(Act):
    """A method of measures; `fit` or `load` comes before `transform`."""

    method: Any = None

    def fit(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Fit on the step's rows; save where the step says where."""
        table, untouched = _table(step["rows"]), _table(step["rows"])
        method = self.build()
        scanners = tuple(table["scanner"].unique())
        context = self.context({**step, "scanners": scanners}, covariates=tuple(step["covariates"]))
        self.method = method.fit(table, context)
        if not isinstance(self.method, type(method)):
            found = type(self.method).__name__
            raise PluginError(f"expected fit to return self, found {found}: end it by return self")
        self.method.save(Path(step["model"]))
        return {"changed": _changed(table, untouched)}

    def load(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Load what another process saved."""
        self.method = type(self.build()).load(Path(step["model"]))
        return {}

    def transform(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Change the measures of one scan."""
        table, untouched = _table(step["rows"]), _table(step["rows"])
        out = self.method.transform(table)
        facts: dict[str, Any] = {"changed": _changed(table, untouched)}
        if not {"structure", "value"} <= set(getattr(out, "columns", ())):
            return {**facts, "returned": type(out).__name__}
        facts["structures"] = [str(name) for name in out["structure"]]
        facts["values"] = [repr(value) for value in out["value"].tolist()]
        return facts


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows)


def _changed(table: pd.DataFrame, untouched: pd.DataFrame) -> list[str]:
    return [] if table.equals(untouched) else ["the table of measures"]


def act_of(job: Mapping[str, Any]) -> Act:
    """Return the act of this kind."""
    return MeasuresAct(job)
