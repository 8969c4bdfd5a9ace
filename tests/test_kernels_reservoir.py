"""Kernels of echo states: each backend against the reference, and the reference against loops over steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from devices import host_kernels
from test_kernels_generation import DTYPES, to
from test_kernels_stepping import close

from fastrec.kernels import LINEAR, LOGISTIC, RELU, TANH
from fastrec.kernels.precision import rounded

ACTIVATIONS = {"tanh": TANH, "relu": RELU, "logistic": LOGISTIC, "linear": LINEAR}
# Reservoirs, rows, steps, inputs, units, outputs, connections of a unit (0: all), feedback, activation.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1, False, "tanh"),
    (1, 1, 33, 2, 33, 2, 0, True, "linear"),
    (2, 5, 7, 3, 65, 2, 5, True, "tanh"),
    (3, 2, 9, 1, 5, 1, 0, False, "relu"),
    (2, 9, 4, 2, 130, 2, 1, False, "logistic"),
    (1, 3, 5, 1, 17, 3, 0, True, "tanh"),
]
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-13}


class Case(NamedTuple):
    """Arguments of `pack_reservoir`, and what reservoirs read."""

    weights: tuple[Any, ...]
    x: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray
    washout: np.ndarray
    state: np.ndarray
    readout: np.ndarray

    @classmethod
    def of(cls, size: tuple[Any, ...], dtype: type) -> Case:
        k, b, t, i, h, o, c, feedback, activation = size
        rng = np.random.default_rng(size[:7])

        def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (scale * rng.standard_normal(shape)).astype(dtype)

        fed = o if feedback else 0
        W_rec = numbers(k, c or h, h, scale=0.8 * (c or h) ** -0.5)
        offsets = np.stack([rng.permutation(h)[:c] for _ in range(k)]).astype(np.int64)
        leak = rng.uniform(0.1, 1, (k, h)).astype(dtype)
        weights = (numbers(k, i, h), numbers(k, fed, h, scale=0.3), numbers(k, h), W_rec, offsets, leak)
        lengths = rng.integers(t + 1, size=b)
        lengths[0] = t
        x, targets = numbers(k if b % 2 else 1, b, t, i), numbers(1 if b % 2 else k, b, t, o)
        for row, length in enumerate(lengths):
            x[:, row, length:] = targets[:, row, length:] = np.nan
        washout = np.minimum(rng.integers(4, size=b), t)
        readout = numbers(k, 1 + i + h, o, scale=0.3 * h**-0.5)
        state = numbers(k, b, h + fed, scale=0.5)
        return cls((*weights, ACTIVATIONS[activation]), x, targets, lengths, washout, state, readout)

    def of_network(self, j: int) -> Case:
        """The case of one of the reservoirs alone."""
        alone = {name: [array[min(j, len(array) - 1)]] for name, array in self._asdict().items()}
        arrays = {name: np.array(alone[name]) for name in ("x", "targets", "state", "readout")}
        return self._replace(weights=(*(w[j : j + 1] for w in self.weights[:-1]), self.weights[-1]), **arrays)

    def run(self, backend: str, extra: int = 2) -> tuple[np.ndarray, ...]:
        """States, products, outputs and the last state of each, in arrays that were full of NaN.

        Where inputs can be outputs, also the outputs of so many steps more than x has.
        """
        module = host_kernels("reservoir", backend)
        reservoir = module.pack_reservoir(*to(backend, self.weights[:-1]), self.weights[-1])
        (k, b, _), (_, _, t, i), f = self.state.shape, self.x.shape, self.readout.shape[1]
        h, o, dtype = self.weights[2].shape[1], self.readout.shape[2], self.x.dtype

        def fresh(*shape: int, dtype: Any = dtype) -> np.ndarray:
            return np.full(shape, np.nan, dtype)

        states, outputs = fresh(k, b, t, h), fresh(k, b, t, o)
        products = fresh(k, f + o, f + o, dtype=np.float64)
        lasts = [fresh(*self.state.shape) for _ in range(4)]
        read = (self.x, self.targets, self.lengths)
        module.reservoir_states(reservoir, *read, self.state, states, lasts[0])
        module.reservoir_products(reservoir, *read, self.washout, self.state, products, lasts[1])
        module.reservoir_outputs(reservoir, self.x, self.lengths, self.state, self.readout, outputs, lasts[2])
        made = [states, products, outputs, *lasts[:3]]
        if i == o:
            more, n = fresh(k, b, t + extra, o), np.full(b, t + extra)
            n[0] -= 1
            x = np.nan_to_num(self.x)
            module.reservoir_outputs(reservoir, x, n, self.state, self.readout, more, lasts[3])
            made += [more, lasts[3]]
        return tuple(made)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(compiled: str, size: tuple[Any, ...], dtype: type) -> None:
    case = Case.of(size, dtype)
    close(case.run(compiled), case.run("reference"), TOLERANCE[dtype])


def test_weights_of_eight_bits(compiled: str) -> None:
    """Which the cpu packs two to a word."""
    case = Case.of(SIZES[5], np.float32)
    W_in, W_fb, b, W_rec, *rest = case.weights
    matrices = (rounded(W, "bf16") for W in (W_in, W_fb, W_rec))
    case = case._replace(weights=(*(W := list(matrices))[:2], b, W[2], *rest))
    close(case.run(compiled), case.run("reference"), 2e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_reference_is_the_equation(size: tuple[Any, ...]) -> None:
    """Unit by unit, step by step."""
    case = Case.of(size, np.float64)
    W_in, W_fb, bias, W_rec, offsets, leak, activation = case.weights
    functions = {
        TANH: np.tanh,
        RELU: lambda z: max(z, 0),
        LOGISTIC: lambda z: 1 / (1 + np.exp(-z)),
        LINEAR: float,
    }
    states, products, outputs, *_ = case.run("reference")
    k, h = bias.shape
    for net in range(k):
        given = [a[min(net, len(a) - 1)] for a in (case.x, case.targets)]
        total = np.zeros_like(products[net])
        for row, length in enumerate(case.lengths):
            x, targets = (a[row] for a in given)
            before, y = case.state[net, row, :h], case.state[net, row, h:]
            for t in range(length):
                now = np.empty(h)
                for j in range(h):
                    z = bias[net, j] + sum(x[t] * W_in[net, :, j]) + sum(y * W_fb[net, :, j])
                    if offsets.size:
                        z += sum(W_rec[net, c, j] * before[(j + l) % h] for c, l in enumerate(offsets[net]))
                    else:
                        z += sum(before * W_rec[net, :, j])
                    now[j] = (1 - leak[net, j]) * before[j] + leak[net, j] * functions[activation](z)
                np.testing.assert_allclose(states[net, row, t], now, atol=1e-12)
                v = np.concatenate([[1], x[t], now, targets[t]])
                total += np.outer(v, v) * (t >= case.washout[row])
                if not W_fb.size:
                    expected = v[: -len(targets[t])] @ case.readout[net]
                    np.testing.assert_allclose(outputs[net, row, t], expected, atol=1e-12)
                before, y = now, targets[t][: len(y)]
            assert not states[net, row, length:].any() and not outputs[net, row, length:].any()
        np.testing.assert_allclose(products[net], total, atol=1e-12 * max(1, np.abs(total).max()))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_each_of_k_is_as_if_alone(compiled: str, size: tuple[Any, ...]) -> None:
    case = Case.of(size, np.float32)
    together = case.run(compiled)
    for j in range(size[0]):
        for ours, alone in zip(together, case.of_network(j).run(compiled), strict=True):
            if compiled == "cpu":
                assert np.array_equal(ours[j], alone[0])
            else:
                close((ours[j],), (alone[0],), 1e-6)


def test_threads_and_pieces_do_not_change_a_bit(
    threads: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one row also not the pieces in which its steps are summed, and not how many networks run at once."""
    from fastrec.kernels.cpu import reservoir

    case, one = Case.of((3, 70, 9, 2, 65, 2, 5, True, "tanh"), np.float32), Case.of(SIZES[1], np.float32)
    found, rows = [], []
    for number in (1, 2, 5):
        threads(number)
        monkeypatch.setattr(reservoir, "NETWORKS_PIECE", 2**23 if number > 1 else 1)
        found.append(case.run("cpu"))
        monkeypatch.setattr(reservoir, "STEPS", (1, 4 * number))
        rows.append(one.run("cpu"))
        monkeypatch.undo()
        threads(number)
    for made in (*zip(*found, strict=True), *zip(*rows, strict=True)):
        assert all(np.array_equal(array, made[0]) for array in made)


