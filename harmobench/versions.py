"""What `harmobench --version` says; nothing large is imported for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import harmobench
from harmobench.errors import PluginError
from harmobench.provenance import environment
from harmobench.registry import KINDS, plugins

DRIVER = Path("/proc/driver/nvidia/version")  # there where an NVIDIA driver is loaded


def version_lines() -> Iterator[str]:
    """Yield harmobench's version, those of libraries, what GPU can be used, and plugin packages."""
    yield f"harmobench {harmobench.__version__}"
    for name, number in environment().items():
        yield f"  {name} {number}"
    yield f"  GPU: {gpu()}"
    for package, kinds in sorted(packages().items()):
        yield f"  plugins: {package} ({', '.join(kinds)})"


def gpu(driver: Path = DRIVER) -> str:
    """Say whether torch could use an NVIDIA GPU: from its files, for importing it takes seconds."""
    found = importlib.util.find_spec("torch")
    places = found.submodule_search_locations if found is not None else None
    libraries = [Path(place) / "lib" for place in places or ()]
    if not any(next(folder.glob("*torch_cuda.*"), None) for folder in libraries):
        return "none, torch was built without CUDA"
    if not driver.is_file():
        return "none, torch was built with CUDA, but no NVIDIA driver is loaded"
    return "torch was built with CUDA, and an NVIDIA driver is loaded"


def packages() -> dict[str, list[str]]:
    """Return the other packages that bring plugins, with the kinds they bring."""
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        try:
            names = {plugin.distribution for plugin in plugins(kind).values()}
        except PluginError as error:
            names = {f"broken: {error}"}
        for name in names:
            if name.partition(" ")[0] != "harmobench":
                found.setdefault(name, []).append(kind)
    return found
