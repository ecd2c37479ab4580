"""Tissue segmentation by FSL FAST, which the user has installed or in a container.

The paper (Torbati et al. 2023, section 2.5) segments with FAST of FSL 6.0.3.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harmobench import limits
from harmobench.cohort import TISSUES
from harmobench.errors import MeasurementError
from harmobench.imaging.volume import FloatArray, write_image
from harmobench.interface import Context, Reference, Scan
from harmobench.references import ZHANG_2001
from harmobench.tools import exchange, program

NAME = "FSL FAST"
OWNER = "fsl-fast"  # the name under which its parameters are set
PLACES = ("bin", "share/fsl/bin")  # of FSL's programs, in its folder
VERSION_FILE = "etc/fslversion"  # in its folder
# every FSL program's usage begins so: "Part of FSL (ID: 6.0.3:b862cdd5)", once "(build 509)"
USAGE = re.compile(r"Part of FSL \((?:ID:|build)\s*([\w.][^)\s]*)\s*\)")


@dataclass(frozen=True)
class FAST:
    """FSL FAST with three classes, without its bias-field correction: RAW has had one.

    Attributes
    ----------
    prefix
        What stands before the command where FSL is in a container, such as
        "apptainer exec -B {dir} fsl.sif" or "docker run --rm -v {dir}:{dir} fsl"; {dir} is the
        folder of the image and the maps.
    fsldir
        Folder of FSL, in the container where there is a prefix. Empty: that of the variable
        FSLDIR, else what PATH finds.
    posterior
        Read the posterior probabilities of the hard segmentation (-p, OUT_prob_0 to 2) instead of
        the partial volumes (OUT_pve_0 to 2).
    minutes
        Time limit of one image.
    """

    prefix: str = ""
    fsldir: str = ""
    posterior: bool = False
    minutes: float = 30.0

    aside: ClassVar[tuple[str, ...]] = ("prefix", "fsldir", "minutes")
    reference: ClassVar[Reference] = ZHANG_2001

    def available(self) -> str | None:
        """None where FAST was found; else what was looked for, where, and what to set.

        Raises
        ------
        SettingsError
            A parameter that cannot be used.
        """
        self._check()
        if self._program() is not None:
            return None
        return (
            f"{NAME} needs FSL's program fast, which was not found {self._where()}: install FSL, "
            f"or set {OWNER}.fsldir=DIR, or for a container "
            f'{OWNER}.prefix="apptainer exec -B {{dir}} fsl.sif"'
        )

    def version(self) -> str:
        """Return FSL's version, from the folder that fast is in or from what it prints."""
        home = None if self.prefix else _home(self._program())
        if home is not None:
            words = (home / VERSION_FILE).read_text(encoding="utf-8", errors="replace").split()
            return f"{NAME} {words[0]}" if words else f"{NAME}, version unknown"
        found = USAGE.search(program.ask([self._program() or "fast"], prefix=self.prefix))
        return f"{NAME} {found[1]}" if found else f"{NAME}, version unknown"

    def where(self) -> str:
        """Return where it was found."""
        return f"behind {self.prefix}" if self.prefix else str(self._program())

    def segment(self, scan: Scan, context: Context) -> Mapping[str, FloatArray]:
        """Partial volume (or posterior probability) of csf, gm and wm.

        FAST numbers its classes by their mean intensity: CSF, GM and WM in a T1 image.

        Raises
        ------
        MeasurementError
            FAST is not there, failed, took too long, or wrote no three tissues.
        """
        missing = self.available()
        if missing:
            raise MeasurementError(missing)
        with exchange.workspace(context, NAME) as folder:
            write_image(folder / "t1.nii.gz", scan.voxels(), scan.grid)
            said = program.run(
                self._command(folder),
                folder,
                minutes=self.minutes,
                prefix=self.prefix,
                log=context.log,
                environment=self._environment(),
            )
            kind = "prob" if self.posterior else "pve"
            files = {tissue: folder / f"out_{kind}_{k}" for k, tissue in enumerate(TISSUES)}
            return exchange.read_maps(files, scan.brain(), NAME, program.last_words(said))

    def _check(self) -> None:
        program.check_prefix(OWNER, self.prefix)
        limits.refuse(
            OWNER,
            limits.switch("posterior", self.posterior),
            limits.number("minutes", self.minutes, lambda m: m > 0, "a number above 0"),
        )

    def _folder(self) -> Path | None:
        """FSL's folder, where it is known."""
        if self.fsldir:
            return Path(self.fsldir) if self.prefix else Path(self.fsldir).expanduser()
        if self.prefix:
            return None
        if os.environ.get("FSLDIR"):
            return Path(os.environ["FSLDIR"])
        return _home(program.find("fast"))

    def _program(self) -> str | None:
        folder = self._folder()
        if self.prefix and folder is not None:
            return program.find(f"{folder}/bin/fast", prefix=self.prefix)
        places = [folder / place for place in PLACES] if folder is not None else []
        return program.find("fast", places, self.prefix, on_path=not self.fsldir)

    def _where(self) -> str:
        if self.prefix:
            return f"behind the prefix '{self.prefix}', whose own program is not on PATH"
        folder = self._folder()
        within = f"in {' or '.join(PLACES)} of {folder}" if folder is not None else "on PATH"
        unset = "" if folder is not None else " (FSLDIR is not set)"
        return within + unset

    def _command(self, folder: Path) -> list[str]:
        more = ["-p"] if self.posterior else []
        out, image = str(folder / "out"), str(folder / "t1.nii.gz")
        return [self._program() or "fast", "-t", "1", "-n", "3", "-N", *more, "-o", out, image]

    def _environment(self) -> dict[str, str]:
        folder = self._folder()
        home = {} if folder is None else {"FSLDIR": str(folder)}
        return {"FSLOUTPUTTYPE": "NIFTI_GZ", **home}


def _home(fast: str | None) -> Path | None:
    """Folder of the FSL that a program belongs to; None where that is not known."""
    path = Path(fast or "/")
    parents = (*path.parents, *path.resolve().parents)
    return next((p for p in parents if os.access(p / VERSION_FILE, os.R_OK)), None)
