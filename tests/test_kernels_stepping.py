"""Steps of a network, and those it takes on its own outputs: each backend against the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import host_kernels, note_launches
from test_kernels_generation import CELLS, DESCRIPTIONS, DTYPES, to

from fastrec.kernels import RELU, TANH
from fastrec.rnn.cells.cell import measure
from fastrec.rnn.device import unavailable_on_cpu

# Networks, rows, inputs, hidden units, outputs (0: the hidden units), layers, steps, whether tokens are read.
SIZES = [
    (2, 5, 7, 13, 7, 2, 3, False),
    (1, 1, 1, 1, 1, 1, 1, False),
    (1, 1, 33, 33, 0, 3, 4, False),
    (3, 2, 65, 1, 65, 1, 2, False),
    (1, 9, 5, 130, 3, 1, 1, False),
    (1, 3, 65, 17, 4, 2, 1, True),
    (2, 2, 4, 65, 0, 1, 1, True),
]
ROUNDED = [(1, 9, 35, 17, 35, 2, 3, False), (2, 3, 5, 33, 4, 1, 1, True)]
# Of the largest number.  A sum that differs in its last bit may be rounded to another factor.
ROUNDING = {"tf32": 2e-3, "bf16": 2e-2}
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


class Case:
    """A network of random numbers, and what it reads."""

    def __init__(self, cell: str, activation: int, size: tuple[Any, ...], dtype: type) -> None:
        k, b, i, h, o, layers, n, self.reads_tokens = size
        feeds_back = cell == "jordan"
        o, layers = (o or i, 1) if feeds_back else (o, layers)
        rng, kind = np.random.default_rng(size), DESCRIPTIONS[cell]
        g, own = kind.gates, list(kind.parameters.values())[2:]

        def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (scale * rng.standard_normal(shape)).astype(dtype)

        made, inputs, depth = [], i, o if feeds_back else h
        for _ in range(layers):
            arrays = [
                numbers(k, inputs, g * h, scale=inputs**-0.5),
                numbers(k, depth, g * h, scale=depth**-0.5),
            ]
            made.append((*arrays, *(numbers(k, measure(width, {"h": h})) for (width,) in own)))
            inputs = h
        s = o if feeds_back else len(kind.initial) * h
        self.arrays = (tuple(made), numbers(k, h, o, scale=h**-0.5), numbers(k, o))
        self.cell, self.flags = cell, (activation, feeds_back, self.reads_tokens)
        m = k if b > 2 else 1
        self.x = numbers(m, b, 0 if self.reads_tokens else i)
        self.tokens = rng.integers(i, size=(m, b)) if self.reads_tokens else np.empty((m, 0), np.int64)
        self.state = numbers(layers, k, b, s, scale=0.5)
        self.n, self.outputs = n, (k, b, n, o or h)

    def run(self, backend: str, **options: Any) -> tuple[np.ndarray, np.ndarray, bool]:
        """Outputs and last state, in arrays that were full of NaN, and whether there was a fault."""
        module = host_kernels("stepping", backend)
        network = module.pack_network(self.cell, *to(backend, self.arrays), *self.flags, **options)
        outputs, last = np.full(self.outputs, np.nan, self.x.dtype), np.full_like(self.state, np.nan)
        fault = np.zeros(1, np.int32)
        module.take_steps(network, self.x, self.tokens, self.state, outputs, last, fault)
        return outputs, last, bool(fault[0])


all_cells = pytest.mark.parametrize(("cell", "activation"), CELLS)
all_dtypes = pytest.mark.parametrize("dtype", DTYPES)
pytestmark = pytest.mark.each_value("backend", "compiled")


def close(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], tolerance: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=scale * tolerance)


@all_cells
@all_dtypes
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(
    compiled: str, cell: str, activation: int, size: tuple[Any, ...], dtype: type
) -> None:
    case = Case(cell, activation, size, dtype)
    expected, end, _ = case.run("reference")
    outputs, last, fault = case.run(compiled)
    assert not fault
    close((outputs, last), (expected, end), TOLERANCE[dtype])


@all_cells
@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("size", ROUNDED, ids=str)
def test_rounded_factors(
    compiled: str, cell: str, activation: int, size: tuple[Any, ...], precision: str
) -> None:
    if compiled == "cpu" and (missing := unavailable_on_cpu(precision)):  # type: ignore[arg-type]
        pytest.skip(f"no {precision} on cpu: {missing}")
    case = Case(cell, activation, size, np.float32)
    *found, _ = case.run(compiled, precision=precision)
    *expected, _ = case.run("reference", precision=precision)
    close(tuple(found), tuple(expected), ROUNDING[precision])
    exact, *_ = case.run("reference")
    assert np.abs(exact - expected[0]).max() > 1e-5


@pytest.mark.parametrize("cell", DESCRIPTIONS)
def test_steps_one_by_one_give_the_same_bits(compiled: str, cell: str) -> None:
    """And rows do not depend on those beside them."""
    case = Case(cell, TANH, (2, 5, 7, 33, 7, 2, 6, False), np.float32)
    whole, end, _ = case.run(compiled)
    case.outputs, state = (2, 5, 1, 7), case.state.copy()
    for t in range(whole.shape[2]):
        step, last, _ = case.run(compiled)
        assert np.array_equal(step[:, :, 0], whole[:, :, t])
        case.x, case.state = np.ascontiguousarray(step[:, :, 0]), last
    assert np.array_equal(last, end)
    alone = Case(cell, TANH, (2, 5, 7, 33, 7, 2, 6, False), np.float32)
    alone.x, alone.state, alone.outputs = alone.x[:, 3:4].copy(), state[:, :, 3:4].copy(), (2, 1, 6, 7)
    row, last, _ = alone.run(compiled)
    assert np.array_equal(row[:, 0], whole[:, 3]) and np.array_equal(last[:, :, 0], end[:, :, 3])


@pytest.mark.parametrize("cell", DESCRIPTIONS)
def test_threads_do_not_change_a_bit(threads: Callable[[int], int], cell: str) -> None:
    case, found = Case(cell, TANH, (2, 5, 7, 33, 7, 2, 6, False), np.float32), []
    for number in (1, 2, 5):
        threads(number)
        found.append(case.run("cpu"))
    for outputs, last, _ in found:
        assert np.array_equal(outputs, found[0][0]) and np.array_equal(last, found[0][1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_a_fault(backend: str, bad: float) -> None:
    """An infinity, too, that gates turn into finite outputs."""
    for place in ("x", "b_out"):
        case = Case("gru", TANH, (1, 3, 5, 4, 2, 1, 1, False), np.float32)
        array = case.x if place == "x" else case.arrays[2]
        array[0, -1] = bad
        assert case.run(backend)[2], place


@pytest.mark.parametrize("bad", [-1, 4, 2**32, -(2**63)])
def test_no_token_is_a_fault(backend: str, bad: int) -> None:
    case = Case("lstm", TANH, (1, 3, 4, 5, 2, 1, 1, True), np.float32)
    case.tokens[0, 1] = bad
    assert case.run(backend)[2]


def test_numbers_that_grow_without_bound_are_a_fault(backend: str) -> None:
    case = Case("elman", RELU, (1, 2, 3, 3, 3, 1, 60, False), np.float32)
    for W in (*case.arrays[0][0][:2], case.arrays[1]):
        W[...] = 10
    case.x[...] = 1
    assert case.run(backend)[2]


def test_nothing_given_is_changed_and_parameters_are_copied(backend: str) -> None:
    case = Case("gru", TANH, (2, 3, 4, 5, 2, 2, 1, True), np.float32)
    module, arrays = host_kernels("stepping", backend), to(backend, case.arrays)
    network = module.pack_network(case.cell, *arrays, *case.flags)
    expected, *_ = case.run(backend)
    for array in (*arrays[0][0], *arrays[0][1], *arrays[1:]):
        array[...] = np.nan
    given = [array.copy() for array in (case.x, case.tokens, case.state)]
    outputs, last = np.full(case.outputs, np.nan, np.float32), np.full_like(case.state, np.nan)
    fault = np.zeros(1, np.int32)
    module.take_steps(network, case.x, case.tokens, case.state, outputs, last, fault)
    assert not fault[0] and np.array_equal(outputs, expected)
    for array, copy in zip((case.x, case.tokens, case.state), given, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("product", ["Float", "Double", "Tf32", "Bf16"])
@pytest.mark.parametrize("cell", DESCRIPTIONS)
def test_every_instance(gpu: str, monkeypatch: pytest.MonkeyPatch, cell: str, product: str) -> None:
    """Few rows, and many, of which blocks take several, in every order of threads."""
    from fastrec.kernels.gpu.module import BLOCK_ROWS

    launched: set[tuple[str, str]] = set()
    note_launches(monkeypatch, launched)
    precision = "float32" if product in ("Float", "Double") else product.lower()
    dtype = np.float64 if product == "Double" else np.float32
    for size in ((1, 259, 2, 3, 2, 1, 2, False), SIZES[0], SIZES[5]):
        case = Case(cell, TANH, size, dtype)
        *found, fault = case.run(gpu, precision=precision)
        *expected, _ = case.run("reference", precision=precision)
        close(tuple(found), tuple(expected), ROUNDING.get(precision, TOLERANCE[dtype]))
        assert not fault
    names = [name for file, name in launched if file == "stepping"]
    assert {int(name.split()[-1][:-1]) for name in names} == set(BLOCK_ROWS[product])
