"""`harmobench cohort from-bids`: a manifest from a BIDS dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harmobench.bids.cohort import Found

SHOWN = 20  # subjects of the grid, and left-out files, that are printed
Labels = list[str] | None


def from_bids(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A BIDS dataset, raw or derivative.")
    ],
    out: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("matched.csv"),
    scanner_from: Annotated[
        str,
        typer.Option(
            help="session (the ses- label), sessions-tsv[:COLUMN], sidecar (maker, model and "
            "serial number), or auto: the first of table, session, sidecar that can tell."
        ),
    ] = "auto",
    derivatives: Annotated[
        str, typer.Option(help="Read DIR/derivatives/NAME, such as fmriprep.", metavar="NAME")
    ] = "",
    mask: Annotated[
        str,
        typer.Option(
            help="auto (desc-brain_mask beside the image or the template), none, or a path with "
            "{subject}, {session}, {scanner}, relative to the dataset."
        ),
    ] = "auto",
    session_column: Annotated[
        str, typer.Option(help="The same as --scanner-from sessions-tsv:COLUMN.", metavar="COLUMN")
    ] = "",
    participant_label: Annotated[
        Labels, typer.Option(help="Only this subject, without sub-; may be repeated.")
    ] = None,
    session: Annotated[
        Labels, typer.Option(help="Only this session, without ses-; may be repeated.")
    ] = None,
    suffix: Annotated[str, typer.Option(help="Of the images.")] = "T1w",
    run: Annotated[Labels, typer.Option(help="Only run-LABEL; none: without.")] = None,
    acq: Annotated[Labels, typer.Option(help="Only acq-LABEL; none: without.")] = None,
    rec: Annotated[Labels, typer.Option(help="Only rec-LABEL; none: without.")] = None,
    ce: Annotated[Labels, typer.Option(help="Only ce-LABEL; none: without.")] = None,
    desc: Annotated[Labels, typer.Option(help="Only desc-LABEL; none: without.")] = None,
    space: Annotated[Labels, typer.Option(help="Only space-LABEL; none: without.")] = None,
    res: Annotated[Labels, typer.Option(help="Only res-LABEL; none: without.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over a manifest that is there.")
    ] = False,
) -> None:
    """Write a manifest of the T1 images in a BIDS dataset; images are not opened.

    Covariates come from participants.tsv and sub-*_sessions.tsv. What could be read in two ways is
    refused, with all faults at once.
    """
    from harmobench.bids.cohort import Ask
    from harmobench.bids.cohort import from_bids as read
    from harmobench.bids.manifest import manifest_text, write_manifest
    from harmobench.errors import SettingsError
    from harmobench.folder import refuse_system_errors
    from harmobench.plain import plain

    if session_column:
        if scanner_from not in ("auto", f"sessions-tsv:{session_column}"):
            raise SettingsError(
                f"--session-column {session_column}: expected no --scanner-from beside it, found "
                f"{scanner_from}: give one of the two"
            )
        scanner_from = f"sessions-tsv:{session_column}"
    entities = {"ses": session, "run": run, "acq": acq, "rec": rec, "ce": ce, "desc": desc}
    entities |= {"space": space, "res": res}
    wanted = {entity: labels for entity, labels in entities.items() if labels}
    labels = [label.removeprefix("sub-") for label in participant_label or ()]
    ask = Ask(folder, derivatives, scanner_from, suffix, wanted, labels, mask)
    with refuse_system_errors():
        found = read(ask)
        write_manifest(out, manifest_text(found, out), overwrite)
    for line in (*seen_lines(found), *next_lines(found, out)):
        print(plain(line))


def seen_lines(found: Found) -> Iterator[str]:
    """Say what was found: the grid of subjects and scanners, what was left out, and doubts."""
    kind = "derivative" if found.dataset.derivative else "raw"
    masks = sum("mask" in row.files for row in found.rows)
    yield (
        f"{found.dataset.root}: {len(found.rows)} images of {len(found.subjects)} subjects on "
        f"{len(found.scanners)} scanners, in a BIDS {kind} dataset; {masks} with a brain mask"
    )
    yield f"scanner: from {found.how}"
    yield from _grid(found)
    for name, reason in found.left[:SHOWN]:
        yield f"left out: {name}: {reason}"
    if len(found.left) > SHOWN:
        yield f"left out: {len(found.left) - SHOWN} more"
    yield from found.notes


def _grid(found: Found) -> Iterator[str]:
    there = {(row.subject, row.scanner) for row in found.rows}
    scanners = found.scanners
    wide = max(len("subject"), *(len(name) for name in found.subjects))
    yield "  ".join(["subject".rjust(wide + 2), *scanners])
    for subject in found.subjects[:SHOWN]:
        marks = ("x" if (subject, name) in there else "-" for name in scanners)
        cells = (mark.ljust(len(name)) for mark, name in zip(marks, scanners, strict=True))
        yield "  ".join([subject.rjust(wide + 2), *cells]).rstrip()
    rest = found.subjects[SHOWN:]
    if rest:
        whole = sum(all((s, name) in there for name in scanners) for s in rest)
        yield f"  {len(rest)} more subjects, {whole} of them on every scanner"


def next_lines(found: Found, out: Path) -> Sequence[str]:
    """Say what was written and which command comes next."""
    import shlex

    place = shlex.quote(str(out))
    wrote = f"manifest: {out}"
    if not found.dataset.derivative:
        return [wrote, f"next: harmobench preprocess {place} --out RAW"]
    if all("mask" not in row.files for row in found.rows):
        wrote += " (no masks: every voxel that is not 0 is taken for brain)"
    spaces = {row.named.get("space") for row in found.rows}
    if spaces == {""}:
        return [wrote, f"next: harmobench preprocess {place} --out RAW, if they are native images"]
    return [wrote, f"next: harmobench cohort check {place}"]
