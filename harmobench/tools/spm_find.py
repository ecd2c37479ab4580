"""Where the user's SPM12 is, what runs it, and which release it is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from harmobench.tools import program

NAME = "SPM12"
OWNER = "spm12"  # the name under which its parameters are set
RUNNERS = ("standalone", "matlab", "octave")
LAUNCHER = "run_spm12.sh"  # of a standalone SPM12
NEEDED = ("spm.m", "tpm/TPM.nii")  # in SPM12's folder, for MATLAB and Octave
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


def look(runner: str, home: str, mcr: str, prefix: str) -> Installed | str:
    """Find SPM12; else say what was looked for, where, and what to set.

    Parameters
    ----------
    runner, home, mcr, prefix
        See `SPM12`.
    """
    folder = _named(home, "SPM12_HOME", prefix)
    missing = []
    for kind in RUNNERS if runner == "auto" else (runner,):
        if kind == "standalone":
            runtime = _named(mcr, "MCR_HOME", prefix)
            found = _standalone(folder, runtime, prefix, on_path=not home)
        else:
            found = _interpreted(kind, folder, prefix)
        if not isinstance(found, str):
            return found
        missing.append(f"{kind}: {found}")
    return (
        f"{NAME} was not found ({'; '.join(missing)}): install it, or set {OWNER}.home=DIR "
        f"(and {OWNER}.mcr=DIR for a standalone one), or for a container "
        f'{OWNER}.prefix="apptainer exec -B {{dir}} spm12.sif" and {OWNER}.runner, such as octave'
    )


def _named(own: str, variable: str, prefix: str) -> str:
    """Return a folder that the user named; a variable says nothing about a container."""
    if prefix:
        return own
    named = own or os.environ.get(variable, "")
    return str(Path(named).expanduser()) if named else ""


def _standalone(home: str, mcr: str, prefix: str, *, on_path: bool) -> Installed | str:
    name = f"{home}/{LAUNCHER}" if prefix and home else LAUNCHER
    found = program.find(name, [Path(home)] if home else [], prefix, on_path=on_path)
    if found is None:
        places = [f"in {home}"] * bool(home) + ["on PATH"] * on_path
        return _absent(prefix, f"no {LAUNCHER} {' or '.join(places)}")
    if not mcr:
        return f"no MATLAB runtime, {OWNER}.mcr is not set" + ("" if prefix else ", nor MCR_HOME")
    if not prefix and not Path(mcr).is_dir():
        return f"no MATLAB runtime, there is no folder {mcr}"
    return Installed("standalone", found, home or str(Path(found).parent), mcr)


def _interpreted(runner: str, home: str, prefix: str) -> Installed | str:
    found = program.find(runner, prefix=prefix)
    if found is None:
        return _absent(prefix, f"no {runner} on PATH")
    if not prefix:
        if not home:
            return f"no folder of SPM12, neither {OWNER}.home nor SPM12_HOME is set"
        for needed in NEEDED:
            if not os.access(Path(home) / needed, os.R_OK):
                return f"no {needed} in {home}"
    return Installed(runner, found, home)


def _absent(prefix: str, text: str) -> str:
    return f"the prefix '{prefix}' begins with no program on PATH" if prefix else text


def release(found: Installed, prefix: str) -> tuple[str, str]:
    """Name and release of an SPM; "unknown" where neither its folder nor itself tells."""
    contents = Path(found.home) / "Contents.m"
    text = ""
    if found.home and prefix:
        text = program.ask(["cat", str(contents)], prefix=prefix)
    elif found.home and os.access(contents, os.R_OK):
        text = contents.read_text(encoding="utf-8", errors="replace")
    written = RELEASE.search(text)
    if written:
        return written[2], written[1]
    if found.runner == "standalone":  # its Contents.m lies packed until it first runs
        banner = BANNER.search(program.ask([found.program, found.mcr, "--version"], prefix=prefix))
        if banner:
            return banner[1], banner[2]
    return NAME, "unknown"
