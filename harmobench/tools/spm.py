"""Tissue segmentation by SPM12, which the user has: standalone, or under MATLAB or Octave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harmobench import limits
from harmobench.errors import MeasurementError, SettingsError
from harmobench.imaging.volume import FloatArray, write_image
from harmobench.interface import Context, Reference, Scan
from harmobench.tools import exchange, program, spm_batch, spm_find
from harmobench.tools.spm_find import NAME, OWNER, RUNNERS, Installed

SCRIPT = "harmobench_spm12"  # a name that MATLAB can call
MAPS = {"csf": "c3t1", "gm": "c1t1", "wm": "c2t1"}  # SPM's order is GM, WM, CSF


@dataclass(frozen=True)
class SPM12:
    """SPM12's unified segmentation with its six default tissues; nothing is warped.

    Attributes
    ----------
    prefix
        What stands before the command where SPM12 is in a container, such as
        "apptainer exec -B {dir} spm12.sif"; {dir} is the folder of the image and the maps, in
        which the command has to start (docker: -w {dir}).
    runner
        "standalone", "matlab", "octave", or "auto": the first of them that is there. With a
        prefix it has to be named.
    home
        Folder of SPM12, in the container where there is a prefix. Empty: that of the variable
        SPM12_HOME.
    mcr
        Folder of the MATLAB runtime of a standalone SPM12. Empty: that of MCR_HOME.
    biasreg
        Weight of the bias field's smoothness.
    biasfwhm
        Smoothness of the bias field, mm; 0 stands for infinite, no bias correction, since RAW has
        had one.
    minutes
        Time limit of one image.
    """

    prefix: str = ""
    runner: str = "auto"
    home: str = ""
    mcr: str = ""
    biasreg: float = 10.0
    biasfwhm: float = 0.0
    minutes: float = 60.0

    aside: ClassVar[tuple[str, ...]] = ("prefix", "runner", "home", "mcr", "minutes")
    reference: ClassVar[Reference] = Reference(
        title="Unified segmentation",
        authors="Ashburner, J. and Friston, K. J.",
        year=2005,
        venue="NeuroImage 26(3), 839-851",
        doi="10.1016/j.neuroimage.2005.02.018",
        key="ashburner2005unified",
    )

    def available(self) -> str | None:
        """None where SPM12 was found; else what was looked for, where, and what to set.

        Raises
        ------
        SettingsError
            A parameter that cannot be used.
        """
        found = self._look()
        return found if isinstance(found, str) else None

    def version(self) -> str:
        """Return SPM12's release and what runs it."""
        found = self._look()
        if isinstance(found, str):
            return f"{NAME}, version unknown"
        name, release = spm_find.release(found, self.prefix)
        return f"{name}, version {release} ({found.runner})"

    def where(self) -> str:
        """Return where it was found."""
        found = self._look()
        place = found if isinstance(found, str) else found.program
        return f"behind {self.prefix}" if self.prefix else place

    def segment(self, scan: Scan, context: Context) -> Mapping[str, FloatArray]:
        """Posterior probability of csf, gm and wm.

        SPM finds the brain from where the header says that it lies: the copy that it gets has the
        brain's centre where MNI152 has it, and the maps are read voxel by voxel.

        Raises
        ------
        MeasurementError
            SPM12 is not there, failed, took too long, or wrote no three tissues.
        """
        found = self._look()
        if isinstance(found, str):
            raise MeasurementError(found)
        brain = scan.brain()
        with exchange.workspace(context, NAME) as folder:
            image = folder / "t1.nii"  # SPM reads no .nii.gz
            write_image(image, scan.voxels(), spm_batch.centred(scan.grid, brain))
            said = program.run(
                self._command(found, folder, context.threads),
                folder,
                minutes=self.minutes,
                prefix=self.prefix,
                log=context.log,
                environment=_environment(folder, context.threads),
            )
            files = {tissue: folder / name for tissue, name in MAPS.items()}
            return exchange.read_maps(files, brain, NAME, program.last_words(said))

    def _command(self, found: Installed, folder: Path, threads: int) -> list[str]:
        """Write what SPM is to do into the folder; return the command that does it."""
        job = spm_batch.job(folder / "t1.nii", self.biasreg, self.biasfwhm)
        script = folder / f"{SCRIPT}.m"
        if found.runner == "standalone":
            script.write_text(job, encoding="utf-8")
            return [found.program, found.mcr, "batch", str(script)]
        script.write_text(spm_batch.script(job, found.home), encoding="utf-8")
        if found.runner == "octave":
            return [found.program, "--no-gui", "-q", str(script)]
        quiet = ["-nodisplay", "-nosplash", "-nodesktop"]
        single = ["-singleCompThread"] if threads == 1 else []
        return [found.program, *quiet, *single, "-r", SCRIPT]  # from the folder: nothing to quote

    def _check(self) -> None:
        program.check_prefix(OWNER, self.prefix)
        limits.refuse(
            OWNER,
            limits.choice("runner", self.runner, ("auto", *RUNNERS)),
            limits.number(
                "biasreg",
                self.biasreg,
                lambda weight: weight in spm_batch.BIASREG,
                f"one of {', '.join(f'{weight:g}' for weight in spm_batch.BIASREG)}",
            ),
            limits.number(
                "biasfwhm",
                self.biasfwhm,
                lambda width: width in spm_batch.BIASFWHM,
                "0 (no bias correction) or 30, 40, ... 150 mm",
            ),
            limits.number("minutes", self.minutes, lambda m: m > 0, "a number above 0"),
        )
        if self.prefix and self.runner == "auto":
            raise SettingsError(
                f"parameter '{OWNER}.runner': expected {', '.join(RUNNERS)} where there is a "
                "prefix, found 'auto': name the one that is in the container, with "
                f"--set {OWNER}.runner=..., and where it is there, with {OWNER}.home (a standalone "
                f"one: {OWNER}.mcr)"
            )

    def _look(self) -> Installed | str:
        self._check()
        return spm_find.look(self.runner, self.home, self.mcr, self.prefix)


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """Variables that keep runs side by side apart, and SPM from opening a browser."""
    return {
        "MCR_CACHE_ROOT": str(folder),
        "SPM_HTML_BROWSER": "0",
        "OMP_NUM_THREADS": str(threads),
    }
