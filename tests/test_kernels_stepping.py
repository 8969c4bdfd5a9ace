"""Steps of a network, and those it takes on its own outputs: each backend against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from devices import host_kernels
from test_kernels_generation import CELLS, DTYPES, GATES, to

# Networks, rows, inputs, hidden units, outputs (0: the hidden units), layers, steps, whether tokens are read.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1, False),
    (1, 1, 33, 33, 0, 3, 4, False),
    (2, 5, 7, 13, 7, 2, 3, False),
    (3, 2, 65, 1, 65, 1, 2, False),
    (1, 9, 5, 130, 3, 1, 1, False),
    (1, 3, 65, 17, 4, 2, 1, True),
    (2, 2, 4, 65, 0, 1, 1, True),
]
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


class Case:
    """A network of random numbers, and what it reads."""

    def __init__(self, cell: str, activation: int, size: tuple[Any, ...], dtype: type) -> None:
        k, b, i, h, o, layers, n, self.reads_tokens = size
        feeds_back = cell == "jordan"
        o, layers = (o or i, 1) if feeds_back else (o, layers)
        rng, g = np.random.default_rng(size), GATES.get(cell, 1)

        def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (scale * rng.standard_normal(shape)).astype(dtype)

        made, inputs, depth = [], i, o if feeds_back else h
        for _ in range(layers):
            arrays = [
                numbers(k, inputs, g * h, scale=inputs**-0.5),
                numbers(k, depth, g * h, scale=depth**-0.5),
            ]
            made.append((*arrays, numbers(k, g * h), *[numbers(k, h)] * (cell == "gru")))
            inputs = h
        s = {"jordan": o, "lstm": 2 * h}.get(cell, h)
        self.arrays = (tuple(made), numbers(k, h, o, scale=h**-0.5), numbers(k, o))
        self.cell, self.flags = cell, (activation, feeds_back, self.reads_tokens)
        self.x = numbers(k if b > 2 else 1, b, 0 if self.reads_tokens else i)
        self.tokens = rng.integers(i, size=(1, b)) if self.reads_tokens else np.empty((1, 0), np.int64)
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


@all_cells
@all_dtypes
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(
    compiled: str, cell: str, activation: int, size: tuple[Any, ...], dtype: type
) -> None:
    case = Case(cell, activation, size, dtype)
    expected, end, _ = case.run("reference")
    outputs, last, fault = case.run(compiled)
    scale = max(1.0, float(np.abs(expected).max()), float(np.abs(end).max()))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=scale * TOLERANCE[dtype])
    np.testing.assert_allclose(last, end, rtol=0, atol=scale * TOLERANCE[dtype])
    assert not fault
