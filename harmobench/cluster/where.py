"""Where tasks are to be done: reads what the user typed, or wrote into a TOML file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmobench.cluster.sites import Batch, Local, Remote, Site, Tls
from harmobench.errors import SettingsError, nearest
from harmobench.tomls import read_toml

KINDS = ("slurm", "sge", "pbs")
LEAST_MEMORY = 256 * 10**6  # bytes: a worker that has imported what it needs has less left
LEAST_WALLTIME = 300  # seconds


@dataclass(frozen=True)
class Where:
    """What the user typed; `harmobench run --help` says what each means."""

    workers: int | None = None
    memory: str | None = None
    scheduler: str | None = None
    slurm: str | None = None
    cluster: Path | None = None


def read_where(where: Where) -> Site:
    """Say where tasks are done.

    Raises
    ------
    SettingsError
        Options that exclude each other, or a value that cannot be used.
    """
    _refuse_together(where)
    if where.scheduler is not None:
        return Remote(where.scheduler)
    if where.slurm is not None:
        return _from_text(where.slurm)
    if where.cluster is not None:
        return _from_file(where.cluster)
    if where.workers is not None and where.workers < 1:
        raise SettingsError(f"--workers: expected at least 1, found {where.workers}")
    memory = None if where.memory is None else _read("--memory", _memory, where.memory)
    return Local(where.workers, memory)


def _refuse_together(where: Where) -> None:
    places = [name for name in ("scheduler", "slurm", "cluster") if getattr(where, name)]
    if len(places) > 1:
        raise SettingsError(
            f"expected one of --scheduler, --slurm and --cluster, found --{' and --'.join(places)}"
        )
    for name in ("workers", "memory"):
        if places and getattr(where, name) is not None:
            raise SettingsError(
                f"--{name}: it is about processes on this machine, and with --{places[0]} tasks "
                f"are not done here: leave it out{_instead(name, places[0])}"
            )


def _instead(name: str, place: str) -> str:
    key = {"workers": "jobs", "memory": "memory"}[name]
    return "" if place == "scheduler" else f", or set {key}= of --{place}"


def _from_text(text: str) -> Batch:
    """Read `--slurm queue=short,memory=16GB,jobs=1:50`."""
    given: dict[str, Any] = {}
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not equals:
            raise SettingsError(
                f"--slurm: expected KEY=VALUE with commas, such as queue=short,jobs=1:50, found "
                f"'{piece}'"
            )
        if key in given:
            raise SettingsError(f"--slurm: expected each key once, found '{key}' twice")
        given[key] = value
    return _batch("slurm", given, "--slurm", SCALARS)


def _from_file(path: Path) -> Site:
    """Read a cluster.toml; files that it names are relative to it."""
    source = f"--cluster: {path}"
    try:
        data = read_toml(path)
    except ValueError as error:
        raise SettingsError(f"{source}: expected a TOML file, found {error}") from error
    kind = data.pop("kind", None)
    if "tls" in data:
        data["tls"] = _tls(data["tls"], path.parent, source)
    if kind == "scheduler":
        return _remote(data, source)
    if kind not in KINDS:
        expected = ", ".join((*KINDS, "scheduler"))
        hint = nearest(str(kind), (*KINDS, "scheduler"))
        raise SettingsError(
            f"{source}, key 'kind': expected one of {expected}, found {kind!r}{hint}"
        )
    return _batch(kind, data, source, READERS)


def _remote(data: Mapping[str, Any], source: str) -> Remote:
    _refuse_unknown(data, ("address", "tls"), source)
    if "address" not in data:
        raise SettingsError(
            f'{source}: expected address = "tls://HOST:PORT" of a running Dask scheduler, found '
            "none"
        )
    return Remote(_read(f"{source}, key 'address'", _text, data["address"]), data.get("tls"))


def _tls(data: Any, folder: Path, source: str) -> Tls:
    names = ("ca", "cert", "key")
    if not isinstance(data, dict) or any(name not in data for name in names):
        raise SettingsError(f"{source}: expected [tls] with the files ca, cert and key")
    _refuse_unknown(data, names, f"{source}, [tls]")
    found = {}
    for name in names:
        path = (folder / _read(f"{source}, [tls] {name}", _text, data[name])).absolute()
        if not path.is_file():
            raise SettingsError(f"{source}, [tls] {name}: expected a file, found none at {path}")
        found[name] = path
    return Tls(**found)


def _batch(kind: str, given: Mapping[str, Any], source: str, known: Iterable[str]) -> Batch:
    _refuse_unknown(given, known, source)
    if "account" in given and "project" in given:
        raise SettingsError(f"{source}: expected account or project, which are one, found both")
    values = {
        "account" if key == "project" else key: _read(f"{source}, key '{key}'", READERS[key], value)
        for key, value in given.items()
    }
    batch = Batch(kind, **values)
    if batch.memory < LEAST_MEMORY * batch.workers:
        raise SettingsError(
            f"{source}, key 'memory': expected at least {LEAST_MEMORY // 10**6} MB for each of the "
            f"{batch.workers} workers of a job, found {batch.memory // 10**6} MB"
        )
    if kind == "sge" and batch.cores > 1 and not any("-pe" in line for line in batch.directives):
        raise SettingsError(
            f"{source}, key 'cores': SGE gives {batch.cores} cores through a parallel environment "
            f'that its administrators named: add it, such as directives = ["-pe smp {batch.cores}"]'
        )
    return batch


def _refuse_unknown(given: Iterable[str], known: Iterable[str], source: str) -> None:
    names = sorted(known)
    for key in given:
        if key not in names:
            hint = nearest(key, names) or f"; known are {', '.join(names)}"
            raise SettingsError(f"{source}: unknown key '{key}'{hint}")


def _read(where: str, read: Callable[[Any], Any], value: Any) -> Any:
    """Read one value; a ValueError says what was expected."""
    try:
        return read(value)
    except ValueError as error:
        raise SettingsError(f"{where}: expected {error}, found {value!r}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\S+", value):
        raise ValueError("a text without spaces")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    lines = value if isinstance(value, list) else [None]
    if not all(isinstance(line, str) and line.isprintable() for line in lines):
        raise ValueError("a list of texts, one a line")
    return tuple(lines)


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = str(value)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def _gpus(value: Any) -> int:
    if str(value) not in ("0", "1"):
        raise ValueError("0 or 1 (a job trains once at a time: ask for more jobs instead)")
    return int(value)


def _memory(value: Any) -> int:
    from dask.utils import parse_bytes

    try:
        count = parse_bytes(value) if isinstance(value, str) else 0
    except (ValueError, OverflowError):
        count = 0
    if count < LEAST_MEMORY:
        raise ValueError(f"an amount such as 4GB, at least {LEAST_MEMORY // 10**6} MB")
    return int(count)


def _walltime(value: Any) -> int:
    found = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]\d):([0-5]\d)", str(value))
    days, hours, minutes, seconds = (int(n or 0) for n in found.groups()) if found else (0,) * 4
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < LEAST_WALLTIME:
        raise ValueError("HOURS:MINUTES:SECONDS such as 12:00:00, at least 00:05:00")
    return total


def _jobs(value: Any) -> tuple[int, int]:
    text = ":".join(map(str, value)) if isinstance(value, list) else str(value)
    found = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    low = int(found[1]) if found else 0
    high = int(found[2] or low) if found else 0
    if not 1 <= low <= high:
        raise ValueError("a number of jobs such as 20, or fewest and most such as 1:50")
    return low, high


def _read_already(value: Tls) -> Tls:
    return value


SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "queue": _text,
    "account": _text,
    "project": _text,
    "walltime": _walltime,
    "memory": _memory,
    "cores": _whole(1, 4096),
    "gpus": _gpus,
    "jobs": _jobs,
    "python": _text,
    "interface": _text,
    "host": _text,
    "port": _whole(0, 65535),
}
READERS = {**SCALARS, "directives": _texts, "prologue": _texts, "tls": _read_already}
