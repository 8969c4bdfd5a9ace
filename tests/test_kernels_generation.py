"""Drawing tokens, dropout and noise: the reference against plain integers, backends against the reference."""

from __future__ import annotations

from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from devices import host_kernels
from hypothesis import example, given
from hypothesis import strategies as st

from fastrec.backend import move
from fastrec.kernels import DROPOUT, LOGISTIC, NOISE, RELU, SAMPLE, TANH
from fastrec.kernels.reference.generation import draw
from fastrec.kernels.reference.random import draws, philox
from fastrec.kernels.reference.stepping import step
from fastrec.rnn.cells import CELLS as DESCRIPTIONS
from fastrec.rnn.cells.cell import measure
from fastrec.rnn.randomness import normal_table

KEY = 2**63 + 12345
ALL = 2**64 - 1  # of top_p
ONE = 2**32
DTYPES = (np.float32, np.float64)
CELLS = [
    ("elman", TANH),
    ("elman", RELU),
    ("jordan", LOGISTIC),
    ("jordan", RELU),
    ("gru", TANH),
    ("gru_before", TANH),
    ("lstm", TANH),
    ("lstm_peepholes", TANH),
    ("leaky", TANH),
    ("leaky", RELU),
]
# Layers, rows, tokens, hidden units.
SIZES = [
    (1, 1, 1, 1),
    (1, 17, 65, 33),
    (2, 3, 2, 130),
    (3, 1, 300, 33),
    (3, 3, 65, 1),
    (1, 65, 2, 33),
    (2, 1, 65, 130),
    (2, 17, 300, 1),
    (1, 2, 700, 5),
    (3, 4, 900, 3),
]
# Temperature, top_k or 0 for all, top_p.
WAYS = [
    (4, 0, ALL),
    (2, 7, ALL),
    (4, 0, 9 * 2**64 // 10),
    (0, 0, ALL),
    (8, 20, 2**63),
    (1, 1, 2**62),
    (0.5, 0, 0),
    (16, 40, 2**64 * 99 // 100),
    (1, 300, 2**64 * 2 // 3),
    (64, 0, ALL),
]
# How far logits of backends that sum in other orders may be apart, and weights, as parts of themselves.
LOGITS = {np.float32: 5e-5, np.float64: 1e-12}
WEIGHTS = {np.float32: 2e-6, np.float64: 1e-14}

# Every second size in each dtype; a short run has one in float64, as each cell is compiled for each dtype.
CASES = [
    pytest.param(*case, marks=pytest.mark.slow if number > 1 and case[2] is np.float64 else [])
    for number, case in enumerate(zip(SIZES, WAYS, DTYPES * 5, strict=True))
]

all_cells = pytest.mark.parametrize(("cell", "activation"), CELLS)
# Numbers of bf16 take a kernel of their own: a short run has all cells with any numbers, and two with those.
some_cells = pytest.mark.parametrize(
    ("cell", "activation"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] not in ("elman", "gru"))) for each in CELLS],
)
all_dtypes = pytest.mark.parametrize("dtype", DTYPES)
pytestmark = pytest.mark.each_value("backend", "compiled")


def to(backend: str, value: Any) -> Any:
    """Arrays, also those in tuples, where a backend computes."""
    if isinstance(value, tuple):
        return tuple(to(backend, each) for each in value)
    return move(value, backend)


