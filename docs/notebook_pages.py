"""Notebooks: written as Markdown in docs/notebooks, built to .ipynb, shown as pages with their outputs.

In a source, each ```python block is a cell of code and the text between them cells of Markdown; `alt="..."`
after ```python describes the picture that the cell draws.  `<!-- install PACKAGE ... -->` stands for the cell
that installs what is missing and names the backend.  Links between pages become names of files in a notebook,
which can be anywhere.

`python docs/notebook_pages.py` writes docs/_build/notebooks/*.ipynb, with `--execute` after running them.
As an extension of Sphinx it runs them for their pages, except with `-D execute_notebooks=0` and where a
library that a notebook needs is missing.
"""

import argparse
import importlib.util
import json
import os
import re
import tempfile
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {path.stem: path for path in sorted(ROOT.glob("docs/notebooks/*.md"))}
FOLDER = ROOT / "docs/_build/notebooks"
FENCE = re.compile(r'^```python(?: alt="([^"\n]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
INSTALLED = re.compile(r"<!-- install(.*) -->\n")
INSTALL = """\
The first cell installs what is missing and says where the kernels run. fastrec is in no package index yet:
`SOURCE` is the clone in which the notebook was built. If you have moved the notebook, let it be the folder of
a clone, or the file of a wheel or an archive.

```python
SOURCE = "{source}"
try:
    import {modules}
except ModuleNotFoundError:
    %pip install -q {packages}
    import {modules}

print(f"fastrec {{fastrec.__version__}}, backend {{fastrec.get_backend()}}", end=", ")
print(f"{{fastrec.get_threads()}} threads")
```
"""


def libraries(text):
    """Return the names of the libraries that a source needs besides fastrec."""
    return INSTALLED.search(text)[1].split()


def complete(text):
    """Return a source with the cell that installs."""
    others = libraries(text)
    names, packages = ["fastrec", *others], ['"{SOURCE}"', *others]
    source = Path(os.path.relpath(ROOT, FOLDER)).as_posix()
    cell = INSTALL.format(source=source, modules=", ".join(names), packages=" ".join(packages))
    return INSTALLED.sub(lambda mark: cell, text)


def notebook(text):
    """Return the notebook of a source, as the content of a file .ipynb."""
    parts = FENCE.split(complete(text))  # text, alt, code, text, ..., text
    cells = []
    for prose, alt, code in zip(parts[::3], [*parts[1::3], None], [*parts[2::3], None], strict=True):
        if prose.strip():
            cells.append({"cell_type": "markdown", "metadata": {}, "source": without_links(prose.strip())})
        if code is not None:
            given = {"alt": alt} if alt else {}
            cells.append({"cell_type": "code", "metadata": given, "source": code.rstrip()})
            cells[-1] |= {"outputs": [], "execution_count": None}
    cells = [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def without_links(prose):
    """Return Markdown with the name of the file, from the root of fastrec, after what links to a page."""

    def named(link):
        path = os.path.relpath(ROOT / "docs/notebooks" / link[2], ROOT)
        return f"{link[1]} (`{Path(path).as_posix()}`)"

    return re.sub(r"\[([^]]+)\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", named, prose)


def execute(made):
    """Return a notebook with the outputs of its cells, run in the order of the page by a fresh kernel."""
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.from_dict(made)
    quiet = {**os.environ, "FASTREC_QUIET": "1"}  # a bar that has reached its end is no output to read
    with tempfile.TemporaryDirectory() as folder:  # where cells write files
        client = NotebookClient(made, timeout=600, resources={"metadata": {"path": folder}})
        client.log.setLevel("WARNING")
        client.extra_arguments = ["--log-level=ERROR"]  # of the kernel, which warns of its own sockets
        client.execute(env=quiet)
    return made


def page(text, executed):
    """Return a source with the outputs below the cells, as Markdown of MyST."""
    outputs = iter([shown(cell) for cell in executed["cells"] if cell["cell_type"] == "code"])
    return FENCE.sub(lambda cell: f"```python\n{cell[2]}```\n{next(outputs)}", complete(text))


def shown(cell):
    """Return the outputs of a cell as Markdown: printed text in one block, then tables and pictures."""
    printed = "".join(output["text"] for output in cell["outputs"] if output["output_type"] == "stream")
    blocks = [f"```text\n{printed.rstrip()}\n```\n"] if printed else []
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            source = f"data:image/png;base64,{data['image/png'].strip()}"
            shape = output["metadata"].get("image/png", {})  # pyplot's is shown as large as it is
            width = f' width="{shape["width"]}"' if shape else ""
            blocks.append(html(f'<img src="{source}"{width} alt="{escape(cell["metadata"]["alt"])}">'))
        elif "text/html" in data:
            table = data["text/html"].replace("<table>", '<table class="docutils">')
            blocks.append(html(table.replace('class="dataframe"', 'class="dataframe docutils"')))
        elif data:
            blocks.append(f"```text\n{data['text/plain']}\n```\n")
    return "".join(f"\n{block}" for block in blocks)


def html(content):
    return f'````{{raw}} html\n<div style="overflow-x: auto">\n{content}\n</div>\n````\n'


def write(folder, names=tuple(SOURCES), change=lambda made: made):
    """Write the notebooks of sources, changed by a function, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        made = change(notebook(SOURCES[name].read_text(encoding="utf-8")))
        (folder / f"{name}.ipynb").write_text(
            json.dumps(made, ensure_ascii=False, indent=1), encoding="utf-8"
        )


def show(app, name, text):
    """Put the outputs and a link to the notebook on a page, when Sphinx reads it."""
    folder, _, stem = name.rpartition("/")
    if folder != "notebooks":
        return
    made = notebook(text[0])
    if app.config.execute_notebooks and all(map(importlib.util.find_spec, libraries(text[0]))):
        made = execute(made)
    title, _, rest = page(text[0], made).partition("\n")
    link = f"/{FOLDER.relative_to(ROOT / 'docs').as_posix()}/{stem}.ipynb"
    text[0] = f"{title}\n\n{{download}}`This page as a notebook <{link}>`\n{rest}"


def setup(app):
    app.add_config_value("execute_notebooks", True, "env")
    app.connect("builder-inited", lambda app: write(FOLDER))
    app.connect("source-read", show)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the notebooks of docs/notebooks.")
    parser.add_argument("names", nargs="*", choices=[*SOURCES, []], help="some of them; all by default")
    parser.add_argument("--execute", action="store_true", help="with their outputs")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    write(given.folder, given.names or SOURCES, execute if given.execute else lambda made: made)
