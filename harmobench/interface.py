"""Everything that can be extended, in one file.

A plugin is a class that fits one of these protocols, named by an entry point of its own package:

==========================  ======================  =======================================
entry-point group           protocol                ships with
==========================  ======================  =======================================
harmobench.methods          Harmonizer              raw, whitestripe, ravel, calamiti, ...
harmobench.measure_methods  MeasureHarmonizer       combat
harmobench.metrics          Metric                  ssim, auroc, volume, dice, ...
harmobench.statistics       Statistic               paper, rigorous
harmobench.segmenters       Segmenter               hmrf, atropos, fsl-fast, spm12
harmobench.morphometry      Morphometry             atlas-roi, recon-all
harmobench.morphometry      FinishedMorphometry     freesurfer, fastsurfer, synthseg, ...
harmobench.reports          Report                  tables, html
harmobench.figures          a function of a run     ssim, volumes, pareto, ...
harmobench.commands         Command                 new, check, cite, power, compare
==========================  ======================  =======================================

Classes must stand in modules that import quickly: torch, ants and the like are imported inside the
functions that use them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from harmobench.atlas import Atlas
from harmobench.cohort import TISSUES, Cohort, Measure, Progress, Scan, Segmentation, no_progress
from harmobench.imaging.volume import BoolArray, FloatArray, LabelArray

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["contender", "baseline", "ceiling", "degenerate", "degradation"]
CONTROLS = ("ceiling", "degenerate", "degradation")  # roles that are never ranked
LOWER_IS_BETTER = frozenset({"lower", "one", "zero", "equal"})  # of what a subject is compared by
# Metrics whose spread over a subject's scanners is a score of its own, and its name.
SPREADS = {"auroc": "auroc_spread"}
# Ends of structures that stand beside a score and are no score themselves: chance, a value with
# one subject left out, the truth.
ASIDE = ("_chance", "_without", "_true")
Status = Literal["ok", "failed", "undefined", "not_applicable", "not_measured"]
# "one" and "zero": as near to it as possible; "equal": over scanners, whatever the value
Better = Literal["higher", "lower", "one", "zero", "equal"]
State = Any  # whatever a metric's `prepare` returns: numpy arrays by name, small and mergeable


@dataclass(frozen=True)
class Reference:
    """What to cite.

    Attributes
    ----------
    title, authors, year, venue
        Of the publication that defines the method, metric or tool.
    doi
        Without "https://doi.org/"; empty where there is none.
    key
        BibTeX key.
    """

    title: str
    authors: str
    year: int
    venue: str = ""
    doi: str = ""
    key: str = ""


@dataclass(frozen=True)
class Needs:
    """What a method needs, so that the plan can give it and the report can say it.

    Attributes
    ----------
    matched
        Trains on subjects seen by several scanners.
    folds
        Trained: cross-validated by subject, test sets pooled. Else fitted once on all scans.
    target
        Maps onto one target scanner (`Context.target`).
    covariates
        Uses `Context.covariates`.
    group
        Uses `Context.group`, the clinical label that effect sizes are measured on.
    inputs
        Shared intermediate results of every scan: "tissue", or the name of a method that is
        fitted on no other scan, such as "whitestripe". See `Scan.input`.
    gpu
        Much faster with one; must still run without. Holds a worker alone while it trains.
    role
        "contender", "baseline" (ranked too), or what a control is there for (never ranked).
    sees
        What `transform` may look at; anything but "scan" is a declared cheat, for controls. See
        `Scan.others`.
    quick_reads
        What metrics may read of it in the quick preset: to segment and measure every control
        takes longer than to train a network there.
    """

    matched: bool = False
    folds: bool = False
    target: bool = False
    covariates: bool = False
    group: bool = False
    inputs: tuple[str, ...] = ()
    gpu: bool = False
    role: Role = "contender"
    sees: Literal["scan", "subject", "cohort"] = "scan"
    quick_reads: tuple[str, ...] = ("image", "segmentation", "measures")


@dataclass(frozen=True)
class Group:
    """Two clinical groups; their order fixes the sign of every effect size.

    Attributes
    ----------
    column
        The manifest's column.
    first, second
        Its two values: d = mean(first) - mean(second) over the pooled SD.
    """

    column: str
    first: str
    second: str

    def code(self, scan: Scan) -> float:
        """1 for the first group, 0 for the second."""
        return {self.first: 1.0, self.second: 0.0}[scan.values[self.column]]


@dataclass(frozen=True)
class Context:
    """What a task knows beside its images. Nothing is global.

    Attributes
    ----------
    seed
        Of this task alone; the same in every run with the same settings.
    device
        "cpu" or "cuda".
    threads
        How many the task may use: a constant of the task, never of the machine.
    atlas
        On the cohort's grid; its tissue labels are 1 CSF, 2 GM, 3 WM.
    scratch
        A folder of this task alone, removed afterwards.
    progress
        Call with (done, total, what).
    scanners
        Those of the scans that the task is given, in order.
    target
        The target scanner, where one is used.
    group, covariates
        The clinical groups, and the manifest columns that the user named as covariates.
    raws
        RAW of the scans that a metric scores, by (subject, scanner).
    folds, trained
        For metrics of level "cohort": test fold of each subject, and whether the method that they
        score was trained by these folds, so that scans of one fold share a model.
    pieces
        What a `Piecewise` method's `fit` stands on, fitted, in the order of `pieces()`; empty where
        nobody fitted them, so that `fit` has to.
    log
        File that keeps what programs print; None where nobody asks for it.
    """

    seed: int
    atlas: Atlas
    scratch: Path
    device: str = "cpu"
    threads: int = 1
    progress: Progress = no_progress
    scanners: tuple[str, ...] = ()
    target: str | None = None
    group: Group | None = None
    covariates: tuple[str, ...] = ()
    raws: Mapping[tuple[str, str], Scan] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)
    trained: bool = False
    pieces: tuple[Any, ...] = ()
    log: Path | None = None

    def raw(self, scan: Scan) -> Scan:
        """RAW of a scan that a metric scores."""
        return self.raws[scan.subject, scan.scanner]


@runtime_checkable
class Harmonizer(Protocol):
    """A method: fitted on a training cohort, applied to one scan at a time.

    A dataclass whose fields are its parameters; `fit` sets attributes that end in `_`; the
    constructor does nothing else. `harmobench.base.Method` saves and loads such a class.

    `presets` maps "quick", "default" or "paper" to the parameters that the preset changes. A
    harmonized image keeps the grid of its RAW, is finite, and has one value outside the mask.
    A method that is also `Piecewise` has its pieces trained side by side first.
    """

    needs: ClassVar[Needs]
    reference: ClassVar[Reference]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Learn from the training scans (RAW, with the shared inputs that were asked for)."""
        ...

    def transform(self, scan: Scan) -> Scan:
        """Return `scan.with_voxels(harmonized)`."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that was learned; never pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Piecewise(Protocol):
    """A method whose `fit` stands on trainings that can go side by side, such as a grid's points.

    Each is a task of its own, on a worker of its own; `fit` finds them in `context.pieces`.
    """

    def pieces(self) -> Sequence[Mapping[str, Any]]:
        """Parameters that each piece changes; none where `fit` needs none."""
        ...

    def fit_piece(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Train one piece, whose parameters these are, on what `fit` gets."""
        ...


