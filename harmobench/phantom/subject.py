"""The phantom's people: group, age, sex, size of the head, and disease of known size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GROUPS = ("low", "high")  # degree of small vessel disease, as in the paper, section 2.1


@dataclass(frozen=True)
class Disease:
    """What distinguishes the groups; means and SD of `DISEASE` are the designed effects.

    Attributes
    ----------
    ventricle
        Outward shift of the ventricles' wall, mm.
    lesion
        Volume of white-matter lesions in template space, ml.
    hippocampus
        Inward shift of the hippocampus's surface, mm.
    """

    ventricle: float
    lesion: float
    hippocampus: float


# Mean of each group and common SD; lesions are log-normal (the SD is of the logarithm).
DISEASE = {
    "ventricle": ((0.4, 1.6), 0.5),
    "lesion": ((2.0, 9.0), 0.4),
    "hippocampus": ((0.2, 0.8), 0.2),
}
# Size of the head beside ICBM152's, which is a large one: mean of each sex and common SD.
SIZE = {"F": 0.915, "M": 0.945}
SIZE_SD = 0.02


@dataclass(frozen=True)
class Subject:
    """A person; follows from the seed and the subject's number alone.

    Attributes
    ----------
    name, group, sex
        As in the manifest.
    age
        Years.
    size
        Of the head, lengths relative to the template's.
    disease
        See `Disease`.
    """

    name: str
    group: str
    age: float
    sex: str
    size: float
    disease: Disease


def make_subject(number: int, rng: np.random.Generator) -> Subject:
    """Draw subject `number` (from 0); groups alternate, sexes alternate every second subject."""
    arm = number % 2
    sex = "FM"[number // 2 % 2]
    z = rng.normal(size=5)
    age = float(np.clip(np.round(71.0 + 6.0 * z[0], 1), 51.0, 90.0))
    means = {name: (m[arm], sd) for name, (m, sd) in DISEASE.items()}
    disease = Disease(
        ventricle=means["ventricle"][0] + means["ventricle"][1] * z[1],
        lesion=means["lesion"][0] * float(np.exp(means["lesion"][1] * z[2])),
        hippocampus=max(0.0, means["hippocampus"][0] + means["hippocampus"][1] * z[3]),
    )
    size = SIZE[sex] + SIZE_SD * float(np.clip(z[4], -2.5, 2.5))
    return Subject(f"{number + 1:02d}", GROUPS[arm], age, sex, size, disease)
