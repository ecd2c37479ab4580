"""What a plugin sees is what its task's key holds; summaries are read one at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import pytest

from harmobench.cohort import Scan
from harmobench.job import Job
from harmobench.parts import Part
from harmobench.tasks import States
from harmobench.work import scanners_of, showing


@dataclass(frozen=True)
class Asked:
    """What `Job.columns_of` reads of a job."""

    covariates: tuple[str, ...]
    group: dict[str, str] | None


def columns(named: tuple[str, ...], column: str | None, **needs: bool) -> tuple[str, ...]:
    asked = Asked(named, {"column": column} if column else None)
    part = Part("m", "", "", "", needs={"covariates": False, "group": False} | needs)
    return Job.columns_of(cast(Any, asked), part)


def test_a_method_sees_the_columns_that_it_declared() -> None:
    assert columns(("age", "sex"), "dx") == ()
    assert columns(("age", "sex"), "dx", covariates=True) == ("age", "sex")
    assert columns(("age", "sex"), "dx", covariates=True, group=True) == ("age", "sex", "dx")
    assert columns(("age",), None, group=True) == ()


def test_a_covariate_that_is_the_clinical_group_is_hidden_from_who_may_not_see_it() -> None:
    assert columns(("age", "dx"), "dx", covariates=True) == ("age",)
    assert columns(("age", "dx"), "dx", covariates=True, group=True) == ("age", "dx")


def test_a_scan_is_shown_without_other_columns() -> None:
    values = MappingProxyType({"age": "70", "dx": "patient", "fold": "1"})
    scan = Scan("01", "GE", Path("x.nii.gz"), values=values)
    assert showing(scan, ("age",)).values == {"age": "70"}
    assert showing(scan, ()).values == {}
    assert showing(scan, ("none",)).values == {"none": ""}
    assert scan.values == values


def test_scanners_are_those_of_the_scans_in_their_order() -> None:
    scans = [Scan("01", name, Path(name)) for name in ("GE", "Philips", "GE")]
    assert scanners_of(scans) == ("GE", "Philips")
    assert scanners_of(reversed([*scans, replace(scans[0], scanner="A")])) == ("A", "GE", "Philips")


def test_summaries_are_read_one_at_a_time_when_asked_for(tmp_path: Path) -> None:
    folders = tuple(tmp_path / str(i) for i in range(4))
    states = States(folders)
    assert len(states) == 4  # nothing is there yet, and nothing was read
    for i, folder in enumerate(folders):
        folder.mkdir()
        np.savez_compressed(folder / "state.npz", counts=np.full(3, i))
    assert [int(state["counts"][0]) for state in states] == [0, 1, 2, 3]
    assert int(states[-1]["counts"][0]) == 3
    assert len(states[1:]) == 3
    (folders[2] / "state.npz").unlink()
    assert int(states[1:3][0]["counts"][0]) == 1
    with pytest.raises(FileNotFoundError):
        states[2]
