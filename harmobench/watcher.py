"""Whoever watches a command at work: what it is told."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from harmobench.plan import Plan
from harmobench.task import Task
from harmobench.worker import Outcome


class Watcher(Protocol):
    """Whoever shows a person how far the run is."""

    def step(self, done: int, total: int, what: str) -> None:
        """Show progress of what is done in this process."""

    def say(self, text: str) -> None:
        """Show one line."""

    def must(self, text: str) -> None:
        """Show one line that must be read, whatever else is not shown."""

    def start(self, plan: Plan, finished: Collection[str], folder: Path) -> None:
        """Show a plan of a run folder; some of its tasks, by key, are finished already."""

    def task(self, task: Task, outcome: Outcome) -> None:
        """Show that a task ended."""
