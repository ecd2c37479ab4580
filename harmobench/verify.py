"""`harmobench verify RUN`: whether a finished run is what it claims to be."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harmobench import checksums
from harmobench.atlas import BUILTIN
from harmobench.checksums import short
from harmobench.cohort import Progress
from harmobench.errors import AtlasError, HarmobenchError
from harmobench.job import Job, job_from
from harmobench.place import atlas_digest, read_atlas_source
from harmobench.plain import one_line
from harmobench.recompute import recompute, unlike
from harmobench.removed import NAME as REMOVED
from harmobench.removed import read_removed
from harmobench.store import read_json

SHOWN = 10  # files that a note names
PUBLISHED = ("harmonized/", "segmentations/", "models/", "figures/mosaics/")
DATASETS = ("harmonized/", "segmentations/")
DESCRIBING = (".json", ".tsv", ".md", ".bidsignore")  # of a BIDS dataset
MASK = "_desc-brain_mask.nii"


@dataclass
class Verdict:
    """What was found.

    Attributes
    ----------
    differences
        What is not as claimed, one sentence each.
    notes
        What could not be checked, and what is there beside the run.
    files, inputs
        How many were read and compared.
    digest
        Hash of the list of checksums: it names the finished run, with all its files.
    recomputed
        Whether scores, statistics and tables were computed again.
    """

    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    inputs: int = 0
    digest: str = ""
    recomputed: bool = False

    def lines(self, run: Path) -> list[str]:
        """Return one line a finding, and the verdict as the last."""
        texts = [*self.differences, *(f"note: {text}" for text in self.notes)]
        count = len(self.differences)
        if count:
            many = "difference" if count == 1 else "differences"
            last = f"{run} is not as claimed: {count} {many}"
        else:
            numbers = "numbers computed again" if self.recomputed else "numbers not computed again"
            last = (
                f"{run} is what it claims: {self.files} files, {self.inputs} inputs, {numbers} "
                f"({checksums.NAME}: {short(self.digest)})"
            )
        return [one_line(text) for text in [*texts, last]]


def verify(folder: Path, progress: Progress) -> Verdict:
    """Hash every file and input of a finished run again, and compute its numbers again.

    Raises
    ------
    HarmobenchError
        No run, one that is not finished, or one without checksums.
    """
    _refuse(folder)
    found = Verdict()
    digests = _check_files(folder, found, progress)
    job = _check_settings(folder, found)
    if job is None:
        found.notes.append("inputs and numbers were not checked: run.json cannot be read")
        return found
    _guarded(found, "inputs", lambda: _check_inputs(job, found, progress))
    _check_published(found, digests, {h for row in job.scans for h in row["hashes"].values()})
    why = unlike(job)
    if why:
        found.notes.append(f"numbers, run id and atlas were not computed again: {why}")
        return found
    _guarded(found, "identifiers", lambda: _check_identifiers(folder, job, found))
    _guarded(found, "atlas", lambda: _check_atlas(job, found))
    _guarded(found, "numbers", lambda: _check_numbers(folder, job, found, progress))
    return found


def _refuse(folder: Path) -> None:
    if not folder.is_dir():
        raise HarmobenchError(f"expected a run folder, found none at {folder}")
    if not (folder / "run.json").exists() and not (folder / checksums.NAME).exists():
        raise HarmobenchError(f"expected a run folder, found no run.json in {folder}")
    if at_work(folder):
        raise HarmobenchError(f"a run is at work in {folder}: wait until it has ended")
    if not (folder / checksums.NAME).is_file():
        raise HarmobenchError(
            f"expected a finished run, found no {checksums.NAME} in {folder}: the run did not end, "
            "or an earlier version of harmobench made it. Give its command again with the same "
            "--out: what is finished and made by the same code is not repeated"
        )


def at_work(folder: Path) -> bool:
    """Whether another process holds a run folder."""
    lock = folder / ".lock"
    if not lock.is_file():
        return False
    with lock.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


def _check_files(folder: Path, found: Verdict, progress: Progress) -> dict[str, str]:
    """Compare every listed file; return the hashes that were found."""
    listing = checksums.read(folder)
    found.digest = listing.digest
    found.differences += [f"changed: {checksums.NAME}: {fault}" for fault in listing.faults]
    paths = {name: folder / name for name in listing.entries}
    read = checksums.hash_many(paths.values(), progress, "files of the run")
    for name, expected in listing.entries.items():
        text = _fault(name, expected, read[paths[name]])
        found.differences += [text] if text else []
        found.files += not text
    for name in ("run.json", *(f"{stem}.parquet" for stem in checksums.TABLES)):
        if name not in listing.entries:
            found.differences.append(f"unlisted: {name}: expected in {checksums.NAME}")
    gone = len(read_removed(folder)) if REMOVED in listing.entries else 0
    if gone:
        found.notes.append(
            f"the files of {gone} harmonized images and segmentations were removed on purpose "
            "(harmobench clean --images): the run's command makes them again"
        )
    extra = checksums.others(folder, listing.entries)
    if extra:
        found.notes.append(f"{_counted(extra, 'file')} beside the run, not listed: {_few(extra)}")
    return {name: read[path].digest for name, path in paths.items()}


def _fault(name: str, expected: str, one: checksums.Read) -> str:
    if one.problem == "missing":
        return f"missing: {name}"
    if one.problem:
        return f"unreadable: {name}: {one.problem}"
    if one.digest != expected:
        return f"changed: {name}: expected {short(expected)}, found {short(one.digest)}"
    return ""


def _check_settings(folder: Path, found: Verdict) -> Job | None:
    """Read run.json, which may be damaged in any way."""
    try:
        job = job_from(read_json(folder / "run.json"))
        for row in job.scans:  # what all that follows reads
            dict(row["hashes"])
        _ = job.cohort.subjects, job.version, dict(job.environment)
    except Exception as error:  # whatever a damaged text leads to
        text = f"run.json: expected the settings of a run, found {type(error).__name__}: {error}"
        found.differences.append(text)
        return None
    return job


def _check_inputs(job: Job, found: Verdict, progress: Progress) -> None:
    expected: dict[str, str] = {}
    for row in job.scans:
        for name, digest in row["hashes"].items():
            if expected.setdefault(name, digest) != digest:
                found.differences.append(f"run.json: two hashes of one file, {name}")
    read = checksums.hash_many(map(Path, expected), progress, "inputs")
    gone = []
    for name, digest in expected.items():
        text = _fault(name, digest, read[Path(name)])
        if text.startswith("missing"):
            gone.append(name)
        elif text:
            found.differences.append(f"input {text}")
        else:
            found.inputs += 1
    if gone:
        found.notes.append(
            f"{len(gone)} of {len(expected)} inputs are no longer there and cannot be checked: "
            f"{_few(gone)}"
        )


def _check_published(found: Verdict, digests: Mapping[str, str], inputs: Collection[str]) -> None:
    """Every published file is one of the store: a list that was made anew does not hide another.

    Brain masks are the manifest's own; what describes a BIDS dataset is written, not linked.
    """
    stored = {digest for name, digest in digests.items() if name.startswith("store/")}
    published = (name for name in digests if name.startswith(PUBLISHED))
    for name in published:
        described = name.startswith(DATASETS) and name.endswith(DESCRIBING)
        known = inputs if MASK in name else stored
        if not described and digests[name] and digests[name] not in known:
            found.differences.append(f"{name}: expected a file of the store, found another")


def _check_identifiers(folder: Path, job: Job, found: Verdict) -> None:
    data: Mapping[str, Any] = read_json(folder / "run.json")
    for name, expected in (("cohort_hash", job.cohort_hash), ("run_id", job.run_id)):
        if data.get(name) != expected:
            found.differences.append(
                f"run.json: {name}: expected {expected} of its settings, found {data.get(name)}"
            )


def _check_atlas(job: Job, found: Verdict) -> None:
    source = str(job.atlas["source"])
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        try:
            digest = atlas_digest(read_atlas_source(source, Path(scratch)))
        except (AtlasError, OSError) as error:
            found.notes.append(f"the atlas cannot be read and was not checked: {error}")
            return
    if digest != job.atlas["digest"]:
        where = "the built-in atlas" if source == BUILTIN else f"atlas {source}"
        found.differences.append(
            f"input changed: {where}: expected {short(str(job.atlas['digest']))}, "
            f"found {short(digest)}"
        )


def _check_numbers(folder: Path, job: Job, found: Verdict, progress: Progress) -> None:
    compared = recompute(folder, job, progress)
    found.differences += compared.differences
    found.notes += compared.notes
    found.recomputed = True


def _guarded(found: Verdict, what: str, check: Callable[[], None]) -> None:
    """Make a check that a damaged file stops a finding, or a note where the damage is named."""
    try:
        check()
    except Exception as error:  # files that were changed lead to whatever
        text = f"{what} could not be checked: {type(error).__name__}: {error}"
        (found.notes if found.differences else found.differences).append(text)


def _counted(names: list[str], what: str) -> str:
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
