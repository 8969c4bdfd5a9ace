"""Beam search and sequences drawn with attention: the reference against brute force, backends against it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from devices import host_kernels
from test_kernels_generation import ALL, CELLS, DESCRIPTIONS, DTYPES, KEY, to
from test_kernels_stepping import Case

from fastrec.kernels import TANH
from fastrec.kernels.reference.decoding import advance, log_softmax

# Sources, symbols, hidden units, layers, attention (width of the queries, 0: none; whether scores are additive),
# width, length penalty, hypotheses, steps.
SIZES = [
    (3, 7, 13, 2, (13, False), 4, 0.0, 2, 5),
    (5, 70, 33, 1, (9, True), 5, 1.0, 7, 6),
    (1, 1, 1, 1, (0, False), 1, 0.6, 1, 3),
    (9, 3, 65, 3, (0, False), 30, 2.0, 3, 4),
    (2, 300, 5, 1, (5, True), 1, 0.0, 1, 9),
    (20, 33, 17, 1, (0, False), 3, 0.0, 3, 1),
]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


class Decoder(Case):
    """A decoder of random numbers, what it attends to, and how it searches."""

    def __init__(self, cell: str, activation: int, size: tuple[Any, ...], dtype: type, scale: float = 3) -> None:
        n, o, h, layers, (d, additive), self.width, penalty, n_best, steps = size
        super().__init__(cell, activation, (1, n, o, h, o, layers, 1, True), dtype)
        d = 0 if cell == "jordan" else d
        rng, t = np.random.default_rng(n), 6 if d else 0

        def numbers(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(dtype)

        self.lengths = rng.integers(0, t + 1, n)
        self.lengths[0] = t
        self.keys, self.values = numbers(n, t, d), numbers(n, t, h)
        for array in (self.keys, self.values):
            array[np.arange(t) >= self.lengths[:, None]] = np.nan
        combine = numbers(2 * h if d else 0, h)
        self.attention = [numbers(h, d if additive else 0), numbers(d if additive else 0), combine]
        self.arrays[1][...] *= scale
        self.penalties = ((5 + np.arange(1, steps + 1)) / 6) ** penalty
        self.made = (n, n_best, steps)

    @property
    def network(self) -> tuple[Any, ...]:
        activation, feeds_back, _ = self.flags
        attended = (self.keys, self.values, self.lengths, *self.attention)
        return (self.cell, self.state, *self.arrays, activation, feeds_back, *attended)

    def run(self, backend: str, **options: Any) -> tuple[np.ndarray, ...]:
        """Symbols, lengths and scores of hypotheses."""
        shape = self.made
        found = np.full(shape, -9, np.int32), np.full(shape[:2], -9, np.int64), np.full(shape[:2], np.nan)
        host_kernels("decoding", backend).beam_search(
            *to(backend, self.network), self.width, to(backend, self.penalties), *found
        )
        return found

    def draw(self, backend: str, way: tuple[float, int, int]) -> np.ndarray:
        """Symbols drawn."""
        drawn = np.full(self.made[::2], -9, np.int32)
        host_kernels("decoding", backend).generate_attending(*to(backend, self.network), *way, KEY, drawn)
        return drawn

    def score(self, source: int, symbols: tuple[int, ...]) -> float:
        """The sum of the log probabilities of symbols, by the reference."""
        activation, feeds_back, _ = self.flags
        state, total, network = self.state[:, :, source : source + 1], 0.0, (self.cell, *self.arrays)
        read = (self.arrays[1].shape[2] - 1, *symbols)
        for symbol, following in zip(read, symbols, strict=False):
            attention = (self.keys, self.values, self.lengths, *self.attention, np.array([source]))
            y, state = advance(np.array([symbol]), state, (*network, activation, feeds_back), attention)
            total += log_softmax(y)[0, following]
        return total


all_cells = pytest.mark.parametrize(("cell", "activation"), CELLS)
pytestmark = pytest.mark.each_value("backend", "compiled")


def agree(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], dtype: type) -> None:
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert np.array_equal(ours, theirs)
    np.testing.assert_allclose(found[2], expected[2], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@all_cells
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(
    compiled: str, cell: str, activation: int, size: tuple[Any, ...], dtype: type
) -> None:
    case = Decoder(cell, activation, size, dtype)
    expected = case.run("reference")
    assert (expected[1] >= 0).all()
    agree(case.run(compiled), expected, dtype)