class Text:
    """A network, prompts of different lengths, a state before them, and how to go on with them.

    An exact network does the same to the last bit whatever the order of its sums, also of factors rounded to
    bf16: numbers are whole, and gates and activations but relu are saturated.
    """

    def __init__(
        self,
        cell: str,
        activation: int,
        size: tuple[int, ...],
        dtype: type,
        way: tuple[float, int, int] = WAYS[0],
        n: int = 5,
        exact: bool = True,
        seed: int = 0,
    ) -> None:
        self.cell, self.activation, self.dtype, self.exact = cell, activation, dtype, exact
        layers, b, i, h = (1, *size[1:]) if cell == "jordan" else size
        self.temperature, self.top_k, self.top_p = way[0], min(way[1], i) or i, way[2]
        self.rng = np.random.default_rng([*size, seed])
        self.n, self.first, self.stop = n, 3, -1
        self.lengths = self.rng.integers(1, 5, size=b)
        self.tokens = self.rng.integers(i, size=(b, int(self.lengths.max()))).astype(np.int32)
        # What is past a prompt is no token.
        self.tokens[np.arange(self.tokens.shape[1]) >= self.lengths[:, None]] = -7
        self.W_out, self.b_out = self.weights(1, h, i, scale=1), self.weights(1, i, scale=1)
        kind, made = DESCRIPTIONS[cell], []
        g, own = kind.gates, list(kind.parameters.items())[3:]
        for layer in range(layers):
            weights = [
                self.weights(1, h if layer else i, g * h, scale=2000),
                self.weights(1, i if cell == "jordan" else h, g * h, scale=2000),
                self.bias(g, h),
            ]
            made.append(
                (*weights, *(self.of_units(name, measure(width, {"h": h})) for name, (width,) in own))
            )
        s = i if cell == "jordan" else len(kind.initial) * h
        self.state = self.weights(layers, 1, b, s, scale=1)
        if len(kind.initial) == 2 and exact:
            self.state[..., h:] = 1000 * self.rng.choice([-1, 1], size=(layers, 1, b, h))
        self.layers = tuple(made)

    def weights(self, *shape: int, scale: float) -> np.ndarray:
        if not self.exact:
            return (self.rng.normal(size=shape) * shape[-2] ** -0.5).astype(self.dtype)
        values = self.rng.integers(-1, 2, size=shape)
        if self.activation != RELU:
            values *= int(scale)
        elif len(shape) == 3 and (scale > 1 or self.cell == "jordan"):
            # Units read one of those below and one of those before each, lest numbers grow out of hand.
            values *= np.arange(shape[1])[:, None] == self.rng.integers(shape[1], size=shape[2])
        return values.astype(self.dtype)

    def bias(self, gates: int, h: int) -> np.ndarray:
        """Of no unit is the argument of a logistic function 0; either f of an LSTM is 1 or i is 0."""
        if not self.exact or self.activation == RELU:
            return self.weights(1, gates * h, scale=2000)
        bias = 1000 * self.rng.choice([-3, -1, 1, 3], size=(1, gates, h))
        if self.cell == "gru":
            bias[:, 2] *= 2
        if DESCRIPTIONS[self.cell].forget_gate is not None:
            keeps = self.rng.random(h) < 0.5
            bias[:, 0, ~keeps], bias[:, 1, keeps] = -1_000_001, 1_000_001
        return bias.reshape(1, -1).astype(self.dtype)

    def of_units(self, name: str, size: int) -> np.ndarray:
        """Parameters of single units.  Those of peepholes are small, lest they outweigh a bias."""
        if name == "leak":
            leaks = self.rng.choice([0.5, 1] if self.activation == RELU else [1], size=(1, size))
            return (leaks if self.exact else self.rng.random((1, size))).astype(self.dtype)
        return self.weights(1, size, scale=2 if name == "p" else 2000)

    def run(self, backend: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """The tokens drawn and the last state; options: the precision."""
        drawn = np.full((len(self.lengths), self.n), -9, np.int32)
        filled = to(backend, (drawn, np.full_like(self.state, np.nan)))
        network = (self.state, self.layers, self.W_out, self.b_out)
        arrays = to(backend, (self.tokens, self.lengths, *network))
        how = (
            self.activation,
            self.cell == "jordan",
            self.temperature,
            self.top_k,
            self.top_p,
            self.stop,
            KEY,
            self.first,
        )
        host_kernels("generation", backend).generate(self.cell, *arrays, *how, *filled, **options)
        drawn, last = to("cpu", filled)
        return drawn, last

    def logits(self, row: int, drawn: list[int], precision: str = "float32") -> np.ndarray:
        """Those of the reference after the prompt of a row and these tokens."""
        state = self.state[:, :, row : row + 1]
        for token in (*self.tokens[row, : self.lengths[row]], *drawn):
            read = np.empty((1, 1, 0), self.dtype), np.array([[token]]), state
            network = (self.cell, self.layers, self.W_out, self.b_out, self.activation, self.cell == "jordan")
            y, state = step(*read, *network, precision)
        return y[0, 0]

    def agree(self, backend: str, error: float | None = None, precision: str = "float32") -> np.ndarray:
        """Asserts that a backend draws what the reference draws; returns that.

        Where another token is drawn, of which the rest of the row depends, a weight or logit that is `error`
        off must be able to do that.
        """
        options = {} if precision == "float32" else {"precision": precision}
        theirs, expected = self.run("reference", **options)
        ours, last = self.run(backend, **options)
        if error is None:
            error = 0 if self.exact else LOGITS[self.dtype]
        same = (ours == theirs).all(axis=1)
        for row in np.flatnonzero(~same):
            j = int(np.argmax(ours[row] != theirs[row]))
            y = self.logits(row, theirs[row, :j].tolist(), precision)
            random = int(draws(KEY, self.first + j + 1, row, 0, SAMPLE, 0)[-1])
            found = int(ours[row, j])
            assert self.may_be(y, found, random, error), (
                f"row {row}, token {j}: {found}, not {theirs[row, j]}"
            )
        if self.exact:
            assert np.array_equal(last[:, :, same], expected[:, :, same], equal_nan=True)
        else:
            assert np.allclose(last[:, :, same], expected[:, :, same], rtol=0, atol=error)
        return theirs

    def may_be(self, y: np.ndarray, token: int, random: int, error: float) -> bool:
        """Whether this token may be drawn by logits that are `error` off y, by weights off a little more."""
        if not np.isfinite(y).all() or not 0 <= token < len(y):
            return False
        order = np.argsort(-y, kind="stable")
        if self.temperature == 0:
            return bool(y[token] >= y.max() - 2 * error)
        weight = np.exp((y - y.max()).astype(np.float64) / self.temperature)
        slack = float(np.expm1(2 * error / self.temperature) + WEIGHTS[self.dtype] + len(y) / ONE)
        sums = np.concatenate([[0], weight[order[: self.top_k]].cumsum()])
        enough = sums[-1] * (self.top_p / 2**64)
        off = slack * sums[-1]
        for kept in range(1, len(sums)):
            if sums[kept - 1] > enough + off or (kept < len(sums) - 1 and sums[kept] < enough - off):
                continue
            border = y[order[kept - 1]]
            others = [j for j in range(len(y)) if 0 < abs(y[j] - border) <= 2 * error]
            if others and kept < len(y):  # which are kept is in doubt
                return True
            chosen = np.sort(order[:kept])
            if token in chosen:
                after = weight[chosen][: np.searchsorted(chosen, token) + 1].sum()
                target = weight[chosen].sum() * (random / 2**64)
                if after - weight[token] - off <= target <= after + off:
                    return True
        return False


def oracle(y: np.ndarray, temperature: float, top_k: int, top_p: int, random: int) -> int:
    """`draw` in Python's numbers, one token after the other."""
    values = [float(value) for value in y]
    if not all(abs(value) < float("inf") for value in values):
        return -1
    ranked = sorted(range(len(y)), key=lambda j: (-values[j], j))
    if temperature == 0:
        return ranked[0]
    with np.errstate(over="ignore"):
        scaled = (y - y[ranked[0]]) * y.dtype.type(1 / temperature)
    weights = [int(Fraction(float(e)) * ONE) for e in np.exp(scaled)]
    top = ranked[:top_k]
    share, kept = sum(weights[j] for j in top) * top_p // 2**64, set()
    while sum(weights[j] for j in kept) <= share:
        kept.add(top[len(kept)])
    target, passed = sum(weights[j] for j in kept) * random // 2**64, 0
    for token in sorted(kept):
        passed += weights[token]
        if passed > target:
            return token
    raise AssertionError("the sum of all is past every target")


numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 1e-30, 3e38, -3e38]), st.floats(-20, 20, width=32)
)
bits = st.one_of(st.integers(0, ALL), st.sampled_from([0, 1, 2**32, 2**63 - 1, 2**63, ALL - 1, ALL]))


