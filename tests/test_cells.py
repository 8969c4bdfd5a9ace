"""The cells of recurrent networks: their descriptions, and that nothing else names them."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devices import all_kernels

import fastrec
from fastrec import RNN
from fastrec.rnn.cells import CELLS
from fastrec.rnn.cells.cell import measure

ROOT = Path(fastrec.__file__).parent
# Files that name a cell besides its own, and why.
OTHERS = {
    "rnn/cells/__init__.py": "registers cells",
    "kernels/gpu/module.py": "lists the files and instances of CUDA, of which jordan.cu is one",
    "kernels/gpu/cuda/cells.cuh": "holds the structs",
    "kernels/gpu/jordan.py": "its units do with their sums what those of an Elman network do",
    "kernels/cpu/jordan.py": "its units do with their sums what those of an Elman network do",
    "torch/modules.py": "has a class for each that torch.nn has",
    "torch/replacement.py": "names the classes of torch.nn that these replace",
    "cli/topics.py": "names what the topics of a course are about",
    "cli/course.py": "says which four ways to learn are compared, of which LSTMs are one",
    "tasks/four_ways.py": "compares them",
    "bench/peers.py": "holds the equations of the baseline in JAX",
}
all_cells = pytest.mark.parametrize("name", CELLS)


@all_cells
def test_kernels_take_what_a_cell_describes(name: str) -> None:
    cell, reference = CELLS[name], all_kernels("rnn", "reference")
    forward = list(inspect.signature(getattr(reference, f"{name}_forward")).parameters)
    given = ["x", "tokens", "lengths", "state", *cell.arguments, *["activation"] * cell.has_activation]
    given += ["noise"] * cell.takes_noise
    saved = forward[len(given) : -1]
    assert forward == [*given, *saved, "precision"] and len(saved) == len(cell.saved)
    backward = list(inspect.signature(getattr(reference, f"{name}_backward")).parameters)
    weights = [key for key in cell.arguments if cell.takes_back(key)]
    read = ["x", "tokens", "lengths", "state", *saved, *weights, *["activation"] * cell.has_activation]
    assert backward[: len(read)] == read
    gradients = [f"d_{key}" for key in ("x", "state", *cell.arguments)]
    assert backward[-2 - len(gradients) :] == [*gradients, "flow", "precision"]


@all_cells
def test_descriptions_go_together(name: str) -> None:
    cell, sizes = CELLS[name], {"i": 5, "h": 4, "o": 3}
    assert cell.name == name and re.fullmatch(r".+ \(.+\d{4}.*\)\.", cell.description)
    columns = {cell.parameters[key][-1] for key in ("W_in", "W_rec", "b")}
    assert {measure(width, sizes) for width in columns} == {4 * cell.gates}
    state = cell.saved[cell.state]
    assert len(state) == len(cell.initial) and state[0] == cell.parameters["W_rec"][0]
    rnn = RNN(5, 4, 3, name, seed=0)  # type: ignore[arg-type]
    assert rnn.parameters.keys() == {*cell.parameters, *cell.initial, "W_out", "b_out"}


@all_cells
def test_options_choose_among_a_cell_and_its_variants(name: str) -> None:
    """Both ways to name a cell give the same, and a family has each option with one value for each of it."""
    cell = CELLS[name]
    family: Any = cell.family or name
    options: dict[str, Any] = dict(cell.options)
    assert RNN(2, 3, 2, cell=family, **options).cell == RNN(2, 3, 2, cell=cell.name, **options).cell == name  # type: ignore[arg-type]
    assert RNN(2, 3, 2, cell=cell.name).cell == name  # type: ignore[arg-type]
    assert CELLS[family].options.keys() == options.keys()
    for option in {"reset", "peepholes"} - options.keys():
        with pytest.raises(ValueError, match=rf'^{option} is 1; cell="{name}" has no such choice, only'):
            RNN(2, 3, 2, cell=cell.name, **{option: 1})  # type: ignore[arg-type]
    for option in options:
        with pytest.raises(ValueError, match=rf"^{option} is 'no'; (for cell=|it must be True or)"):
            RNN(2, 3, 2, cell=cell.name, **{option: "no"})  # type: ignore[arg-type]


def test_one_is_no_truth() -> None:
    assert RNN(2, 3, cell="lstm", peepholes=True).cell == "lstm_peepholes"
    with pytest.raises(ValueError, match="peepholes is 1; it must be True or False"):
        RNN(2, 3, cell="lstm", peepholes=1)  # type: ignore[arg-type]


def words(path: Path) -> Iterator[str]:
    """Names and texts in code: no comments, docstrings and defaults of arguments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from re.findall(r"\w+", re.sub(r"//.*", "", text))
        return
    tree = ast.parse(text)
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            left_out |= {*node.defaults, *node.kw_defaults}
        elif isinstance(node, ast.Expr) or (
            isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
        ):
            left_out.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
            yield node.value
        for field in ("id", "attr", "name", "arg", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield word


@functools.cache
def distinct_words(path: Path) -> frozenset[str]:
    return frozenset(words(path))


@all_cells
def test_a_cell_is_named_in_its_own_files(name: str) -> None:
    files = [path for path in ROOT.rglob("*") if path.suffix in (".py", ".cu", ".cuh")]
    files = [path for path in files if path.stem != name and CELLS.get(path.stem, CELLS[name]).family != name]
    named = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if any(re.search(rf"(?<![a-z]){name}(?![a-z])", word.lower()) for word in distinct_words(path))
    }
    assert named <= OTHERS.keys()
