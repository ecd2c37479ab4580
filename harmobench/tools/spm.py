"""Tissue segmentation by SPM12, which the user has: standalone, or under MATLAB or Octave."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from harmobench import limits
from harmobench.errors import MeasurementError, SettingsError
from harmobench.imaging.volume import FloatArray, write_image
from harmobench.interface import Context, Reference, Scan
from harmobench.tools import exchange, program, spm_batch

NAME = "SPM12"
OWNER = "spm12"  # the name under which its parameters are set
RUNNERS = ("standalone", "matlab", "octave")
SCRIPT = "harmobench_spm12"  # a name that MATLAB can call
MAPS = {"csf": "c3t1", "gm": "c1t1", "wm": "c2t1"}  # SPM's order is GM, WM, CSF
RELEASE = re.compile(r"Version\s+(\S+)\s+\((SPM\d+)\)")  # in Contents.m
BANNER = re.compile(r"(SPM\d+)(?:, version | \()([\w.]+)")  # what standalone ones print


class Installed(NamedTuple):
    """An SPM12 that can be run.

    Attributes
    ----------
    runner
        "standalone", "matlab" or "octave".
    program
        What runs it.
    home
        Its folder; empty where it is not known.
    mcr
        Folder of the MATLAB runtime, for a standalone one.
    """

    runner: str
    program: str
    home: str
    mcr: str = ""


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
    biasreg: float = 10
    biasfwhm: float = 0
    minutes: float = 60

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
        name, release = _release(found, self.prefix)
        return f"{name}, version {release} ({found.runner})"

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
                f"parameter '{OWNER}.runner': expected {', '.join(RUNNERS)} behind a prefix, "
                "which cannot be looked into, found 'auto'"
            )

    def _look(self) -> Installed | str:
        """Find SPM12; else say what was looked for, where, and what to set."""
        self._check()
        missing = []
        for runner in RUNNERS if self.runner == "auto" else (self.runner,):
            found = self._standalone() if runner == "standalone" else self._interpreted(runner)
            if not isinstance(found, str):
                return found
            missing.append(f"{runner}: {found}")
        return (
            f"{NAME} was not found ({'; '.join(missing)}): install it, or set {OWNER}.home=DIR "
            f"(and {OWNER}.mcr=DIR for a standalone one), or for a container "
            f'{OWNER}.prefix="apptainer exec -B {{dir}} spm12.sif"'
        )

    def _folder(self, own: str, variable: str) -> str:
        """Return a folder that the user named; a variable says nothing about a container."""
        if self.prefix:
            return own
        return (
            str(Path(own or os.environ.get(variable, "")).expanduser())
            if (own or os.environ.get(variable))
            else ""
        )

    def _standalone(self) -> Installed | str:
        home, mcr = self._folder(self.home, "SPM12_HOME"), self._folder(self.mcr, "MCR_HOME")
        name = "run_spm12.sh"
        if self.prefix and home:
            name = f"{home}/{name}"
        places = [Path(home)] if home else []
        found = program.find(name, places, self.prefix, on_path=not self.home)
        if found is None:
            return self._absent("run_spm12.sh", home)
        if not mcr:
            return f"no MATLAB runtime, neither {OWNER}.mcr nor the variable MCR_HOME is set"
        if not self.prefix and not Path(mcr).is_dir():
            return f"no MATLAB runtime, there is no folder {mcr}"
        return Installed("standalone", found, home or str(Path(found).parent), mcr)

    def _interpreted(self, runner: str) -> Installed | str:
        home = self._folder(self.home, "SPM12_HOME")
        found = program.find(runner, prefix=self.prefix)
        if found is None:
            return self._absent(runner, "")
        if not self.prefix:
            if not home:
                return f"no folder of SPM12, neither {OWNER}.home nor SPM12_HOME is set"
            for needed in ("spm.m", "tpm/TPM.nii"):
                if not (Path(home) / needed).is_file():
                    return f"no {needed} in {home}"
        return Installed(runner, found, home)

    def _absent(self, name: str, home: str) -> str:
        if self.prefix:
            return f"the prefix '{self.prefix}' begins with no program on PATH"
        if home:
            return f"no {name} in {home}" + ("" if self.home else " or on PATH")
        return f"no {name} on PATH"


def _release(found: Installed, prefix: str) -> tuple[str, str]:
    """Name and release of an SPM; "unknown" where neither its folder nor itself tells."""
    text = ""
    if found.home and prefix:
        text = program.ask(["cat", f"{found.home}/Contents.m"], prefix=prefix)
    elif found.home and (Path(found.home) / "Contents.m").is_file():
        text = (Path(found.home) / "Contents.m").read_text(encoding="utf-8", errors="replace")
    release = RELEASE.search(text)
    if release:
        return release[2], release[1]
    if found.runner == "standalone":  # its Contents.m lies packed until it first runs
        banner = BANNER.search(program.ask([found.program, found.mcr, "--version"], prefix=prefix))
        if banner:
            return banner[1], banner[2]
    return NAME, "unknown"


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """Variables that keep runs side by side apart, and SPM from opening a browser."""
    return {
        "MCR_CACHE_ROOT": str(folder),
        "SPM_HTML_BROWSER": "0",
        "OMP_NUM_THREADS": str(threads),
    }
