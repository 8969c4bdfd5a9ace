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

from fastrec.kernels import RELU, TANH
from fastrec.kernels.reference.decoding import advance, log_softmax

# Sources, symbols, hidden units, layers, attention (width of the queries, 0: none; whether scores are
# additive), width, length penalty, hypotheses, steps.
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

    def __init__(
        self, cell: str, activation: int, size: tuple[Any, ...], dtype: type, scale: float = 3
    ) -> None:
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
        if cell == "leaky":  # beyond 1, states grow until tanh is 1, and symbols in any order have one sum
            for *_, leak in self.arrays[0]:
                leak[...] = rng.random(leak.shape)
        self.penalties = ((5 + np.arange(1, steps + 1)) / 6) ** penalty
        self.made = (n, n_best, steps)

    def network(self, backend: str) -> tuple[Any, ...]:
        """What kernels of a backend take first; they are called with arrays of the host, but in tuples."""
        (layers, *outward), (activation, feeds_back, _) = self.arrays, self.flags
        attended = (self.keys, self.values, self.lengths, *self.attention)
        return (self.cell, self.state, to(backend, layers), *outward, activation, feeds_back, *attended)

    def run(self, backend: str, **options: Any) -> tuple[np.ndarray, ...]:
        """Symbols, lengths and scores of hypotheses."""
        shape = self.made
        found = np.full(shape, -9, np.int32), np.full(shape[:2], -9, np.int64), np.full(shape[:2], np.nan)
        host_kernels("decoding", backend).beam_search(
            *self.network(backend), self.width, self.penalties, *found
        )
        return found

    def draw(self, backend: str, way: tuple[float, int, int]) -> np.ndarray:
        """Symbols drawn."""
        drawn = np.full(self.made[::2], -9, np.int32)
        host_kernels("decoding", backend).generate_attending(*self.network(backend), *way, KEY, drawn)
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


# Without ("jordan", RELU), whose units may all stay 0: then sums of the same numbers, in any order, compete.
# A short run has each cell in one dtype, that of the other tests here, as it is compiled for each.
DOUBLE = ("elman", "gru", "lstm")
all_cells = pytest.mark.parametrize(
    ("cell", "activation", "dtype"),
    [
        pytest.param(*each, dtype, marks=[pytest.mark.slow] * ((dtype is np.float64) != (each[0] in DOUBLE)))
        for each in CELLS
        if each != ("jordan", RELU)
        for dtype in DTYPES
    ],
)
# Each cell is compiled for each of the two kernels: a short run has all cells in one of them.
some_cells = pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, marks=[] if cell in ("gru", "lstm") else pytest.mark.slow) for cell in DESCRIPTIONS],
)
pytestmark = pytest.mark.each_value("backend", "compiled")


