"""Sphinx: `./scripts/docs` builds the site, offline, with warnings as errors."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from math_core import LatexToMathML
from sphinx.util.inspect import TypeAliasForwardRef

import fastrec

sys.path[:0] = [str(Path(__file__).parent)]
generated = importlib.import_module("generated")

project = "fastrec"
author = copyright = "fastrec developers"
version = release = fastrec.__version__
extensions = ["myst_parser", "sphinx_copybutton", "notebook_pages"]
extensions += [f"sphinx.ext.{name}" for name in ("autodoc", "napoleon", "viewcode")]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"fastrec {version}"
html_copy_source = False
html_domain_indices = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp, .go"
autodoc_mock_imports = [] if importlib.util.find_spec("torch") else ["torch"]  # 3.1 GB that no page needs
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 68
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


def without_types(app, what, name, obj, options, arguments, returned):
    """Return a signature without the types of its arguments, which the text about each argument gives."""
    if arguments:
        parsed = ast.parse(f"def f{arguments}: ...").body[0].args
        for node in ast.walk(parsed):
            if isinstance(node, ast.arg):
                node.annotation = None
        return f"({ast.unparse(parsed)})", returned
    return None


def write_formula(writer, node):
    """Write MathML, which browsers show by themselves: no script is loaded, and nothing from the network."""
    display = node.tagname == "math_block"
    formula = LatexToMathML().convert_with_local_state(node.astext(), displaystyle=display)
    writer.body.append(f'<div class="formula">{formula}</div>\n' if display else formula)
    raise SkipNode


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-signature", without_types)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
