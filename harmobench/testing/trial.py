"""A method on the check's cohort: which scans it gets, in which steps, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harmobench.errors import PluginError
from harmobench.imaging.volume import read_voxels
from harmobench.interface import CONTROLS
from harmobench.registry import find
from harmobench.testing.images import image_faults
from harmobench.testing.judge import array, difference, ended, judged, said, unreached
from harmobench.testing.play import Step, Theatre
from harmobench.testing.remains import Played
from harmobench.testing.rule import Rule, Verdict
from harmobench.testing.stage import SCANNERS, SUBJECTS

NAMES = tuple(SCANNERS)
FOUR, UNSEEN = NAMES[:4], NAMES[4]
TESTED = SUBJECTS[:2]
# Scans of the subjects that are tested; SOME are enough where each is copied.
SOME = tuple((subject, scanner) for subject in TESTED for scanner in FOUR[:2])
ALL = (*SOME, *((subject, scanner) for subject in TESTED for scanner in FOUR[2:]))
# Transformed before the others, to wake what changes after as many transforms as a play has.
BEFORE = tuple((subject, scanner) for subject in SUBJECTS[2:4] for scanner in FOUR)
FIT = "fit"
SEED = 7
GROUP = {"column": "group", "first": "patient", "second": "control"}
Spec = dict[str, Any]
Place = tuple[str, str]  # subject and scanner


@dataclass
class Trial:
    """A method on the cohort.

    Attributes
    ----------
    theatre
        Where it plays.
    needs
        What it says that it needs.
    individual
        Whether it is fitted on no scan.
    broken
        Rules that its images broke on the first cohort.
    """

    theatre: Theatre
    needs: dict[str, Any]
    individual: bool = False
    broken: set[Rule] = field(default_factory=set)

    @property
    def control(self) -> bool:
        """Whether it is there to test metrics."""
        return self.needs["role"] in CONTROLS

    @property
    def at_once(self) -> bool:
        """Whether it is fitted on the very scans that it is judged on."""
        return not (self.needs["folds"] or self.individual or self.control)

    def spec(self, subject: str, scanner: str) -> Spec:
        """Describe a scan with the columns and inputs that the method asked for."""
        own = self.theatre.stage.spec(subject, scanner, tuple(self.needs["inputs"]))
        seen = {"age": self.needs["covariates"], "group": self.needs["group"]}
        return own | {"values": {k: v for k, v in own["values"].items() if seen.get(k)}}

    def scan(self, subject: str, scanner: str, scanners: Sequence[str] = FOUR) -> Spec:
        """Describe a scan to transform, with those of `scanners` that a control may look at."""
        trained = self._subjects(len(scanners) > len(FOUR))[0]
        everyone = {"scan": (), "subject": (subject,), "cohort": trained}
        others = [self.spec(s, k) for s in everyone[self.needs["sees"]] for k in scanners]
        return self.spec(subject, scanner) | {"others": others}

    def _subjects(self, everybody: bool = False) -> tuple[Sequence[str], Sequence[str] | None]:
        """Subjects to train on and to validate on; those of a fold's test stay out of it."""
        if self.needs["folds"]:
            return SUBJECTS[2:6], SUBJECTS[6:8]
        return (SUBJECTS if everybody else SUBJECTS[:6]), None

    def fit(self, scanners: Sequence[str], model: Path) -> Step:
        """Return a step that fits on the subjects' scans of these scanners, and saves."""
        train, validation = self._subjects(len(scanners) > len(FOUR))
        return {
            "name": FIT,
            "do": "fit",
            "seed": SEED,
            "model": str(model),
            "train": [self.spec(s, k) for s in train for k in scanners],
            "validation": validation and [self.spec(s, k) for s in validation for k in scanners],
            "covariates": ["age"] if self.needs["covariates"] else [],
            "group": GROUP if self.needs["group"] else None,
            "target": self.needs["target"],
        }

    def transforms(
        self, play: str, places: Iterable[Place] = SOME, scanners: Sequence[str] = FOUR
    ) -> list[Step]:
        """Return steps that transform scans of a cohort of `scanners`."""
        return [self.transform(play, s, k, self.scan(s, k, scanners)) for s, k in places]

    def transform(self, play: str, subject: str, scanner: str, scan: Spec) -> Step:
        """Return a step that transforms a scan; the result is kept under these names."""
        out = self._out(play, subject, scanner)
        name = f"transform of {subject} on {scanner}"
        return {"name": name, "do": "transform", "scan": scan, "out": str(out)}

    def _out(self, play: str, subject: str, scanner: str) -> Path:
        folder = self.theatre.stage.folder / "plays" / play / "out"
        return folder / f"{subject}_{scanner}.npy"

    def model(self, name: str) -> Path:
        """Folder for what a play saves."""
        models = self.theatre.stage.folder / "models"
        models.mkdir(exist_ok=True)
        return models / name

    def share(self) -> None:
        """Make the images that the method asks for by Needs.inputs.

        Raises
        ------
        PluginError
            The method that makes them is not installed, or failed.
        """
        stage = self.theatre.stage
        for name in self.needs["inputs"]:
            if name == "tissue":
                continue
            places = [(s, k) for s in SUBJECTS for k in NAMES]
            step: Step = {
                "name": f"input '{name}'",
                "do": "shared",
                "scans": [stage.spec(*place) for place in places],
                "outs": [str(stage.file(name, *place)) for place in places],
            }
            plugin = find("methods", name)
            played = self.theatre.play(f"input-{name}", [step], plugin, writable=[stage.cohort])
            error = played.error(step["name"])
            if error or not played.over:
                why = said(error) if error else ended(played)
                raise PluginError(f"the shared input '{name}' could not be made: {why}")

    def faults(self, played: Played, places: Iterable[Place]) -> list[tuple[Rule, str]] | None:
        """Faults of all images of a play; None where there is none to look at."""
        brain = read_voxels(self.theatre.stage.mask) > 0
        found, looked = [], False
        for subject, scanner in places:
            facts = played.facts(f"transform of {subject} on {scanner}")
            if facts is None:
                continue
            looked = True
            voxels = array(self._out(played.name, subject, scanner))
            raw = read_voxels(self.theatre.stage.file("T1w", subject, scanner))
            for rule, fault in image_faults(voxels, raw, brain, facts):
                found.append((rule, f"{fault}, for subject {subject} on {scanner}"))
        return found if looked else None

    def new_faults(self, rule: Rule, played: Played, places: Iterable[Place]) -> Verdict:
        """Judge images by what was not broken before."""
        found = self.faults(played, places) or []
        faults = [f"{broken.name}: {text}" for broken, text in found if broken not in self.broken]
        if found and not faults:
            names = ", ".join(sorted({broken.name for broken, _ in found}))
            return unreached(rule, f"{names} was broken before")
        return judged(rule, faults)

    def any_image(self, played: Played) -> bool:
        """Whether a play transformed anything."""
        return any(played.facts(name) for name in played.steps if name.startswith("transform"))

    def alike(self, rule: Rule, one: Played, other: Played) -> Verdict:
        """Judge whether two plays gave the same images."""
        faults = []
        for step in (step for step in one.steps if step.startswith("transform")):
            if one.facts(step) is None or step not in other.steps:
                continue
            subject, _, scanner = step.removeprefix("transform of ").partition(" on ")
            error = other.error(step)
            if error:
                faults.append(f"'{step}' raised {said(error)}")
                continue
            a, b = (array(self._out(play.name, subject, scanner)) for play in (one, other))
            if a is not None and b is not None:
                apart = difference(a, b)
                faults.append(f"{apart}, for subject {subject} on {scanner}" if apart else "")
        if not any(faults) and not (other.over and self.any_image(other)):
            return unreached(rule, ended(other))
        return judged(rule, faults)


def files_of(spec: Spec) -> list[str]:
    """Files that a scan is made of."""
    return [spec["image"], spec["mask"], *spec["inputs"].values()]