class MeasureHarmonizer(Protocol):
    """A method such as ComBat that changes measures instead of images.

    It changes the scores of RAW that are measures: those of metrics of level "scan" that are
    "equal" over scanners and read "segmentation" or "measures", such as tissue volumes and
    biomarkers. Each metric and tool has a fit of its own in each fold. All other metrics are
    "not_applicable" to it.

    Tables have one row a scan and structure with the columns subject, scanner, structure, units
    and value, and a column of numbers for each covariate (`Needs.covariates`). `transform` gets
    the rows of one scan at a time. Of `Needs`, only matched, folds, covariates and role are used.
    `harmobench.base.MeasureMethod` saves and loads such a class.
    """

    needs: ClassVar[Needs]
    reference: ClassVar[Reference]

    def fit(self, table: pd.DataFrame, context: Context) -> Self:
        """Learn from the training measures."""
        ...

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the same rows with harmonized values."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learned."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@dataclass(frozen=True)
class Row:
    """One score. The run adds method, fold, metric and level.

    Attributes
    ----------
    structure
        What was measured, such as "brain", "gm" or "hippocampus".
    value
        The score; None unless status is "ok".
    units
        Such as "ml"; empty for a number without unit.
    scanner, reference_scanner
        The scan, or the two scans of a pair in scanner order. Empty for a cohort's score.
    status, reason
        Why there is no value, where there is none.
    subject
        Set by metrics of level "cohort" only.
    """

    structure: str
    value: float | None
    units: str = ""
    scanner: str = ""
    reference_scanner: str = ""
    status: Status = "ok"
    reason: str = ""
    subject: str = ""


