"""Sphinx: `./scripts/docs` builds the site, offline, with warnings as errors."""

import importlib
import re
import sys
from pathlib import Path

from sphinx.util.inspect import TypeAliasForwardRef

import fastrec

sys.path[:0] = [str(Path(__file__).parent)]
generated = importlib.import_module("generated")

project = "fastrec"
author = copyright = "fastrec developers"
version = release = fastrec.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"fastrec {version}"
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Array", "ArrayLike", "Floats", "NDArray", "States")}
TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # as in signatures, also inside of unions
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]  # names of types in signatures

DEFINITION = re.compile(r"(?P<term>[^A-Z\s:][^:\n]*|E): (?P<text>.+)", re.DOTALL)


def public(name):
    """The full name of something public, or None."""
    found = fastrec
    for part in name.split("."):
        found = None if part.startswith("_") else getattr(found, part, None)
        if found is None:
            return None
    return f"fastrec.{name}" if name.split(".")[0] in fastrec.__all__ else None


def inline(text):
    """reStructuredText of prose in a docstring: `names` are links where they are public, and else code."""
    pieces = re.split(r"(``.+?``|`[^`]+`)", text)
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            pieces[i] = re.sub(r"([\\*|_])", r"\\\1", piece)
        elif full := public(piece.strip("`").removeprefix("fastrec.")):
            pieces[i] = f":py:obj:`{piece.strip('`')} <{full}>`"
        else:
            pieces[i] = f"``{piece.strip('`')}``"
        if i % 2 and re.match(r"[\w(]", pieces[i + 1]):
            pieces[i] += "\\ "  # ends the markup
    return "".join(pieces)


def paragraphs(lines):
    """reStructuredText of a docstring in our form: "name: what it is", continued by indented lines."""
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if paragraph.startswith(" "):
            yield f"::\n\n{paragraph}"
            continue
        if paragraph.startswith(".. "):
            yield paragraph
            continue
        entries = re.split(r"\n(?=\S)", paragraph)
        defined = [DEFINITION.fullmatch(entry) for entry in entries]
        prose = next((i for i, found in enumerate(defined) if found), len(entries))
        if prose and "\n " not in paragraph:
            prose = len(entries)
        if prose:
            yield inline(" ".join(entries[:prose]))
        terms = []
        for entry, found in zip(entries[prose:], defined[prose:], strict=True):
            if found:
                terms.append([found["term"], found["text"]])
            else:
                terms[-1][1] += f" {entry}"
        if terms:
            yield "\n".join(f"``{a.replace('`', '')}``\n    {inline(' '.join(b.split()))}" for a, b in terms)


def rewrite(app, what, name, obj, options, lines):
    lines[:] = "\n\n".join(paragraphs(lines)).split("\n") + [""]


def write_pages(app):
    for name, page in generated.PAGES.items():
        path = Path(app.srcdir, name)
        if not path.exists() or path.read_text(encoding="utf-8") != page():
            path.write_text(page(), encoding="utf-8")


def setup(app):
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("builder-inited", write_pages)
