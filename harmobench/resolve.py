"""From what the user typed to a job; everything that can be refused is refused here."""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import harmobench
from harmobench import folds as folding
from harmobench.atlas import (
    BUILTIN,
    Atlas,
    bring_atlas,
    builtin_atlas,
    check_space,
    read_atlas,
    refuse_other_space,
)
from harmobench.cohort import Cohort, Progress, Scan, is_file_column, read_cohort
from harmobench.errors import AtlasError, PluginError, SettingsError
from harmobench.imaging.landmarks import contrast_to_noise
from harmobench.imaging.volume import read_grid
from harmobench.imaging.warp import read_field
from harmobench.interface import Needs
from harmobench.job import Job, Options
from harmobench.parts import Part, plugin_part
from harmobench.provenance import environment, kernel_digest
from harmobench.registry import find, plugins
from harmobench.store import hash_file, merkle

PRESETS = ("quick", "default", "paper")
CONTROLS = ("ceiling", "degenerate", "degradation")
QUICK_FOLDS = 3
SMALLEST_COMMON_MASK = 0.8  # of the median mask: below it one bad mask would decide every score


def resolve(options: Options, command: str, progress: Progress) -> Job:
    """Check everything and say what will be run; nothing is written.

    Raises
    ------
    HarmobenchError
        The first reason why this cannot be run, or all faults of the manifest at once.
    """
    _check_choices(options)
    notes: list[str] = []
    methods = _methods(options, notes)
    others = _others(options, notes)
    cohort = read_cohort(options.cohort, progress)
    if cohort.unmatched:
        notes.append(
            f"{len(cohort.unmatched)} subject(s) were seen on one scanner only and are left out "
            f"of pairs and of training: {', '.join(cohort.unmatched)}"
        )
    native = _native(cohort, progress)
    atlas, contrast = _atlas(options.atlas, cohort, progress)
    target = _target(options.target, methods, cohort, contrast)
    group = _group(options.group, cohort, notes)
    covariates = _covariates(options.covariates, cohort)
    return Job(
        version=harmobench.__version__,
        command=command,
        scans=tuple(_hashed(scan) for scan in cohort.scans),
        source=str(options.cohort),
        atlas=atlas,
        methods=tuple(methods + _precomputed(options.precomputed, cohort, methods)),
        metrics=others["metrics"],
        segmenters=others["segmenters"],
        morphometry=others["morphometry"] if options.freesurfer else (),
        statistics=others["statistics"],
        reports=others["reports"],
        folds=_folds(options, cohort, methods, group),
        seed=options.seed,
        preset=options.preset,
        device=_device(options.device, methods),
        target=target,
        group=group,
        covariates=covariates,
        freesurfer=str(options.freesurfer.absolute()) if options.freesurfer else None,
        native=native,
        environment=environment(),
        kernel=kernel_digest(),
        notes=tuple(notes),
    )


def _check_choices(options: Options) -> None:
    for name, value, known in (
        ("--preset", options.preset, PRESETS),
        ("--device", options.device, ("auto", "cpu", "cuda")),
        ("--controls", options.controls, ("on", "off")),
    ):
        if value not in known:
            raise SettingsError(f"{name}: expected {', '.join(known)}, found '{value}'")
    for name, number, least in (
        ("--repeats", options.repeats, 1),
        ("--workers", options.workers or 1, 1),
        ("--seed", options.seed, 0),
    ):
        if number < least:
            raise SettingsError(f"{name}: expected at least {least}, found {number}")
    if options.freesurfer is not None and not options.freesurfer.is_dir():
        raise SettingsError(f"--freesurfer: expected a folder, found none at {options.freesurfer}")


def names_of(text: str, kind: str) -> list[str]:
    """Names in a comma-separated list; "all" is every installed plugin, "none" is none."""
    if text == "none":
        return []
    if text == "all":
        return list(plugins(kind))
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _methods(options: Options, notes: list[str]) -> list[Part]:
    sets = parse_sets(options.set)
    parts = []
    names = names_of(options.methods, "methods")
    if not names and not options.precomputed:
        raise SettingsError("--methods: expected at least one method, found none")
    for name in dict.fromkeys(["raw", *names]):
        plugin = find("methods", name)
        try:
            part = plugin_part(plugin, sets.pop(name, {}), options.preset)
        except PluginError as error:
            if options.methods != "all":
                raise
            notes.append(f"method left out: {error}")
            continue
        if part.needs["role"] in CONTROLS and options.controls == "off":
            continue
        parts.append(part)
    if "raw" not in names:
        notes.append("raw was added: it is what every method is compared with")
    _refuse_unused_sets(sets, options)
    return sorted(parts, key=_order)