def agree(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], dtype: type) -> None:
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert np.array_equal(ours, theirs)
    np.testing.assert_allclose(found[2], expected[2], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@all_cells
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(
    compiled: str, cell: str, activation: int, dtype: type, size: tuple[Any, ...]
) -> None:
    case = Decoder(cell, activation, size, dtype)
    expected = case.run("reference")
    assert (expected[1] >= 0).all()
    agree(case.run(compiled), expected, dtype)


@some_cells
@pytest.mark.parametrize("way", [(2.0, 70, ALL), (0.0, 70, ALL), (1.0, 5, 2**63)], ids=str)
def test_draws_equal_reference(compiled: str, cell: str, way: tuple[float, int, int]) -> None:
    for size in SIZES[:2]:
        case = Decoder(cell, TANH, size, np.float64)
        chosen = (way[0], min(way[1], size[1]), way[2])
        assert np.array_equal(case.draw(compiled, chosen), case.draw("reference", chosen))


def test_draws_are_those_of_generate(backend: str) -> None:
    case, way = Decoder("gru", TANH, SIZES[3], np.float64), (1.5, 3, ALL)
    n, stop = case.made[0], case.arrays[1].shape[2] - 1
    drawn, last = np.empty(case.made[::2], np.int32), np.empty_like(case.state)
    prompts = (np.full((n, 1), stop, np.int32), np.ones(n, np.int64), case.state)
    network = case.network(backend)[2:7]
    host_kernels("generation", backend).generate(
        case.cell, *prompts, *network, *way, stop, KEY, 0, drawn, last
    )
    assert np.array_equal(case.draw(backend, way), drawn)
    assert len(np.unique(drawn)) > 1


@pytest.mark.parametrize(("penalty", "attention"), [(0.0, (0, False)), (1.0, (4, True)), (3.0, (5, False))])
def test_as_wide_as_the_space_equals_brute_force(
    backend: str, penalty: float, attention: tuple[int, bool]
) -> None:
    """Of all sequences, those that the last symbol ends, and those of all steps; no end is past the width."""
    o, steps, n_best = 4, 4, 6
    case = Decoder(
        "gru", TANH, (2, o, 5, 1, attention, (o - 1) ** steps + 1, penalty, n_best, steps), np.float64
    )
    symbols, lengths, scores = case.run(backend)
    for source in range(2):
        hypotheses = []
        for length in range(steps + 1):
            for written in product(range(o - 1), repeat=length):
                whole = written if length == steps else (*written, o - 1)
                score = case.score(source, whole) / case.penalties[len(whole) - 1]
                hypotheses.append((score, written))
        best = sorted(hypotheses, reverse=True)[:n_best]
        np.testing.assert_allclose(scores[source], [score for score, _ in best], rtol=1e-10)
        found = [tuple(row[:length]) for row, length in zip(symbols[source], lengths[source], strict=True)]
        assert found == [written for _, written in best]
        assert all(
            (row[length:] == o - 1).all()
            for row, length in zip(symbols[source], lengths[source], strict=True)
        )


def test_equal_candidates_are_taken_in_order(backend: str) -> None:
    """All symbols are equally likely: beams by index, and the end only where the width leaves room for it."""
    case = Decoder("elman", TANH, (1, 4, 3, 1, (0, False), 3, 0.0, 9, 2), np.float64)
    case.arrays[1][...] = case.arrays[2][...] = 0
    symbols, lengths, scores = case.run(backend)
    assert np.allclose(scores[0, :3], -2 * np.log(4)) and np.isneginf(scores[0, 3:]).all()
    assert symbols[0, :3].tolist() == [[0, 0], [0, 1], [0, 2]] and lengths[0].tolist() == [2] * 3 + [0] * 6
    case.width = 4  # three beams go on, and so the end of each is taken
    symbols, lengths, scores = case.run(backend)
    assert lengths[0].tolist() == [0, 1, 2, 2, 2, 2, 0, 0, 0]
    assert symbols[0, 1:6].tolist() == [[0, 3], [0, 0], [0, 1], [0, 2], [1, 0]]


def test_one_beam_takes_the_likeliest_symbol(backend: str) -> None:
    case = Decoder("lstm", TANH, (20, 6, 9, 1, (9, False), 1, 0.0, 1, 7), np.float64, scale=6)
    symbols, lengths, _ = case.run(backend)
    drawn = case.draw(backend, (0, 6, ALL))
    assert np.array_equal(symbols[:, 0], drawn) and len(np.unique(lengths)) > 2


@some_cells
def test_sources_do_not_depend_on_those_beside_them(compiled: str, cell: str) -> None:
    case = Decoder(cell, TANH, (7, 20, 33, 1, (4, True), 5, 1.0, 3, 6), np.float64)
    whole = case.run(compiled)
    for name in ("keys", "values", "lengths"):
        setattr(case, name, getattr(case, name)[3:4].copy())
    case.state, case.made = case.state[:, :, 3:4].copy(), (1, *case.made[1:])
    for array, alone in zip(whole, case.run(compiled), strict=True):
        assert np.array_equal(array[3:4], alone)


def test_threads_do_not_change_a_bit(threads: Callable[[int], int]) -> None:
    case, found = Decoder("gru", TANH, (70, 20, 33, 1, (4, True), 5, 1.0, 3, 6), np.float64), []
    for number in (1, 2, 5):
        threads(number)
        found.append((*case.run("cpu"), case.draw("cpu", (1.0, 20, ALL))))
    for arrays in found:
        assert all(np.array_equal(array, first) for array, first in zip(arrays, found[0], strict=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite(backend: str, bad: float) -> None:
    """Of one source; the others are as without it."""
    case = Decoder("gru", TANH, (4, 40, 5, 1, (5, False), 3, 0.0, 2, 4), np.float64)
    expected = case.run(backend)
    if np.isnan(bad):
        case.values[2, : case.lengths[2]], case.lengths[2] = bad, case.keys.shape[1]
        symbols, lengths, scores = case.run(backend)
        assert (lengths[2] == -1).all()
        assert (case.draw(backend, (1.0, 40, ALL))[2] == -1).all()
        for found, before in zip((symbols, lengths, scores), expected, strict=True):
            assert np.array_equal(np.delete(found, 2, 0), np.delete(before, 2, 0))
    else:
        case.arrays[2][0, 33] = bad
        assert (case.run(backend)[1] == -1).all()


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", DESCRIPTIONS)
def test_every_instance(gpu: str, cell: str, dtype: type) -> None:
    """More beams than a block has rows at a time, in every order of threads."""
    case = Decoder(cell, TANH, (3, 40, 5, 2, (5, True), 11, 0.5, 4, 3), dtype)
    agree(case.run(gpu), case.run("reference"), dtype)
    case = Decoder(cell, TANH, (19, 5, 6, 1, (6, False), 1, 0.0, 1, 4), np.float64)
    assert np.array_equal(case.draw(gpu, (2.0, 4, ALL)), case.draw("reference", (2.0, 4, ALL)))


def test_blocks_without_room_in_shared_memory(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrec.kernels.gpu import decoding, recurrent

    case = Decoder("gru", TANH, SIZES[1], np.float32)
    expected = case.run(gpu)
    monkeypatch.setattr(decoding, "this_card", lambda: recurrent.Card(4, 64, False))
    for array, other in zip(case.run(gpu), expected, strict=True):
        assert np.array_equal(array, other)
