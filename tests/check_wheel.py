"""Check that a built wheel and sdist carry every package, template and test: a script for tox."""

from __future__ import annotations

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(folder: Path) -> int:
    """Compare the checkout's files with the built ones; print what is missing."""
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
                path.suffix not in (".py", ".j2", ".css", ".js", ".typed")
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
    print(f"{len(inside)} files in {wheel.name}, {len(settings['packages'])} packages")
    print("\n".join(missing) or "nothing is missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
