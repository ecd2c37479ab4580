"""The two levels of the BIDS-App: each subject by itself, then all together.

Each subject has a folder of its own below WORK, with its own lock, so that several machines can
work on several subjects; into OUT_DIR only one of them writes at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from harmobench.bids.cohort import Ask, from_bids
from harmobench.bids.command import seen_lines
from harmobench.bids.describe import DESCRIPTION, MISSING, PEOPLE, Dataset, describe, tsv
from harmobench.bids.find import Dataset as BidsDataset
from harmobench.bids.manifest import manifest_text
from harmobench.bids.reading import read_object, read_table
from harmobench.cli_look import tell
from harmobench.errors import HarmobenchError, SettingsError
from harmobench.folder import make_folder, refuse_foreign_folder, refuse_system_errors
from harmobench.store import link, write_json, write_text

DONE, FAILED = 0, 1
VALIDATOR = "bids-validator-deno"
SHOWN = 10  # errors of the validator
COHORT, RUN, RAW, SCANS = "matched.csv", "run", "RAW", "scans.csv"
KEPT = ("Atlas", "Quality", "Environment")  # of what preprocess says of its dataset
IGNORED = ("*_xfm.nii.gz", "/work", f"/{RUN}", COHORT, "sub-*.html")
README = """RAW images, written by harmobench as a BIDS-App from the dataset in `DatasetLinks`. The
session is the scanner; `sub-*/sub-*_sessions.tsv` has its name in full. `sub-*.html` shows how well
each scan was registered. After the level group, `run/report.html` compares the methods."""


@dataclass(frozen=True)
class Call:
    """What was asked for; `harmobench-bids --help` says what each means."""

    bids: Path
    out: Path
    work: Path
    subjects: tuple[str, ...] = ()
    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scanner_from: str = "auto"
    mask: str = "auto"
    options: tuple[str, ...] = ()
    quiet: bool = False


def check(call: Call, *, validate: bool) -> None:
    """Refuse folders that cannot be right, and a dataset that the validator finds errors in.

    Raises
    ------
    SettingsError
        Before anything is written.
    """
    with refuse_system_errors():
        if not (call.bids / DESCRIPTION).is_file():
            raise SettingsError(
                f"BIDS_DIR: expected a BIDS dataset, found no {DESCRIPTION} in {call.bids}"
            )
        if call.out.resolve() == call.bids.resolve():
            raise SettingsError("OUT_DIR: expected another folder than BIDS_DIR, found the same")
        _refuse_foreign(call.out)
    if validate:
        _validate(call.bids)


def _refuse_foreign(out: Path) -> None:
    try:
        refuse_foreign_folder(out, DESCRIPTION, "work")
    except SettingsError as error:
        raise SettingsError(str(error).replace("--out:", "OUT_DIR:")) from None
    if (out / DESCRIPTION).is_file() and not BidsDataset(out, read_object(out / DESCRIPTION)).ours:
        raise SettingsError(
            f"OUT_DIR: expected a new folder or one of harmobench's, found another dataset in {out}"
        )


def _validate(folder: Path) -> None:
    command = shutil.which(VALIDATOR)
    if command is None:
        tell(f"not validated: no {VALIDATOR} is installed (pip install {VALIDATOR})")
        return
    done = subprocess.run(
        [command, "--format", "json", "--ignoreNiftiHeaders", "--ignoreWarnings", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (ValueError, KeyError, TypeError):
        tell(f"not validated: {VALIDATOR} ended with status {done.returncode}")
        return
    bad = [f"{i.get('code')}: {i.get('location')}" for i in issues if i["severity"] == "error"]
    if bad:
        raise SettingsError(
            f"BIDS_DIR: expected a dataset that validates, found {len(bad)} errors in {folder}, "
            f"among them {'; '.join(bad[:SHOWN])}: mend them (see {VALIDATOR} {folder}), or use "
            "--skip-bids-validation"
        )


def participant(call: Call) -> int:
    """Preprocess subjects one after the other and publish each; return the status."""
    ask = Ask(
        folder=call.bids,
        scanner_from=call.scanner_from,
        wanted=call.wanted,
        subjects=call.subjects,
        mask=call.mask,
    )
    found = from_bids(ask, matched=False)
    labels = list(dict.fromkeys(row.named.get("sub") for row in found.rows))
    if missing := sorted(set(call.subjects) - set(labels)):
        raise SettingsError(
            f"--participant-label: expected subjects with T1 images in {call.bids}, found none for "
            f"{', '.join(missing)}"
        )
    _refuse_other_kind(call.out, {"Quality": _asked(call.options, "--quality", "paper")})
    for line in () if call.quiet else seen_lines(found):
        tell(line)
    make_folder(call.work, "--work-dir")
    status = DONE
    for label in labels:
        own = from_bids(replace(ask, subjects=(label,)), matched=False)
        folder = call.work / f"sub-{label}"
        write_text(folder / SCANS, manifest_text(own, folder / SCANS))
        words = [str(folder / SCANS), "--out", str(folder / RAW), *call.options]
        ended = _harmobench("preprocess", *words)
        if ended not in (DONE, FAILED):
            return ended
        status = max(status, ended)
        _publish(call, label, folder / RAW)
    after = shlex.join(["harmobench-bids", str(call.bids), str(call.out), "group"])
    tell(f"next: {after}, when all subjects are done")
    return status


def _harmobench(*words: str) -> int:
    """Call a command of harmobench in this process; return its status."""
    import sys

    from harmobench.cli import app

    sys.argv = ["harmobench", *words]  # what a run notes as its command
    return int(app(list(words), standalone_mode=False) or DONE)


def _publish(call: Call, label: str, raw: Path) -> None:
    """Link a subject's RAW into the dataset, alone among all that write there."""
    make_folder(call.out, "OUT_DIR")
    with _alone(call.out):
        links = {"raw": quote(os.path.relpath(call.bids.resolve(), call.out.resolve()))}
        more = {k: v for k, v in read_object(raw / DESCRIPTION).items() if k in KEPT}
        _refuse_other_kind(call.out, more)
        describe(Dataset(call.out, "RAW of a matched cohort", README, links, more, IGNORED))
        for old in raw.glob("sub-*"):  # of an earlier call, perhaps with other sessions
            shutil.rmtree(call.out / old.name, ignore_errors=True)
        for path in _files(raw, "sub-*", "tpl-*"):
            link(path, call.out / path.relative_to(raw))
        link(raw / "quality.html", call.out / f"sub-{label}.html")
        _join_people(call.out, raw)