class Metric(Protocol):
    """Scores scans, pairs of scans of one subject, or a whole cohort.

    `score` is called once a subject with all its scans on one method (level "scan" and "pair"), or
    once a method with all scans (level "cohort"). Metrics that read "segmentation" are called for
    each segmenter, and find it in `scan.segmentation`, in `space` where it can be had; those that
    read "measures" find `scan.measures`. A class attribute `truth` may name manifest columns of
    files that every scan must have (`scan.values`), such as the phantom's "truth_gm": where they
    are missing, the metric is no part of the run.
    """

    level: ClassVar[Literal["scan", "pair", "cohort"]]
    reads: ClassVar[Literal["image", "segmentation", "measures"]]
    space: ClassVar[Literal["template", "native"]]
    better: ClassVar[Better]
    range: ClassVar[tuple[float, float]]
    units: ClassVar[str]
    structures: ClassVar[tuple[str, ...]]
    reference: ClassVar[Reference]

    def prepare(self, scan: Scan, context: Context) -> State | None:
        """Summary of one scan (arrays by name), or None where the metric needs none."""
        ...

    def merge(self, states: Sequence[State], context: Context) -> State:
        """One summary of all scans of a method; the order of `states` must not matter."""
        ...

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield one row for each scan or pair and structure."""
        ...


class Segmenter(Protocol):
    """T1 to CSF, GM and WM probability maps.

    A class attribute `aside` may name parameters that say where a program is found and how long it
    may run, not what it gives: they stay out of the keys of results.

    `segment` gets the canonical image (background 0, brain above 0) in `scan.voxels()` and the
    brain in `scan.brain()`; it returns csf, gm and wm, float32, 0 to 1, 0 outside the brain.
    """

    reference: ClassVar[Reference]

    def available(self) -> str | None:
        """None where it can run here; else what to install."""
        ...

    def version(self) -> str:
        """Name and version of the program that does the work; every result's key has it.

        Called only where `available` gave None.
        """
        ...

    def segment(self, scan: Scan, context: Context) -> Mapping[str, FloatArray]:
        """Probability of csf, gm and wm in every voxel."""
        ...


@dataclass(frozen=True)
class Source:
    """Files in which a finished measurement of one scan stands.

    Attributes
    ----------
    files
        Role of each file, such as "aseg.stats", to its path.
    row
        Name of the scan in them, where they are tables of many scans.
    """

    files: Mapping[str, Path]
    row: str = ""


class Morphometry(Protocol):
    """T1 to region measures, which it makes itself.

    `reads` says from what: "image" gets the canonical image in `scan.voxels()`, as a segmenter
    does; "segmentation" gets `scan.segmentation` of the tool that the attribute `segmenter` names,
    and the atlas's region labels in `scan.input_labels("regions")`. Either lies in native space
    where the cohort has the way back.
    """

    reads: ClassVar[Literal["image", "segmentation"]]
    reference: ClassVar[Reference]

    def available(self) -> str | None:
        """None where it can run here; else what to install."""
        ...

    def version(self) -> str:
        """Name and version of the program that does the work; every result's key has it."""
        ...

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each structure that `measure` gives, where the atlas has these regions."""
        ...

    def measure(self, scan: Scan, context: Context) -> Iterable[Measure]:
        """Region measures of one scan."""
        ...


class FinishedMorphometry(Protocol):
    """Region measures that a program made before, read from its files.

    In the same entry-point group as `Morphometry`; `--measures NAME=PLACE` says where they are. A
    tool with a field `biomarkers` gets those of `--biomarkers` (`harmobench.tools.biomarkers`).
    """

    reads: ClassVar[Literal["files"]]
    reference: ClassVar[Reference]

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each structure that `measure` gives, where the atlas has these regions."""
        ...

    def check_place(self, place: str) -> str | None:
        """None where `place` is one; else what was expected there and what was found."""
        ...

    def find(self, place: str, method: str, subject: str, scanner: str) -> Source | None:
        """Where a scan's measures stand; None where it was not measured.

        `place` is what the user typed, with {method}, {subject} and {scanner} in it or not.
        """
        ...

    def unknown(self, place: str, scans: Collection[tuple[str, str, str]]) -> Sequence[str]:
        """Name what lies in `place` and is none of these (method, subject, scanner)."""
        ...

    def measure(self, source: Source) -> Iterable[Measure]:
        """Region measures of one scan."""
        ...


