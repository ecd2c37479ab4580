"""`harmobench-bids BIDS_DIR OUT_DIR {participant,group}`: harmobench called as a BIDS-App.

participant: native T1 images of each subject to RAW, in OUT_DIR/sub-LABEL. group: all of them as
one cohort, in OUT_DIR/run. Statuses are those of harmobench.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REFUSED, STOPPED, INTERRUPTED = 2, 3, 130
# The commands that are called, with stand-ins for what they need.
CALLED = {"participant": ("preprocess", ["MANIFEST", "--out", "RAW"]), "group": ("run", [])}
EPILOG = (
    "What follows -- is given to `harmobench preprocess` (participant) or `harmobench run` "
    "(group): -- --folds 3, say. Status: 0 done; 1 done, something failed; 2 refused "
    "before anything was written; 3 stopped half-way; 130 interrupted."
)


def main() -> None:
    """Run the command line; every refusal ends with one message and status 2."""
    from harmobench.errors import HarmobenchError, StoppedError
    from harmobench.plain import plain

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is Ctrl-C
    try:
        sys.exit(_main(sys.argv[1:]))
    except HarmobenchError as error:
        sys.stderr.write(plain(f"harmobench-bids: {error}\n"))
        sys.exit(REFUSED)
    except (OSError, StoppedError) as error:
        sys.stderr.write(plain(f"harmobench-bids: stopped: {error}\n"))
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command goes on where this one stopped\n")
        sys.exit(INTERRUPTED)


def _main(words: Sequence[str]) -> int:
    own, more = split(words)
    given = parser().parse_args(own)
    set_here = _options(given)
    refuse_unusable(given.level, set_here, more)
    from harmobench.bids import levels

    work = given.work_dir or given.output_dir / "work"
    call = levels.Call(
        bids=given.bids_dir,
        out=given.output_dir,
        work=work,
        subjects=tuple(label.removeprefix("sub-") for label in given.participant_label),
        wanted=_wanted(given),
        scanner_from=given.scanner_from,
        mask=given.mask,
        options=(*set_here, *more),
        quiet=given.quiet,
    )
    levels.check(call, validate=not given.skip_bids_validation and given.level == "participant")
    return levels.participant(call) if given.level == "participant" else levels.group(call)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take apart what is for this command and, after --, for the one that it calls.

    >>> split(["in", "out", "group", "--", "--folds", "3"])
    (['in', 'out', 'group'], ['--folds', '3'])
    """
    found = list(words)
    if "--" not in found:
        return found, []
    place = found.index("--")
    return found[:place], found[place + 1 :]


def refuse_unusable(level: str, set_here: Sequence[str], more: Sequence[str]) -> None:
    """Refuse what follows -- where it is set here already, or where the command cannot read it.

    Parameters
    ----------
    level
        participant or group.
    set_here, more
        Options that this command gives to the one that it calls, and those that follow --.

    Raises
    ------
    SettingsError
        Before anything is written.
    """
    import typer

    from harmobench.cli import app
    from harmobench.errors import SettingsError

    taken = {"--cohort", "--out", *(word for word in set_here if word.startswith("--"))}
    for name in (word.partition("=")[0] for word in more):
        if name in taken:
            raise SettingsError(
                f"after --: expected options that harmobench-bids does not set itself, found "
                f"{name}: leave it out"
            )
    name, needed = CALLED[level]
    command: Any = typer.main.get_command(app)
    usage_error: Any = typer.BadParameter.__base__  # what typer exports no name of
    try:
        command.commands[name].make_context(name, [*needed, *set_here, *more])
    except typer.Exit as ended:  # --help: it was printed
        sys.exit(ended.exit_code)
    except usage_error as error:
        raise SettingsError(f"after --: harmobench {name}: {error.format_message()}") from error


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line: names are those that BIDS-Apps share."""
    import harmobench

    reader = argparse.ArgumentParser(
        prog="harmobench-bids",
        description="Benchmark MRI harmonization methods on a BIDS dataset of people who were "
        "scanned on several scanners.",
        epilog=EPILOG,
    )
    add = reader.add_argument
    add("bids_dir", type=Path, metavar="BIDS_DIR", help="a raw BIDS dataset")
    add("output_dir", type=Path, metavar="OUT_DIR", help="a derivative dataset, new or earlier")
    add(
        "level",
        choices=("participant", "group"),
        help="participant: native T1 images to RAW; group: compare methods on what that made",
    )
    add("--version", action="version", version=f"harmobench {harmobench.__version__}")
    for names, text in (
        (("--participant-label", "--participant_label"), "subjects, without sub- [all]"),
        (("--session-label", "--session_label"), "sessions, without ses- [all]"),
        (("--run-label", "--run_label"), "runs, where a scanner has several; none: without"),
        (("--acq-label", "--acq_label"), "acquisitions, likewise"),
    ):
        add(*names, nargs="+", default=[], metavar="LABEL", help=text)
    add("--scanner-from", default="auto", help="as for harmobench cohort from-bids [auto]")
    add("--mask", default="auto", help="of the native images, as for from-bids [auto]")
    add("--atlas", help="builtin, or an atlas folder [builtin]")
    add("--quality", help="participant: paper or quick [paper]")
    add("--methods", help="group: all, or names with commas [all]")
    add("--preset", help="group: quick, default or paper [default]")
    add(
        "--n-cpus", "--n_cpus", "--nprocs", type=_count, help="processes of one thread each [cores]"
    )
    add("--mem", type=_gigabytes, metavar="GB", help="memory of all processes together [all]")
    add("-w", "--work-dir", type=Path, help="what is kept to go on after a stop [OUT_DIR/work]")
    add(
        "--skip-bids-validation",
        "--skip_bids_validation",
        action="store_true",
        help="do not call bids-validator-deno, where it is installed",
    )
    add("--quiet", action="store_true", help="show failures and the result alone")
    return reader


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, found {text}")
    return number


def _gigabytes(text: str) -> float:
    try:
        number = float(text.upper().removesuffix("GB").removesuffix("G"))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected gigabytes such as 16, found {text}")
    return number


def _wanted(given: argparse.Namespace) -> dict[str, list[str]]:
    labels = {
        "ses": [label.removeprefix("ses-") for label in given.session_label],
        "run": [label.removeprefix("run-") for label in given.run_label],
        "acq": [label.removeprefix("acq-") for label in given.acq_label],
    }
    return {entity: found for entity, found in labels.items() if found}


def _options(given: argparse.Namespace) -> list[str]:
    """Options of the command that is called, of those that it knows."""
    names = ("atlas", "quality") if given.level == "participant" else ("atlas", "methods", "preset")
    options = [w for n in names if getattr(given, n) for w in (f"--{n}", getattr(given, n))]
    if given.n_cpus:
        options += ["--workers", str(given.n_cpus)]
    if given.mem:
        each = given.mem / (given.n_cpus or os.cpu_count() or 1)
        options += ["--memory", f"{each:.3f}GB"]
    return options + (["--quiet"] if given.quiet else [])


if __name__ == "__main__":
    main()