@all_dtypes
@given(
    logits=st.lists(numbers, min_size=1, max_size=9),
    temperature=st.sampled_from([0, 1e-30, 2.0**-10, 0.5, 1, 1.7, 1e6, 1e30]),
    top_k=st.integers(1, 12),
    top_p=bits,
    random=bits,
)
@example(logits=[0.0, -0.0, 0.0], temperature=0, top_k=3, top_p=ALL, random=0)
@example(logits=[-0.0, 0.0, -0.0], temperature=1, top_k=2, top_p=ALL, random=ALL)
@example(logits=[1.0, 2.0, 2.0, 2.0], temperature=1, top_k=4, top_p=2**63, random=ALL)
def test_draw_is_as_told(
    dtype: type, logits: list[float], temperature: float, top_k: int, top_p: int, random: int
) -> None:
    """Also with more in top_k than there are tokens."""
    y = np.array(logits, dtype)
    assert draw(y, temperature, top_k, top_p, random) == oracle(y, temperature, top_k, top_p, random)


@all_dtypes
def test_draw_of_ties(dtype: type) -> None:
    """Equal ones are kept in the order of tokens, -0 as 0; the random bits share them out evenly."""
    y = np.array([1, 0, 2, -0.0, 2, 2, 0], dtype)
    quarter = 2**62
    assert [draw(y, 0, 7, ALL, r * quarter) for r in range(4)] == [2] * 4
    assert [draw(y, 1e9, 2, ALL, r * quarter) for r in range(4)] == [2, 2, 4, 4]
    assert [draw(y, 1e-3, 7, ALL, r) for r in (0, 2**64 // 3 + 2**32, ALL)] == [2, 4, 5]
    assert {draw(y, 1e9, 5, ALL, r * 2**61) for r in range(8)} == {0, 1, 2, 4, 5}
    assert {draw(y, 1e-3, 7, p, r * quarter) for p in (0, 2**60) for r in range(4)} == {2}
    assert {draw(y, 1e-3, 7, 2**63, r * quarter) for r in range(4)} == {2, 4}


@all_dtypes
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0, 1])
def test_draw_of_what_is_not_finite(dtype: type, bad: float, temperature: float) -> None:
    assert draw(np.array([0, 5, bad, 1], dtype), temperature, 1, 0, 7) == -1


