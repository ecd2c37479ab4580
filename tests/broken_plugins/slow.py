"""A method whose module imports what takes long to import."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from broken_plugins.methods import Sound


@dataclass
class ImportsPandas(Sound):
    """Needs pandas for its annotations alone."""

    def table(self) -> pd.DataFrame:
        return pd.DataFrame()