def test_long_rows_take_several_pieces(compiled: str) -> None:
    case = Case.of((2, 3, 1100 if compiled == "cpu" else 40, 1, 33, 1, 3, True, "tanh"), np.float64)
    close(case.run(compiled), case.run("reference"), 1e-12)


@pytest.mark.usefixtures("mode")
def test_gpu_in_every_order(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with features in small pieces, and states that no block's shared memory holds."""
    from fastrec.kernels.gpu import recall, reservoir

    case = Case.of(SIZES[2], np.float32)
    expected = case.run("reference")
    close(case.run(gpu), expected, 2e-6)
    monkeypatch.setattr(reservoir, "PIECE", 1)
    monkeypatch.setattr(recall, "shared_limit", lambda device: 0)
    close(case.run(gpu), expected, 2e-6)


def test_nothing_given_is_changed_and_weights_are_copied(backend: str) -> None:
    case = Case.of(SIZES[2], np.float32)
    module, weights = host_kernels("reservoir", backend), to(backend, case.weights[:-1])
    reservoir, expected = module.pack_reservoir(*weights, case.weights[-1]), case.run(backend)
    for array in weights:
        array[...] = 0
    given = [array.copy() for array in case[1:]]
    states, last = np.full(expected[0].shape, np.nan, np.float32), np.full_like(case.state, np.nan)
    module.reservoir_states(reservoir, case.x, case.targets, case.lengths, case.state, states, last)
    assert np.array_equal(states, expected[0])
    for array, copy in zip(case[1:], given, strict=True):
        assert np.array_equal(array, copy, equal_nan=True)
