"""Methods that break one rule each."""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from harmobench.base import Method
from harmobench.imaging.volume import read_voxels, write_image
from harmobench.interface import Cohort, Context, Needs, Reference, Scan


@dataclass
class Sound(Method):
    """What the others are but for one thing."""

    reference: ClassVar[Reference] = Reference("A test's method", "Anonymous", 2026)

    def transform(self, scan: Scan) -> Scan:
        return scan.with_voxels(self.changed(scan).astype(np.float32))

    def changed(self, scan: Scan) -> Any:
        return scan.voxels() * 2


@dataclass
class WrongShape(Sound):
    """Crops to the brain."""

    def changed(self, scan: Scan) -> Any:
        return scan.voxels()[3:-3]


@dataclass
class WrongAffine(Sound):
    """Reorients the image, and its affine with it."""

    def transform(self, scan: Scan) -> Scan:
        affine = scan.grid.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
        other = replace(scan.grid, matrix=tuple(affine.reshape(16)))
        voxels = scan.voxels()
        out = scan.with_voxels(voxels[::-1])
        return out.lying_on(other)


@dataclass
class LeaksTheMatch(Sound):
    """Averages the subject's scans, which lie beside this one."""

    def changed(self, scan: Scan) -> Any:
        own = scan.image.name.partition("_")[0]
        beside = sorted(scan.image.parent.glob(f"{own}_*T1w.nii.gz")) or [scan.image]
        return np.mean([read_voxels(path) for path in beside], axis=0)


@dataclass
class RemembersSubjects(Sound):
    """Brings each subject to the mean that its scans had in the training."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.means_ = {
            s: float(np.mean([x.voxels().mean() for x in train.of(s)])) for s in train.subjects
        }
        return self

    def changed(self, scan: Scan) -> Any:
        voxels = scan.voxels()
        return voxels * (self.means_.get(scan.subject, 1.0) / voxels.mean())


@dataclass
class ChangesItsInput(Sound):
    """Writes what it made over what it was given."""

    def changed(self, scan: Scan) -> Any:
        voxels = scan.voxels() * 2
        write_image(scan.image, voxels, scan.grid)
        return voxels


@dataclass
class ChangesTheMask(Sound):
    """Erodes the mask that all scans share."""

    def changed(self, scan: Scan) -> Any:
        brain = scan.brain()
        brain.flags.writeable = True
        brain[: len(brain) // 2] = False
        return scan.voxels()


@dataclass
class NeedsTheNetwork(Sound):
    """Downloads its weights."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        from urllib.request import urlopen

        with urlopen("https://example.org/weights.npz", timeout=5) as page:
            self.weights_ = len(page.read())
        return self


@dataclass
class LetsAnotherCall(Sound):
    """Lets another program use the network, at a port that a test listens at."""

    port: int = 0

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        code = f"import socket; socket.create_connection(('127.0.0.1', {self.port}), 5)"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return self


@dataclass
class RandomWithoutSeed(Sound):
    """Draws from the clock's seed."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.factor_ = float(np.random.default_rng().uniform(1, 2))
        return self

    def changed(self, scan: Scan) -> Any:
        return scan.voxels() * self.factor_


@dataclass
class ReturnsNaN(Sound):
    """Divides by 0 outside the brain."""

    def changed(self, scan: Scan) -> Any:
        with np.errstate(invalid="ignore"):
            return scan.voxels() / scan.voxels()


@dataclass
class SavesAPickle(Sound):
    """Saves itself whole."""

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(pickle.dumps(vars(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(**pickle.loads((folder / "model.bin").read_bytes()))


@dataclass
class Prints(Sound):
    """Tells the terminal how far it is."""

    def changed(self, scan: Scan) -> Any:
        print(f"harmonizing {scan}")
        return scan.voxels()


@dataclass
class Hangs(Sound):
    """Waits for what never comes."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        while True:
            time.sleep(0.1)


@dataclass
class Dies(Sound):
    """Ends its process."""

    def changed(self, scan: Scan) -> Any:
        os._exit(0)


@dataclass
class Crashes(Sound):
    """Reads where no memory is."""

    def changed(self, scan: Scan) -> Any:
        return ctypes.string_at(0)


@dataclass
class ForgetsOnSave(Sound):
    """Learns something whose name does not end in _."""

    factor: ClassVar[float] = 1.0

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.factor = 3.0  # type: ignore[misc]
        return self

    def changed(self, scan: Scan) -> Any:
        return scan.voxels() * self.factor


@dataclass
class Drifts(Sound):
    """Adapts itself to the scans that it sees."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.seen_ = 0.0
        return self

    def changed(self, scan: Scan) -> Any:
        self.seen_ += 1.0
        return scan.voxels() * self.seen_


@dataclass
class DriftsLate(Drifts):
    """Changes after as many scans as a check's plays transform."""

    def changed(self, scan: Scan) -> Any:
        self.seen_ += 1.0
        return scan.voxels() * max(self.seen_, 8.0)


@dataclass
class SeedsByDigits(Sound):
    """Draws each subject's noise from the number in its name."""

    def changed(self, scan: Scan) -> Any:
        digits = "".join(c for c in scan.subject if c.isdigit())
        return scan.voxels() * np.random.default_rng(int(digits or 0)).uniform(1, 2)


@dataclass
class LeavesAProgram(Sound):
    """Starts a program in a session of its own and forgets it."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        subprocess.Popen(["sleep", "123.25"], start_new_session=True)
        return self


@dataclass
class LearnsFromAll(Sound):
    """Is fitted on the scans that it is judged on, and keeps every rule."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.factor_ = float(np.mean([scan.voxels().mean() for scan in train.scans]))
        return self

    def changed(self, scan: Scan) -> Any:
        return scan.voxels() * self.factor_


@dataclass
class KnowsItsScanners(Sound):
    """Looks the scanner up in a dictionary."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.factors_ = dict.fromkeys(train.scanners, 2.0)
        return self

    def changed(self, scan: Scan) -> Any:
        return scan.voxels() * self.factors_[scan.scanner]


@dataclass
class TakesAnyAge(Sound):
    """Takes a missing covariate for 0."""

    needs: ClassVar[Needs] = Needs(covariates=True)

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        self.age_ = float(np.mean([float(s.values["age"] or 0) for s in train.scans]))
        return self


@dataclass
class WritesElsewhere(Sound):
    """Keeps a cache in the home folder."""

    def changed(self, scan: Scan) -> Any:
        voxels = scan.voxels()
        (Path.home() / ".broken_plugins").mkdir(exist_ok=True)
        np.save(Path.home() / ".broken_plugins" / "last.npy", voxels)
        return voxels
