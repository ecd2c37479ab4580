"""A method whose arithmetic a command line does, one scan at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from harmobench import limits
from harmobench.base import Method
from harmobench.imaging.volume import write_image
from harmobench.interface import Cohort, Scan
from harmobench.outside import files, running
from harmobench.outside.recipe import Recipe
from harmobench.tools import program


class Outside(Method):
    """A method without a fit: one command line for one scan.

    A class attribute `recipe` says which; `method_from` makes such a class.
    """

    recipe: ClassVar[Recipe]
    aside: ClassVar[tuple[str, ...]] = ("minutes", "fit_minutes")
    minutes: float

    def __post_init__(self) -> None:
        """Refuse parameters that could be read as an option or a path.

        Raises
        ------
        ValueError
            They may come from anyone's run.json.
        """
        for name in self.recipe.parameters:
            fault = self.recipe.fault(name, getattr(self, name))
            if fault:
                raise ValueError(f"{name}: {fault}")

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse a time limit that is none, or a prefix that cannot be read."""
        limits.refuse(
            self.recipe.name,
            *(
                limits.number(name, getattr(self, name), lambda m: m > 0, "a number above 0")
                for name in self.aside
                if hasattr(self, name)
            ),
        )
        self.recipe.before()

    def available(self) -> str | None:
        """None where the program was found here; else what was looked for, and what to do."""
        return running.missing(self.recipe)

    def version(self) -> str:
        """First line that the version command prints; "" where there is no such command."""
        return running.version(self.recipe)

    def unsuited(self, cohort: Cohort) -> str | None:
        """Say what is missing on this machine; None where nothing is."""
        return self.available()

    def transform(self, scan: Scan) -> Scan:
        """Return what the command made of a scan, 0 outside the brain.

        Raises
        ------
        MethodError
            The command failed, or wrote no image of this scan's grid.
        """
        recipe, brain = self.recipe, scan.brain()
        with running.workspace() as folder:
            output = folder / f"output{recipe.images}"
            known = self._known(folder, running.empty(folder))
            values = {**known, **self._of(scan, folder), "output": output}
            said = running.run(recipe, "transform", values, self.minutes)
            made = files.read_image(output, scan, brain, program.last_words(said))
        return scan.with_voxels(made)

    def _of(self, scan: Scan, folder: Path) -> dict[str, Any]:
        """Write a scan's files into a folder and return what its names stand for."""
        ending = self.recipe.images
        image, mask = folder / f"input{ending}", folder / f"mask{ending}"
        files.copy_image(scan, image)
        write_image(mask, scan.brain(), scan.grid)
        inputs = {name: folder / f"{name}{ending}" for name in self.recipe.needs.inputs}
        for name, path in inputs.items():
            files.copy_input(scan.inputs[name], path)
        columns = self._columns(scan)
        row = files.row(scan, image, mask, columns)
        row |= {name: str(path) for name, path in inputs.items()}
        table = folder / "scan.csv"
        files.write_table(table, [row], (*files.OWN, *columns, *inputs))
        names = {"subject": scan.subject, "scanner": scan.scanner, "scan_csv": table}
        return {"input": image, "mask": mask, **inputs, **names}

    def _columns(self, scan: Scan) -> tuple[str, ...]:
        """Columns of the manifest that the method sees: of the scan, where nothing was fitted."""
        needs = self.recipe.needs
        return tuple(scan.values) if needs.covariates or needs.group else ()

    def _known(self, folder: Path, data: Path) -> dict[str, Any]:
        """Values that hang on no scan."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        place = running.of_machine(self.recipe, folder, data)
        return {**own, **place, "seed": 0, "threads": 1}
