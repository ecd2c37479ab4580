"""Small BIDS datasets for tests: real names and tables, images of a few bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

SCANNERS = ("GE", "Philips")
PEOPLE = "participant_id\tage\tsex\tgroup\nsub-01\t60\tF\tlow\nsub-02\tn/a\tM\thigh\n"


def write(path: Path, text: str | bytes = b"") -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def describe(folder: Path, **more: object) -> Path:
    """Write a dataset's description."""
    fields = {"Name": "tiny", "BIDSVersion": "1.10.0", **more}
    write(folder / "dataset_description.json", json.dumps(fields))
    return folder


def image(folder: Path, name: str, sidecar: Mapping[str, object] | None = None) -> Path:
    """Write an image at the place that its name says; nobody opens it."""
    pairs = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
    places = [f"{key}-{pairs[key]}" for key in ("sub", "ses") if key in pairs]
    path = write(folder.joinpath(*places, "anat", name), b"image")
    if sidecar is not None:
        write(path.with_name(name.partition(".")[0] + ".json"), json.dumps(sidecar))
    return path


def raw(folder: Path, subjects: int = 2, people: str = PEOPLE) -> Path:
    """Write a raw dataset of people on two scanners, which are the sessions."""
    describe(folder)
    write(folder / "participants.tsv", people)
    for s in range(1, subjects + 1):
        for scanner in SCANNERS:
            image(folder, f"sub-{s:02d}_ses-{scanner}_T1w.nii.gz")
    return folder


def made_by(maker: str, model: str = "M", serial: str | int = "") -> dict[str, object]:
    """Fields of a sidecar that name a scanner."""
    fields: dict[str, object] = {"Manufacturer": maker, "ManufacturersModelName": model}
    return fields | ({"DeviceSerialNumber": serial} if serial else {})
