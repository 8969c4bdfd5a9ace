"""Layer normalisation of the products of a cell: its kernels, and networks that have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from devices import all_kernels, host_kernels, to_host
from test_kernels_rnn import INPUTS, Case, assert_equal, check, differences, reference

import fastrec
from fastrec import RNN, Adam, fit
from fastrec.kernels import RELU, TANH
from fastrec.rnn.cells import CELLS

# Cell, function, whether the inputs are normalised too.
KINDS = [("elman", TANH, True), ("gru", TANH, True), ("lstm", TANH, False), ("lstm_peepholes", TANH, True)]
KINDS += [("leaky", RELU, False)]
SIZES = [(1, 1, 1, 1, 3, 5, 1), (2, 2, 5, 7, 3, 17, 1), (1, 1, 3, 4, 33, 65, 1)]  # k, m, b, t, i, h, o
CHOICES = (True, "recurrent")
all_kinds = pytest.mark.parametrize(("cell", "activation", "inputs"), KINDS, ids=[kind[0] for kind in KINDS])
all_cells = pytest.mark.parametrize("cell", [name for name in CELLS if CELLS[name].normalisable])
all_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
X, Y = np.random.default_rng(0).normal(size=(3, 5, 4)), np.random.default_rng(1).normal(size=(3, 5, 2))
LENGTHS = np.array([5, 0, 3])


@pytest.fixture(scope="module")
def module(backend: str) -> ModuleType:
    return host_kernels("rnn", backend)


@all_cells
@pytest.mark.parametrize("inputs", [True, False])
def test_gradients_of_the_reference_are_finite_differences(cell: str, inputs: bool) -> None:
    """Also of tokens, where the inputs stay as they are."""
    size, lengths = (2, 1, 4, 3, 2, 3, 2), [3, 0, 2, 1]
    case = Case("normalised", TANH, size, tokens=not inputs, lengths=lengths, of=cell, inputs=inputs)
    made = case.run_both(reference)
    for name in (name for name in INPUTS if name in case.arrays):
        found = made[f"d_{name}"].sum(axis=0, keepdims=True) if name == "x" else made[f"d_{name}"]
        expected = differences(case.error, case.arrays[name])
        assert np.allclose(found, expected, rtol=1e-7, atol=1e-7), name


@all_kinds
@all_dtypes
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(
    module: ModuleType, cell: str, activation: int, inputs: bool, size: tuple[int, ...], dtype: type
) -> None:
    case = Case("normalised", activation, size, dtype, tokens=size[4] == 33, of=cell, inputs=inputs)
    check(module, case)


@all_kinds
def test_rows_networks_and_threads_change_nothing(
    compiled: str, threads: Callable[[int], int], cell: str, activation: int, inputs: bool
) -> None:
    """Bit for bit."""
    twin = host_kernels("rnn", compiled)
    case = Case("normalised", activation, (3, 3, 9, 3, 5, 33, 1), np.float32, of=cell, inputs=inputs)
    threads(1)
    together = case.run_both(twin)
    threads(3)
    assert_equal(case.run_both(twin), together)
    alone = case.take([1], list(range(9))).run_both(twin)
    assert_equal(alone, {name: array[1:2] for name, array in together.items()})
    hidden = case.run(twin, "forward")["hidden"]
    some = case.take([0, 1, 2], [5, 3])
    assert np.array_equal(some.run(twin, "forward")["hidden"], hidden[:, [5, 3]])
