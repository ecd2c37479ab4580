"""`ro-crate-metadata.json`: a finished run described for archives (RO-Crate 1.1, JSON-LD).

It names files and folders relative to the run, software with versions, and what to cite. It has no
path of the machine, and of the cohort only how many subjects and which scanners.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harmobench.checksums import NAME as CHECKSUMS
from harmobench.interface import Finished, Reference
from harmobench.references import cited
from harmobench.store import write_json

NAME = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/crate/1.1"
NO_LICENCE = (
    "No licence was given to this run. Whoever owns the cohort says what may be done with images "
    "and numbers made of it."
)
TYPES = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".html": "text/html",
    ".bib": "application/x-bibtex",
    ".sha256": "text/plain",
}
FILES = {
    "report.html": "The report: one page that loads nothing",
    "run.json": "What was asked, with what code and parameters, on which files by their hashes",
    "cohort.csv": "The cohort's manifest: one row a scan",
    "scores.parquet": "Every score",
    "scores.csv": "Every score, as text",
    "aggregates.csv": "Means, spreads and intervals over subjects",
    "comparisons.csv": "Tests of methods against each other",
    "costs.csv": "Time and memory of each kind of task",
    "failures.csv": "What failed, and why",
    "references.bib": "What to cite for this run",
    CHECKSUMS: "SHA-256 of every file of the run",
}
FOLDERS = {
    "tables": "Tables that can be cited, as CSV, Markdown and LaTeX",
    "figures": "Figures, as SVG and PNG",
    "harmonized": "Harmonized images (BIDS derivatives)",
    "segmentations": "Tissue maps",
    "models": "What was fitted, of each method and fold",
    "store": "Result of every task, by the hash of all that went into it",
}
LATER = (CHECKSUMS,)  # made when all other files are there


def write_crate(run: Finished) -> Path:
    """Describe a finished run in its folder.

    The day it is dated with stays what it was when the same run is described again.
    """
    path = run.folder / NAME
    write_json(path, {"@context": CONTEXT, "@graph": _graph(run, _day(path, run))})
    return path


def _day(path: Path, run: Finished) -> str:
    """Return the day of an earlier description of this run, or today."""
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))["@graph"]
        root = next(entity for entity in graph if entity["@id"] == "./")
        day = str(datetime.date.fromisoformat(root["datePublished"]))
        known = bool(root["identifier"] == run.settings["run_id"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return datetime.date.today().isoformat()
    return day if known else datetime.date.today().isoformat()


def _graph(run: Finished, day: str) -> list[dict[str, Any]]:
    parts = [*_files(run.folder), *_folders(run.folder)]
    software = _software(run.settings)
    articles = _articles(cited(run).values())
    atlas = _atlas(run)
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"harmobench run {run.settings.get('run_id', '')}".strip(),
        "description": _description(run),
        "identifier": run.settings.get("run_id", ""),
        "datePublished": day,
        "license": {"@id": "#licence"},
        "hasPart": _ids(parts),
        "citation": _ids(articles),
        "mentions": {"@id": "#run"},
    }
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "Harmonization of a matched cohort, and its scores",
        "instrument": _ids(software),
        "object": [{"@id": "cohort.csv"}, {"@id": "#atlas"}],
        "result": _ids(part for part in parts if part["@id"] != "cohort.csv"),
    }
    licence = {
        "@id": "#licence",
        "@type": "CreativeWork",
        "name": "No licence was given",
        "description": NO_LICENCE,
    }
    own = {
        "@id": NAME,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": PROFILE},
    }
    return [own, root, *parts, action, *software, atlas, *articles, licence]


def _ids(entities: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": entity["@id"]} for entity in entities]


def _description(run: Finished) -> str:
    design = run.design
    return (
        f"{', '.join(design.methods)} applied to {len(design.subjects)} subjects scanned on "
        f"{len(design.scanners)} scanners ({', '.join(design.scanners)}), scored by "
        f"{', '.join(design.metrics)}."
    )


def _files(folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "@id": name,
            "@type": "File",
            "name": name,
            "description": text,
            "encodingFormat": TYPES[Path(name).suffix],
        }
        for name, text in FILES.items()
        if (folder / name).is_file() or name in LATER
    ]


def _folders(folder: Path) -> list[dict[str, Any]]:
    return [
        {"@id": f"{name}/", "@type": "Dataset", "name": name, "description": text}
        for name, text in FOLDERS.items()
        if (folder / name).is_dir()
    ]


def _software(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return harmobench, other packages whose plugins ran, tools, and numerical libraries."""
    version = str(settings.get("version", ""))
    found = {"harmobench": version}
    for kind in ("methods", "metrics", "segmenters", "morphometry"):
        for name, part in _parts(settings, kind):
            package, _, number = str(part.get("distribution", "")).rpartition(" ")
            if package and number[:1].isdigit():
                found.setdefault(package, number)
            if kind in ("segmenters", "morphometry"):
                found.setdefault(name, str(part.get("version") or "unknown"))
    for name, number in sorted((settings.get("environment") or {}).items()):
        found.setdefault(str(name), str(number))
    return [
        {
            "@id": f"#software-{quote(name, safe='')}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": number,
        }
        for name, number in found.items()
    ]


def _parts(settings: Mapping[str, Any], kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    parts = settings.get(kind)
    if not isinstance(parts, Mapping):
        return [(str(name), {}) for name in parts or ()]
    return [(str(name), part) for name, part in parts.items()]


def _atlas(run: Finished) -> dict[str, Any]:
    known = run.settings.get("atlas") or {}
    cited = [ref for key, ref in run.references.items() if key.startswith("atlas:")]
    return {
        "@id": "#atlas",
        "@type": "CreativeWork",
        "name": f"Atlas {known.get('name', '')}".strip(),
        "description": f"Space: {known.get('space') or 'not named'}",
        "identifier": known.get("digest", ""),
        "citation": _ids(_articles(cited)),
    }


def _articles(references: Iterable[Reference]) -> list[dict[str, Any]]:
    """Return each publication once; software and texts without a DOI are no articles."""
    found = {}
    for reference in references:
        if not reference.doi:
            continue
        place = f"https://doi.org/{quote(reference.doi, safe='/:;()._-')}"
        found[place] = {
            "@id": place,
            "@type": "ScholarlyArticle",
            "name": reference.title,
            "description": ". ".join(filter(None, (reference.authors, reference.venue))),
            "identifier": place,
            "datePublished": str(reference.year),
        }
    return [found[place] for place in sorted(found)]
