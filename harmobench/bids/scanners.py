"""Which scanner each image is from: told by its session, a table or its sidecar, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmobench.bids.find import Dataset, find_images
from harmobench.bids.names import Named
from harmobench.bids.people import People
from harmobench.bids.reading import sidecar_of
from harmobench.errors import HarmobenchError, SettingsError

WAYS = ("auto", "session", "sessions-tsv", "sidecar")
COLUMN = "scanner"
MAKER, MODEL, SERIAL = "Manufacturer", "ManufacturersModelName", "DeviceSerialNumber"
VISIT = re.compile(
    r"\d+|[a-z]?\d+|(ses|session|visit|v|tp|t|time|timepoint|scan|day|d|m|month|y|year|wave|w)\d+"
    r"|pre|post|baseline|bl|followup|fu\d*|test|retest",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Told:
    """The scanner of each image, how it was told, and what is doubtful or at fault about it."""

    names: Mapping[Named, str]
    how: str
    notes: Sequence[str] = ()
    faults: Sequence[str] = ()


def read_way(text: str) -> tuple[str, str]:
    """Take `--scanner-from` apart: the way, and the column of sessions.tsv.

    >>> read_way("sessions-tsv:site")
    ('sessions-tsv', 'site')
    """
    way, colon, column = text.partition(":")
    if way not in WAYS or (colon and (way != "sessions-tsv" or not column)):
        raise SettingsError(
            f"--scanner-from: expected {', '.join(WAYS)} or sessions-tsv:COLUMN, found '{text}'"
        )
    return way, column or COLUMN


def tell(dataset: Dataset, images: Sequence[Named], people: People, asked: str) -> Told:
    """Tell the scanner of every image in the way that was asked for.

    `auto` takes the column "scanner" of sessions.tsv where there is one, else the sessions' labels
    where they are no numbers of visits, else the sidecars.
    """
    way, column = read_way(asked)
    if way == "auto":
        way = _chosen(images, people)
    if way == "sessions-tsv":
        return _by_table(images, people, column)
    if way == "sidecar":
        return _by_sidecar(dataset, images)
    return _by_session(dataset, images)


def _chosen(images: Sequence[Named], people: People) -> str:
    if any(people.visit(image).get(COLUMN) for image in images):
        return "sessions-tsv"
    labels = {image.get("ses") for image in images}
    return "sidecar" if any(not x or VISIT.fullmatch(x) for x in labels) else "session"


def _by_table(images: Sequence[Named], people: People, column: str) -> Told:
    names, faults = {}, []
    for image in images:
        found = people.visit(image).get(column, "")
        if found:
            names[image] = found
        else:
            faults.append(
                f"{image.path.name}: the scanner could not be told: found no value in column "
                f"'{column}' for ses-{image.get('ses') or '?'} in sub-{image.get('sub')}_sessions"
                ".tsv: write it there, or use another --scanner-from"
            )
    return Told(names, f"column '{column}' of the sessions.tsv files", (), faults)


def _by_session(dataset: Dataset, images: Sequence[Named]) -> Told:
    faults = [
        f"{image.path.name}: the scanner could not be told: it has no session; use "
        "--scanner-from sidecar"
        for image in images
        if not image.get("ses")
    ]
    names = {image: image.get("ses") for image in images if image.get("ses")}
    return Told(names, "the sessions' labels (ses-)", _disagreements(dataset, names), faults)


def _disagreements(dataset: Dataset, names: Mapping[Named, str]) -> list[str]:
    """Say where the sidecars know of two scanners under one label."""
    known: dict[str, set[str]] = {}
    for image, name in names.items():
        try:
            found = _scanner(_fields(dataset, image))
        except HarmobenchError:  # a broken sidecar is none that was asked for
            continue
        if found:
            known.setdefault(name, set()).add(found)
    return [
        f"doubtful: ses-{name} has images of {len(found)} scanners by their sidecars "
        f"({', '.join(sorted(found))}): is --scanner-from sidecar meant?"
        for name, found in known.items()
        if len(found) > 1
    ]


def _by_sidecar(dataset: Dataset, images: Sequence[Named]) -> Told:
    names: dict[Named, str] = {}
    faults: list[str] = []
    serials: dict[str, set[str]] = {}
    for image in images:
        try:
            fields = _fields(dataset, image)
        except HarmobenchError as error:
            faults.append(str(error))
            continue
        names[image] = _scanner(fields)
        if names[image]:
            serials.setdefault(_words(fields, MAKER, MODEL), set()).add(_words(fields, SERIAL))
        else:
            there = ", ".join(key for key in (MAKER, MODEL, SERIAL) if fields.get(key)) or "none"
            faults.append(
                f"{image.path.name}: the scanner could not be told: expected {MAKER} and {MODEL} "
                f"in its JSON sidecars, found {there}: add them, or use --scanner-from session "
                "where the sessions are the scanners, or a column of sessions.tsv"
            )
    faults += [
        f"the scanner could not be told: found {name} with {SERIAL} in some sidecars and without "
        "in others: add it to all, or use another --scanner-from"
        for name, found in serials.items()
        if "" in found and len(found) > 1
    ]
    return Told(names, "the JSON sidecars", _alike(names), faults)


def _fields(dataset: Dataset, image: Named) -> Mapping[str, object]:
    """Fields of an image's sidecars, or where they name no scanner, of the raw images' beside."""
    fields = sidecar_of(image, dataset.root)
    if _scanner(fields) or dataset.raw is None:
        return fields
    label = [image.get("ses") or "none"]
    raw = find_images(Dataset(dataset.raw, {}), image.suffix, {"ses": label}, [image.get("sub")])
    found = [sidecar_of(each, dataset.raw) for each in raw.images]
    return found[0] if len({_scanner(each) for each in found}) == 1 else fields


def _scanner(fields: Mapping[str, object]) -> str:
    if not fields.get(MAKER) or not fields.get(MODEL):
        return ""
    return _words(fields, MAKER, MODEL, SERIAL)


def _words(fields: Mapping[str, object], *keys: str) -> str:
    return " ".join(" ".join(str(fields.get(key) or "") for key in keys).split())


def _alike(names: Mapping[Named, str]) -> list[str]:
    spelled: dict[str, set[str]] = {}
    for name in names.values():
        spelled.setdefault(re.sub(r"[\W_]", "", name).casefold(), set()).add(name)
    return [
        f"doubtful: {' and '.join(sorted(found))} are taken for {len(found)} scanners: if they are "
        "one, write one name into the sidecars"
        for found in spelled.values()
        if len(found) > 1
    ]
