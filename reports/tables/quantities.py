"""What the tables of estimates hold: HB-T9, and the rigorous forms of HB-T3, T7 and T8."""

from __future__ import annotations

from dataclasses import dataclass

MEASURES = ("volume", "biomarker")  # what should be equal over scanners
TRUTH = ("volume_error", "truth_dice", "truth_rmse")


@dataclass(frozen=True)
class Quantity:
    """A column of estimates.

    Attributes
    ----------
    heading
        Of the column; in CSV too.
    aggregate
        Its name in the run's table.
    root
        It is a variance there, and shown as an SD: the square root, 0 where it is below 0.
    digits
        Fixed decimals, or None: as many as the numbers need.
    """

    heading: str
    aggregate: str
    root: bool = False
    digits: int | None = 2

    @property
    def is_sd(self) -> bool:
        """Whether it is shown as an SD, which is never below 0."""
        return self.root or self.aggregate.startswith("sd_")


@dataclass(frozen=True)
class Estimates:
    """A table of estimates: id, title, metrics, columns, and what the numbers are."""

    id: str
    title: str
    metrics: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    text: str
    native: bool = False  # whether the registration-only line matters to it


AGREEMENT = Estimates(
    "HB-T9",
    "Agreement and components",
    MEASURES,
    (
        Quantity("ICC(A,1)", "icc", digits=3),
        Quantity("CoV", "cov", digits=4),
        Quantity("scanner SD", "component_scanner", root=True, digits=None),
        Quantity("subject SD", "component_subject", root=True, digits=None),
        Quantity("residual SD", "component_residual", root=True, digits=None),
        Quantity("slope on RAW", "slope"),
        Quantity("d", "cohen_d"),
    ),
    "Agreement of a subject's measures over scanners, and what is left of the subjects. ICC(A,1), "
    "absolute agreement: higher is better. CoV, within subjects: lower is better; both are blind "
    "to degeneracy. Components (subject x fixed scanners) as SDs in the units of the line: scanner "
    "and residual lower is better, subject as RAW's. Slope of a method's subject means on RAW's: "
    "below 1 is shrinking to the mean. d: Cohen's d, mean over scanners; not below RAW is better.",
    native=True,
)
DETAILS = Estimates(
    "HB-T9-details",
    "Bias, shares of variance, truth",
    MEASURES,
    (
        Quantity("bias", "bias", digits=None),
        Quantity("share scanner", "share_scanner", digits=3),
        Quantity("share subject", "share_subject", digits=3),
        Quantity("share residual", "share_residual", digits=3),
        Quantity("slope on truth", "slope_truth"),
        Quantity("Hedges' g", "hedges_g"),
        Quantity("change of d", "cohen_d_change"),
        Quantity("true d", "cohen_d_true"),
    ),
    "Beside HB-T9. Bias: a subject's mean absolute difference over scanner pairs, in the units of "
    "the line; lower is better. Shares: of the variance. Slope on the true volumes: 1 is best. "
    "Change of d: method minus RAW; not below 0 is better.",
    native=True,
)
EFFECTS = Estimates(
    "HB-T8-rigorous",
    "Effect sizes: rigorous estimates",
    ("biomarker",),
    (
        Quantity("d", "cohen_d"),
        Quantity("Hedges' g", "hedges_g"),
        Quantity("change of d", "cohen_d_change"),
        Quantity("true d", "cohen_d_true"),
    ),
    "Cohen's d and Hedges' g of the clinical groups, mean over scanners, and the change of d: "
    "method minus RAW. Not below RAW is better, and nearest to the true d where it is known. "
    "Methods that saw the group cannot be judged on it.",
    native=True,
)
RMSDS = tuple(
    Estimates(
        f"{beside}-rigorous",
        f"{title}: rigorous estimates",
        (metric,),
        (Quantity("RMSD", "rmsd", digits=None),),
        "Mean over scanner pairs of the pair's RMSD over subjects. Lower is better, and blind to "
        "degeneracy. RMSD has no value for one subject, so there is no test; whether intervals of "
        "two methods overlap is none either.",
    )
    for beside, title, metric in (
        ("HB-T3", "Volumetric variance", "volume"),
        ("HB-T7", "Biomarker variance", "biomarker"),
    )
)
AGAINST_TRUTH = Estimates(
    "HB-T9-truth",
    "Against truth",
    TRUTH,
    (Quantity("mean", "mean", digits=None), Quantity("mean absolute", "mean_abs", digits=None)),
    "Distance from the truth, mean over subjects. Volume errors are signed: against true fractions "
    "summed, and (p80) against the truth's voxels of at least .8, as a perfect segmenter with that "
    "threshold gives. Errors nearer to 0 and lower RMSE are better, Dice higher.",
)
SEEDS = (
    Quantity("seed SD", "sd_seed", digits=None),
    Quantity("subject SD", "sd_subject", digits=None),
    Quantity("residual SD", "sd_residual", digits=None),
)
