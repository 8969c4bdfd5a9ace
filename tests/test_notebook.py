"""What a notebook shows: cells are run by a kernel that imports nothing but fastrec."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from typing import Any

import matplotlib.image
import pytest

pytestmark = pytest.mark.slow  # tests/test_display.py has the tables and figures without a kernel of Jupyter
EXECUTE = "from nbclient.cli import main; main()"  # in a process where warnings of Jupyter are no errors
SETUP = """
import fastrec
fastrec.set_backend("reference")
patterns = fastrec.random_patterns(10, 100, seed=1)
net = fastrec.HopfieldNetwork(100)
net.store(patterns)
probes = fastrec.corrupt(patterns, 0.2, seed=1)
x, digits, mask = fastrec.addition_task(64, 4)
"""
AT_ONCE = "import fastrec.progress\nfastrec.progress.PATIENCE = 0"
# Results whose table is followed by a figure.
FIGURES = {
    "capacity": "one = fastrec.capacity(50, 20)\none",
    "scaling": "many = fastrec.capacity_scaling([20, 40, 80], trials=20)\nmany",
    "retrieval": "curve = fastrec.retrieval_curve(100, [0.05, 0.15], trials=2, probes=10)\ncurve",
    "basins": "fastrec.basin_map(100, [0.05, 0.1], [0.3, 0.9], trials=2, probes=10)",
    "phase": "fastrec.phase_diagram(100, [0.05, 0.1], [0.3, 0.9], trials=2, sweeps=9)",
    "recall, energies": "net.recall(probes, record_energy=True)",
    "oscillation": "cycle = fastrec.find_oscillation(100, 20, seed=1)\ncycle",
    "fit": "history = fastrec.fit(fastrec.RNN(2, 4, 2), x, digits, mask=mask, epochs=30)\nhistory",
    "networks": "fastrec.fit(fastrec.RNN(2, 4, 2, models=3), x, digits, mask=mask, epochs=2)",
    "gradients": "flow = fastrec.gradient_flow(fastrec.RNN(2, 4, 2), x, digits)\nflow",
    "text": "text = fastrec.CharModel(8).fit('hello world ' * 100, epochs=5, batch_size=4, steps=10)\ntext",
    "addition": (
        "fastrec.addition(4, hidden_size=4, columns=3, delay=1, epochs=12, learning_rate=0.05, "
        "test_pairs=10, test_columns=10)"
    ),
}
TABLES = {
    "recall": "net.recall(probes)",
    "recall of one": "net.recall(probes[0])",
    "scaling fit": "many.fit()",
    "point": "curve.points[0]",
    "packed": "fastrec.pack(patterns)",
    "trace": "fastrec.RNN(2, 4, 2).forward(x)",
}
PICTURES = {
    "capacity.plot": "one.plot()",
    "scaling.plot": "many.plot()",
    "oscillation.plot": "cycle.plot()",
    "figure": "fastrec.plot.success_figure(curve)",
    "letters": (
        "letters = fastrec.plot.glyphs('ABC', 16)\n"
        "fastrec.plot.recall_figure(letters, fastrec.corrupt(letters, 0.2), letters)"
    ),
    "magic": "%matplotlib inline\none.plot()",
}
BARS = {
    "scaling bar": "scaling = fastrec.capacity_scaling([20, 40], trials=4)",
    "retrieval bar": "points = fastrec.retrieval_curve(50, [0.05], trials=2, progress=True)",
    "fit bar": "curves = fastrec.fit(fastrec.RNN(2, 3, 2), x, digits, epochs=3)",
    "text bar": "curves = fastrec.CharModel(4).fit('hello world ' * 50, epochs=2, batch_size=4, steps=10)",
    "pairs bar": "curves = fastrec.EncoderDecoder(2, 2, 3).fit([[0, 1], [1, 0]], [[1, 0], [0, 1]], epochs=2)",
}
QUIET = """
import os
os.environ["FASTREC_QUIET"] = "1"
curves = fastrec.fit(fastrec.RNN(2, 3, 2), x, digits, epochs=3)
"""
MODULES = "import sys\nprint('matplotlib.pyplot' in sys.modules, 'ipywidgets' in sys.modules)"
CELLS = {
    **{"setup": SETUP, "no bar": "curves = fastrec.fit(fastrec.RNN(2, 3, 2), x, digits, epochs=3)"},
    **{"at once": AT_ONCE, **BARS, "quiet": QUIET},
    **FIGURES,
    **TABLES,
    **{name: code for name, code in PICTURES.items() if name != "magic"},
    "modules": MODULES,
    "magic": PICTURES["magic"],
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of each cell of a notebook that a process of its own has executed."""
    folder = tmp_path_factory.mktemp("jupyter")
    kernel, notebook = folder / "kernels" / "fastrec" / "kernel.json", folder / "notebook.ipynb"
    kernel.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "fastrec", "language": "python"}))
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{"id": str(i), "source": code, **empty} for i, code in enumerate(CELLS.values())]
    notebook.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("FASTREC_QUIET", "MPLBACKEND")
    }
    # Jupyter finds the kernel, and neither the user's own ones nor his settings.
    settings = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment |= {"JUPYTER_PATH": str(folder)} | {name: str(folder / name) for name in settings}
    command = [sys.executable, "-c", EXECUTE, "--kernel_name=fastrec", "--inplace", str(notebook)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    executed = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return {name: cell["outputs"] for name, cell in zip(CELLS, executed, strict=True)}


def shown(outputs: list[Any]) -> Any:
    """The data of the result of a cell, by MIME type, with a line of plain text."""
    (result,) = (output for output in outputs if output["output_type"] == "execute_result")
    return {kind: "".join(data) for kind, data in result["data"].items()}


def is_a_line(text: str) -> bool:
    return len(text) < 200 and "\n" not in text and "array" not in text


def shows_something(picture: bytes) -> bool:
    """Whether the pixels of a PNG file differ, in a size for a screen."""
    image = matplotlib.image.imread(io.BytesIO(picture))
    return min(image.shape[:2]) > 300 and max(image.shape[:2]) < 2500 and bool(image[..., :3].std() > 0.05)


@pytest.mark.parametrize("name", FIGURES)
def test_table_and_figure(outputs: dict[str, list[Any]], name: str) -> None:
    data = shown(outputs[name])
    table, _, image = data["text/html"].partition("<img ")
    assert is_a_line(data["text/plain"]) and table.count("<tr>") > 1
    assert shows_something(base64.b64decode(image.partition("base64,")[2].partition('"')[0]))


@pytest.mark.parametrize("name", TABLES)
def test_table(outputs: dict[str, list[Any]], name: str) -> None:
    data = shown(outputs[name])
    assert is_a_line(data["text/plain"])
    assert data["text/html"].count("<tr>") > 1 and "<img" not in data["text/html"]


@pytest.mark.parametrize("name", PICTURES)
def test_plot(outputs: dict[str, list[Any]], name: str) -> None:
    (result,) = outputs[name]  # one picture, not another one by pyplot
    data = shown([result])
    assert result["metadata"]["image/png"]["width"] < 1000 and "text/html" not in data
    assert shows_something(base64.b64decode(data["image/png"]))


@pytest.mark.parametrize("name", BARS)
def test_bar(outputs: dict[str, list[Any]], name: str) -> None:
    (bar,) = outputs[name]
    (line,) = bar["data"]["text/plain"]
    assert bar["output_type"] == "display_data" and "100%" in line


def test_no_bar_of_short_or_quiet_work(outputs: dict[str, list[Any]]) -> None:
    assert outputs["no bar"] == outputs["quiet"] == []


def test_nothing_else_is_imported(outputs: dict[str, list[Any]]) -> None:
    (printed,) = outputs["modules"]
    assert printed["text"] == ["False False\n"]
