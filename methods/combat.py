"""ComBat: scanner effects on measures, by neuroHarmonize (Johnson 2007; Fortin 2018)."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from harmobench.base import MeasureMethod
from harmobench.errors import MethodError
from harmobench.interface import Context, Needs, Reference

if TYPE_CHECKING:
    import pandas as pd

LEARNED = ("B_hat", "stand_mean", "var_pooled", "gamma_star", "delta_star")
LEAST = 2  # training scans of each scanner: a variance needs two
SITE = "SITE"  # what neuroHarmonize calls the scanner's column
_LONG = ("subject", "scanner", "structure", "units", "value")


@dataclass
class Combat(MeasureMethod):
    """Location and scale of each scanner, drawn together over measures by empirical Bayes.

    Fortin et al. 2018, equations 1 to 3, as neuroHarmonize computes them (Pomponio et al. 2020):
    y = a + X b + gamma + delta e, where gamma and delta are a scanner's, and X holds the covariates
    that `--covariates` names. It does not know that the same people were scanned: what is left of
    them is in e. All structures of one metric and tool are fitted together.

    Attributes
    ----------
    eb
        Draw gamma and delta together over structures; of one structure alone there is nothing to
        draw together, and neuroHarmonize does not.
    """

    eb: bool = True

    needs: ClassVar[Needs] = Needs(folds=True, covariates=True)
    reference: ClassVar[Reference] = Reference(
        title="Harmonization of cortical thickness measurements across scanners and sites",
        authors="Fortin JP, Cullen N, Sheline YI, Taylor WD, Aselcioglu I, Cook PA, Adams P, "
        "Cooper C, Fava M, McGrath PJ, McInnis M, Phillips ML, Trivedi MH, Weissman MM, "
        "Shinohara RT",
        year=2018,
        venue="NeuroImage 167, 104-120",
        doi="10.1016/j.neuroimage.2017.11.024",
        key="fortin2018combat",
    )

    def fit(self, table: pd.DataFrame, context: Context) -> Self:
        """Learn from the training scans of which every structure was measured.

        Raises
        ------
        MethodError
            Fewer than two such scans of a scanner, fewer scans than the model has parameters, too
            few people for the covariates, covariates that follow from each other or from the
            scanner, or a measure that does not vary.
        """
        from neuroHarmonize import harmonizationLearn

        wide, covariates = _wide(table)
        _refuse_few(wide, covariates)
        _refuse_few_people(wide, covariates)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # it uses numpy.matrix
            model, _ = harmonizationLearn(wide.to_numpy(), _named(covariates), eb=self.eb)
        learned = {name: np.asarray(model[name], dtype=np.float64) for name in LEARNED}
        learned["stand_mean"] = learned["stand_mean"][:, :1]  # the same for every scan
        if not all(np.isfinite(values).all() for values in learned.values()):
            raise MethodError(
                "expected measures that vary on every scanner, found some that do not, so that "
                "ComBat has no scale for them"
            )
        self.model_ = learned
        self.scanners_ = [str(name) for name in model["SITE_labels"]]
        self.structures_ = list(wide.columns)
        return self

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the same rows with the scanner's location and scale removed.

        Raises
        ------
        MethodError
            A scanner that was not in the training, or a structure that is missing.
        """
        wide, covariates = _wide(table)
        unknown = sorted(set(covariates.iloc[:, 0]) - set(self.scanners_))
        if unknown:
            raise MethodError(
                f"expected a scanner of the training ({', '.join(self.scanners_)}), found "
                f"{', '.join(unknown)}: ComBat knows nothing of it"
            )
        if set(wide.columns) != set(self.structures_):
            raise MethodError(
                f"expected measures of {', '.join(self.structures_)}, found "
                f"{', '.join(wide.columns) or 'none'}"
            )
        harmonized = self._applied(wide[self.structures_], covariates)
        keys = zip(table["subject"], table["scanner"], table["structure"], strict=True)
        return table.assign(value=[harmonized.loc[(s, c), name] for s, c, name in keys])

    def _applied(self, wide: pd.DataFrame, covariates: pd.DataFrame) -> pd.DataFrame:
        """Apply the model: a scan of each scanner goes along, so that columns of X are the same.

        neuroHarmonize reads them from the scanners that are there, and its function for one scan
        (`applyModelOne` of 2.4.5) leaves out the mean of covariates.
        """
        import pandas as pd
        from neuroHarmonize import harmonizationApply

        model = {
            **self.model_,
            "SITE_labels": np.array(self.scanners_),
            "info_dict": {"ref_level": None},
            "smooth_model": {"perform_smoothing": False, "smooth_cols": []},
        }
        covariates = _named(covariates)
        along = pd.DataFrame(0.0, index=self.scanners_, columns=covariates.columns[1:])
        along.insert(0, SITE, self.scanners_)
        values = np.vstack([wide.to_numpy(), np.zeros((len(along), len(wide.columns)))])
        everyone = pd.concat([covariates, along], ignore_index=True)
        out = np.asarray(harmonizationApply(values, everyone, model), dtype=np.float64)
        return pd.DataFrame(out[: len(wide)], index=wide.index, columns=wide.columns)


def _wide(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a scan: its structures, and SITE with the covariates; whole scans alone."""
    names = [name for name in table.columns if name not in _LONG]
    wide = table.pivot(index=["subject", "scanner"], columns="structure", values="value").dropna()
    rest = table.drop_duplicates(["subject", "scanner"]).set_index(["subject", "scanner"])
    covariates = rest.loc[wide.index, names].astype(float)
    covariates.insert(0, SITE, [scanner for _, scanner in wide.index], allow_duplicates=True)
    return wide, covariates


def _named(covariates: pd.DataFrame) -> pd.DataFrame:
    """Name columns as neuroHarmonize has them: no covariate may be called SITE there."""
    return covariates.set_axis([SITE, *range(1, covariates.shape[1])], axis=1)


def _refuse_few(wide: pd.DataFrame, covariates: pd.DataFrame) -> None:
    counts = covariates.iloc[:, 0].value_counts()
    few = sorted(str(name) for name, count in counts.items() if count < LEAST)
    if few or counts.empty:
        raise MethodError(
            f"expected at least {LEAST} training scans of each scanner with every structure "
            f"measured, found fewer for {', '.join(few) or 'all'}"
        )
    design = np.column_stack(
        [*(covariates.iloc[:, 0] == name for name in counts.index), covariates.iloc[:, 1:]]
    ).astype(float)
    rank = int(np.linalg.matrix_rank(design))
    if rank < design.shape[1] or len(wide) <= design.shape[1]:
        names = ", ".join(covariates.columns[1:]) or "none"
        raise MethodError(
            f"expected more training scans than scanners and covariates, and covariates that do "
            f"not follow from each other or the scanner, found {len(wide)} scans, {len(counts)} "
            f"scanners and the covariates {names}"
        )


def _refuse_few_people(wide: pd.DataFrame, covariates: pd.DataFrame) -> None:
    """Refuse slopes that too few people would make: the scans of one person share covariates."""
    names = list(covariates.columns[1:])
    people = wide.index.get_level_values("subject").nunique()
    if names and people < len(names) + 2:  # one more than a mean and the slopes
        raise MethodError(
            f"expected at least {len(names) + 2} training people for the covariates "
            f"{', '.join(names)}, found {people}: name fewer covariates, or have more people"
        )
