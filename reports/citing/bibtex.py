r"""References as BibTeX: ASCII only, each entry once, with a key of its own.

What a plugin says of itself is text: no character of it may become a command of LaTeX, or close
what it stands in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from harmobench.interface import Finished, Reference
from harmobench.references import OWN
from harmobench.reports.citing.people import Person, people
from harmobench.reports.citing.words import Entry, bibliography
from harmobench.reports.tables.tex import latex

# NeuroImage 132, 198-212; Radiology 143(1), 29-36; Medical Image Analysis 89, 102926
VENUE = re.compile(
    r"(?P<journal>.*[^\s,])[\s,]+(?P<volume>\d+)\s*(?:\((?P<number>[^()]+)\))?"
    r"\s*[,:]\s*(?P<pages>\w+(?:\s*[-\N{EN DASH}]\s*\w+)?)"
)
ACCENT = re.compile(r"\\([\"'`^~=.]|[uHvcdbr])\{(\\?[A-Za-z])\}")
LETTER = re.compile(r"\\(ss|ae|AE|oe|OE|o|O|l|L|i|j)\{\}")
ORDER = (
    *("author", "title", "journal", "howpublished", "volume", "number", "pages", "year"),
    *("version", "doi", "note"),
)


def references_bib(run: Finished) -> str:
    """Return references.bib of a run: harmobench, then what ran, in the order of the report."""
    entries = [e for e in bibliography(run) if e.reference.title != OWN.title]
    named = keys([OWN, *(entry.reference for entry in entries)])
    version = str(run.settings.get("version") or "")
    own = _entry("misc", named[OWN], _own(version))  # styles older than biblatex know no @software
    texts = [f"{_comment('harmobench')}{own}"]
    texts += [_publication(entry, named[entry.reference]) for entry in entries]
    return "\n".join(texts)


def keys(references: Iterable[Reference]) -> dict[Reference, str]:
    """Return a valid key for each reference, no two alike: BibTeX tells no case."""
    named: dict[Reference, str] = {}
    taken: set[str] = set()
    for reference in references:
        stem = re.sub(r"[^A-Za-z0-9:_-]+", "", _ascii(reference.key)) or _key(reference)
        key, count = stem, 1
        while key.lower() in taken:
            count += 1
            key = f"{stem}-{count}"
        taken.add(key.lower())
        named[reference] = key
    return named


def _key(reference: Reference) -> str:
    named, _ = people(reference.authors)
    words = [named[0].family if named else "", str(reference.year or "")]
    words.append(next(iter(re.findall(r"[^\W\d_]{4,}", reference.title)), ""))
    key = re.sub(r"[^a-z0-9]+", "", _ascii("".join(words)).lower())
    return key if key[:1].isalpha() else f"ref{key}"


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return plain.encode("ascii", "ignore").decode()


def _own(version: str) -> dict[str, str]:
    return {
        "author": _authors(OWN.authors),
        "title": title(OWN.title),
        "year": str(OWN.year),
        "version": tex(version),
        "note": f"Version {tex(version)}" if version else "",  # styles without `version` show it
    }


def _publication(entry: Entry, key: str) -> str:
    reference = entry.reference
    venue = VENUE.fullmatch(" ".join(reference.venue.split()))
    fields = {
        "author": _authors(reference.authors),
        "title": title(reference.title),
        "year": str(reference.year or ""),
        "doi": _doi(reference.doi),
    }
    if venue:
        fields |= {name: tex(text or "") for name, text in venue.groupdict().items()}
        fields["pages"] = re.sub(r"\s*-+\s*", "--", fields["pages"])
    elif reference.venue and reference.doi:
        fields["journal"] = tex(reference.venue)
    else:
        fields["howpublished"] = tex(reference.venue)
    kind = "article" if fields.get("journal") else "misc"
    return f"{_comment(entry.used_for)}{_entry(kind, key, fields)}"


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    rows = [f"  {name} = {{{fields[name]}}}" for name in ORDER if fields.get(name)]
    return ",\n".join([f"@{kind}{{{key}", *rows]) + "\n}\n"


def _comment(text: str) -> str:
    """Return a line between entries, which no reader of BibTeX looks at."""
    plain = re.sub(r"[^\w ,.()+-]+", " ", _ascii(text)).strip()
    return f"% {plain}\n"


def _authors(authors: str) -> str:
    named, more = people(authors)
    return " and ".join([*map(_name, named), *(["others"] if more and named else [])])


def _name(person: Person) -> str:
    if person.given:
        return f"{tex(person.family)}, {tex(person.given)}"
    grouped = " " in person.family or person.family.lower() == "others"
    return f"{{{tex(person.family)}}}" if grouped else tex(person.family)


def title(text: str) -> str:
    """Return a title; words with capitals keep them in styles that lower all letters.

    >>> print(title("Segmentation of brain MR images by SynthSeg"))
    Segmentation of brain {MR} images by {SynthSeg}
    """
    first, *others = text.split() or [""]
    words = [tex(first) if first[1:] == first[1:].lower() else f"{{{tex(first)}}}"]
    words += [tex(word) if word == word.lower() else f"{{{tex(word)}}}" for word in others]
    return " ".join(words)


def tex(text: str) -> str:
    r"""Return text for a field of BibTeX: as LaTeX prints it, with every brace in a pair.

    >>> print(tex("Nyúl {x} & y"))
    Ny{\'{u}}l \textbraceleft{}x\textbraceright{} \& y
    """
    safe = latex(" ".join(text.split()))
    safe = safe.replace(r"\{", r"\textbraceleft{}").replace(r"\}", r"\textbraceright{}")
    safe = ACCENT.sub(r"{\\\1{\2}}", safe)  # a letter with its accent is one letter to BibTeX
    return LETTER.sub(r"{\\\1}", safe)


def _doi(doi: str) -> str:
    """Return a DOI as it is, without its address; no brace or blank can be in a field."""
    bare = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)\s*", "", doi.strip(), flags=re.IGNORECASE)
    return re.sub(r"[{}\s\\%]+", "", _ascii(bare))
