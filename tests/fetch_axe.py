"""Fetch axe-core, which finds what keeps people from using a page: python fetch_axe.py TARGET.

The package comes from the npm registry, without npm, and is refused if a byte of it differs.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "4.11.0"
ADDRESS = f"https://registry.npmjs.org/axe-core/-/axe-core-{VERSION}.tgz"
SHA512 = "ilYanEU8vxxBexpJd8cWM4ElSQq4QctCLKih0TSfjIfCQTeyH/6zVrmIJfLPrKTKJRbiG+cfnZbQIjAlJmF1jQ=="
SECONDS = 60


def unpack(package: bytes) -> bytes:
    """Return axe.min.js out of the package.

    Raises
    ------
    ValueError
        It is another package than the one that is named here.
    """
    found = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if found != SHA512:
        raise ValueError(f"{ADDRESS}: expected sha512-{SHA512}, found sha512-{found}")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        script = archive.extractfile("package/axe.min.js")
        if script is None:
            raise ValueError(f"{ADDRESS}: expected a file package/axe.min.js, found none")
        return script.read()


def main(target: Path) -> int:
    """Write axe.min.js; say why if it cannot be had."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=SECONDS) as answer:
            script = unpack(answer.read())
    except (OSError, ValueError) as error:
        print(f"axe-core cannot be fetched: {error}", file=sys.stderr)
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(script)
    print(f"axe-core {VERSION}: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
