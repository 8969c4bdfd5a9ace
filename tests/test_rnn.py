"""The public recurrent network: arguments, errors, files, and what must hold whatever the kernels do."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from devices import to_host

import fastrec
from fastrec import RNN, Trace
from fastrec import validation as arguments
from fastrec.backend import move
from fastrec.rnn.validation import Purpose

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

CELLS = ("elman", "jordan", "gru", "gru_before", "lstm", "lstm_peepholes", "leaky")
# Cell, layers and output size of every way through the public code.
KINDS = [("jordan", 1, 3), ("gru_before", 2, 3), ("lstm_peepholes", 2, 3), ("leaky", 2, 3)] + [
    (cell, layers, o) for cell in ("elman", "gru", "lstm") for layers in (1, 2) for o in (3, None)
]


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(cell: str, backend: str, num_layers: int = 1, output_size: int | None = 3, **more: object) -> RNN:
    """4 inputs, 5 hidden units, no parameter 0."""
    options = {"num_layers": num_layers, "dtype": np.float64, "seed": 1, "backend": backend} | more
    rnn = RNN(4, 5, output_size, cell, **options)
    for seed, (key, value) in enumerate(to_host(rnn.parameters).items()):
        rnn.parameters[key] = value + 0.1 * random(seed, *value.shape).astype(value.dtype)
    return rnn


def close(a: np.ndarray, b: np.ndarray, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def same(a: tuple[object, ...], b: tuple[object, ...]) -> None:
    """Results of loss_and_gradients, bit for bit."""
    assert a[0] == b[0] and np.array_equal(a[2], b[2]) and a[1].keys() == b[1].keys()
    assert all(np.array_equal(gradient, b[1][key]) for key, gradient in a[1].items())


def frozen(rnn: RNN) -> bytes:
    return pickle.dumps(rnn.parameters)


class TestConstruction:
    @pytest.mark.parametrize(
        ("cell", "g", "more"),
        [("elman", 1, []), ("gru", 3, ["b_n"]), ("lstm", 4, ["c0"]), ("leaky", 1, ["leak"])],
    )
    @pytest.mark.parametrize("models", [None, 2])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_parameters(self, cell: str, g: int, more: list[str], models: int | None, dtype: type) -> None:
        rnn = RNN(4, 5, 3, cell, num_layers=3, models=models, dtype=dtype, seed=0)
        shapes = {"W_out": (5, 3), "b_out": (3,)}
        for end, i in (("", 4), ("_l1", 5), ("_l2", 5)):
            shapes |= {"W_in" + end: (i, 5 * g), "W_rec" + end: (5, 5 * g), "b" + end: (5 * g,)}
            shapes |= {name + end: (5,) for name in ["h0", *more]}
        lead = () if models is None else (models,)
        assert {key: value.shape for key, value in rnn.parameters.items()} == {
            key: lead + shape for key, shape in shapes.items()
        }
        assert all(value.dtype == dtype and value.flags.carray for value in rnn.parameters.values())
        assert rnn.n_parameters == sum(np.prod(shape) for shape in shapes.values())
        assert (rnn.input_size, rnn.hidden_size, rnn.output_size, rnn.num_layers) == (4, 5, 3, 3)
        assert (rnn.cell, rnn.activation, rnn.models, rnn.dtype) == (cell, "tanh", models, dtype)

    def test_parameters_of_jordan(self) -> None:
        shapes = {key: value.shape for key, value in RNN(4, 5, 3, "jordan", seed=0).parameters.items()}
        assert shapes == {
            "W_in": (4, 5),
            "W_rec": (3, 5),
            "b": (5,),
            "h0": (3,),
            "W_out": (5, 3),
            "b_out": (3,),
        }

    def test_without_output_layer(self) -> None:
        assert not {"W_out", "b_out"} & RNN(4, 5, seed=0).parameters.keys()

    def test_repr(self) -> None:
        assert repr(RNN(4, 5, backend="reference", seed=0)) == (
            'RNN(4, 5, None, "elman", backend="reference", n_parameters=55)'
        )
        assert repr(RNN(4, 5, 3, "lstm", num_layers=2, models=6, backend="reference", seed=0)) == (
            'RNN(4, 5, 3, "lstm", num_layers=2, models=6, backend="reference", n_parameters=458)'
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"input_size": 0}, r"input_size is 0; it must be an integer from 1 to 2\^31-1"),
            ({"hidden_size": 2.0}, "hidden_size is 2.0"),
            ({"output_size": True}, "output_size is True"),
            ({"output_size": 0}, "output_size is 0"),
            ({"num_layers": 0}, "num_layers is 0; it must be an integer from 1 to 1000"),
            ({"models": 0}, "models is 0"),
            ({"cell": "rnn"}, 'cell is \'rnn\'; it must be "elman", "jordan", "gru", .* or "leaky"'),
            ({"activation": "sigmoid"}, 'activation is .*; it must be "tanh", "relu", "logistic" or'),
            ({"dtype": np.float16}, r"dtype is .*float16.*; it must be np.float32 or np.float64"),
            ({"dtype": "nonsense"}, "dtype is 'nonsense'"),
            ({"dtype": None}, "dtype is None"),
            ({"cell": "gru", "activation": "relu"}, 'activation is "relu"; cell="gru" has tanh and logistic'),
            ({"cell": "jordan"}, 'output_size is None; cell="jordan" feeds its output back, give its size'),
            ({"cell": "jordan", "output_size": 2, "num_layers": 2}, 'num_layers is 2; cell="jordan" has one'),
            ({"initial": "zeros"}, 'initial is \'zeros\'; it must be "orthogonal", "uniform", "identity" or'),
            (
                {"initial": "identity", "cell": "lstm"},
                'initial is "identity", which is for cell="elman" or "l',
            ),
            ({"forget_bias": 1.0}, 'forget_bias is 1.0; only cell="lstm" or "lstm_peepholes" has a forget'),
            ({"forget_bias": np.nan, "cell": "lstm"}, "forget_bias is nan; it must be a finite number"),
            (
                {"cell": "lstm", "forget_bias": 2**70},
                "forget_bias is 1180591620717411303424; it must be a fin",
            ),
            ({"forget_bias": "1", "cell": "lstm"}, "forget_bias is '1'; it must be a finite number"),
            ({"seed": -1}, r"seed is -1; it must be an integer from 0 to 2\^64-1"),
            ({"seed": [1, 2]}, r"seed is \[1, 2\]; it must be an integer"),
            ({"seed": [1, 2], "models": 3}, "seed has 2 values; give one for each of the 3 networks, or one"),
            ({"seed": [1, 0.5], "models": 2}, r"seed\[1\] is 0.5"),
            ({"seed": "ab", "models": 2}, "seed is 'ab'"),
        ],
    )
    def test_errors(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            RNN(**{"input_size": 4, "hidden_size": 5} | options)

    def test_unknown_backend(self) -> None:
        with pytest.raises(fastrec.BackendError, match="backend is 'tpu'"):
            RNN(4, 5, backend="tpu", seed=0)

    def test_too_big(self, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
        rnn = RNN(4, 5, 3, "lstm", backend=backend, seed=0)
        monkeypatch.setattr(arguments, "available_memory", lambda backend: 10**8)
        with pytest.raises(ValueError, match=r"the network needs 1\.1 GB of memory, 100 MB are available"):
            RNN(1, 5000, num_layers=2, seed=0)
        x = np.zeros((200, 10000), dtype=np.int32)
        device = " of the device" if backend == "gpu" else ""
        message = f"a batch of 200 rows and 10000 steps needs 272 MB of memory{device}, 100 MB are"
        with pytest.raises(ValueError, match=message):
            rnn.forward(x)
        with pytest.raises(ValueError, match="a batch of 200 rows and 10000 steps needs 312 MB"):
            rnn.loss_and_gradients(x, x)
        simple = RNN(4, 50, backend=backend, seed=0)
        trace = simple.forward(x[:, :1700])
        monkeypatch.setattr(arguments, "available_memory", lambda backend: 10**6)
        with pytest.raises(ValueError, match=f"backward needs 68 MB of memory{device}, 1 MB are"):
            simple.backward(trace, trace.outputs)


class TestInitial:
    @pytest.mark.parametrize(("cell", "g"), [("elman", 1), ("gru", 3), ("lstm", 4)])
    def test_orthogonal(self, cell: str, g: int) -> None:
        p = RNN(30, 40, 20, cell, num_layers=2, dtype=np.float64, seed=0).parameters
        for end, i in (("", 30), ("_l1", 40)):
            for W in np.split(p["W_rec" + end], g, axis=1):
                np.testing.assert_allclose(W @ W.T, np.eye(40), atol=1e-12)
            limit = np.sqrt(6 / (i + 40))
            assert 0.95 * limit < np.abs(p["W_in" + end]).max() <= limit
            b = np.zeros(40 * g)
            b[40:80] = cell == "lstm"
            assert np.array_equal(p["b" + end], b)
        assert 0.95 < np.abs(p["W_out"]).max() / np.sqrt(6 / 60) <= 1
        assert not p["h0"].any() and not p["b_out"].any()

    def test_orthogonal_is_uniform(self) -> None:
        # Without the choice of signs the diagonal of Q has one sign (Mezzadri 2007).
        traces = [np.trace(RNN(1, 8, seed=seed).parameters["W_rec"]) for seed in range(200)]
        assert abs(np.mean(traces)) < 4 / np.sqrt(200)
        assert abs(np.var(traces) - 1) < 0.4

    @pytest.mark.parametrize(("h", "o"), [(8, 3), (3, 8)])
    def test_orthogonal_jordan(self, h: int, o: int) -> None:
        W = RNN(2, h, o, "jordan", dtype=np.float64, seed=0).parameters["W_rec"]
        np.testing.assert_allclose(W @ W.T if o < h else W.T @ W, np.eye(3), atol=1e-12)

    def test_uniform(self) -> None:
        p = RNN(30, 100, 20, "lstm", initial="uniform", seed=0).parameters
        for key, value in p.items():
            low, high = (0, 0) if key in ("h0", "c0") else (0.08, 0.1)
            assert low <= np.abs(value).max() <= high, key
        assert (
            RNN(3, 5, cell="lstm", initial="uniform", forget_bias=2, seed=0).parameters["b"][5:10] == 2
        ).all()

    def test_identity(self) -> None:
        p = RNN(100, 50, activation="relu", initial="identity", num_layers=2, seed=0).parameters
        assert np.array_equal(p["W_rec"], np.eye(50)) and np.array_equal(p["W_rec_l1"], np.eye(50))
        assert 0.9e-3 < p["W_in"].std() < 1.1e-3 and not p["b"].any()

    @pytest.mark.parametrize(("h", "read"), [(60, 15), (4, 4)])
    def test_sparse(self, h: int, read: int) -> None:
        shape = {"num_layers": 2, "bidirectional": True}
        p = RNN(200, h, 100, initial="sparse", dtype=np.float64, seed=0, **shape).parameters
        for W in (*p["W_rec"], *p["W_rec_l1"]):
            assert (np.count_nonzero(W, axis=0) == read).all()
            assert abs(np.abs(np.linalg.eigvals(W)).max() - 1.1) < 1e-9
        assert 0.095 < p["W_in"].std() < 0.105 and 0.09 < p["W_out"].std() < 0.11 and not p["b"].any()

    def test_forget_bias(self) -> None:
        b = RNN(3, 5, 2, "lstm", num_layers=2, forget_bias=-0.5, seed=0).parameters["b_l1"]
        assert np.array_equal(b, np.repeat([0, -0.5, 0, 0], 5).astype(np.float32))

    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("initial", ["orthogonal", "uniform"])
    def test_models_are_single_networks(self, cell: str, initial: str) -> None:
        several = RNN(4, 5, 3, cell, models=3, seed=7, initial=initial).parameters
        seeds = np.array([9, 2**64 - 1, 7], np.uint64)
        chosen = RNN(4, 5, 3, cell, models=3, seed=seeds, initial=initial).parameters
        for j, (seed, given) in enumerate([(7, 9), (8, 2**64 - 1), (9, 7)]):
            for key, value in RNN(4, 5, 3, cell, seed=seed, initial=initial).parameters.items():
                assert np.array_equal(several[key][j], value)
            for key, value in RNN(4, 5, 3, cell, seed=given, initial=initial).parameters.items():
                assert np.array_equal(chosen[key][j], value)


@pytest.mark.parametrize(("cell", "layers", "o"), KINDS)
class TestComputation:
    def test_shapes(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        for models in (None, 2):
            rnn = RNN(4, 5, o, cell, num_layers=layers, models=models, backend=backend, seed=0)
            trace = rnn.forward(random(0, 3, 6, 4))
            s, lead = {"jordan": 3}.get(cell, 5 * (1 + ("lstm" in cell))), () if models is None else (2,)
            assert trace.outputs.shape == (*lead, 3, 6, o or 5)
            assert trace.hidden.shape == (*lead, 3, 6, 5)
            assert trace.state.shape == (*lead, layers, 3, s)
            grads = rnn.backward(trace, trace.outputs, flow=True)
            assert {key: value.shape for key, value in grads.items()} == {
                **{key: value.shape for key, value in rnn.parameters.items()},
                "x": (*lead, 3, 6, 4),
                "state": (*lead, layers, 3, s),
                "flow": (*lead, layers, 3, 6),
            }
            assert grads.pop("flow").dtype == np.float64
            arrays = (trace.outputs, trace.hidden, trace.state, *grads.values())
            assert all(array.dtype == np.float32 for array in arrays)

    def test_gradients(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        rnn = network(cell, backend, layers, o, activation="tanh" if cell != "jordan" else "logistic")
        x, lengths = random(0, 3, 6, 4), [6, 0, 3]
        trace = rnn.forward(x, lengths=lengths)
        given = [random(seed, *a.shape) for seed, a in enumerate((trace.outputs, trace.hidden, trace.state))]
        grads = rnn.backward(trace, *given)

        def energy(x: np.ndarray, state: np.ndarray | None) -> float:
            trace = rnn.forward(x, state, lengths)
            d_outputs, d_hidden, d_state = given
            return (
                np.sum(d_outputs * trace.outputs)
                + np.sum(d_hidden * trace.hidden)
                + np.sum(d_state * trace.state)
            )

        start = trace.state_at(0)
        for seed, (key, gradient) in enumerate(grads.items()):
            step = 1e-5 * random(seed, *gradient.shape)
            difference = []
            for sign in (1, -1):
                if key in ("x", "state"):
                    parts = {"x": x, "state": start} | {key: {"x": x, "state": start}[key] + sign * step}
                    difference.append(energy(**parts))
                else:
                    kept = rnn.parameters[key]
                    rnn.parameters[key] = to_host(rnn.parameters)[key] + sign * step
                    difference.append(energy(x, None))
                    rnn.parameters[key] = kept
            expected = (difference[0] - difference[1]) / 2
            assert np.sum(gradient * step) == pytest.approx(expected, rel=1e-6, abs=1e-12), key
        fixed = rnn.backward(rnn.forward(x, start, lengths), *given)
        for key, gradient in grads.items():
            close(fixed[key], np.zeros_like(gradient) if key[:2] in ("h0", "c0") else gradient)

    def test_loss_gradients(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        rnn = network(cell, backend, layers, o)
        x, lengths, mask = random(0, 3, 6, 4), [6, 0, 3], random(1, 3, 6) > -1
        for loss, targets in (
            ("cross_entropy", np.arange(18).reshape(3, 6) % 3),
            ("mse", random(2, 3, 6, o or 5)),
        ):
            options = {"loss": loss, "lengths": lengths, "mask": mask}
            value, grads, state = rnn.loss_and_gradients(x, targets, **options)
            trace = rnn.forward(x, lengths=lengths)
            close(state, trace.state)
            counted = mask & (np.arange(6) < np.array(lengths)[:, None])
            y, t = trace.outputs[counted], targets[counted]
            if loss == "mse":
                d, expected = y - t, ((y - t) ** 2).sum(axis=1) / 2
            else:
                p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
                d, expected = p - np.eye(o or 5)[t], -np.log(p[np.arange(len(t)), t])
            assert isinstance(value, float) and value == pytest.approx(expected.mean(), rel=1e-12)
            d_outputs = np.zeros_like(trace.outputs)
            d_outputs[counted] = d / len(d)
            for key, gradient in rnn.backward(trace, d_outputs).items():
                close(grads[key], gradient)
            only, last = rnn.loss(x, targets, **options)
            assert only == value and np.array_equal(last, state)
            total, summed, _ = rnn.loss_and_gradients(x, targets, **options, reduction="sum", want_x=False)
            assert total == pytest.approx(expected.sum(), rel=1e-12)
            close(summed["W_rec"], grads["W_rec"] * len(d))
            assert "x" not in summed

    def test_state_carries_on(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        for models in (None, 2):
            rnn = network(cell, backend, layers, o, models=models)
            x = random(0, 3, 7, 4)
            whole = rnn.forward(x)
            first = rnn.forward(x[:, :3])
            second = rnn.forward(x[:, 3:], first.state)
            close(np.concatenate([first.outputs, second.outputs], axis=-2), whole.outputs)
            close(second.state, whole.state)
            assert np.array_equal(whole.state_at(7), whole.state)
            close(whole.state_at(3), first.state)
            close(second.state_at(0), first.state)
            d = random(1, *whole.outputs.shape)
            expected = rnn.backward(whole, d)
            later = rnn.backward(second, d[..., 3:, :])
            sooner = rnn.backward(first, d[..., :3, :], d_state=later["state"])
            for key in rnn.parameters:
                close(sooner[key] + later[key], expected[key])
            close(sooner["state"], expected["state"])

    def test_lengths(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        rnn = network(cell, backend, layers, o)
        x, lengths = random(0, 4, 6, 4), np.array([6, 0, 4, 1], dtype=np.uint8)
        trace = rnn.forward(x, lengths=lengths)
        d = random(1, *trace.outputs.shape)
        last = random(2, *trace.state.shape)
        grads = rnn.backward(trace, d, d_state=last, flow=True)
        totals = {key: np.zeros_like(value) for key, value in to_host(rnn.parameters).items()}
        for row, length in enumerate(lengths):
            assert not trace.outputs[row, length:].any() and not trace.hidden[row, length:].any()
            assert not grads["x"][row, length:].any() and not grads["flow"][:, row, length:].any()
            for t in range(7):
                end = min(t, length)
                one = rnn.forward(x[row : row + 1, :end]).state if end else trace.state_at(0)[:, :1]
                close(trace.state_at(t)[:, row], one[:, 0])
            if length == 0:
                close(grads["state"][:, row], last[:, row])
                for position, key in enumerate(("h0", "c0") if "lstm" in cell else ("h0",)):
                    for layer in range(layers):
                        width = totals[key].size
                        totals[key + "_l1" * layer] += last[layer, row, position * width :][:width]
                continue
            alone = rnn.forward(x[row : row + 1, :length])
            close(trace.outputs[row, :length], alone.outputs[0])
            close(trace.state[:, row], alone.state[:, 0])
            ones = rnn.backward(alone, d[row : row + 1, :length], d_state=last[:, row : row + 1], flow=True)
            close(grads["x"][row, :length], ones["x"][0])
            close(grads["flow"][:, row, :length], ones["flow"][:, 0])
            close(grads["state"][:, row], ones["state"][:, 0])
            for key in totals:
                totals[key] += ones[key]
        for key, total in totals.items():
            close(grads[key], total)

    def test_models_equal_single_networks(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        several = network(cell, backend, layers, o, models=3)
        lengths = [6, 2]
        for shared in (True, False):
            x = random(0, 2, 6, 4) if shared else random(0, 3, 2, 6, 4)
            targets = random(1, 2, 6, o or 5) if shared else random(1, 3, 2, 6, o or 5)
            trace = several.forward(x, lengths=lengths)
            state = random(2, *trace.state.shape)
            d, last = random(3, *trace.outputs.shape), random(4, *state.shape)
            grads = several.backward(trace, d, d_state=last, flow=True)
            value, found, after = several.loss_and_gradients(x, targets, "mse", lengths=lengths, state=state)
            assert (value.shape, value.dtype) == ((3,), np.float64)
            for j in range(3):
                single = several.copy(model=j)
                own_x, own_targets = (x, targets) if shared else (x[j], targets[j])
                alone = single.forward(own_x, lengths=lengths)
                close(trace.outputs[j], alone.outputs)
                close(trace.state[j], alone.state)
                for key, gradient in single.backward(alone, d[j], d_state=last[j], flow=True).items():
                    close(grads[key][j], gradient)
                own = single.loss_and_gradients(own_x, own_targets, "mse", lengths=lengths, state=state[j])
                assert value[j] == pytest.approx(own[0], rel=1e-9)
                close(after[j], own[2])
                for key, gradient in own[1].items():
                    close(found[key][j], gradient)

    def test_tokens_are_one_hot_inputs(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        rnn = network(cell, backend, layers, o)
        tokens = np.random.default_rng(0).integers(0, 4, (3, 6))
        trace, same = rnn.forward(tokens), rnn.forward(np.eye(4)[tokens])
        close(trace.outputs, same.outputs)
        d = random(1, *trace.outputs.shape)
        grads, expected = rnn.backward(trace, d), rnn.backward(same, d)
        assert expected.keys() - grads.keys() == {"x"}
        for key, gradient in grads.items():
            close(gradient, expected[key])
        targets = tokens % (o or 5)
        assert rnn.loss(tokens, targets)[0] == pytest.approx(
            rnn.loss(np.eye(4)[tokens], targets)[0], rel=1e-12
        )
        assert "x" not in rnn.loss_and_gradients(tokens, targets)[1]

    def test_trace_is_left_alone(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        rnn = network(cell, backend, layers, o)
        trace = rnn.forward(random(0, 3, 6, 4), lengths=[6, 4, 2])
        given = [
            random(1, *trace.outputs.shape),
            random(2, *trace.hidden.shape),
            random(3, *trace.state.shape),
        ]
        before = pickle.dumps(
            [trace._made.saved, trace.outputs, trace.state, trace._batch[2:], given, rnn.parameters]
        )
        first = rnn.backward(trace, *given)
        second = rnn.backward(trace, *given)
        for key, gradient in first.items():
            assert np.array_equal(gradient, second[key])
        after = pickle.dumps(
            [trace._made.saved, trace.outputs, trace.state, trace._batch[2:], given, rnn.parameters]
        )
        assert before == after
        names = ("d_outputs", "d_hidden", "d_state")
        parts = [rnn.backward(trace, **{name: value}) for name, value in zip(names, given, strict=True)]
        for key, gradient in first.items():
            close(sum(part[key] for part in parts), gradient)

    def test_runs_are_equal_bit_for_bit(self, backend: str, cell: str, layers: int, o: int | None) -> None:
        x, targets = random(0, 3, 6, 4), np.zeros((3, 6), int)
        runs = [
            RNN(4, 5, o, cell, num_layers=layers, backend=backend, seed=0).loss_and_gradients(x, targets)
            for _ in "ab"
        ]
        same(*runs)


class TestInputs:
    @pytest.mark.parametrize(
        "dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4", ">f8", int, bool]
    )
    @pytest.mark.parametrize("own", [np.float32, np.float64])
    def test_dtypes(self, backend: str, dtype: object, own: type) -> None:
        rnn = RNN(4, 5, 3, dtype=own, backend=backend, seed=0)
        x = (random(0, 3, 6, 4) > 0).astype(dtype)
        expected = rnn.forward(np.array(x, own))
        assert np.array_equal(rnn.forward(x).outputs, expected.outputs)
        assert np.array_equal(rnn.forward(x.tolist()).outputs, expected.outputs)
        d = x[..., :3]
        grads = rnn.backward(expected, np.array(d, own))
        assert np.array_equal(rnn.backward(expected, d)["W_in"], grads["W_in"])
        state = np.ones((1, 3, 5), dtype)
        close(rnn.forward(x, state).state, rnn.forward(x, np.ones((1, 3, 5), own)).state)

    def test_numbers_are_copied_only_for_later(self, backend: str) -> None:
        if backend == "gpu":
            pytest.skip("NumPy arrays are sent")
        rnn = RNN(4, 5, backend=backend, seed=0)
        x = np.zeros((3, 6, 4), np.float32)[:]
        x.flags.writeable = False
        for purpose, shared in ((Purpose.OUTPUTS, True), (Purpose.GRADIENTS, True), (Purpose.TRACE, False)):
            assert np.shares_memory(rnn._read(x, None, None, purpose).x, x) == shared

    def test_any_layout(self, backend: str) -> None:
        rnn = network("gru", backend)
        x, state, d = random(0, 3, 6, 4), random(1, 1, 3, 5), random(2, 3, 6, 3)
        targets, mask, lengths = np.arange(18).reshape(3, 6) % 3, random(3, 3, 6) > 0, np.array([6, 5, 4])
        expected = rnn.forward(x, state, lengths)
        grads = rnn.backward(expected, d, d_state=state)
        losses = rnn.loss_and_gradients(x, targets, lengths=lengths, mask=mask, state=state)

        def strange(array: np.ndarray) -> np.ndarray:
            """Read-only, backwards in memory, not aligned."""
            raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
            raw[...] = array[..., ::-1]
            raw.flags.writeable = False
            assert array.dtype == bool or not raw.flags.aligned
            return raw[..., ::-1]

        def constant(array: np.ndarray) -> np.ndarray:
            """Read-only by nature."""
            return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)

        for change in (strange, constant):
            trace = rnn.forward(change(x), change(state), change(lengths))
            assert np.array_equal(trace.outputs, expected.outputs)
            for key, gradient in rnn.backward(trace, change(d), d_state=change(state)).items():
                assert np.array_equal(gradient, grads[key])
            options = {"lengths": change(lengths), "mask": change(mask), "state": change(state)}
            found = rnn.loss_and_gradients(change(x), change(targets), **options)
            same(found, losses)

    def test_three_axes_of_integers(self, backend: str) -> None:
        rnn = network("elman", backend, models=3)
        tokens = np.random.default_rng(0).integers(0, 4, (3, 2, 4))
        message = (
            r"x has shape .3, 2, 4. .*: tokens .k, b, t., or numbers .b, t, 4. that the 3 networks share; "
        )
        for method in (rnn.forward, rnn.predict):
            with pytest.raises(ValueError, match=message + "say tokens=True or tokens=False"):
                method(tokens)
        targets = np.zeros((3, 2), int)
        with pytest.raises(ValueError, match="say tokens=True"):
            rnn.loss_and_gradients(tokens, targets)
        assert rnn.forward(tokens, tokens=True).outputs.shape == (3, 2, 4, 3)  # (k, b, t)
        for numbers in (tokens, tokens.astype(float)):  # (b, t, i)
            assert rnn.forward(numbers, tokens=False).outputs.shape == (3, 3, 2, 3)
        assert rnn.forward(tokens.astype(float)).outputs.shape == (3, 3, 2, 3)
        assert rnn.forward(tokens[:2]).outputs.shape == (3, 2, 2, 3)  # numbers: 2 is not k
        assert rnn.forward(tokens[..., :3]).outputs.shape == (3, 2, 3, 3)  # tokens: 3 is not i
        with pytest.raises(ValueError, match=r"takes integer tokens .*, with tokens=True"):
            rnn.forward(tokens.astype(float), tokens=True)
        with pytest.raises(ValueError, match=r"takes numbers .*, with tokens=False"):
            rnn.forward(tokens[0], tokens=False)
        with pytest.raises(ValueError, match="tokens is 'yes'"):
            rnn.forward(tokens, tokens="yes")

    def test_every_function_takes_what_is_said(self) -> None:
        rnn = network("elman", "cpu", models=3, output_size=4)
        x = np.random.default_rng(0).integers(0, 4, (3, 2, 4))
        for said, targets, shape in ((True, x, (2, 4)), (False, np.zeros((3, 2), int), (3, 2))):
            loss, gradients, state = rnn.loss_and_gradients(x, targets, tokens=said)
            assert state.shape[2] == shape[0] and ("x" in gradients) != said
            assert np.array_equal(rnn.loss(x, targets, tokens=said)[0], loss)
            (part,) = fastrec.truncated_bptt(rnn, x, targets, k1=4, tokens=said)
            assert np.allclose(part[0], loss)
            assert fastrec.classify(rnn, x, tokens=said)[0].shape == (3, shape[0])
            assert fastrec.gradient_flow(rnn, x, targets, tokens=said).norms.shape == (3, 1, shape[1])
            options = {"validation": (x, targets), "epochs": 1, "shuffle": False, "progress": False}
            history = fastrec.fit(rnn.copy(), x, targets, tokens=said, seed=0, **options)
            assert np.allclose(history.train[0], loss)

    def test_masks_and_objects(self) -> None:
        rnn, x = network("elman", "cpu"), np.random.default_rng(0).standard_normal((2, 3, 4))
        whole = np.ma.masked_array(x, np.zeros_like(x, bool))
        assert np.array_equal(rnn.predict(whole)[0], rnn.predict(x)[0])
        whole[1, 2] = np.ma.masked
        with pytest.raises(ValueError, match=r"x has 4 masked entries; give them values"):
            rnn.predict(whole)
        with pytest.raises(ValueError, match=r"x has Python objects, .*; give numbers, as x.astype"):
            rnn.predict(x.astype(object))

    def test_parameters_whose_form_is_set(self) -> None:
        """In place, which does not make them other arrays."""
        for models in (None, 2):
            rnn = network("elman", "cpu", models=models)
            rnn.predict(np.zeros((1, 2, 4)))
            array = rnn.parameters["W_rec"]
            shape = array.shape
            view = array.view()
            rnn.parameters["W_rec"] = view
            rnn.predict(np.zeros((1, 2, 4)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of newer versions of NumPy
                view.shape = (array.size,)
                with pytest.raises(ValueError, match=r'parameters\["W_rec"\] is \(\d+,\), '):
                    rnn.predict(np.zeros((1, 2, 4)))
                view.shape = shape
            assert np.isfinite(rnn.predict(np.zeros((1, 2, 4)))[0]).all()

    @pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
    def test_padding_may_hold_anything(self, backend: str, loss: str) -> None:
        rnn = network("lstm", backend, 2)
        lengths, mask = np.array([6, 2, 0]), np.ones((3, 6), bool)
        mask[0, 1] = False
        x, targets = (
            random(0, 3, 6, 4),
            random(1, 3, 6, 3) if loss == "mse" else np.arange(18).reshape(3, 6) % 3,
        )
        d = random(2, 3, 6, 3)
        expected = rnn.loss_and_gradients(x, targets, loss, lengths=lengths, mask=mask)
        trace = rnn.forward(x, lengths=lengths)
        grads = rnn.backward(trace, d)
        padding = np.arange(6) >= lengths[:, None]
        for junk in (np.nan, np.inf, 1e300):
            x[padding], d[padding] = junk, junk
            if loss == "mse":
                targets[padding | ~mask] = junk
            else:
                targets[padding | ~mask] = -(10**9)
            kept = x.copy(), targets.copy()
            found = rnn.loss_and_gradients(x, targets, loss, lengths=lengths, mask=mask)
            same(found, expected)
            for key, gradient in rnn.backward(rnn.forward(x, lengths=lengths), d).items():
                assert np.array_equal(gradient, grads[key])
            assert np.array_equal(x, kept[0], equal_nan=True) and np.array_equal(
                targets, kept[1], equal_nan=True
            )
        tokens = np.where(padding, -5, 2)
        close(
            rnn.forward(tokens, lengths=lengths).state, rnn.forward(np.full((3, 6), 2), lengths=lengths).state
        )
        assert (tokens[padding] == -5).all()

    NAN = np.zeros((2, 3, 4))
    NAN[1, 0, 2] = np.nan

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"x": np.zeros((2, 3, 5))},
                r"x has shape \(2, 3, 5\) and dtype float64; this network takes numbers \(b, t, 4\) "
                r"or integer tokens \(b, t\)$",
            ),
            ({"x": np.zeros((2, 3))}, r"x has shape \(2, 3\) and dtype float64; this network takes"),
            ({"x": np.zeros((1, 2, 3, 4))}, r"x has shape \(1, 2, 3, 4\)"),
            ({"x": np.zeros(4)}, r"x has shape \(4,\)"),
            ({"x": 1}, r"x has shape \(\)"),
            ({"x": np.zeros((2, 3), bool)}, "x has .* dtype bool"),
            ({"x": np.zeros((2, 3, 4), complex)}, "x has .* dtype complex128"),
            ({"x": "text"}, "x has .* dtype <U4"),
            ({"x": [[1, 2], [3]]}, "x is not an array: .*inhomogeneous"),
            ({"x": None}, "x has .* dtype object"),
            (
                {"x": np.zeros((0, 3, 4))},
                r"x is empty, shape \(0, 3, 4\); give at least one row",
            ),
            ({"x": NAN}, r"x holds nan at \[1, 0, 2\]; it must be finite$"),
            ({"x": NAN, "lengths": [0, 1]}, r"x holds nan at \[1, 0, 2\]"),
            ({"x": np.full((2, 3, 4), -np.inf)}, r"x holds -inf at \[0, 0, 0\]; it must be finite$"),
            (
                {"x": np.full((2, 3, 4), 1e300)},
                r"x holds 1e\+300 at \[0, 0, 0\]; it must be finite in float32$",
            ),
            ({"x": [[0, 1, 4]]}, r"x holds 4 at \[0, 2\]; it must be from 0 to 3"),
            ({"x": [[0, -1, 4]]}, r"x holds -1 at \[0, 1\]"),
            ({"x": np.array([[2**63]], np.uint64)}, r"x holds 9223372036854775808 at \[0, 0\]"),
            ({"x": [[0, 1, 4]], "lengths": [3]}, r"x holds 4 at \[0, 2\]"),
            (
                {"lengths": [1, 2, 3]},
                r"lengths has shape \(3,\) and dtype int64; it must be 2 integers, one a row",
            ),
            ({"lengths": 3}, r"lengths has shape \(\)"),
            ({"lengths": [1.0, 2.0]}, "lengths has .* dtype float64"),
            ({"lengths": [True, False]}, "lengths has .* dtype bool"),
            ({"lengths": [1, 4]}, r"lengths\[1\] is 4; it must be from 0 to t = 3"),
            ({"lengths": [-1, 3]}, r"lengths\[0\] is -1"),
            ({"lengths": np.array([0, 2**64 - 1], np.uint64)}, r"lengths\[1\] is 18446744073709551615"),
            (
                {"state": np.zeros((2, 5))},
                r"state has shape \(2, 5\) and dtype float64; it must be numbers \(1, 2, 5\)",
            ),
            ({"state": np.zeros((1, 3, 5))}, r"state has shape \(1, 3, 5\)"),
            ({"state": np.full((1, 2, 5), np.nan)}, r"state holds nan at \[0, 0, 0\]"),
            ({"state": [["a"]]}, "state has .* dtype <U1"),
        ],
    )
    def test_errors(self, backend: str, arguments: dict[str, object], message: str) -> None:
        rnn = RNN(4, 5, 3, backend=backend, seed=0)
        before = frozen(rnn)
        given = {"x": np.zeros((2, 3, 4))} | arguments
        for call in (
            lambda: rnn.forward(**given),
            lambda: rnn.loss(targets=None, **given),
            lambda: rnn.loss_and_gradients(targets=None, **given),
        ):
            with pytest.raises(ValueError, match=message):
                call()
        assert frozen(rnn) == before

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (
                np.zeros((2, 3, 5)),
                r"takes numbers \(b, t, 4\) or integer tokens \(b, t\), either also led by k = 3$",
            ),
            (np.zeros((2, 2, 3, 4)), r"x has shape \(2, 2, 3, 4\)"),
            (np.full((3, 2, 2), 4), r"x holds 4 at \[0, 0, 0\]; it must be from 0 to 3"),
            (np.zeros((3, 2, 3, 4, 1)), r"x has shape \(3, 2, 3, 4, 1\)"),
        ],
    )
    def test_errors_of_several(self, backend: str, x: np.ndarray, message: str) -> None:
        rnn = RNN(4, 5, 3, models=3, backend=backend, seed=0)
        with pytest.raises(ValueError, match=message):
            rnn.forward(x)
        with pytest.raises(ValueError, match=r"state has .*; it must be numbers \(3, 1, 2, 5\)"):
            rnn.forward(np.zeros((2, 3, 4)), np.zeros((1, 2, 5)))
        with pytest.raises(ValueError, match=r'loss="mse" takes numbers \(2, 3, 3\), also led by k = 3'):
            rnn.loss(np.zeros((2, 3, 4)), np.zeros((2, 2, 3, 3)), "mse")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"loss": "l1"},
                'loss is \'l1\'; it must be "cross_entropy", "mse", "mean_squared_error", "bce" or "ctc"',
            ),
            ({"reduction": "none"}, 'reduction is \'none\'; it must be "mean" or "sum"'),
            (
                {"targets": np.zeros((2, 3))},
                r'targets has shape \(2, 3\) and dtype float64; loss="cross_entropy" takes integers \(2, 3\)',
            ),
            ({"targets": np.zeros((3, 2), int)}, r"targets has shape \(3, 2\)"),
            ({"targets": np.zeros((2, 3, 3), int)}, r"targets has shape \(2, 3, 3\)"),
            ({"targets": np.full((2, 3), 3)}, r"targets holds 3 at \[0, 0\]; it must be from 0 to 2"),
            ({"targets": [[0, 0, 0], [0, -1, 0]]}, r"targets holds -1 at \[1, 1\]"),
            ({"targets": [[0, 0, 0], [0, -1, 0]], "lengths": [1, 2]}, r"targets holds -1 at \[1, 1\]"),
            ({"loss": "mse"}, r'targets has .*; loss="mse" takes numbers \(2, 3, 3\)$'),
            (
                {"loss": "mse", "targets": np.full((2, 3, 3), np.nan)},
                r"targets holds nan at \[0, 0, 0\]; it must be",
            ),
            ({"loss": "mse", "targets": [["a"]]}, "targets has .* dtype <U1"),
            ({"targets": [[1], []]}, "targets is not an array"),
            (
                {"mask": np.ones((2, 3))},
                r"mask has shape \(2, 3\) and dtype float64; it must be bool \(2, 3\), True where",
            ),
            ({"mask": np.ones((3, 2), bool)}, r"mask has shape \(3, 2\)"),
            ({"mask": np.zeros((2, 3), bool)}, "mask and lengths leave no step to take the loss of"),
            ({"lengths": [0, 0]}, "mask and lengths leave no step"),
            ({"lengths": [0, 1], "mask": [[True] * 3, [False] * 3]}, "mask and lengths leave no step"),
        ],
    )
    def test_loss_errors(self, backend: str, arguments: dict[str, object], message: str) -> None:
        rnn = RNN(4, 5, 3, backend=backend, seed=0)
        before = frozen(rnn)
        given = {"x": np.zeros((2, 3, 4)), "targets": np.zeros((2, 3), int)} | arguments
        for call in (rnn.loss, rnn.loss_and_gradients):
            with pytest.raises(ValueError, match=message):
                call(**given)
        assert frozen(rnn) == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "d_outputs, d_hidden and d_state are all missing; give at least one"),
            (
                {"d_outputs": np.zeros((2, 3, 5))},
                r"d_outputs has shape \(2, 3, 5\) and dtype float64; it must be numbers \(2, 3, 3\)",
            ),
            ({"d_hidden": np.zeros((2, 3, 3))}, r"d_hidden has shape \(2, 3, 3\)"),
            ({"d_state": np.zeros((2, 5))}, r"d_state has shape \(2, 5\) .* \(1, 2, 5\)"),
            ({"d_outputs": np.full((2, 3, 3), np.inf)}, r"d_outputs holds inf at \[0, 0, 0\]"),
            ({"d_hidden": np.zeros((2, 3, 5), complex)}, "d_hidden has .* dtype complex128"),
        ],
    )
    def test_backward_errors(self, backend: str, arguments: dict[str, object], message: str) -> None:
        rnn = RNN(4, 5, 3, backend=backend, seed=0)
        trace = rnn.forward(np.zeros((2, 3, 4)))
        with pytest.raises(ValueError, match=message):
            rnn.backward(trace, **arguments)

    def test_trace_of_another_network(self, backend: str) -> None:
        rnn = RNN(4, 5, 3, backend=backend, seed=0)
        trace = rnn.forward(np.zeros((2, 3, 4)))
        for other in (rnn.copy(), RNN(4, 5, 3, backend=backend, seed=0)):
            with pytest.raises(
                ValueError, match="trace is not one of this network; give what its forward returned"
            ):
                other.backward(trace, trace.outputs)
        with pytest.raises(ValueError, match="trace is not"):
            rnn.backward(trace.outputs, trace.outputs)

    @pytest.mark.parametrize("t", [-1, 4, 1.0, True, None])
    def test_state_at_errors(self, backend: str, t: object) -> None:
        trace = RNN(4, 5, backend=backend, seed=0).forward(np.zeros((2, 3, 4)))
        assert isinstance(trace, Trace)
        with pytest.raises(ValueError, match=r"t is .*; it must be an integer from 0 to 3"):
            trace.state_at(t)

    @pytest.mark.parametrize(
        "value",
        [
            np.zeros((4, 6), np.float32),
            np.zeros((4, 5)),
            np.zeros((5, 4), np.float32).T,
            np.broadcast_to(np.float32(0), (4, 5)),
            np.zeros((4, 5), ">f4"),
            [[0.0] * 5] * 4,
            None,
        ],
    )
    def test_replaced_parameters(self, backend: str, value: object) -> None:
        rnn = RNN(4, 5, 3, backend=backend, seed=0)
        x = np.zeros((2, 3, 4))
        trace = rnn.forward(x)
        rnn.parameters["W_in"] = value
        message = r'parameters\["W_in"\] is .*; it must be \(4, 5\), float32, C-contiguous, writable'
        for call in (
            lambda: rnn.forward(x),
            lambda: rnn.backward(trace, trace.outputs),
            lambda: rnn.loss(x, np.zeros((2, 3), int)),
            lambda: rnn.copy(),
            lambda: rnn.save("never.npz"),
            lambda: rnn.to_torch(),
        ):
            with pytest.raises(ValueError, match=message):
                call()
        rnn.parameters["W_in"] = np.ones((4, 5), np.float32)
        rnn.forward(x)
        del rnn.parameters["W_in"]
        rnn.parameters["W_ni"] = np.ones((4, 5), np.float32)
        with pytest.raises(ValueError, match=r"parameters must have the keys W_in, .*; check W_in, W_ni"):
            rnn.forward(x)
        rnn.parameters = None  # type: ignore[assignment]
        with pytest.raises(ValueError, match=r"^parameters is None; it must be a dict"):
            rnn.forward(x)


class TestFiles:
    @pytest.mark.parametrize(("cell", "layers", "o"), KINDS)
    @pytest.mark.parametrize("models", [None, 2])
    def test_round_trip(
        self, tmp_path: Path, backend: str, cell: str, layers: int, o: int | None, models: int | None
    ) -> None:
        rnn = network(cell, backend, layers, o, models=models, dtype=np.float32)
        rnn.save(tmp_path / "a.npz")
        other = RNN.load(tmp_path / "a.npz", backend=backend)
        assert repr(other) == repr(rnn)
        assert other.parameters.keys() == rnn.parameters.keys()
        x, found = random(0, 2, 3, 4), to_host(other.parameters)
        assert np.array_equal(other.forward(x).outputs, rnn.forward(x).outputs)
        with np.load(tmp_path / "a.npz", allow_pickle=False) as file:  # NumPy alone reads it
            for key, value in to_host(rnn.parameters).items():
                assert np.array_equal(file[key], value)
                assert np.array_equal(found[key], value)
                assert found[key].dtype == value.dtype
        assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]

    def test_copy(self, backend: str) -> None:
        rnn = network("lstm", backend)
        copy = rnn.copy()
        assert repr(copy) == repr(rnn)
        for key, value in to_host(copy.parameters).items():
            assert np.array_equal(value, to_host(rnn.parameters)[key])
            copy.parameters[key][...] = 0
            assert not np.array_equal(to_host(rnn.parameters)[key], 0 * value)
        again = pickle.loads(pickle.dumps(rnn))
        x = random(0, 2, 3, 4)
        assert np.array_equal(again.forward(x).outputs, rnn.forward(x).outputs)
        with pytest.raises(ValueError, match="model is 0; this is a single network, leave it out"):
            rnn.copy(model=0)
        with pytest.raises(ValueError, match="model is 2; it must be an integer from 0 to 1"):
            RNN(4, 5, models=2, seed=0).copy(model=2)

    def test_truncated(self, tmp_path: Path) -> None:
        RNN(2, 3, seed=0).save(tmp_path / "a.npz")
        content = (tmp_path / "a.npz").read_bytes()
        path = tmp_path / "b.npz"
        for end in [*range(0, len(content), 7), len(content) - 1]:
            path.write_bytes(content[:end])
            with pytest.raises(ValueError, match=re.escape(str(path))):
                RNN.load(path)

    def test_damaged(self, tmp_path: Path) -> None:
        RNN(2, 3, seed=0).save(tmp_path / "a.npz")
        content = (tmp_path / "a.npz").read_bytes()
        expected = RNN(2, 3, seed=0).parameters
        path = tmp_path / "b.npz"
        for at in range(0, len(content), 3):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
            with contextlib.suppress(ValueError):  # unless the byte is one that nobody reads, such as a date
                parameters = RNN.load(path).parameters
                assert all(np.array_equal(parameters[key], expected[key]) for key in expected)

    def rewrite(self, path: Path, changes: dict[str, object]) -> Path:
        """A network file with arrays or settings changed or, for None, left out."""
        RNN(2, 3, seed=0).save(path)
        with np.load(path) as file:
            arrays = dict(file)
        settings = json.loads(str(arrays["fastrec_rnn"]))
        for key, value in changes.items():
            target = arrays if key in arrays or isinstance(value, np.ndarray) else settings
            target[key] = value
            if value is None:
                del target[key]
        if "fastrec_rnn" in arrays and "fastrec_rnn" not in changes:
            arrays["fastrec_rnn"] = np.array(json.dumps(settings))
        np.savez(path, **arrays)
        return path

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"fastrec_rnn": None}, "not a fastrec network file"),
            ({"fastrec_rnn": np.array("text")}, "Expecting value"),
            ({"fastrec_rnn": np.array("[1, 2]")}, "not a fastrec network, or truncated or damaged"),
            ({"fastrec_rnn": np.array("x" * 20000)}, "damaged, fastrec_rnn has 80128 bytes"),
            ({"format": 2}, "format 2, but this fastrec reads format 1"),
            ({"cell": None}, "damaged, its sizes are input_size, hidden_size, output_size, activation"),
            ({"cell": "gru"}, "damaged, its arrays should be fastrec_rnn, W_in, W_rec, b, b_n, h0"),
            ({"cell": "rnn"}, "cell is 'rnn'"),
            ({"hidden_size": 4}, r"damaged, W_rec is \(3, 3\), float32, not \(4, 4\), float32|damaged, W_in"),
            ({"hidden_size": 2**31 - 1}, "the network needs .* of memory|damaged, W_in has"),
            ({"dtype": "float64"}, r"damaged, W_in is \(2, 3\), float32, not \(2, 3\), float64"),
            ({"dtype": [["a", "f4"]]}, "dtype is"),
            ({"more": np.zeros(3)}, "damaged, its arrays should be"),
            ({"W_in": None}, "damaged, its arrays should be"),
            (
                {"W_in": np.zeros((3, 2), np.float32)},
                r"damaged, W_in is \(3, 2\), float32, not \(2, 3\), float32",
            ),
            ({"W_in": np.zeros(10**6, np.float32)}, "damaged, W_in has 4000128 bytes"),
            ({"W_in": np.zeros((2, 3), np.int32)}, "damaged, W_in is .* int32"),
            ({"W_in": np.full((2, 3), None)}, "Object arrays cannot be loaded"),
        ],
    )
    def test_foreign_archives(self, tmp_path: Path, changes: dict[str, object], message: str) -> None:
        path = self.rewrite(tmp_path / "a.npz", changes)
        with pytest.raises(ValueError, match=f"{re.escape(str(path))}: (.*{message})"):
            RNN.load(path)

    def test_other_layouts_are_read(self, tmp_path: Path) -> None:
        W = RNN(2, 3, seed=0).parameters["W_in"]
        path = self.rewrite(tmp_path / "a.npz", {"W_in": np.asfortranarray(W).astype(">f4", order="K")})
        rnn = RNN.load(path, backend="reference")
        assert np.array_equal(rnn.parameters["W_in"], W)
        rnn.forward(np.zeros((1, 1, 2)))

    def test_longer_member(self, tmp_path: Path) -> None:
        RNN(2, 3, seed=0).save(tmp_path / "a.npz")
        with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) + b"\0" * (name == "b.npy"))
        with pytest.raises(ValueError, match="damaged, b is longer than it says"):
            RNN.load(tmp_path / "b.npz")

    def test_pickles_are_not_loaded(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        path.write_bytes(pickle.dumps(RNN(2, 3, seed=0)))
        with pytest.raises(ValueError, match="not a fastrec network, or truncated or damaged"):
            RNN.load(path)

    def test_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rnn = RNN(2, 3, seed=0)
        with pytest.raises(ValueError, match=r"the suffix must be \.npz, got '\.pt'"):
            rnn.save(tmp_path / "a.pt")
        with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
            rnn.save(tmp_path / "none" / "a.npz")
        with pytest.raises(FileNotFoundError):
            RNN.load(tmp_path / "a.npz")
        rnn.save(str(tmp_path / "A.NPZ"))
        before = (tmp_path / "A.NPZ").read_bytes()

        def fail(*_: object, **__: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="disk full"):
            rnn.save(tmp_path / "A.NPZ")
        assert [path.name for path in tmp_path.iterdir()] == ["A.NPZ"]
        assert (tmp_path / "A.NPZ").read_bytes() == before


@pytest.mark.parametrize("lengths", [None, [0, 3, 5]])
@pytest.mark.parametrize(
    ("cell", "layers"), [*((cell, 1) for cell in CELLS), *((cell, 2) for cell in CELLS if cell != "jordan")]
)
def test_predict_is_forward(backend: str, cell: str, layers: int, lengths: list[int] | None) -> None:
    rnn = fastrec.RNN(4, 5, 3, cell=cell, num_layers=layers, backend=backend, seed=0)
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    trace = rnn.forward(x, lengths=lengths)
    outputs, state = rnn.predict(x, lengths=lengths)
    assert np.array_equal(outputs, trace.outputs)
    assert np.array_equal(state, trace.state)


@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("cell", CELLS)
def test_changed_parameters_reach_the_next_call(backend: str, cell: str, steps: int, tmp_path: Path) -> None:
    """Written in place, replaced, changed by an optimizer, loaded: nothing made of the old ones is used."""
    rnn = RNN(3, 17, 3, cell, backend=backend, seed=1)
    for key, array in to_host(rnn.parameters).items():
        rnn.parameters[key] = array + 0.1 * random(2, *array.shape).astype(np.float32)
    x = random(0, 1, steps, 3).astype(np.float32)
    targets = np.zeros((1, steps), np.int32)

    def is_up_to_date(network: RNN) -> bool:
        fresh = network.copy()
        trace, expected = network.forward(x), fresh.forward(x)
        same(network.loss_and_gradients(x, targets), fresh.loss_and_gradients(x, targets))
        return np.array_equal(trace.outputs, expected.outputs) and np.array_equal(
            network.predict(x)[0], expected.outputs
        )

    outputs = [rnn.forward(x).outputs]
    for key in [key for key in rnn.parameters if key not in ("h0", "c0")]:
        rnn.parameters[key][(0,) * rnn.parameters[key].ndim] += 0.25
        assert is_up_to_date(rnn), key
        rnn.parameters[key] = rnn.parameters[key] * np.float32(1.5)
        assert is_up_to_date(rnn), key
        outputs.append(rnn.forward(x).outputs)
    for optimizer in (fastrec.SGD(0.1), fastrec.Adam(0.1)):
        with fastrec.use_backend(backend):
            optimizer.step(rnn.parameters, rnn.loss_and_gradients(x, targets, want_x=False)[1])
        assert is_up_to_date(rnn)
        outputs.append(rnn.forward(x).outputs)
    rnn.save(tmp_path / "rnn.npz")
    loaded = RNN.load(tmp_path / "rnn.npz", backend=backend)
    assert np.array_equal(loaded.forward(x).outputs, outputs[-1])
    loaded.parameters["b"][...] = 0
    assert is_up_to_date(loaded)
    outputs.append(loaded.forward(x).outputs)
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(outputs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("h", [1, 7, 8, 15, 33, 64, 100])
@pytest.mark.parametrize("cell", CELLS)
def test_single_steps_have_the_bits_of_the_whole(cell: str, h: int, dtype: type) -> None:
    """On the CPU products of few steps read the weights in place, those of many read packed ones."""
    rnn = RNN(9, h, 5, cell, dtype=dtype, backend="cpu", seed=h)
    for array in rnn.parameters.values():
        array += 0.1 * random(h, *array.shape).astype(dtype)
    x, tokens = random(0, 2, 30, 9).astype(dtype), np.arange(60).reshape(2, 30) % 9
    for inputs in (x, tokens):
        whole = rnn.forward(inputs)
        for rows, width in ((slice(0, 2), 1), (slice(1, 2), 1), (slice(0, 2), 3)):
            state = None
            for t in range(0, 30, width):
                outputs, state = rnn.predict(inputs[rows, t : t + width], state)
                assert np.array_equal(outputs, whole.outputs[rows, t : t + width])
                assert np.array_equal(state, whole.state_at(t + width)[:, rows])


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda rnn: pickle.loads(pickle.dumps(rnn)), RNN.copy])
def test_copies_use_their_own_parameters(backend: str, twin: Callable[[RNN], RNN]) -> None:
    rnn, x = RNN(4, 5, 3, backend=backend, seed=0), random(0, 2, 3, 4)
    outputs, _ = rnn.predict(x)
    other = twin(rnn)
    assert np.array_equal(other.predict(x)[0], outputs)
    for array in other.parameters.values():
        array[...] = 0
    assert not other.predict(x)[0].any()
    assert np.array_equal(rnn.predict(x)[0], outputs)


@pytest.mark.parametrize("models", [None, 1])
def test_trace_keeps_its_own_state(backend: str, models: int | None) -> None:
    rnn = RNN(4, 5, models=models, backend=backend, seed=0)
    state = np.ones((1, 2, 5) if models is None else (1, 1, 2, 5), np.float32)
    trace = rnn.forward(random(0, 2, 3, 4), state)
    before = rnn.backward(trace, d_hidden=np.ones_like(trace.hidden))
    state[...] = trace.state
    after = rnn.backward(trace, d_hidden=np.ones_like(trace.hidden))
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert (trace.state_at(0) == 1).all()


@pytest.mark.parametrize("output_size", [3, None])
@pytest.mark.parametrize("cell", CELLS)
def test_backward_leaves_its_arguments(backend: str, cell: str, output_size: int | None) -> None:
    rnn = RNN(4, 5, 3 if cell == "jordan" else output_size, cell, dtype=np.float64, backend=backend, seed=0)
    trace = rnn.forward(move(random(0, 2, 3, 4), backend))
    shapes = {"d_outputs": trace.outputs.shape, "d_hidden": trace.hidden.shape, "d_state": trace.state.shape}
    given = {key: move(random(seed, *shape), backend) for seed, (key, shape) in enumerate(shapes.items())}
    for keys in (["d_outputs"], ["d_hidden"], ["d_outputs", "d_hidden"], ["d_hidden", "d_state"]):
        before = {key: given[key].copy() for key in keys}
        rnn.backward(trace, **{key: given[key] for key in keys})
        assert all((given[key] == before[key]).all() for key in keys)


def test_predict_asks_for_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "available_memory", lambda backend: 200 * 10**6)
    rnn, x = RNN(2, 64, cell="lstm", seed=0), np.zeros((100, 5000, 2), np.float32)
    with pytest.raises(ValueError, match="memory"):
        rnn.forward(x)
    rnn.predict(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": 2, "seed": np.array(-5)}, "seed is"),
        ({"initial": np.zeros(3)}, "initial is"),
        ({"cell": np.zeros(3)}, "cell is"),
        ({"activation": ["tanh"]}, "activation is"),
    ],
)
def test_odd_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RNN(2, 3, **options)


def test_foreign_array_that_refuses() -> None:
    class Refuses:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise RuntimeError("no")

    with pytest.raises(ValueError, match="x is not an array: no"):
        RNN(2, 3, seed=0).forward(Refuses())


def test_tokens_changed_after_forward_do_not_matter(backend: str) -> None:
    rnn = fastrec.RNN(5, 3, 5, "gru", backend=backend, seed=0)
    tokens = np.arange(8, dtype=np.int32).reshape(2, 4) % 5
    expected = rnn.backward(rnn.forward(tokens.copy()), d_outputs=np.ones((2, 4, 5), np.float32))
    trace = rnn.forward(tokens)
    tokens[:] = 10**8
    gradients = rnn.backward(trace, d_outputs=np.ones((2, 4, 5), np.float32))
    assert all(np.array_equal(gradients[key], expected[key]) for key in expected)
