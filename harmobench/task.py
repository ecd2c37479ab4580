"""One unit of work that a worker can do: pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One unit of work.

    Attributes
    ----------
    key
        Where its result lies in the store.
    kind
        The name of the function that does it: in a run, one of `harmobench.tasks`.
    needs
        Role to the key of another task.
    args
        Plain data: method, tool, metric, subject, scanner, fold, repeat, ... as the kind has it.
    heavy
        Trains: holds the TRAIN resource of a worker, and the GPU where there is one.
    """

    key: str
    kind: str
    needs: Mapping[str, str]
    args: Mapping[str, Any]
    heavy: bool = False

    @property
    def label(self) -> str:
        """What to show a person."""
        shown = ("method", "tool", "metric", "subject", "scanner", "fold")
        # fold -1 is that of a method without folds
        parts = [
            str(self.args[name]) for name in shown if self.args.get(name) not in (None, "", -1)
        ]
        piece = f"piece {self.args['piece'] + 1}" if "piece" in self.args else ""
        return " ".join([self.kind, *parts, piece]).rstrip()