def _order(part: Part) -> tuple[Any, ...]:
    needs = part.needs
    own = not part.target.startswith("harmobench.")
    role = needs["role"] in CONTROLS
    return (part.name != "raw", role, own, needs["folds"], bool(needs["inputs"]), part.name)


def _others(options: Options, notes: list[str]) -> dict[str, tuple[Part, ...]]:
    sets = parse_sets(options.set)
    asked = {
        "metrics": options.metrics,
        "segmenters": options.segmenters,
        "morphometry": "all",
        "statistics": "all",
        "reports": "all",
    }
    found: dict[str, tuple[Part, ...]] = {}
    for kind, text in asked.items():
        parts = []
        for name in names_of(text, kind):
            plugin = find(kind, name)
            parameters = sets.get(name, {})
            try:
                part = plugin_part(plugin, parameters, options.preset)
            except PluginError as error:
                if text != "all":
                    raise
                notes.append(f"{kind} left out: {error}")
                continue
            if _usable(kind, part, text, notes):
                parts.append(part)
        found[kind] = tuple(parts)
    return found


def _usable(kind: str, part: Part, text: str, notes: list[str]) -> bool:
    missing = part.build().available() if kind == "segmenters" else None
    if missing is None:
        return True
    if text != "all":
        raise SettingsError(f"segmenter '{part.name}' cannot run here: {missing}")
    notes.append(f"segmenter {part.name} left out: {missing}")
    return False