@dataclass(frozen=True)
class Design:
    """What a statistic must know of the run.

    Attributes
    ----------
    scanners, subjects
        In the manifest's order.
    methods
        Role of each method that ran, in the order they were asked for; "raw" is the baseline.
    group
        The clinical groups, where named.
    groups
        Group of each subject.
    folds
        Test fold of each subject.
    metrics, ranges
        `better` of each metric, and its smallest and largest value.
    declared
        Methods that the user named, or that ship with harmobench: a plugin that just happens to be
        installed must not change what others' adjusted p are.
    trained
        Methods that are cross-validated: their test subjects share a model within a fold.
    saw_group
        Methods that saw the clinical group: not to be judged on that group's effect size.
    margins
        Differences that the user declared too small to matter, by metric, for equivalence tests.
    seed
        Of the run: what is resampled follows it.
    """

    scanners: tuple[str, ...]
    subjects: tuple[str, ...]
    methods: Mapping[str, Role]
    group: Group | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Better] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    saw_group: frozenset[str] = frozenset()
    margins: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All scanner pairs in scanner order."""
        n = len(self.scanners)
        return tuple(
            (self.scanners[i], self.scanners[k]) for i in range(n) for k in range(i + 1, n)
        )


class Statistic(Protocol):
    """Compares methods from their scores; columns are in `harmobench.results`."""

    mode: ClassVar[str]

    def aggregate(self, scores: pd.DataFrame, design: Design) -> pd.DataFrame:
        """Return aggregates over subjects, with the columns of `results.AGGREGATE_COLUMNS`."""
        ...

    def compare(self, scores: pd.DataFrame, design: Design) -> pd.DataFrame:
        """Return comparisons of methods, with the columns of `results.COMPARISON_COLUMNS`."""
        ...


@dataclass(frozen=True)
class Finished:
    """A finished run, as reports see it.

    Attributes
    ----------
    folder
        Where reports write: what they write there comes into the run folder when all is written.
    settings
        `run.json`: what was asked, with what, on what.
    scores, aggregates, comparisons, costs, failures
        The run's tables; columns are in `harmobench.results`.
    design
        Scanners, subjects, methods and groups.
    pictures
        (method, subject, scanner) to an npz file of slices of the scan's image: the middle one
        across each axis, "sagittal", "coronal", "axial" (float32), and "<axis>_brain" (bool); and
        what `harmobench.imaging.slices.picture_of` says, which runs of version 0.1 lack.
    references
        What to cite for what ran: "method:raw", "metric:ssim", "segmenter:hmrf" to its reference.
    histories
        Training curves: (method, fold) to the rows that the method left in `history_`.
    mosaics
        (method, subject, scanner) to a small WebP picture of the scan's middle slices, all of a
        method in one grey window; empty for runs of version 0.1.
    """

    folder: Path
    settings: Mapping[str, Any]
    scores: pd.DataFrame
    aggregates: pd.DataFrame
    comparisons: pd.DataFrame
    costs: pd.DataFrame
    failures: pd.DataFrame
    design: Design
    pictures: Mapping[tuple[str, str, str], Path]
    references: Mapping[str, Reference]
    histories: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    mosaics: Mapping[tuple[str, str, str], Path] = field(default_factory=dict)


class Report(Protocol):
    """Turns a finished run into files; computes nothing."""

    def write(self, run: Finished, progress: Progress) -> Sequence[Path]:
        """Write into `run.folder` and return what was written, the main file first."""
        ...


Command = Callable[..., None]  # a typer command: its name is the entry point's

__all__ = [
    "ASIDE",
    "CONTROLS",
    "LOWER_IS_BETTER",
    "SPREADS",
    "TISSUES",
    "Atlas",
    "Better",
    "BoolArray",
    "Cohort",
    "Command",
    "Context",
    "Design",
    "Finished",
    "FinishedMorphometry",
    "FloatArray",
    "Group",
    "Harmonizer",
    "LabelArray",
    "Measure",
    "MeasureHarmonizer",
    "Metric",
    "Morphometry",
    "Needs",
    "Piecewise",
    "Progress",
    "Reference",
    "Report",
    "Role",
    "Row",
    "Scan",
    "Segmentation",
    "Segmenter",
    "Source",
    "State",
    "Statistic",
    "Status",
    "no_progress",
]
