"""Files of a run that are not what the run wrote, named where they stop a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmobench import checksums
from harmobench.cohort import no_progress
from harmobench.errors import HarmobenchError

FEW = 3  # files that are named
READ = ("run.json", "shown.json", *(f"{stem}.parquet" for stem in checksums.TABLES))


@contextmanager
def naming_damage(*folders: Path) -> Iterator[None]:
    """Turn whatever damaged files lead to into a refusal that names them.

    What is refused already passes, and what the system refuses where no file is damaged.

    Raises
    ------
    HarmobenchError
        Something failed while files of these run folders were read.
    """
    try:
        yield
    except HarmobenchError:
        raise
    except Exception as error:  # a damaged file shows in whatever reads it
        for folder in folders:
            _refuse_changed(folder, error)
        if isinstance(error, OSError) and error.errno:
            raise
        raise HarmobenchError(_told(folders, error)) from error


def _refuse_changed(folder: Path, error: Exception) -> None:
    names = changed(folder)
    if names:
        more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
        raise HarmobenchError(
            f"expected the files that the run wrote, found {len(names)} changed or missing in "
            f"{folder}: {', '.join(names[:FEW])}{more} ({_first(error)}). Put them back from a "
            "copy; or, where a file of store/ is named, delete the folder it lies in, and give the "
            "run's command again with the same --out"
        ) from error


def changed(folder: Path) -> list[str]:
    """Files that reports read and that are not as the run's checksums say; none without these."""
    try:
        entries = checksums.read(folder).entries
    except (OSError, HarmobenchError):
        return []
    names = [name for name in entries if name in READ or name.startswith("store/")]
    found = checksums.hash_many([folder / name for name in names], no_progress, "")
    return [name for name in names if found[folder / name].digest != entries[name]]


def _told(folders: tuple[Path, ...], error: Exception) -> str:
    where = ", ".join(map(str, folders))
    if any(not (folder / checksums.NAME).is_file() for folder in folders):
        return (
            f"expected a run that this version of harmobench can read, found in {where}: "
            f"{_first(error)}{_place(error)}. It is damaged, or of another version: `harmobench "
            "run` with the same options and --out writes its tables again"
        )
    return (
        f"{where}: the files are those that the run wrote, but they cannot be read: "
        f"{_first(error)}{_place(error)}. Where nobody changed them and their checksums, this is a "
        "fault of harmobench: please report it with this line"
    )


def _first(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: Exception) -> str:
    """Say which line failed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
