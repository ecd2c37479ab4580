"""Rules that every process of every kind of plugin is held to: files, network, output, its end."""

from __future__ import annotations

from harmobench.testing.rule import Rule

KEEPS_INPUTS = Rule(
    "keeps-inputs",
    "the files and arrays that it was given, as they were",
    "work on scan.voxels(), which is a copy, and write to no file that you were given; copy "
    "scan.brain() before you change it",
)
NO_NETWORK = Rule(
    "no-network",
    "no use of the network; seen are calls from Python and, where the system lets a process go "
    "without network, what fails there",
    "ship what it needs with the package, or let a parameter name the file",
)
OWN_FOLDER = Rule(
    "own-folder",
    "nothing written but in context.scratch, in save's folder, or in temporary files that it "
    "removes again; seen are writes from Python anywhere, and what other programs and compiled "
    "code leave in the working folder, the home folder and that of temporary files",
    "write to context.scratch in fit, to `folder` in save, and use tempfile with `with` elsewhere",
)
QUIET = Rule(
    "quiet",
    "nothing printed: of many workers nobody could read it, so a run sends it to a log",
    "remove prints and progress bars; call context.progress(done, total, what), and "
    "warnings.warn(text) for what a user must know",
)
SURVIVES = Rule(
    "survives",
    "its process goes on",
    "do not call exit, and raise an exception where something cannot be done; a crash is a bug of "
    "compiled code",
)
NO_ORPHANS = Rule(
    "no-orphans",
    "no program that it started runs on after its process; seen are those that keep HOME or the "
    "working folder",
    "wait for what you start: subprocess.run does; a Popen and a pool belong in `with`",
)
IN_TIME = Rule(
    "in-time",
    "each step done within the time limit",
    "look at where it hung; for a method that trains long give 'quick' in `presets` few steps, or "
    "allow more by --time-limit",
)
CONDUCT = (KEEPS_INPUTS, NO_NETWORK, OWN_FOLDER, QUIET, SURVIVES, NO_ORPHANS, IN_TIME)
