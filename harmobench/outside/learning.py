"""A method that a command line trains: what it writes is the model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from harmobench.errors import MethodError
from harmobench.interface import Cohort, Context, Scan
from harmobench.outside import files, running
from harmobench.outside.method import Outside
from harmobench.tools import program

MODEL = "files"  # folder of a saved model that holds what fit wrote


class Learning(Outside):
    """A method with a fit: what its command writes into {model_dir} is the model."""

    fit_minutes: float
    seed_: int
    threads_: int
    target_: str | None
    columns_: tuple[str, ...]
    model_files: Mapping[str, bytes]

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Run the fit command on the training scans, and keep the files that it wrote.

        Raises
        ------
        MethodError
            The command failed, wrote no model, or changed its training images.
        """
        self.seed_, self.threads_ = context.seed, context.threads
        self.target_, self.columns_ = context.target, self._declared(context)
        with running.workspace(context.scratch) as folder:
            training = files.Training(folder, self.recipe.images)
            values = self._tables(training, train, validation)
            model = folder / "model"
            model.mkdir()
            known = self._known(folder, training.place or running.empty(folder))
            values |= {**known, "device": context.device, "model_dir": model}
            said = running.run(self.recipe, "fit", values, self.fit_minutes, context.log)
            training.refuse_changed()
            self.model_files = files.read_model(model)
            if not self.model_files:
                raise MethodError(
                    "expected fit to write its model into {model_dir}, found nothing there"
                    + program.last_words(said)
                )
        return self

    def save(self, folder: Path) -> None:
        """Write model.json, and the files of the model below `files`."""
        self._refuse_unfitted()
        super().save(folder)
        shutil.rmtree(folder / MODEL, ignore_errors=True)  # of an older model in the same folder
        files.write_model(folder / MODEL, self.model_files)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        MethodError
            No model, a damaged one, or links among its files.
        """
        model = super().load(folder)
        model.model_files = files.read_model(folder / MODEL)
        model._refuse_unfitted()
        return model

    def transform(self, scan: Scan) -> Scan:
        """Return what the command made of a scan with the model; 0 outside the brain."""
        self._refuse_unfitted()
        return super().transform(scan)

    def _refuse_unfitted(self) -> None:
        known = vars(self)
        right = (
            isinstance(known.get("seed_"), int)
            and isinstance(known.get("threads_"), int)
            and isinstance(known.get("target_"), str | None)
            and all(isinstance(name, str) for name in known.get("columns_", (None,)))
            and known.get("model_files")
        )
        if not right:
            raise MethodError(
                f"expected a fitted {self.recipe.name} with the files of its model, found none"
            )

    def _declared(self, context: Context) -> tuple[str, ...]:
        group = (context.group.column,) if context.group is not None else ()
        return tuple(dict.fromkeys((*context.covariates, *group)))

    def _tables(
        self, training: files.Training, train: Cohort, validation: Cohort | None
    ) -> dict[str, Any]:
        inputs, made = self.recipe.needs.inputs, {}
        for name, cohort in (("train", train), ("validation", validation or Cohort(()))):
            rows = training.rows(cohort, inputs, self.columns_)
            table = training.folder / f"{name}.csv"
            files.write_table(table, rows, (*files.OWN, *self.columns_, *inputs))
            made[f"{name}_csv"] = table
        return made

    def _of(self, scan: Scan, folder: Path) -> dict[str, Any]:
        model = folder / "model"
        files.write_model(model, self.model_files)
        return {**super()._of(scan, folder), "model_dir": model}

    def _columns(self, scan: Scan) -> tuple[str, ...]:
        return tuple(self.columns_)

    def _known(self, folder: Path, data: Path) -> dict[str, Any]:
        learned = {"seed": "seed_", "threads": "threads_", "target": "target_"}
        own = {name: vars(self)[kept] for name, kept in learned.items() if kept in vars(self)}
        return {**super()._known(folder, data), **own}