@all_dtypes
@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1, 6, ALL), (0.5, 4, ALL), (2, 6, 2**63)])
def test_frequencies_follow_the_softmax(dtype: type, temperature: float, top_k: int, top_p: int) -> None:
    y = np.array([0.3, -1, 2, 0.7, 1.9, -4], dtype)
    count = 4000
    shares = np.exp(np.float64(y) / temperature)
    falling = np.argsort(-y)
    kept = falling[:top_k]
    kept = kept[: np.count_nonzero(shares[kept].cumsum() / shares[kept].sum() <= top_p / 2**64) + 1]
    expected = np.zeros(len(y))
    expected[kept] = count * shares[kept] / shares[kept].sum()
    found = [draw(y, temperature, top_k, top_p, int(r)) for r in draws(KEY, count, 0, 0, SAMPLE, 0)]
    counts = np.bincount(found, minlength=len(y))
    assert not counts[expected == 0].any()
    freedom = len(kept) - 1
    squares = ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    assert squares < freedom + 5 * (2 * freedom) ** 0.5


@some_cells
@pytest.mark.parametrize(("size", "way", "dtype"), CASES, ids=str)
def test_equals_reference(
    compiled: str, cell: str, activation: int, size: tuple[int, ...], way: tuple[float, int, int], dtype: type
) -> None:
    """Of networks whose logits are the same everywhere."""
    drawn = Text(cell, activation, size, dtype, way).agree(compiled)
    assert drawn.min() >= 0 and drawn.max() < size[2]


