"""Covariates of people and of their visits: participants.tsv and sub-*_sessions.tsv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harmobench.bids.describe import PEOPLE, SCANNER, SUBJECT
from harmobench.bids.find import Dataset
from harmobench.bids.names import Named
from harmobench.bids.reading import read_table
from harmobench.errors import HarmobenchError
from harmobench.manifest import REQUIRED, is_file_column

KEYS = ("participant_id", "session_id")


@dataclass(frozen=True)
class People:
    """What the tables of a dataset say.

    Attributes
    ----------
    persons
        Row of participants.tsv of each subject's label.
    visits
        Row of sessions.tsv of each (subject's label, session's label).
    notes, faults
        What was left out of them, and what is wrong with them.
    ours
        Whether harmobench wrote them: then they have the names of the first manifest.
    """

    persons: Mapping[str, Mapping[str, str]]
    visits: Mapping[tuple[str, str], Mapping[str, str]]
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    ours: bool = False

    def visit(self, image: Named) -> Mapping[str, str]:
        """Row of the session of an image; empty where there is none."""
        return self.visits.get((image.get("sub"), image.get("ses")), {})

    def subject(self, image: Named) -> str:
        """Name of the subject of an image."""
        label = image.get("sub")
        own = self.persons.get(label, {}).get(SUBJECT, "") if self.ours else ""
        return own or label

    def columns(self) -> list[str]:
        """Columns that can be covariates, in the tables' order."""
        every = [name for row in (*self.persons.values(), *self.visits.values()) for name in row]
        return [name for name in dict.fromkeys(every) if not is_reserved(name)]

    def values(self, image: Named) -> dict[str, str]:
        """Covariates of an image: its session's where that has a value, else its subject's."""
        person, visit = self.persons.get(image.get("sub"), {}), self.visit(image)
        return {name: visit.get(name) or person.get(name, "") for name in self.columns()}


def is_reserved(name: str) -> bool:
    """Whether a column of that name means something else in a manifest."""
    return name in (*KEYS, *REQUIRED) or is_file_column(name)


def read_people(dataset: Dataset, subjects: tuple[str, ...]) -> People:
    """Read the tables of a dataset, else those of the raw one beside it; faults are gathered."""
    persons: dict[str, dict[str, str]] = {}
    visits: dict[tuple[str, str], dict[str, str]] = {}
    faults: list[str] = []
    for root in reversed(dataset.roots):  # its own tables over those of the raw dataset
        try:
            path = root / PEOPLE
            found = read_table(path, KEYS[0]) if path.is_file() else {}
            persons |= {label.removeprefix("sub-"): row for label, row in found.items()}
        except HarmobenchError as error:
            faults.append(str(error))
        for label in subjects:
            path = root / f"sub-{label}" / f"sub-{label}_sessions.tsv"
            try:
                table = read_table(path, KEYS[1]) if path.is_file() else {}
            except HarmobenchError as error:
                faults.append(str(error))
                continue
            visits |= {(label, name.removeprefix("ses-")): row for name, row in table.items()}
    persons = {label: row for label, row in persons.items() if label in subjects}
    notes = _notes(persons, visits, subjects, dataset)
    return People(persons, visits, tuple(notes), tuple(faults), dataset.ours)


def _notes(
    persons: Mapping[str, Mapping[str, str]],
    visits: Mapping[tuple[str, str], Mapping[str, str]],
    subjects: tuple[str, ...],
    dataset: Dataset,
) -> list[str]:
    without = [label for label in subjects if label not in persons]
    notes = []
    if not persons:
        notes.append(f"found no {PEOPLE}: the manifest has no covariates of people")
    elif without:
        names = ", ".join(f"sub-{label}" for label in without[:10])
        more = f" and {len(without) - 10} more" if len(without) > 10 else ""
        notes.append(f"not in {PEOPLE}, left without covariates: {names}{more}")
    known = {name for row in (*persons.values(), *visits.values()) for name in row}
    own = {SUBJECT, SCANNER} if dataset.ours else {SCANNER}
    notes += [
        f"column '{name}' is left out: in a manifest it means something else"
        for name in sorted(known)
        if is_reserved(name) and name not in (*KEYS, *own)
    ]
    return notes
