"""Sphinx: `./scripts/docs` builds the site, offline, with warnings as errors."""

import importlib
import sys
from pathlib import Path

from sphinx.util.inspect import TypeAliasForwardRef

import fastrec

sys.path[:0] = [str(Path(__file__).parent)]
generated = importlib.import_module("generated")

project = "fastrec"
author = copyright = "fastrec developers"
version = release = fastrec.__version__
extensions = ["myst_parser", "sphinx_copybutton"]
extensions += [f"sphinx.ext.{name}" for name in ("autodoc", "napoleon", "viewcode")]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"fastrec {version}"
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: name
    for name in ("Array", "ArrayLike", "Backend", "BackendChoice", "Floats", "NDArray", "Order", "States")
}
TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # as in signatures, also inside of unions
nitpicky = True
nitpick_ignore_regex = [("py:(class|obj|exc)", ".*")]  # types in signatures, names in docstrings
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes of a data class are members of their own already
napoleon_use_rtype = False
default_role = "py:obj"  # `name` in a docstring is a link if it is public, and else code


def write_pages(app):
    for name, page in generated.PAGES.items():
        path = Path(app.srcdir, name)
        if not path.exists() or path.read_text(encoding="utf-8") != page():
            path.write_text(page(), encoding="utf-8")


def setup(app):
    app.connect("builder-inited", write_pages)
