"""The T1 images of a BIDS dataset, and what was left out of it and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harmobench.bids.describe import DESCRIPTION
from harmobench.bids.names import ENTITY, IMAGES, Named, read_name, same_label
from harmobench.bids.reading import read_object
from harmobench.errors import HarmobenchError, SettingsError

OURS = "harmobench"  # of GeneratedBy: then names stand in tables as the manifest had them


@dataclass(frozen=True)
class Dataset:
    """A BIDS dataset: its root, its description, and the raw one that it was made from."""

    root: Path
    description: Mapping[str, object]
    raw: Path | None = None

    @property
    def derivative(self) -> bool:
        """Whether it holds what was made from other images."""
        return self.description.get("DatasetType") == "derivative"

    @property
    def ours(self) -> bool:
        """Whether harmobench wrote it."""
        made = self.description.get("GeneratedBy")
        known = made if isinstance(made, list) else []
        return any(isinstance(each, dict) and each.get("Name") == OURS for each in known)

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where tables and sidecars are looked for, in this order."""
        return (self.root,) if self.raw is None else (self.root, self.raw)


@dataclass
class Seen:
    """Images that were found; what was left out, with the reason; and faults."""

    images: list[Named] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def open_dataset(folder: Path, derivatives: str = "") -> Dataset:
    """Open a dataset, or one of its derivatives by the name of its folder.

    Raises
    ------
    SettingsError
        There is no dataset; says which ones lie inside.
    """
    root = folder / "derivatives" / derivatives if derivatives else folder
    if not root.is_dir():
        known = _datasets_in(folder / "derivatives")
        hint = f"; there are {', '.join(known)}" if known else ""
        raise SettingsError(f"expected a BIDS dataset, found no folder {root}{hint}")
    if not any(_folders(root, "sub")):
        inside = _datasets_in(root)
        hint = f": it has the datasets {', '.join(inside)}, name one of them" if inside else ""
        raise SettingsError(
            f"expected a BIDS dataset with folders sub-LABEL, found none in {root}{hint}"
        )
    path = root / DESCRIPTION
    description = read_object(path) if path.is_file() else {}
    raw = root.absolute().parent.parent
    beside = root.absolute().parent.name == "derivatives" and (raw / DESCRIPTION).is_file()
    return Dataset(root, description, raw if beside else None)


def _datasets_in(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"*/{DESCRIPTION}"))


def find_images(
    dataset: Dataset, suffix: str, wanted: Mapping[str, Sequence[str]], subjects: Sequence[str] = ()
) -> Seen:
    """Find images with a suffix whose entities have the wanted labels.

    Parameters
    ----------
    dataset
        Where; only sub-*/anat and sub-*/ses-*/anat are looked into, so links in a circle end.
    suffix
        Such as "T1w".
    wanted
        Labels of an entity of which an image must have one; "none": must not have the entity.
    subjects
        Labels; none means all.
    """
    seen = Seen()
    for sub in _folders(dataset.root, "sub"):
        if not ENTITY.fullmatch(sub.name):
            seen.left.append((sub.name, "expected a folder sub-LABEL of letters and digits"))
        elif not subjects or sub.name.partition("-")[2] in subjects:
            for place in _places(sub, seen):
                _look(place, suffix, wanted, seen)
    return seen


def _folders(place: Path, entity: str) -> Iterator[Path]:
    for path in sorted(place.iterdir()):
        if path.name.startswith(f"{entity}-") and path.is_dir():
            yield path


def _places(sub: Path, seen: Seen) -> Iterator[Path]:
    for place in (sub, *_folders(sub, "ses")):
        if place is not sub and not ENTITY.fullmatch(place.name):
            inside = f"{sub.name}/{place.name}"
            seen.left.append((inside, "expected a folder ses-LABEL of letters and digits"))
        elif (place / "anat").is_dir():
            yield place / "anat"


def _look(anat: Path, suffix: str, wanted: Mapping[str, Sequence[str]], seen: Seen) -> None:
    for name in sorted(path.name for path in anat.iterdir()):
        ending = next((end for end in IMAGES if name.endswith(f"{suffix}{end}")), "")
        if not ending or name.startswith("."):
            continue
        named = read_name(anat / name)
        if named is None or named.suffix != suffix:
            seen.left.append((name, "expected a name such as sub-01_ses-GE_T1w.nii.gz"))
        elif reason := _misplaced(named) or _unwanted(named, wanted):
            seen.left.append((name, reason))
        elif not named.path.is_file():
            seen.faults.append(
                f"{named.path}: expected an image, found a link to nothing: get the file first "
                "(datalad get, git annex get)"
            )
        else:
            seen.images.append(named)


def _misplaced(named: Named) -> str:
    *_, above, folder = named.path.parent.parent.parts
    visit = folder if folder.startswith("ses-") else ""
    for entity, own in (("sub", above if visit else folder), ("ses", visit)):
        if own and named.get(entity) != own.partition("-")[2]:
            return f"it lies in {own}, and its name says {entity}-{named.get(entity) or '?'}"
    if named.get("ses") and not visit:
        return f"its name says ses-{named.get('ses')}, and it lies in no such folder"
    return ""


def _unwanted(named: Named, wanted: Mapping[str, Sequence[str]]) -> str:
    for entity, labels in wanted.items():
        own = named.get(entity)
        if not any(own == "" if label == "none" else same_label(own, label) for label in labels):
            return f"{entity}-{own}" if own else f"no {entity}"
    return ""


def refuse_nothing(dataset: Dataset, suffix: str, seen: Seen) -> None:
    """Refuse a dataset without any image that is wanted.

    Raises
    ------
    HarmobenchError
        Says what there is instead.
    """
    if seen.images or seen.faults:
        return
    left = sorted({f"{name}: {reason}" for name, reason in seen.left})
    known = sorted(path.name for path in _folders(dataset.root, "sub"))
    there = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
    found = f"; left out were {'; '.join(left[:5])}" if left else f"; there are {there}"
    raise HarmobenchError(
        f"expected {suffix} images in sub-*/anat or sub-*/ses-*/anat of {dataset.root}, found none "
        f"that was asked for{found}"
    )
