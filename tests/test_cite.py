"""`harmobench cite`: what ran and nothing else, as BibTeX that compiles whatever plugins write."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_run
from hypothesis import given, settings
from hypothesis import strategies as st

import harmobench
from harmobench.cli import main
from harmobench.errors import SettingsError
from harmobench.interface import Finished, Reference
from harmobench.references import FONOV_2009, FONOV_2011, OWN, atlas_references, cited
from harmobench.registry import plugins
from harmobench.reports.citing import bibtex, cite
from harmobench.reports.citing.people import Person, people, short

ROOT = Path(__file__).resolve().parents[1]
ODD = Reference(
    title='On 100% of {braces}, $x_1$ & \\commands #1 ~ ^ "quotes" and Zoë\'s 中',
    authors="Nyúl LG, O'Brien-Smith J, Ødegård Å, {Odd} B, van der Berg CD, et al.",
    year=2020,
    venue="J. of 50% & more 12(3), 45-67",
    doi="https://doi.org/10.1000/a_b(c)%{d}",
    key="né w_key, {x}",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    made: Finished = synthetic_run.finished(
        tmp_path_factory.mktemp("run"), ("raw", "whitestripe", "mispel"), pictures=False
    )
    return made


def _with(run: Finished, **references: Reference) -> Finished:
    named = {key.replace("__", ":"): reference for key, reference in references.items()}
    return replace(run, references={**run.references, **named})


def parsed(text: str) -> dict[str, dict[str, str]]:
    """Read BibTeX by its own grammar: entries by key, fields of balanced braces."""
    found: dict[str, dict[str, str]] = {}
    place = 0
    while (start := text.find("@", place)) >= 0:
        head = re.compile(r"@(\w+)\{([^\s,{}]+)").match(text, start)
        assert head, f"no entry at {text[start : start + 40]!r}"
        fields: dict[str, str] = {"kind": head[1]}
        place = head.end()
        while field := re.compile(r",\s*(\w+) = \{").match(text, place):
            end, depth = field.end(), 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            assert field[1] not in fields, f"{field[1]} twice"
            fields[field[1]] = text[field.end() : end - 1]
            place = end
        closed = re.compile(r"\s*\}").match(text, place)
        assert closed, f"entry {head[2]} does not end at {text[place : place + 40]!r}"
        assert head[2].lower() not in {key.lower() for key in found}, f"{head[2]} twice"
        found[head[2]] = fields
        place = closed.end()
    return found


def test_each_publication_stands_once_and_harmobench_first(run: Finished) -> None:
    more = _with(run, method__oracle=OWN, segmenter__hmrf=ODD, metric__dice=ODD)
    entries = parsed(bibtex.references_bib(more))
    assert list(entries) == ["harmobench", "raw", "whitestripe", "mispel", "new_keyx", "t"]
    own = entries["harmobench"]
    assert (own["kind"], own["version"]) == ("misc", run.settings["version"])
    assert own["author"] == "{The harmobench developers}"
    assert {entry["kind"] for entry in list(entries.values())[1:]} == {"article"}


def test_what_gave_no_score_is_not_cited(run: Finished) -> None:
    more = _with(
        run,
        metric__never=replace(ODD, key="never"),
        segmenter__unused=replace(ODD, key="unused"),
        morphometry__absent=replace(ODD, key="absent"),
    )
    assert set(cited(more)) == set(run.references)
    scores = run.scores.copy()
    scores.loc[scores["metric"] == "ssim", "status"] = "failed"
    assert set(cited(replace(run, scores=scores))) == set(run.references) - {"metric:ssim"}


def test_a_segmenter_whose_maps_alone_were_measured_is_cited(run: Finished) -> None:
    tools = {"atlas-roi": {"parameters": {"segmenter": "hmrf"}}}
    scores = run.scores.copy()
    scores.loc[scores["tool"] == "hmrf", "tool"] = "atlas-roi"
    more = replace(run, scores=scores, settings={**run.settings, "morphometry": tools})
    assert "segmenter:hmrf" in cited(more)


def test_odd_text_becomes_ascii_with_every_brace_in_a_pair(run: Finished) -> None:
    text = bibtex.references_bib(_with(run, method__raw=ODD))
    entry = parsed(text)["new_keyx"]
    assert text.isascii()
    assert entry["author"] == (
        r"Ny{\'{u}}l, L. G. and O'Brien-Smith, J. and {\O}deg{\r{a}}rd, {\r{A}}. and "
        r"\textbraceleft{}Odd\textbraceright{}, B. and van der Berg, C. D. and others"
    )
    assert (entry["volume"], entry["number"], entry["pages"]) == ("12", "3", "45--67")
    assert entry["journal"] == r"J. of 50\% \& more"
    assert entry["doi"] == "10.1000/a_b(c)d"


@given(
    st.text(max_size=30), st.text(max_size=30), st.text(max_size=20), st.text(max_size=20),
    st.text(max_size=20), st.integers(0, 3000),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_whatever_a_plugin_says_of_itself_the_grammar_holds(
    title: str, authors: str, venue: str, doi: str, key: str, year: int
) -> None:
    reference = Reference(title, authors, year, venue, doi, key)
    name = bibtex.keys([reference])[reference]
    text = bibtex._publication(bibtex.Entry(1, reference, title), name)
    assert text.isascii()
    assert list(parsed(text)) == [name]


@pytest.mark.parametrize(
    ("authors", "expected"),
    [
        ("Fortin JP, Sweeney EM", ["Fortin/J. P.", "Sweeney/E. M."]),
        ("Zhang, Y. and Van Leemput, K.", ["Zhang/Y.", "Van Leemput/K."]),
        ("Fischl, B.", ["Fischl/B."]),
        ("Smith, John", ["Smith/John"]),
        ("Smith, J., Jones, K. L.", ["Smith/J.", "Jones/K. L."]),
        ("A. Author", ["Author/A."]),
        ("Dice LR and The ADNI Group", ["Dice/L. R.", "The ADNI Group/"]),
        ("Jack CR Jr, Nyúl LG", ["Jack/C. R.", "Nyúl/L. G."]),
        ("The harmobench developers", ["The harmobench developers/"]),
        ("Nobody", ["Nobody/"]),
        ("", []),
    ],
)
def test_authors_are_read_however_they_are_written(authors: str, expected: list[str]) -> None:
    named, more = people(authors)
    assert [f"{person.family}/{person.given}" for person in named] == expected
    assert not more


def test_more_authors_than_are_named() -> None:
    assert people("Torbati et al.") == ([Person("Torbati")], True)
    assert short("Torbati et al.", 2023) == "Torbati et al., 2023"
    assert short("A B, C D", 1999) == "A and C, 1999"


def test_works_that_would_look_alike_are_told_apart(run: Finished) -> None:
    two = [Reference(f"Title {i}", "Dice LR", 1945, key="dice") for i in (1, 2)]
    more = _with(run, method__raw=two[0], method__mispel=two[1])
    text = "\n".join(cite.paragraphs(more))
    assert "RAW (Dice, 1945a)" in text
    assert "MISPEL (Dice, 1945b)" in text
    assert {"dice", "dice-2"} <= set(parsed(bibtex.references_bib(more)))


def test_the_paragraph_names_what_ran_with_versions(run: Finished) -> None:
    tools = {"hmrf": {"version": "FSL FAST 6.0.5"}}
    text = "\n".join(cite.paragraphs(replace(run, settings={**run.settings, "segmenters": tools})))
    assert f"harmobench {run.settings['version']} compared RAW (Author, 2020a)" in text
    assert "HMRF (Torbati et al., 2023) (FSL FAST 6.0.5)" in text
    assert "CALAMITI" not in text
    assert "[1]" not in text


# --- atlases -----------------------------------------------------------------------------------


def test_the_built_in_atlas_is_cited_by_both_of_its_sources() -> None:
    found = atlas_references({"source": "builtin", "name": "builtin", "reference": "any"})
    assert list(found.values()) == [FONOV_2011, FONOV_2009]


@pytest.mark.parametrize(
    ("text", "title", "year", "doi"),
    [
        ("Ours 2010, https://doi.org/10.1002/x.20906", "Ours 2010", 2010, "10.1002/x.20906"),
        ("Ours (doi:10.1/a_b)", "Ours", 0, "10.1/a_b"),
        ("10.1/x.", "10.1/x.", 0, "10.1/x"),
        ("A book,\n 1988", "A book, 1988", 1988, ""),
    ],
)  # fmt: skip
def test_an_atlas_of_ones_own_is_cited_as_it_asks(
    text: str, title: str, year: int, doi: str
) -> None:
    (found,) = atlas_references({"source": "/x", "name": "own", "reference": text}).values()
    assert (found.title, found.year, found.doi) == (title, year, doi)
    assert atlas_references({"source": "/x", "name": "own", "reference": ""}) == {}


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def command(
    run: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    monkeypatch.setattr("harmobench.finish.finished", lambda folder: run)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", "cite", str(run.folder), *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def test_formats(command: Any, run: Finished) -> None:
    text, bib = "\n\n".join(cite.paragraphs(run)), bibtex.references_bib(run)
    assert command("--format", "text") == (0, f"{text}\n", "")
    assert command("--format", "bibtex") == (0, bib, "")
    assert command() == (0, f"{text}\n\n{bib}", "")
    status, _, err = command("--format", "ris")
    assert status == 2
    assert "expected one of all, text, bibtex, found 'ris'" in err


def test_a_file_of_others_is_never_written_over(
    command: Any, run: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "refs.bib"
    for _ in range(2):  # the same again is no fault
        status, _, err = command("--out", str(out))
        assert (status, err) == (0, f"written: {out}\n")
        assert out.read_text() == bibtex.references_bib(run)
    out.write_text("@book{mine}")
    status, _, err = command("--out", str(out))
    assert status == 2
    assert "with other references in it" in err
    assert out.read_text() == "@book{mine}"
    for wrong in (tmp_path / "refs.txt", tmp_path / "none" / "refs.bib"):
        with pytest.raises(SettingsError, match="--out"):
            cite.write_new(wrong, "x")


# --- what reads it -----------------------------------------------------------------------------


# bibtexparser calls old names of pyparsing
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reader_of_bibtex_finds_every_entry(run: Finished) -> None:
    bibtexparser = pytest.importorskip("bibtexparser")
    text = bibtex.references_bib(_with(run, method__raw=ODD, method__oracle=OWN))
    parser = bibtexparser.bparser.BibTexParser(ignore_nonstandard_types=False)
    read = bibtexparser.loads(text, parser)
    assert [entry["ID"] for entry in read.entries] == list(parsed(text))


@pytest.mark.skipif(
    not (shutil.which("bibtex") and shutil.which("pdflatex")), reason="needs bibtex and pdflatex"
)
def test_bibtex_and_latex_print_every_entry(run: Finished, tmp_path: Path) -> None:
    shipped = {
        f"method:{kind}-{name}": plugin.load().reference
        for kind in ("methods", "metrics", "segmenters", "morphometry")
        for name, plugin in plugins(kind).items()
        if plugin.target.startswith("harmobench.")
    }
    more = {**shipped, "method:odd": ODD, "atlas:a": FONOV_2011, "atlas:b": FONOV_2009}
    (tmp_path / "refs.bib").write_text(bibtex.references_bib(replace(run, references=more)))
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\begin{document}\nocite{*}"
        r"\bibliographystyle{plain}\bibliography{refs}\end{document}"
    )
    for command in (["pdflatex", "-interaction=batchmode", "page"], ["bibtex", "page"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    warnings = [line for line in done.stdout.splitlines() if line.startswith("Warning")]
    assert all("entry type for" in line or "empty author" in line for line in warnings), warnings
    for _ in range(2):
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    items = (tmp_path / "page.bbl").read_text().count(r"\bibitem")
    assert items == len(parsed((tmp_path / "refs.bib").read_text()))


# --- what ships --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["methods", "metrics", "segmenters", "morphometry"])
def test_references_that_ship_are_complete(kind: str) -> None:
    for name, plugin in plugins(kind).items():
        if not plugin.target.startswith("harmobench."):
            continue
        reference = plugin.load().reference
        if reference == OWN:
            continue
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference.doi), name
        assert bibtex.VENUE.fullmatch(reference.venue), f"{name}: {reference.venue}"
        assert 1900 < reference.year <= 2026, name
        named, more = people(reference.authors)
        assert named, name
        assert not more, f"{name}: name all authors"
        assert all(person.given for person in named), f"{name}: {reference.authors}"


def test_one_key_names_one_publication() -> None:
    found: dict[str, Reference] = {}
    for kind in ("methods", "metrics", "segmenters", "morphometry"):
        for name, plugin in plugins(kind).items():
            if plugin.target.startswith("harmobench."):
                reference = plugin.load().reference
                assert found.setdefault(reference.key, reference) == reference, name


def test_the_citation_file_says_the_version_that_this_is() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.findall(r"^version: (.*)$", text, re.MULTILINE) == [project["version"]]
    assert re.findall(r"^license: (.*)$", text, re.MULTILINE) == [project["license"]]
    assert re.findall(r'^title: "(.*)"$', text, re.MULTILINE) == [OWN.title]
    assert harmobench.__version__ == project["version"]
    for key in ("cff-version: 1.2.0", "message:", "authors:"):
        assert re.search(f"^{key}", text, re.MULTILINE), key
