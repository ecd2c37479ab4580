"""What a result depends on beside its inputs: code and library versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harmobench.registry import hash_files

# Libraries whose arithmetic ends up in results; their versions are part of every task's key.
NUMERICAL = (
    "numpy",
    "scipy",
    "nibabel",
    "scikit-image",
    "scikit-learn",
    "statsmodels",
    "pingouin",
    "pandas",
    "torch",
    "antspyx",
    "nilearn",
    "neuroCombat",
    "neuroHarmonize",
)
# Kernel modules that only command, order, show or name: a change in them changes no number.
NOT_COMPUTING = (
    "ahead",
    "api",
    "apply",
    "bids",
    "checksums.py",
    "clean.py",
    "cli.py",
    "cli_look.py",
    "cluster",
    "completing.py",
    "crate.py",
    "damage.py",
    "doing.py",
    "facts.py",
    "folder.py",
    "guard.py",
    "links.py",
    "live",
    "options.py",
    "phantom",
    "plain.py",
    "plugin_commands.py",
    "pool.py",
    "preprocess",
    "provenance.py",
    "recompute.py",
    "registry.py",
    "removed.py",
    "runner.py",
    "scaffold",
    "staging.py",
    "testing",
    "verify.py",
    "watcher.py",
    "versions.py",
)
ROOT = Path(__file__).parent
ROOMS = ("methods", "metrics", "reports")  # each plugin has a digest of its own


@lru_cache(maxsize=1)
def environment() -> dict[str, str]:
    """Version of Python and of each numerical library that is installed."""
    found = {"python": platform.python_version()}
    for name in NUMERICAL:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each library of which two environments have other versions, with both; or "none"."""
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            yield name, then.get(name, "none"), now.get(name, "none")


@lru_cache(maxsize=1)
def kernel_digest() -> str:
    """SHA-256 of the kernel's computing code."""
    others = {path.name for path in ROOT.iterdir()} - {*NOT_COMPUTING, *ROOMS}
    return source_digest(*sorted(others))


def source_digest(*names: str) -> str:
    """SHA-256 of the Python files that these files and folders of the kernel are."""
    files = [
        path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] in names
    ]
    return hash_files(files, ROOT)
