"""The notebooks of docs/notebooks: they are built from Markdown, run, and become pages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import notebook_pages
import pytest
from notebook_pages import ROOT, SOURCES

SOURCE = """\
# Title

See [the other](../tutorials/text.md#part) and [the site](https://example.org).

<!-- install numpy -->

```python alt="A line that falls from left to right"
x = 1
```

The end.
"""
PNG = "aGVsbG8="


def code(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in made["cells"] if cell["cell_type"] == "code"]


def has_picture(output: dict[str, Any]) -> bool:
    """Whether an output of a cell is a picture, or a table with one below."""
    data = output.get("data", {})
    return "image/png" in data or "<img " in "".join(data.get("text/html", ""))


def test_source_becomes_cells() -> None:
    made = notebook_pages.notebook(SOURCE)
    kinds = [cell["cell_type"] for cell in made["cells"]]
    assert kinds == ["markdown", "code", "code", "markdown"]
    prose, install, cell, end = made["cells"]
    assert prose["source"].startswith(
        "# Title\n\nSee the other (`docs/tutorials/text.md`) and [the site](https://example.org)."
    )
    assert "import fastrec, numpy\n" in install["source"]
    assert '%pip install -q "{SOURCE}" numpy\n' in install["source"]
    clone = install["source"].split('"')[1]  # seen from where the notebook is written
    assert (notebook_pages.FOLDER / clone).resolve() == ROOT
    assert (cell["source"], cell["metadata"]) == ("x = 1", {"alt": "A line that falls from left to right"})
    assert end["source"] == "The end."


def test_page_has_outputs_below_cells() -> None:
    made = notebook_pages.notebook(SOURCE)
    shape = {"image/png": {"width": 40}}
    code(made)[0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "a line\n"}]
    code(made)[1]["outputs"] = [
        {"output_type": "execute_result", "data": {"text/plain": "x", "text/html": "<table>1</table>"}},
        {"output_type": "display_data", "data": {"text/plain": "f", "image/png": PNG}, "metadata": shape},
        {"output_type": "execute_result", "data": {"text/plain": "'only text'"}},
    ]
    page = notebook_pages.page(SOURCE, made)
    _, below_install, below = re.split(r"```python\n.*?```\n", page, flags=re.DOTALL)
    assert below_install.split("\n")[1:4] == ["```text", "a line", "```"]
    parts = [
        '<table class="docutils">1</table>',
        f'<img src="data:image/png;base64,{PNG}" width="40" alt="A line that falls from left to right">',
        "```text\n'only text'\n```",
        "The end.",
    ]
    assert sorted(parts, key=below.index) == parts
    assert "[the other](../tutorials/text.md#part)" in page


@pytest.mark.parametrize("name", SOURCES)
def test_notebook_is_valid_and_begins_with_the_backend(name: str) -> None:
    text = SOURCES[name].read_text(encoding="utf-8")
    made = notebook_pages.notebook(text)
    nbformat.validate(nbformat.from_dict(made))
    first = code(made)[0]["source"]
    assert "%pip install" in first and "get_backend()" in first and "get_threads()" in first
    prose = "".join(cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown")
    assert "```" not in prose and "{py:" not in prose  # blocks that were not read, roles of Sphinx
    assert "](.." in text and "](.." not in prose  # links that would lead nowhere
    assert f"notebooks/{name}\n" in (ROOT / "docs/index.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_notebook_runs(name: str, tmp_path: Path) -> None:
    """By a fresh kernel, which finds neither the user's settings nor files."""
    for library in notebook_pages.libraries(SOURCES[name].read_text(encoding="utf-8")):
        pytest.importorskip(library)
    settings = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    environment |= {setting: str(tmp_path / setting) for setting in settings}
    command = [sys.executable, ROOT / "docs/notebook_pages.py", name, "--execute", "--folder", tmp_path]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    cells = code(json.loads((tmp_path / f"{name}.ipynb").read_text(encoding="utf-8")))
    for cell in cells:
        assert all(output.get("name") != "stderr" for output in cell["outputs"]), cell
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            assert len(cell["metadata"]["alt"].split()) > 5
    shown = [number for number, cell in enumerate(cells, 1) if any(map(has_picture, cell["outputs"]))]
    assert shown[0] <= len(cells) / 3 and len(shown) > 1