def _refuse_other_kind(out: Path, made: Mapping[str, object]) -> None:
    """Refuse images that cannot be compared with those of other subjects."""
    path = out / DESCRIPTION
    known = read_object(path) if path.is_file() else made
    for what in ("Atlas", "Quality"):
        if what in made and known.get(what) != made[what]:
            raise SettingsError(
                f"OUT_DIR: expected {what} as of the subjects in {out} ({known.get(what)}), found "
                f"{made[what]}: use the same options for all, or another OUT_DIR"
            )


def _asked(options: Sequence[str], name: str, default: str) -> str:
    """Value of an option among words; the last one counts."""
    found = default
    for word, after in zip(options, (*options, "")[1:], strict=True):
        if word == name:
            found = after
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def _files(raw: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        for folder in sorted(raw.glob(pattern)):
            yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # waits: others hold it for seconds
        yield


def _join_people(out: Path, raw: Path) -> None:
    """Put a subject's rows into the tables of all: participants.tsv and what columns mean."""
    rows: dict[str, dict[str, str]] = {}
    for folder in (out, raw):
        path = folder / PEOPLE
        rows |= read_table(path, "participant_id") if path.is_file() else {}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    full = [
        {name: rows[label].get(name, "") or MISSING for name in columns} for label in sorted(rows)
    ]
    write_text(out / PEOPLE, tsv(full))
    for name in ("participants.json", "sessions.json"):
        known = read_object(out / name) if (out / name).is_file() else {}
        write_json(out / name, {**known, **read_object(raw / name)})


def group(call: Call) -> int:
    """Gather what the level participant made, and run the benchmark on it; return the status."""
    if call.wanted:
        raise SettingsError(
            "--session-label, --run-label, --acq-label: expected at the level participant, found "
            "at group: it takes all that is in OUT_DIR"
        )
    if not any(call.out.glob("sub-*/")):
        raise HarmobenchError(
            f"OUT_DIR: expected what the level participant made, found no sub-* in {call.out}: "
            f"give harmobench-bids {call.bids} {call.out} participant first"
        )
    with _alone(call.out):
        found = from_bids(Ask(folder=call.out, subjects=call.subjects))
        write_text(call.out / COHORT, manifest_text(found, call.out / COHORT))
    for line in () if call.quiet else seen_lines(found):
        tell(line)
    words = ["--cohort", str(call.out / COHORT), "--out", str(call.out / RUN), *call.options]
    return _harmobench("run", *words)
