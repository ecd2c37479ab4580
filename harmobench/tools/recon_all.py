"""Region measures by FreeSurfer's recon-all, on images that are skull-stripped already.

The paper (section 2.5) runs FreeSurfer without its skull strip and its bias correction, as the
images are stripped and N4-corrected. recon-all offers no such run as a whole. Its stages are run by
themselves, and the files that the two left-out steps would have written are copied by hand:

1. ``recon-all -i IMAGE -motioncor -talairach`` makes the subject, and its mri/orig.mgz.
2. mri/orig.mgz becomes mri/nu.mgz, which is what bias correction (-nuintensitycor) writes;
   -normalization reads it, and so do -gcareg and -canorm of -autorecon2.
3. ``recon-all -normalization`` makes mri/T1.mgz.
4. mri/T1.mgz becomes mri/brainmask.auto.mgz, which is what -skullstrip writes, and
   mri/brainmask.mgz, its copy for manual edits, which all of -autorecon2 masks with. T1.mgz is 0
   outside the brain, as the image is.
5. ``recon-all -autorecon2 -autorecon3`` does the rest, and writes the stats files.

Both copies are in common use for such images. -talairach corrects bias in a copy of its own, from
which it takes the transform alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harmobench import limits
from harmobench.errors import MeasurementError
from harmobench.imaging.volume import write_image
from harmobench.interface import Context, Measure, Reference, Scan
from harmobench.tools import program
from harmobench.tools.biomarkers import FREESURFER, Plain, biomarkers_of, units_of
from harmobench.tools.freesurfer import FISCHL_2012
from harmobench.tools.stats import measures, stats_files

NAME, IMAGE, SUBJECT = "recon-all", "T1.nii.gz", "scan"
FIRST = ("-motioncor", "-talairach")
SECOND = ("-normalization",)
THIRD = ("-autorecon2", "-autorecon3")
LICENCES = ("license.txt", ".license")
TAIL = 100  # lines of scripts/recon-all.log that the log keeps


@dataclass(frozen=True)
class ReconAll:
    """Thickness and volumes by recon-all, without skull strip and bias correction.

    Attributes
    ----------
    prefix
        What stands before the command, such as "apptainer exec -B {dir} freesurfer.sif"; {dir} is
        the folder it works in. FreeSurfer's licence is then the container's own affair.
    home
        FreeSurfer's folder; $FREESURFER_HOME where empty.
    minutes
        After so long recon-all is stopped, all its stages taken together.
    flags
        More flags for recon-all, such as "-notal-check -parallel".
    biomarkers
        What to read, as of the import of finished subjects.
    """

    prefix: str = ""
    home: str = ""
    minutes: float = 1440.0
    flags: str = ""
    biomarkers: Plain = FREESURFER

    aside: ClassVar[tuple[str, ...]] = ("prefix", "home", "minutes")
    reads: ClassVar[Literal["image"]] = "image"
    reference: ClassVar[Reference] = FISCHL_2012

    def available(self) -> str | None:
        """None where recon-all can run; else a sentence on what is missing."""
        program.check_prefix(NAME, self.prefix)
        program.check_prefix(NAME, self.flags, "flags", "flags such as '-notal-check'")
        if self._found() is None:
            if self.prefix:
                command = shlex.split(self.prefix)[:1]
                return f"recon-all needs {''.join(command)}, which is not on PATH"
            return (
                "recon-all is not on PATH nor in $FREESURFER_HOME/bin: install FreeSurfer, or give "
                "recon-all.home, or recon-all.prefix for a container"
            )
        if not self.prefix and not self._licensed():
            return (
                "recon-all needs FreeSurfer's licence, and found none at $FS_LICENSE nor at "
                f"{self._home() / LICENCES[0]}: "
                "get one at https://surfer.nmr.mgh.harvard.edu/registration.html"
            )
        return None

    def version(self) -> str:
        """Return FreeSurfer's own name for its build."""
        stamp = self._home() / "build-stamp.txt"
        if not self.prefix and stamp.is_file():
            return stamp.read_text(encoding="utf-8", errors="replace").strip()
        with _folder_without_spaces(Path(tempfile.gettempdir())) as folder:
            text = self._run(folder, ("-version",), minutes=5)
        return text.strip().splitlines()[-1] if text.strip() else NAME

    def where(self) -> str:
        """Return where recon-all was found."""
        return f"behind {self.prefix}" if self.prefix else str(self._found())

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each biomarker.

        Raises
        ------
        SettingsError
            A parameter that cannot be used.
        """
        positive = limits.number("minutes", self.minutes, lambda m: m > 0, "a number above 0")
        limits.refuse(NAME, positive)
        return units_of(self.biomarkers)

    def measure(self, scan: Scan, context: Context) -> Iterable[Measure]:
        """Biomarkers of one scan, in several hours.

        What recon-all prints, the end of its own log and the stats files are added to
        `context.log`.

        Raises
        ------
        MeasurementError
            recon-all failed or took too long, or its stats files are not whole.
        """
        markers = biomarkers_of(self.biomarkers)
        with _folder_without_spaces(context.scratch) as folder:
            subject = folder / SUBJECT
            try:
                write_image(folder / IMAGE, scan.voxels(), scan.grid)
                self._reconstruct(folder, context)
                files = stats_files(subject, [name for m in markers for name in m.files])
                return measures(files, markers, "FreeSurfer", "recon-all ended without it")
            finally:
                _keep(subject, context.log)

    def _reconstruct(self, folder: Path, context: Context) -> None:
        """Make the subject, stage by stage; see the module."""
        mri = folder / SUBJECT / "mri"
        stages: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
            (("-i", str(folder / IMAGE), *FIRST), "orig.mgz", ("nu.mgz",)),
            (SECOND, "T1.mgz", ("brainmask.auto.mgz", "brainmask.mgz")),
            (THIRD, "", ()),
        )
        end = time.monotonic() + 60 * self.minutes
        for done, (steps, source, copies) in enumerate(stages):
            context.progress(done, len(stages), f"recon-all {' '.join(steps[-2:])}")
            words = ["-s", SUBJECT, "-sd", str(folder), *steps, *shlex.split(self.flags)]
            words += ["-openmp", str(context.threads)]
            left = (end - time.monotonic()) / 60
            self._run(folder, words, minutes=max(left, 1e-3), log=context.log)
            _refuse_error(folder / SUBJECT)
            for copy in copies:
                _copy(mri / source, mri / copy)
        context.progress(len(stages), len(stages), "recon-all")

    def _run(
        self, folder: Path, words: Sequence[str], *, minutes: float, log: Path | None = None
    ) -> str:
        command = [NAME if self.prefix else str(self._launcher(folder)), *words]
        return program.run(command, folder, minutes=minutes, prefix=self.prefix, log=log)

    def _launcher(self, folder: Path) -> Path:
        """Write a script that sets FreeSurfer up as its users do, and runs recon-all."""
        launcher, home = folder / NAME, shlex.quote(str(self._home()))
        if not launcher.exists():
            setup = f"{home}/SetUpFreeSurfer.sh"
            lines = (
                "#!/bin/bash",
                f"export FREESURFER_HOME={home} FS_FREESURFERENV_NO_OUTPUT=1",
                f"if [ -f {setup} ]; then source {setup}; fi",
                f'exec {shlex.quote(self._found() or NAME)} "$@"',
            )
            launcher.write_text("\n".join(lines) + "\n", encoding="utf-8")
            launcher.chmod(0o700)
        return launcher

    def _found(self) -> str | None:
        known = self.home or os.environ.get("FREESURFER_HOME")
        return program.find(NAME, [Path(known) / "bin"] if known else [], self.prefix)

    def _home(self) -> Path:
        """Return FreeSurfer's folder: the one named, or the one that recon-all lies in."""
        known = self.home or os.environ.get("FREESURFER_HOME")
        return Path(known) if known else Path(self._found() or NAME).resolve().parent.parent

    def _licensed(self) -> bool:
        named = os.environ.get("FS_LICENSE")
        files = [Path(named)] if named else []
        return any(file.is_file() for file in [*files, *(self._home() / n for n in LICENCES)])


