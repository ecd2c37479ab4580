"""How sphinx builds these pages: everything offline, nothing left for a browser to compute.

`python -m sphinx -W docs OUT` writes them. Formulas become MathML, which browsers draw themselves.
What a page says of installed plugins and commands is written by `generated.py` into it.
"""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import latex2mathml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402  (stands beside this file)

import harmobench  # noqa: E402

project = "harmobench"
author = "The harmobench developers"
copyright = "2026, the harmobench developers"
version = release = harmobench.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
default_role = "code"

html_theme = "furo"
html_title = "harmobench"
html_static_path = ["static"]
html_css_files = ["own.css"]
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
add_module_names = False
python_maximum_signature_line_length = 88


def setup(app: Any) -> None:
    """Add formulas as MathML, and what is generated into pages."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("source-read", _expand)


def _expand(app: Any, page: str, source: list[str]) -> None:
    source[0] = generated.expand(source[0])


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def _display(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def mathml(formula: str, display: bool) -> str:
    """Return a formula in LaTeX as MathML; docutils reads what is needed of it."""
    text = latex2mathml.tex2mathml(" ".join(formula.split()), as_block=display)
    tree = ElementTree.fromstring(ENTITY.sub(lambda m: unescape(m.group()), text))
    for element in list(tree.iter()):
        _mend(element)
    return ElementTree.tostring(tree, encoding="unicode")


def _mend(element: ElementTree.Element) -> None:
    """Put right what docutils gets wrong: indices of letters with accents, and tall bars."""
    if element.tag == f"{MATHML}mo" and element.text in ("|", "\N{DOUBLE VERTICAL LINE}"):
        element.set("stretchy", "false")
    if element.tag == f"{MATHML}munderover" and element[2].text in ACCENTS:
        base, below, accent = element
        accented = ElementTree.Element(f"{MATHML}mover", accent="true")
        accented.extend([base, accent])
        element[:] = [accented, below]
        element.tag = f"{MATHML}msub"
        element = accented
    if element.tag == f"{MATHML}mover" and element[1].text == MACRON:
        element.attrib.pop("accent", None)  # as an accent it would touch the letter
        element[1].text = "\N{MACRON}"
        element[1].set("stretchy", "true")


MATHML = "{http://www.w3.org/1998/Math/MathML}"
MACRON = "\N{MODIFIER LETTER MACRON}"
ACCENTS = ("\N{MODIFIER LETTER CIRCUMFLEX ACCENT}", MACRON)
ENTITY = re.compile(r"&(?!lt;|gt;|amp;|quot;)\w+;")  # XML has those four alone
ElementTree.register_namespace("", MATHML.strip("{}"))
