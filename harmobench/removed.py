"""What `harmobench clean --images` removed from a run on purpose: `removed.json`.

It keeps what each of these tasks took, which the table of costs is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harmobench.store import Store, read_json, write_json
from harmobench.task import Task

NAME = "removed.json"
KINDS = ("image", "segment")  # what can be made again, and no table or report reads


def read_removed(folder: Path) -> dict[str, Any]:
    """Read what each removed task of a run took, by key; nothing where none was."""
    path = folder / NAME
    return dict(read_json(path)) if path.is_file() else {}


def write_removed(folder: Path, costs: Mapping[str, Any]) -> Path:
    """Write what was removed, with what was removed earlier."""
    write_json(folder / NAME, read_removed(folder) | dict(costs))
    return folder / NAME


def known(task: Task, store: Store, removed: Mapping[str, Any]) -> bool:
    """Whether a task is finished, or was and its result was removed on purpose."""
    return store.has(task.key) or (task.kind in KINDS and task.key in removed)


def cost_of(task: Task, store: Store, removed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task took."""
    if task.kind in KINDS and task.key in removed:
        return dict(removed[task.key])
    return dict(read_json(store.path(task.key) / "cost.json"))
