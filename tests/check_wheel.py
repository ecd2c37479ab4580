"""Check a built wheel and sdist, or an installation: a script for tox and `.ci/run`.

python check_wheel.py FOLDER               wheel and sdist carry every file, one version
python check_wheel.py --installed PYTHON   in an environment with harmobench and nothing else,
                                           every module imports and every plugin loads
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


# Imports every module of the package, and loads every plugin that it brings.
IMPORT_ALL = """
import importlib, pkgutil, sys
import harmobench
from harmobench.registry import KINDS, plugins
names = [m.name for m in pkgutil.walk_packages(harmobench.__path__, "harmobench.")]
for name in names:
    importlib.import_module(name)
for name in harmobench.__all__:
    getattr(harmobench, name)
loaded = [plugin.load() for kind in KINDS for plugin in plugins(kind).values()]
print(f"{len(names)} modules and {len(loaded)} plugins of {harmobench.__file__}")
assert sys.prefix in harmobench.__file__
"""


def main(*words: str) -> int:
    """Check what the command line names; print what is wrong."""
    if words[0] == "--installed":
        wrong = installed(Path(words[1]))
    else:
        wrong = [*files(Path(words[0])), *versions(*Path(words[0]).glob("*.whl"))]
    print("\n".join(wrong) or "nothing is wrong")
    return 1 if wrong else 0


def versions(wheel: Path) -> list[str]:
    """Say where another version stands than in the wheel's name."""
    version = wheel.name.split("-")[1]
    places = {
        "pyproject.toml": r'(?m)^version = "(.+)"$',
        "harmobench/__init__.py": r'(?m)^__version__ = "(.+)"$',
        "CITATION.cff": r"(?m)^version: (.+)$",
        "CHANGELOG.md": r"(?m)^## (\S+)",
    }
    found = {
        name: re.search(pattern, (ROOT / name).read_text(encoding="utf-8"))
        for name, pattern in places.items()
    }
    return [
        f"{name}: expected version {version}, found {match[1] if match else 'none'}"
        for name, match in found.items()
        if match is None or match[1] != version
    ]


def installed(python: Path) -> list[str]:
    """Start harmobench in an environment, and import all of it; return what went wrong."""
    program = str(python.with_name("harmobench"))
    for command in (
        [str(python), "-m", "pip", "check"],
        [program, "--version"],
        [program, "list"],
        [str(python), "-P", "-W", "error::DeprecationWarning:harmobench", "-c", IMPORT_ALL],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        said = f"{done.stdout}{done.stderr}".strip()
        if done.returncode or "broken:" in said:
            return [f"{' '.join(command[:4])}: {said[-2000:]}"]
        print(said.splitlines()[-1])
    return []


def files(folder: Path) -> list[str]:
    """Compare the checkout's files with the built ones; return what is missing or too much."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    inside = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    missing = []
    for room in ("harmobench", "methods", "metrics", "reports"):
        for path in sorted((ROOT / room).rglob("*")):
            if (
                path.suffix not in (".py", ".j2", ".css", ".js", ".typed", ".pyi")
                or "__pycache__" in path.parts
            ):
                continue
            below = path.relative_to(ROOT)
            if below.parts[0] == "harmobench" and below.parts[1] in (
                "methods",
                "metrics",
                "reports",
            ):
                continue
            name = below.as_posix() if room == "harmobench" else f"harmobench/{below.as_posix()}"
            missing += [f"wheel: {name}"] if name not in inside else []
            missing += [f"sdist: {below.as_posix()}"] if below.as_posix() not in sources else []
    missing += [
        f"sdist: tests/{p.name}"
        for p in (ROOT / "tests").glob("*.py")
        if f"tests/{p.name}" not in sources
    ]
    caches = {name for name in inside | sources if "__pycache__" in name or "_cache/" in name}
    missing += [f"a cache was packed: {name}" for name in sorted(caches)]
    print(f"{len(inside)} files in {wheel.name}, {len(settings['packages'])} packages")
    return missing


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
