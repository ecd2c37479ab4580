"""TOML files of anyone's: read as data, whatever stands in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 2**20  # no settings are longer
MOST_PARTS = 100  # of a key with dots: each costs as much as all before it


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ValueError
        It is no file, no text, no TOML, or larger or deeper than any that a person writes; what
        was found, as the end of a sentence.
    """
    if not path.is_file():  # to open a pipe would wait for ever
        raise ValueError("no file that can be read")
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        _refuse_deep(text)
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("brackets within brackets without end") from error
    except OSError as error:
        raise ValueError(f"no file that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError("a fault: other characters than UTF-8") from error
    except ValueError as error:
        raise ValueError(f"a fault: {error}") from error


def _refuse_deep(text: str) -> None:
    without_blanks = text.replace(" ", "").replace("\t", "")
    if any(part.count(".") > MOST_PARTS for part in re.split(r"[\n=,{}\[\]#]", without_blanks)):
        raise ValueError(f"a key of more than {MOST_PARTS} parts")