@contextmanager
def _folder_without_spaces(scratch: Path) -> Iterator[Path]:
    """Lend a folder in scratch, or in the system's where scratch has a space in its path.

    recon-all is a csh script that takes paths apart at spaces.
    """
    inside = None if any(c.isspace() for c in str(scratch)) else scratch
    with tempfile.TemporaryDirectory(prefix="recon-all-", dir=inside) as folder:
        yield Path(folder).resolve()


def _refuse_error(subject: Path) -> None:
    """Raise where recon-all left its mark of failure, whatever its exit status was."""
    if (subject / "scripts" / "recon-all.error").exists():
        raise MeasurementError(
            "expected recon-all to end without scripts/recon-all.error, found it: see the log"
        )


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise MeasurementError(
            f"expected mri/{source.name} from recon-all, found none: see the log"
        )
    shutil.copyfile(source, target)


def _keep(subject: Path, log: Path | None) -> None:
    """Add the end of recon-all's own log, and the stats files, to a log that outlives them."""
    if log is None:
        return
    own = subject / "scripts" / "recon-all.log"
    with log.open("a", encoding="utf-8") as kept, suppress(FileNotFoundError):
        text = own.read_text(encoding="utf-8", errors="replace")
        kept.write(f"# end of scripts/{own.name}\n" + "\n".join(text.splitlines()[-TAIL:]) + "\n")
        for file in sorted(subject.glob("stats/*.stats")):
            kept.write(f"# stats/{file.name}\n{file.read_text('utf-8', errors='replace')}\n")