@all_cells
@all_dtypes
def test_of_any_numbers(compiled: str, cell: str, activation: int, dtype: type) -> None:
    """Of networks whose logits differ in their last bits."""
    if activation != RELU:
        size, way = (
            ((2, 17, 65, 33), (1, 0, ALL)) if dtype is np.float32 else ((3, 3, 300, 33), (0.7, 100, ALL // 2))
        )
        Text(cell, activation, size, dtype, way, n=8, exact=False).agree(compiled)


@pytest.mark.parametrize("cell", ["elman", "jordan", "gru", "lstm", "lstm_peepholes"])
def test_rows_stop_by_themselves(compiled: str, cell: str) -> None:
    """After the token to stop at, and where a logit is not finite."""
    text = Text(cell, TANH, (2, 17, 12, 33), np.float32, (32, 0, ALL), n=6)
    text.stop = 1
    drawn = text.agree(compiled)
    stopped = (drawn == 1).any(axis=1)
    assert stopped.any() and (drawn[stopped, -1] == 1).all() and not stopped.all()
    text.b_out[:] = np.nan
    assert (text.agree(compiled) == -1).all()


@pytest.mark.parametrize("cell", ["elman", "jordan"])
def test_a_row_that_overflows_stops_alone(compiled: str, cell: str) -> None:
    text = Text(cell, RELU, (1, 5, 65, 33), np.float32)
    text.state[0, 0, 2] = np.inf
    text.tokens[:, 0] = 3
    with np.errstate(invalid="ignore"):
        drawn = text.agree(compiled)
    assert (drawn[2] == -1).all() and drawn[[0, 1, 3, 4]].min() >= 0


@pytest.mark.parametrize("cell", ["elman", "jordan", "gru", "lstm", "lstm_peepholes"])
def test_a_text_in_two_calls(backend: str, cell: str) -> None:
    """By the numbers of its draws, and the last token as the next prompt."""
    text = Text(cell, TANH, (2, 3, 65, 33), np.float32, n=7, exact=False)
    whole, end = text.run(backend)
    text.n = 3
    start, last = text.run(backend)
    text.n, text.first, text.state = 4, text.first + 3, last
    text.tokens, text.lengths = np.ascontiguousarray(start[:, -1:]), np.ones(3, np.int64)
    rest, again = text.run(backend)
    assert np.array_equal(np.hstack([start, rest]), whole)
    assert np.array_equal(again, end)


def test_nothing_given_is_changed(backend: str) -> None:
    text = Text("gru", TANH, (1, 1, 5, 3), np.float32, n=1)
    given = [text.tokens, text.lengths, text.state, text.W_out, text.b_out, *text.layers[0]]
    before = [array.copy() for array in given]
    text.run(backend)
    assert all(np.array_equal(array, copy) for array, copy in zip(given, before, strict=True))


def test_a_single_token_is_drawn_by_one_row_as_by_many(backend: str) -> None:
    """Rows do not depend on each other; their draws are their own."""
    many = Text("gru", TANH, (1, 17, 65, 33), np.float32)
    drawn, last = many.run(backend)
    many.tokens, many.lengths, many.state = many.tokens[:1], many.lengths[:1], many.state[:, :, :1].copy()
    alone, own = many.run(backend)
    assert np.array_equal(alone[0], drawn[0]) and np.array_equal(own[:, :, 0], last[:, :, 0])
    assert len(set(map(tuple, drawn.tolist()))) > 1


# Dropout

THRESHOLDS = [0, 1, 13107, 2**15, 2**16 - 1]


@pytest.fixture(scope="module")
def module(backend: str) -> ModuleType:
    return host_kernels("rnn", backend)


def values_of(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(dtype)


@all_dtypes
@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (3, 2, 5, 3), (1, 3, 1, 4), (2, 1, 3, 5), (1, 5, 7, 17)], ids=str
)
def test_dropout_is_as_told(module: ModuleType, shape: tuple[int, ...], threshold: int, dtype: type) -> None:
    """To the last bit: eight draws of a block, the lowest bits of its first word first."""
    values = values_of(shape, dtype)
    expected = values.copy()
    for net, row, step_, unit in np.ndindex(shape):
        counter = [unit // 8, row * shape[2] + step_, net, DROPOUT | 6 << 8]
        words = np.empty((1, 4), np.uint32)
        philox(KEY, np.array([counter], np.uint32), words)
        drawn = int(words[0, unit % 8 // 2]) >> 16 * (unit % 2) & 0xFFFF
        place = net, row, step_, unit
        scale = dtype(2**16 / (2**16 - threshold))
        expected[place] = 0 if drawn < threshold else scale * expected[place]
    module.dropout(KEY, 6, threshold, values)
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("threshold", [1, 13107, 2**15, 2**16 - 1])
def test_dropout_keeps_a_share(module: ModuleType, threshold: int) -> None:
    """Within five standard deviations; the same units whatever the values, others by another key or layer."""
    values = np.ones((2, 5, 10, 500), np.float32)
    module.dropout(KEY, 0, threshold, values)
    share, count = 1 - threshold / 2**16, values.size
    assert abs((values > 0).sum() - share * count) <= 5 * (count * share * (1 - share)) ** 0.5
    again = np.full_like(values, -3)
    module.dropout(KEY, 0, threshold, again)
    assert np.array_equal(again != 0, values != 0)
    for key, layer in ((KEY + 1, 0), (KEY, 1)):
        other = np.ones_like(values)
        module.dropout(key, layer, threshold, other)
        if threshold == 2**15:
            same = ((other > 0) == (values > 0)).mean()
            assert abs(same - 0.5) <= 2.5 / count**0.5


def test_dropout_keeps_what_draws_the_threshold(module: ModuleType) -> None:
    words = np.empty((1, 4), np.uint32)
    philox(KEY, np.array([[0, 0, 0, DROPOUT]], np.uint32), words)
    drawn = words.view("<u2")[0].astype(int)
    for unit, threshold in enumerate(drawn):
        for more in (0, 1):
            values = np.ones((1, 1, 1, 8), np.float32)
            module.dropout(KEY, 0, int(threshold) + more, values)
            assert (values[0, 0, 0] > 0).tolist() == (drawn >= threshold + more).tolist(), unit


@pytest.mark.parametrize("dtype", DTYPES)
def test_table_of_normal_numbers(dtype: type) -> None:
    table = normal_table(np.dtype(dtype)).astype(float)
    assert np.array_equal(table, -table[::-1]) and (np.diff(table) > 0).all()
    assert (table**2).mean() == pytest.approx(1, abs=1e-15 if dtype is np.float64 else 1e-8)
    assert (table**4).mean() == pytest.approx(3, abs=2e-3)
    assert table[3 * 2**14] == pytest.approx(0.67449, abs=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 3, 17), (1, 2, 1, 130)])
def test_noise_is_as_told(module: ModuleType, shape: tuple[int, ...], dtype: type) -> None:
    """To the last bit; a row does not depend on the rows after it."""
    table, values = normal_table(np.dtype(dtype)), np.full(shape, np.nan, dtype)
    expected = np.empty_like(values)
    for net, row, step_, unit in np.ndindex(shape):
        words = np.empty((1, 4), np.uint32)
        philox(KEY, np.array([[unit // 8, row * shape[2] + step_, net, NOISE | 6 << 8]], np.uint32), words)
        drawn = int(words[0, unit % 8 // 2]) >> 16 * (unit % 2) & 0xFFFF
        expected[net, row, step_, unit] = dtype(0.3) * table[drawn]
    module.normal_noise(KEY, 6, table, 0.3, values)
    assert np.array_equal(values, expected)
    first = np.empty_like(values[:, :1])
    module.normal_noise(KEY, 6, table, 0.3, first)
    assert np.array_equal(first, values[:, :1])


def test_noise_is_normal(module: ModuleType) -> None:
    """Mean, variance, fourth moment and correlations, within five standard deviations."""
    table, n = normal_table(np.dtype(np.float32)), 2 * 5 * 10 * 500

    def made(key: int, layer: int) -> np.ndarray:
        values = np.empty((2, 5, 10, 500), np.float32)
        module.normal_noise(key, layer, table, 1.0, values)
        return values.astype(float)

    values = made(KEY, 0)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - mean) <= 5 * (variance / n) ** 0.5
    others = [made(KEY + 1, 0), made(KEY, 1), *(np.roll(values, 1, axis) for axis in range(4))]
    for other in others:
        assert abs((values * other).mean()) <= 5 / n**0.5
