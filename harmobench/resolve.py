"""From what the user typed to a job; everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import harmobench
from harmobench import folds as folding
from harmobench.base import Learner
from harmobench.choose import (
    choose_methods,
    choose_others,
    declared,
    names_given,
    parse_margins,
    precomputed,
)
from harmobench.cluster.sites import Batch, Site, has_gpu
from harmobench.cluster.where import read_where
from harmobench.cohort import Cohort, Progress
from harmobench.errors import SettingsError, nearest
from harmobench.facts import facts_of
from harmobench.job import Job, Options
from harmobench.manifest import doubtful_columns, read_cohort
from harmobench.measure_plan import COLUMNS as MEASURE_COLUMNS
from harmobench.measures import (
    choose_morphometry,
    refuse_shared,
    strangers,
    with_structures,
)
from harmobench.parts import Part
from harmobench.place import hashed, place
from harmobench.provenance import environment, kernel_digest
from harmobench.wayback import ways_back

PRESETS = ("quick", "default", "paper")
QUICK_FOLDS = 3
MOST = 2**63 - 1  # what libraries take for a seed


def resolve(options: Options, command: str, progress: Progress) -> Job:
    """Check everything and say what will be run; nothing is written.

    Raises
    ------
    HarmobenchError
        The first reason why this cannot be run, or all faults of the manifest at once.
    """
    _check_choices(options)
    site = read_where(options.where)
    notes: list[str] = []
    methods = choose_methods(options, notes)
    others = choose_others(options, notes)
    tools, places = choose_morphometry(options)
    margins = parse_margins(options.margin, others["metrics"])
    facts = facts_of(options.cohort)
    cohort = read_cohort(options.cohort, progress, facts=facts)
    methods = _suited(methods, options, cohort, notes)
    others["metrics"] = _with_truth(others["metrics"], options, cohort, notes)
    if cohort.unmatched:
        notes.append(
            f"{len(cohort.unmatched)} subject(s) were seen on one scanner only and are left out "
            f"of pairs and of training: {', '.join(cohort.unmatched)}"
        )
    if not cohort.complete:
        absent = len(cohort.subjects) * len(cohort.scanners) - len(cohort)
        notes.append(
            f"{absent} of {absent + len(cohort)} scans are not in the manifest: a subject's value "
            "is the mean over the pairs that there are, the same for every method, so subjects "
            "with other pairs weigh differently"
        )
    if options.repeats > 1:
        notes.append(
            f"tables, figures and the verdict are of the first of {options.repeats} repeats; "
            "HB-T9-seeds says how much repeats differ, and comparisons.csv has them all"
        )
    if options.preset == "quick" and {"mispel", "calamiti"} & {part.name for part in methods}:
        notes.append(
            "preset quick trains the networks for a small fixed number of steps: it shows that all "
            "works here, not what MISPEL or CALAMITI can do; judge them with --preset default"
        )
    notes += doubtful_columns(cohort)
    _check_parameters(methods, others["statistics"], cohort)
    scans = tuple(hashed(scan, facts) for scan in cohort.scans)
    _refuse_equal_images(scans)
    try:
        native = ways_back(cohort, notes, progress, facts)
        atlas, contrast = place(options.atlas, cohort, progress, facts)
    finally:
        facts.save()
    morphometry = with_structures(tools, atlas, options, notes)
    refuse_shared(morphometry, places, methods, cohort)
    notes += strangers(morphometry, places, methods, cohort)
    target = _target(options.target, methods, cohort, contrast)
    group = _group(options.group, cohort, notes)
    covariates = _covariates(options.covariates, cohort, methods)
    elsewhere = precomputed(options.precomputed, cohort, methods)
    return Job(
        version=harmobench.__version__,
        command=command,
        scans=scans,
        source=str(options.cohort),
        atlas=atlas,
        methods=tuple(methods + elsewhere),
        metrics=others["metrics"],
        segmenters=others["segmenters"],
        morphometry=morphometry,
        statistics=others["statistics"],
        reports=others["reports"],
        folds=_folds(options, cohort, methods, group),
        seed=options.seed,
        preset=options.preset,
        device=_device(options.device, methods, site),
        target=target,
        group=group,
        covariates=covariates,
        places=places,
        native=native,
        environment=environment(),
        kernel=kernel_digest(),
        notes=tuple(notes),
        declared=tuple(declared(methods, options) + [part.name for part in elsewhere]),
        margins=margins,
    )


def _suited(
    methods: Sequence[Part], options: Options, cohort: Cohort, notes: list[str]
) -> list[Part]:
    """Return the methods that this cohort suits; refuse where one that does not was named."""
    named = names_given(options.methods)
    kept = []
    for part in methods:
        method = part.build()
        why = method.unsuited(cohort) if isinstance(method, Learner) else None
        if why is None:
            kept.append(part)
        elif part.name in named:
            raise SettingsError(f"method '{part.name}': {why}")
        else:
            notes.append(f"method {part.name} left out: {why}")
    return kept


def _with_truth(
    metrics: Sequence[Part], options: Options, cohort: Cohort, notes: list[str]
) -> tuple[Part, ...]:
    """Return the metrics whose truth the manifest has; refuse a named one that it has not."""
    named = names_given(options.metrics)
    kept = []
    for part in metrics:
        columns = getattr(part.build(), "truth", ())
        lacking = [c for c in columns if not all(scan.values.get(c) for scan in cohort.scans)]
        if not lacking:
            kept.append(part)
        elif part.name in named:
            raise SettingsError(
                f"--metrics {part.name}: expected a file for every scan in the manifest's "
                f"column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}, found none for "
                f"{_first_lacking(cohort, lacking)}: only "
                "cohorts whose truth is known (harmobench simulate) have it"
            )
        elif any(scan.values.get(c) for scan in cohort.scans for c in lacking):
            notes.append(
                f"metric {part.name} left out: no file in {', '.join(lacking)} for "
                f"{_first_lacking(cohort, lacking)}"
            )
    return tuple(kept)


def _first_lacking(cohort: Cohort, columns: Sequence[str]) -> str:
    lacking = [s for s in cohort.scans if not all(s.values.get(c) for c in columns)]
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"{lacking[0]}{more}"


def _refuse_equal_images(scans: Sequence[Mapping[str, Any]]) -> None:
    seen: dict[str, Mapping[str, Any]] = {}
    for row in scans:
        other = seen.setdefault(row["hashes"][row["image"]], row)
        if other is not row:
            raise SettingsError(
                f"column image: expected an image of its own for each scan, found the same bytes "
                f"for subject {other['subject']} on {other['scanner']} and subject "
                f"{row['subject']} on {row['scanner']}: {other['image']} and {row['image']}"
            )


def _check_choices(options: Options) -> None:
    for name, value, known in (
        ("--preset", options.preset, PRESETS),
        ("--device", options.device, ("auto", "cpu", "cuda")),
        ("--controls", options.controls, ("auto", "on", "off")),
    ):
        if value not in known:
            raise SettingsError(f"{name}: expected {', '.join(known)}, found '{value}'")
    for name, number, least in (
        ("--repeats", options.repeats, 1),
        ("--seed", options.seed, 0),
    ):
        if number > MOST:
            raise SettingsError(f"{name}: expected at most {MOST}, found a larger number")
        if number < least:
            raise SettingsError(f"{name}: expected at least {least}, found {number}")


def _check_parameters(methods: Sequence[Part], statistics: Sequence[Part], cohort: Cohort) -> None:
    for part in methods:
        method = part.build()
        if isinstance(method, Learner):
            method.check(cohort.scanners)
    for part in statistics:
        check = getattr(part.build(), "check", None)
        if check is not None:
            check()


def _target(
    asked: str | None, methods: Sequence[Part], cohort: Cohort, contrast: Mapping[str, float]
) -> str | None:
    if asked is not None and asked not in cohort.scanners:
        raise SettingsError(
            f"--target: expected one of the scanners {', '.join(cohort.scanners)}, found '{asked}'"
        )
    if not any(part.needs["target"] for part in methods):
        return asked
    return asked or max(cohort.scanners, key=lambda scanner: contrast[scanner])


def _group(text: str | None, cohort: Cohort, notes: list[str]) -> dict[str, str] | None:
    if text is None:
        return _default_group(cohort, notes)
    column, colon, values = text.partition(":")
    pair = [value.strip() for value in values.split(",")]
    if not colon or len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
        raise SettingsError(
            f"--group: expected COLUMN:first,second such as group:patient,control, found '{text}'"
        )
    _known_column("--group", column, cohort)
    for scan in cohort.scans:
        value = scan.values.get(column, "")
        if value not in pair:
            raise SettingsError(
                f"--group: expected {pair[0]} or {pair[1]} in column '{column}', found '{value}' "
                f"for {scan}: leave those scans out of the manifest, or choose another column"
            )
        if value != cohort.of(scan.subject)[0].values.get(column, ""):
            raise SettingsError(
                f"--group: expected one value of '{column}' for subject {scan.subject}, found two"
            )
    return {"column": column, "first": pair[0], "second": pair[1]}


def _default_group(cohort: Cohort, notes: list[str]) -> dict[str, str] | None:
    values = list(dict.fromkeys(scan.values.get("group", "") for scan in cohort.scans))
    if len(values) != 2 or not all(values):
        return None
    of_subject = {scan.subject: scan.values["group"] for scan in cohort.scans}
    if any(scan.values["group"] != of_subject[scan.subject] for scan in cohort.scans):
        notes.append("column 'group' differs between scans of one subject: no effect sizes")
        return None
    chosen = _group(f"group:{values[0]},{values[1]}", cohort, notes)
    notes.append(
        f"effect sizes are {values[0]} minus {values[1]} of column 'group' "
        f"(name them with --group to turn the sign)"
    )
    return chosen


def _known_column(option: str, column: str, cohort: Cohort) -> None:
    known = list(cohort.scans[0].values)
    if column not in known:
        hint = nearest(column, known)
        raise SettingsError(
            f"{option}: expected a column of the manifest ({', '.join(known) or 'none'}), "
            f"found '{column}'{hint}"
        )


def _covariates(text: str | None, cohort: Cohort, methods: Sequence[Part]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    of_measures = [part.name for part in methods if part.changes == "measures"]
    for name in names:
        _known_column("--covariates", name, cohort)
        if name in MEASURE_COLUMNS and of_measures:
            raise SettingsError(
                f"--covariates: expected another name than '{name}', which is a column of the "
                f"table that {', '.join(of_measures)} works on: name the manifest's column "
                "otherwise"
            )
        for scan in cohort.scans:
            try:
                scan.covariate(name)
            except Exception as error:
                raise SettingsError(f"--covariates: {error}") from error
    return names


def _folds(
    options: Options, cohort: Cohort, methods: Sequence[Part], group: Mapping[str, str] | None
) -> tuple[dict[str, int], ...]:
    if not any(part.needs["folds"] for part in methods):
        return (dict.fromkeys(cohort.subjects, 0),)
    column = folding.assign_from_column(cohort)
    if column is not None:
        every = [column] * options.repeats
    else:
        most = QUICK_FOLDS if options.preset == "quick" else 6
        count = folding.fold_count(len(cohort.matched), options.folds, most)
        by = group["column"] if group else ""
        groups = {scan.subject: scan.values.get(by, "") for scan in cohort.scans}
        every = list(folding.assign_each(cohort, count, options.seed, options.repeats, groups))
    for folds in every:
        for fold in sorted(set(folds.values())):
            folding.split(cohort, folds, fold)
    return tuple(every)


def _device(asked: str, methods: Sequence[Part], site: Site) -> str:
    if asked == "cpu" or not any(part.needs["gpu"] for part in methods):
        return "cpu"
    if has_gpu(site):
        return "cuda"
    if asked == "cuda":
        found = "jobs without (gpus = 0)" if isinstance(site, Batch) else "none that torch can use"
        raise SettingsError(
            f"--device cuda: expected a CUDA device, found {found}: leave the option out to train "
            "on the CPU"
        )
    return "cpu"
