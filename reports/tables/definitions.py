"""What the paper's tables of aggregates are: HB-T1 to HB-T8."""

from __future__ import annotations

from dataclasses import dataclass

BLIND = "blind to degeneracy: one image for everybody would be best"


@dataclass(frozen=True)
class Definition:
    """What a table of aggregates holds.

    Attributes
    ----------
    id, title, metric
        As `metrics.md` names them.
    aggregates
        Number and spread; the second may be empty.
    text
        What a number is, and which way is better.
    tested
        Whether there are paired t-tests of exactly this number.
    best
        "smallest", "above RAW" or "": what is bold.
    digits
        Fixed decimals, or None: as many as the numbers need.
    wide
        Methods as rows and structures as columns, as the paper has its Tables 3 and 4.
    pooled
        Numbers over all scanners or pairs, not of each.
    overall
        A second pair of aggregates over all scanners, in lines of its own, and its name.
    """

    id: str
    title: str
    metric: str
    aggregates: tuple[str, str]
    text: str
    tested: bool = False
    best: str = ""
    digits: int | None = None
    wide: bool = False
    pooled: bool = False
    overall: tuple[str, str] = ("", "")


DEFINITIONS = (
    Definition(
        "HB-T1",
        "Image similarity",
        "ssim",
        ("mean", "sd"),
        "SSIM of a subject's scans on two scanners, mean (SD) over subjects. "
        f"Higher is better, and {BLIND}.",
        tested=True,
        digits=3,
    ),
    Definition(
        "HB-T2",
        "Volumetric bias",
        "volume",
        ("bias", "bias_sd"),
        "Absolute difference of a subject's tissue volumes on two scanners, mean (SD) over "
        f"subjects. Lower is better, and {BLIND}.",
        tested=True,
        best="smallest",
    ),
    Definition(
        "HB-T3",
        "Volumetric variance",
        "volume",
        ("rmsd", ""),
        "Root-mean-square difference (RMSD) over subjects of tissue volumes on two scanners; it "
        f"has no value for one subject, so there is no test. Lower is better, and {BLIND}.",
        best="smallest",
    ),
    Definition(
        "HB-T4",
        "Segmentation overlap",
        "dice",
        ("mean", "sd"),
        "Dice overlap of a subject's tissue masks on two scanners, mean (SD) over subjects. "
        f"Higher is better, and {BLIND}.",
        tested=True,
        digits=3,
    ),
    Definition(
        "HB-T5",
        "GM-WM contrast",
        "auroc",
        ("mean", "sd"),
        "AUROC of white over grey matter intensities, mean (SD) over subjects: 1 is complete "
        "separation, .5 chance. Higher is better. Spread: SD over a subject's scanners, mean over "
        "subjects; lower is better.",
        digits=3,
        overall=("spread", "spread over scanners"),
    ),
    Definition(
        "HB-T6",
        "Biomarker bias",
        "biomarker",
        ("bias", "bias_sd"),
        "Absolute difference of a subject's measures on two scanners, mean (SD) over all subjects "
        f"and scanner pairs pooled. Lower is better, and {BLIND}.",
        tested=True,
        best="smallest",
        wide=True,
        pooled=True,
    ),
    Definition(
        "HB-T7",
        "Biomarker variance",
        "biomarker",
        ("rmsd", ""),
        f"Mean over scanner pairs of the pair's RMSD over subjects. Lower is better, and {BLIND}.",
        best="smallest",
        wide=True,
        pooled=True,
    ),
    Definition(
        "HB-T8",
        "Effect sizes",
        "biomarker",
        ("cohen_d_mean", "cohen_d_sd"),
        "Cohen's d of the clinical groups, mean (SD) over scanners. Not below RAW is better; above "
        "RAW may be gain or artefact.",
        best="above RAW",
        wide=True,
        pooled=True,
    ),
)