def parse_sets(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Parameters from `name.parameter=value` texts; values are JSON, else text.

    >>> parse_sets(["ravel.k=2", "ssim.map=none"])
    {'ravel': {'k': 2}, 'ssim': {'map': 'none'}}

    Raises
    ------
    SettingsError
        Another form.
    """
    sets: dict[str, dict[str, Any]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        owner, dot, parameter = target.strip().partition(".")
        if not (equals and dot and owner and parameter):
            raise SettingsError(
                f"--set: expected NAME.PARAMETER=VALUE such as ravel.k=2, found '{text}'"
            )
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        sets.setdefault(owner, {})[parameter] = parsed
    return sets


def _refuse_unused_sets(left: Mapping[str, Any], options: Options) -> None:
    known = set(names_of(options.metrics, "metrics")) | set(
        names_of(options.segmenters, "segmenters")
    )
    for name in left:
        if name not in known:
            everything = [*known, *names_of(options.methods, "methods")]
            near = difflib.get_close_matches(name, everything, n=1, cutoff=0.5)
            hint = f"; is '{near[0]}' meant?" if near else ""
            raise SettingsError(
                f"--set: '{name}' is no method, metric or segmenter of this run{hint}"
            )


def _precomputed(texts: Sequence[str], cohort: Cohort, methods: Sequence[Part]) -> list[Part]:
    parts: list[Part] = []
    for text in texts:
        name, equals, pattern = text.partition("=")
        if not (equals and name and "{subject}" in pattern and "{scanner}" in pattern):
            raise SettingsError(
                "--precomputed: expected NAME=PATTERN with {subject} and {scanner} in the "
                f"pattern, found '{text}'"
            )
        if name in {part.name for part in [*methods, *parts]}:
            raise SettingsError(f"--precomputed: '{name}' is already a method: choose another name")
        images = _precomputed_images(pattern, cohort)
        needs = {**asdict(Needs()), "inputs": []}
        parts.append(
            Part(
                name,
                target=f"images made elsewhere ({pattern})",
                distribution="training unknown",
                digest="",
                needs=needs,
                individual=True,
                images=images,
            )
        )
    return parts


def _precomputed_images(pattern: str, cohort: Cohort) -> dict[str, str]:
    images, missing = {}, []
    grid = cohort.scans[0].grid
    for scan in cohort.scans:
        path = Path(pattern.format(subject=scan.subject, scanner=scan.scanner)).absolute()
        if not path.is_file():
            missing.append(str(path))
        elif not read_grid(path).matches(grid):
            raise SettingsError(
                f"--precomputed: expected the cohort's grid ({grid}), found {read_grid(path)} "
                f"in {path}"
            )
        images[f"{scan.subject}|{scan.scanner}"] = str(path)
    if missing:
        raise SettingsError(
            f"--precomputed: expected an image for each scan, found none at {len(missing)} of "
            f"{len(cohort)} places, such as {missing[0]}"
        )
    return images


def _native(cohort: Cohort, progress: Progress) -> bool:
    found = [scan for scan in cohort.scans if scan.values.get("to_native")]
    if len(found) < len(cohort.scans):
        return False
    for done, scan in enumerate(found, start=1):
        read_field(Path(scan.values["to_native"]))
        progress(done, len(found), f"reading the way back to native space of {scan}")
    return True


def _atlas(
    source: str, cohort: Cohort, progress: Progress
) -> tuple[dict[str, Any], dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        own = read_atlas_source(source, Path(scratch) / "own")
        grid = cohort.scans[0].grid
        atlas = bring_atlas(own, grid, Path(scratch) / "atlas")
        contrast, sizes, common = _measure_scans(cohort, atlas, progress)
        _refuse_small_mask(cohort, sizes, common)
        described = {
            "source": source if source == BUILTIN else str(Path(source).absolute()),
            "digest": _atlas_digest(own),
            "name": own.name,
            "space": own.space,
            "reference": own.reference,
        }
    return described, contrast


def _atlas_digest(atlas: Atlas) -> str:
    toml = (atlas.template.parent / "atlas.toml").read_text(encoding="utf-8")
    return merkle(toml, [hash_file(file) for file in atlas.files])


def read_atlas_source(source: str, folder: Path) -> Atlas:
    """Read an atlas from its folder, or write the built-in one to `folder`."""
    return builtin_atlas(folder) if source == BUILTIN else read_atlas(Path(source).absolute())


def _measure_scans(
    cohort: Cohort, atlas: Atlas, progress: Progress
) -> tuple[dict[str, float], list[int], int]:
    contrast: dict[str, list[float]] = {scanner: [] for scanner in cohort.scanners}
    common = atlas.brain().copy()
    sizes = []
    for done, scan in enumerate(cohort.scans, start=1):
        voxels = scan.voxels()
        brain = scan.brain()
        refuse_other_space(str(scan), *check_space(voxels, brain, atlas), atlas)
        if scan.mask is not None:
            common &= brain
            sizes.append(int(np.count_nonzero(brain & atlas.brain())))
        gm, wm = atlas.tissue("gm") & brain, atlas.tissue("wm") & brain
        contrast[scan.scanner].append(contrast_to_noise(voxels, gm, wm))
        progress(done, len(cohort), f"placing {scan} in {atlas.space}")
    means = {scanner: float(np.mean(values)) for scanner, values in contrast.items()}
    return means, sizes, int(np.count_nonzero(common))


def _refuse_small_mask(cohort: Cohort, sizes: Sequence[int], common: int) -> None:
    if sizes and common < SMALLEST_COMMON_MASK * float(np.median(sizes)):
        masked = [scan for scan in cohort.scans if scan.mask is not None]
        smallest = masked[int(np.argmin(sizes))]
        raise AtlasError(
            f"the voxels that all brain masks share are only {common}, less than "
            f"{SMALLEST_COMMON_MASK:.0%} of the median mask ({float(np.median(sizes)):.0f}): every "
            f"score is taken there. The smallest mask is that of {smallest}: {smallest.mask}"
        )


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
    chosen = _group(f"group:{values[0]},{values[1]}", cohort, notes)
    notes.append(
        f"effect sizes are {values[0]} minus {values[1]} of column 'group' "
        f"(name them with --group to turn the sign)"
    )
    return chosen


def _known_column(option: str, column: str, cohort: Cohort) -> None:
    known = list(cohort.scans[0].values)
    if column not in known:
        near = difflib.get_close_matches(column, known, n=1, cutoff=0.5)
        hint = f"; is '{near[0]}' meant?" if near else ""
        raise SettingsError(
            f"{option}: expected a column of the manifest ({', '.join(known) or 'none'}), "
            f"found '{column}'{hint}"
        )


def _covariates(text: str | None, cohort: Cohort) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    for name in names:
        _known_column("--covariates", name, cohort)
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
        every = [
            folding.assign(cohort, count, options.seed + repeat, groups)
            for repeat in range(options.repeats)
        ]
    for folds in every:
        for fold in sorted(set(folds.values())):
            folding.split(cohort, folds, fold)
    return tuple(every)


def _device(asked: str, methods: Sequence[Part]) -> str:
    if asked == "cpu" or not any(part.needs["gpu"] for part in methods):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise SettingsError(
            "--device cuda: expected a CUDA device, found none that torch can use: "
            "leave the option out to train on the CPU"
        )
    return "cpu"


def _hashed(scan: Scan) -> dict[str, Any]:
    files = [scan.image] if scan.mask is None else [scan.image, scan.mask]
    files += [Path(text) for name, text in scan.values.items() if text and is_file_column(name)]
    return {
        "subject": scan.subject,
        "scanner": scan.scanner,
        "image": str(scan.image.absolute()),
        "mask": str(scan.mask.absolute()) if scan.mask else "",
        "values": {
            name: str(Path(text).absolute()) if text and is_file_column(name) else text
            for name, text in scan.values.items()
        },
        "hashes": {str(path.absolute()): hash_file(path) for path in files},
    }
