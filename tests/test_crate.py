"""`ro-crate-metadata.json`: all that RO-Crate 1.1 asks for, nothing of machines or persons."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from harmobench import crate
from harmobench.interface import Finished, Reference


def _run(folder: Path, **settings: Any) -> Finished:
    for name in ("report.html", "run.json", "cohort.csv", "scores.parquet", "references.bib"):
        (folder / name).write_text("x")
    for name in ("tables", "harmonized"):
        (folder / name).mkdir(exist_ok=True)
    run: Finished = synthetic_run.finished(folder, ("raw", "whitestripe"), **settings)
    return run


def _entities(path: Path) -> dict[str, dict[str, Any]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in data["@graph"]}
    assert len(entities) == len(data["@graph"]), "two entities have one @id"
    return entities


def _links(value: Any) -> list[str]:
    if isinstance(value, list):
        return [link for item in value for link in _links(item)]
    return [value["@id"]] if isinstance(value, dict) else []


def test_what_the_standard_asks_for_is_there(tmp_path: Path) -> None:
    entities = _entities(crate.write_crate(_run(tmp_path)))
    own, root = entities["ro-crate-metadata.json"], entities["./"]
    assert own["@type"] == "CreativeWork"
    assert own["about"] == {"@id": "./"}
    assert own["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset"
    assert root["datePublished"] == datetime.date.today().isoformat()
    for name in ("name", "description", "license", "hasPart"):
        assert root[name], name


def test_every_link_leads_somewhere_and_every_entity_is_reached(tmp_path: Path) -> None:
    entities = _entities(crate.write_crate(_run(tmp_path)))
    reached: set[str] = {"ro-crate-metadata.json"}
    for name, entity in entities.items():
        assert entity["@type"], name
        for key, value in entity.items():
            reached |= set(_links(value))
            assert key == "conformsTo" or set(_links(value)) <= set(entities), (name, key)
    assert set(entities) <= reached


def test_files_and_folders_are_those_that_there_are(tmp_path: Path) -> None:
    entities = _entities(crate.write_crate(_run(tmp_path)))
    parts = _links(entities["./"]["hasPart"])
    assert set(parts) == {
        *("report.html", "run.json", "cohort.csv", "scores.parquet", "references.bib"),
        *("checksums.sha256", "tables/", "harmonized/"),  # the list is made after the crate
    }
    for name in parts:
        assert entities[name]["@type"] == ("Dataset" if name.endswith("/") else "File")


def test_the_run_is_an_action_with_its_tools_on_its_cohort(tmp_path: Path) -> None:
    tools = {"spm12": {"version": "SPM12 r7771", "distribution": "harmobench 0.1.0"}}
    methods = {
        "raw": {"distribution": "harmobench 0.1.0"},
        "own": {"distribution": "their-own 3.2"},
    }
    run = _run(tmp_path, segmenters=tools)
    run = replace(run, settings={**run.settings, "methods": methods})
    entities = _entities(crate.write_crate(run))
    action = entities["#run"]
    assert action["@type"] == "CreateAction"
    assert _links(action["object"]) == ["cohort.csv", "#atlas"]
    assert "report.html" in _links(action["result"])
    software = {entities[link]["name"]: entities[link] for link in _links(action["instrument"])}
    versions = {name: entity["softwareVersion"] for name, entity in software.items()}
    assert versions.items() >= {
        ("harmobench", "0.1.0"), ("spm12", "SPM12 r7771"), ("their-own", "3.2"), ("numpy", "2.3.5")
    }  # fmt: skip
    assert {entity["@type"] for entity in software.values()} == {"SoftwareApplication"}


def test_publications_are_cited_by_doi_and_those_of_unmeasured_metrics_are_not(
    tmp_path: Path,
) -> None:
    run = _run(tmp_path)
    more = {
        "metric:never": Reference("Never measured", "N. Body", 2020, "J", "10.1/never"),
        "method:book": Reference("A book without DOI", "N. Body", 2020),
        "atlas:ICBM152": Reference("An atlas", "N. Body", 2020, "J", "10.1/a<t>la s(1)"),
    }
    entities = _entities(crate.write_crate(replace(run, references={**run.references, **more})))
    cited = _links(entities["./"]["citation"])
    assert "https://doi.org/10.1/raw" in cited
    assert "https://doi.org/10.1/never" not in cited
    atlas = "https://doi.org/10.1/a%3Ct%3Ela%20s(1)"
    assert _links(entities["#atlas"]["citation"]) == [atlas]
    assert all(entities[link]["@type"] == "ScholarlyArticle" for link in cited)
    assert not any("book" in str(entity) for entity in entities.values())


def test_the_day_stays_when_the_same_run_is_described_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Day(datetime.date):
        today_is = datetime.date(2025, 3, 1)

        @classmethod
        def today(cls) -> datetime.date:
            return cls.today_is

    monkeypatch.setattr(crate.datetime, "date", Day)
    run = _run(tmp_path)
    first = crate.write_crate(run).read_bytes()
    Day.today_is = datetime.date(2025, 3, 2)
    assert crate.write_crate(run).read_bytes() == first
    other = replace(run, settings={**run.settings, "run_id": "another"})
    assert _entities(crate.write_crate(other))["./"]["datePublished"] == "2025-03-02"
    for damaged in ("", "[]", '{"@graph": [{"@id": "./", "datePublished": "soon"}]}'):
        (tmp_path / crate.NAME).write_text(damaged)
        assert _entities(crate.write_crate(run))["./"]["datePublished"] == "2025-03-02"


def test_no_path_of_the_machine_and_no_subject_is_in_it(tmp_path: Path) -> None:
    atlas = {"name": "own", "source": f"{tmp_path}/atlas", "digest": "abc", "space": "MNI"}
    command = f"harmobench run --cohort {tmp_path}/matched.csv"
    run = _run(tmp_path, subjects=("jane_doe", "john_roe"), atlas=atlas, command=command)
    text = crate.write_crate(run).read_text(encoding="utf-8")
    for secret in (str(tmp_path), "jane_doe", "john_roe", str(Path.home()) + "/"):
        assert secret not in text
