"""Judge what a method remembers: its saved model, other scans, names, scanners it never saw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harmobench.testing import rules
from harmobench.testing.judge import LONE, ended, judged, not_applicable, said, unreached
from harmobench.testing.play import Step
from harmobench.testing.remains import Played
from harmobench.testing.rule import FAILED, PASSED, Verdict
from harmobench.testing.trial import ALL, BEFORE, SOME, TESTED, UNSEEN, Spec, Trial, files_of

RULES = (rules.SAVE_LOAD, rules.INDEPENDENT, rules.NO_LEAK, rules.NO_NAMES, rules.UNSEEN)
# They share no character with the old ones: of those, digits may have made a seed.
NEW_NAMES = dict(zip(TESTED, ("someone", "another"), strict=True))
AT_ONCE = "fitted on the scans that it is judged on, as needs.folds is False: the report says so"


def memory_verdicts(trial: Trial, first: Played, same: Verdict) -> Iterator[Verdict]:
    """Yield a verdict for each of `RULES`.

    Parameters
    ----------
    trial
        The method on the cohort.
    first
        The play that fitted and saved it, and transformed scans without loading it.
    same
        Whether results are the same in every process.
    """
    load: Step = {"name": "load", "do": "load", "model": str(trial.model("first"))}
    loaded = trial.theatre.play("loaded", [load, *trial.transforms("loaded", ALL)])
    error = loaded.error("load")
    if error or loaded.facts("load") is None:
        why = f"'load' raised {said(error)}" if error else ended(loaded)
        yield judged(rules.SAVE_LOAD, [why]) if error else unreached(rules.SAVE_LOAD, why)
        yield from (unreached(rule, why) for rule in RULES[1:])
        return
    yield _unless(same, trial.alike(rules.SAVE_LOAD, first, loaded))
    steps = trial.transforms("reversed", (*BEFORE, *ALL[::-1]))
    turned = trial.theatre.play("reversed", [load, *steps])
    yield _unless(same, trial.alike(rules.INDEPENDENT, loaded, turned))
    if trial.needs["sees"] == "scan":
        yield from (_unless(same, verdict) for verdict in _alone(trial, loaded, load))
    else:
        why = f"a control that declares sees='{trial.needs['sees']}'"
        yield from (not_applicable(rule, why) for rule in (rules.NO_LEAK, rules.NO_NAMES))
        spec = trial.scan(TESTED[0], UNSEEN)
        step = trial.transform("unseen", TESTED[0], UNSEEN, spec)
        yield _unseen(trial, trial.theatre.play("unseen", [load, step]))


def _alone(trial: Trial, loaded: Played, load: Step) -> Iterator[Verdict]:
    """Transform scans that lie alone, while the cohort is somewhere else."""
    own = [trial.transform("alone", s, k, _moved(trial, s, k, s)) for s, k in SOME]
    other = [trial.transform("renamed", s, k, _moved(trial, s, k, NEW_NAMES[s])) for s, k in SOME]
    new = _moved(trial, TESTED[0], UNSEEN, TESTED[0])
    stage = trial.theatre.stage
    hidden = stage.folder / "hidden"
    stage.cohort.rename(hidden)
    stage.cohort.mkdir()
    try:
        last = trial.transform("alone", TESTED[0], UNSEEN, new)
        alone = trial.theatre.play("alone", [load, *own, last])
        renamed = trial.theatre.play("renamed", [load, *other])
    finally:
        shutil.rmtree(stage.cohort, ignore_errors=True)
        hidden.rename(stage.cohort)
    read = list(_others_read(trial, loaded))
    leak = judged(rules.NO_LEAK, read) if read else trial.alike(rules.NO_LEAK, loaded, alone)
    yield replace(leak, found=AT_ONCE) if leak.status == PASSED and trial.at_once else leak
    if trial.control:
        yield not_applicable(rules.NO_NAMES, "a control may know whom it shows")
    else:
        yield trial.alike(rules.NO_NAMES, alone, renamed)
    yield _unseen(trial, alone)


def _moved(trial: Trial, subject: str, scanner: str, name: str) -> Spec:
    """Copy a scan and its inputs into a folder of their own, under names as in a run."""
    spec = trial.scan(subject, scanner)
    root = trial.theatre.stage.folder / LONE
    folder = root / f"{len(list(root.glob('*'))):03d}"
    folder.mkdir(parents=True)

    def copied(path: str, new: str) -> str:
        return str(shutil.copyfile(path, folder / new))

    return spec | {
        "subject": name,
        "image": copied(spec["image"], "image.nii.gz"),
        "mask": copied(spec["mask"], "brain.nii.gz"),
        "inputs": {key: copied(path, f"{key}.nii.gz") for key, path in spec["inputs"].items()},
    }


def _others_read(trial: Trial, loaded: Played) -> Iterator[str]:
    """Name the files of the cohort that transform read and was not given."""
    for subject, scanner in ALL:
        given = {str(Path(path).resolve()) for path in files_of(trial.spec(subject, scanner))}
        step = loaded.steps.get(f"transform of {subject} on {scanner}", {})
        for path in sorted(set(step.get("reads", ())) - given)[:1]:
            yield f"transform of {subject} on {scanner} read {Path(path).name}"


def _unseen(trial: Trial, played: Played) -> Verdict:
    name = f"transform of {TESTED[0]} on {UNSEEN}"
    error = played.error(name)
    if error:
        clear = "MethodError" in error["kinds"]
        return judged(rules.UNSEEN, [] if clear else [f"it raised {said(error)}"])
    if played.facts(name) is None:
        return unreached(rules.UNSEEN, ended(played))
    return trial.new_faults(rules.UNSEEN, played, [(TESTED[0], UNSEEN)])


def _unless(same: Verdict, verdict: Verdict) -> Verdict:
    """Blame nothing on a rule that random results alone explain."""
    differs = verdict.status == FAILED and "voxels differ" in verdict.found
    if same.status == FAILED and differs:
        return unreached(verdict.rule, "results differ from one process to the next already")
    return verdict
