"""`RNN.stepper` and `RNN.extend`: the arguments, and that they compute what `RNN.predict` does."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrec import RNN
from fastrec import validation as arguments
from fastrec.backend import move, on_device

NAMES = ("elman", "jordan", "gru", "gru_before", "lstm", "lstm_peepholes", "leaky")
NETWORKS = [
    {},
    {"models": 3, "num_layers": 2},
    {"embedding_size": 3, "dtype": np.float64},
    {"output_size": None, "hidden_size": 5, "num_layers": 2},
]
X = np.random.default_rng(0).standard_normal((4, 9, 5)).astype(np.float32)
LENGTHS = [9, 4, 1, 9]

all_cells = pytest.mark.parametrize("cell", NAMES)
pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own


def network(backend: str | None = None, cell: Any = "gru", **given: Any) -> RNN:
    options: dict[str, Any] = {"input_size": 5, "hidden_size": 12, "output_size": 5, "seed": 2}
    options |= given
    if cell == "jordan":
        options |= {"num_layers": 1, "output_size": 5}
    return RNN(**options, cell=cell, backend=backend)


def close(found: Any, expected: Any) -> None:
    """Equal up to rounding: 1e-5, of float64 1e-13."""
    found, expected = move(found, "cpu"), move(expected, "cpu")
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 if found.dtype == np.float64 else 1e-5)


@all_cells
@pytest.mark.parametrize("given", NETWORKS, ids=str)
@pytest.mark.parametrize("tokens", [False, True])
def test_steps_are_those_of_predict(backend: str, cell: str, given: dict[str, Any], tokens: bool) -> None:
    rnn = network(backend, cell, **given)
    x = np.random.default_rng(1).integers(5, size=(4, 6)) if tokens else X[:, :6]
    outputs, state = rnn.predict(x, tokens=tokens)
    stepper = rnn.stepper(4, tokens=tokens)
    steps = [stepper(x[:, t]) for t in range(6)]
    close(np.stack(steps, axis=-2), outputs)
    close(stepper.state, state)


@all_cells
@pytest.mark.parametrize("given", NETWORKS, ids=str)
def test_a_network_reads_its_outputs(backend: str, cell: str, given: dict[str, Any]) -> None:
    """From the end of every row on: `predict` of the same steps gives the same outputs and state."""
    rnn = network(backend, cell, **given)
    outputs, state = rnn.extend(X, 5, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        made = outputs[..., row : row + 1, :, :]
        start = np.broadcast_to(X[row : row + 1, :length], (*made.shape[:-2], length, 5))
        read = np.concatenate([start.astype(rnn.dtype), made[..., :-1, :]], axis=-2)
        expected, end = rnn.predict(read)
        close(made, expected[..., length - 1 :, :])
        close(state[..., row : row + 1, :], end)


@all_cells
def test_two_calls_go_on_as_one(backend: str, cell: str) -> None:
    rnn = network(backend, cell)
    whole, end = rnn.extend(X, 8)
    begun, state = rnn.extend(X, 3)
    rest, last = rnn.extend(begun[:, -1:], 5, state)
    close(np.concatenate([begun, rest], axis=1), whole)
    close(last, end)


def test_a_stepper_goes_on_where_extend_ended(backend: str) -> None:
    rnn = network(backend, "lstm", num_layers=2)
    whole, _ = rnn.extend(X, 6)
    outputs, state = rnn.extend(X, 2)
    stepper, y = rnn.stepper(4, state), outputs[:, -1]
    for t in range(2, 6):
        y = stepper(y)
        close(y, whole[:, t])


def test_states_are_read_and_set(backend: str) -> None:
    rnn = network(backend, "lstm", num_layers=2)
    for key in ("h0", "c0_l1"):
        rnn.parameters[key][...] = 0.3
    stepper = rnn.stepper(4)
    first, state = stepper(X[:, 0]), stepper.state
    second = stepper(X[:, 1])
    stepper.state = state
    np.testing.assert_array_equal(stepper(X[:, 1]), second)
    stepper.reset()
    np.testing.assert_array_equal(stepper(X[:, 0]), first)
    state[...] = np.nan  # a copy
    assert np.isfinite(stepper.state).all()


def test_states_in_two_parts(backend: str) -> None:
    rnn = network(backend, "lstm")
    h, c = np.full((1, 4, 12), 0.1), np.full((1, 4, 12), -0.2)
    _, (h1, c1) = rnn.predict(X, (h, c))
    stepper = rnn.stepper(4, (h, c))
    for t in range(9):
        stepper(X[:, t])
    for found, expected in zip(stepper.state, (h1, c1), strict=True):
        close(found, expected)
    stepper.state = np.concatenate([h, c], axis=-1)
    assert stepper.state.shape == (1, 4, 24)
    _, (h2, _) = rnn.extend(X, 3, (h, c))
    assert h2.shape == h.shape


def test_a_stepper_has_a_copy_of_the_parameters(backend: str) -> None:
    rnn = network(backend)
    stepper = rnn.stepper(4)
    before = stepper(X[:, 0])
    for array in rnn.parameters.values():
        array[...] = 1
    stepper.reset()
    np.testing.assert_array_equal(stepper(X[:, 0]), before)
    assert abs(rnn.stepper(4)(X[:, 0]) - before).max() > 0.01


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda stepper: pickle.loads(pickle.dumps(stepper))]
)
def test_copies_go_on_by_themselves(backend: str, copied: Callable[[Any], Any]) -> None:
    first, second = network(backend).stepper(4), network(backend).stepper(4)
    for t in range(3):
        first(X[:, t]), second(X[:, t])
    other = copied(first)
    for t in range(3, 6):
        other(X[:, t])
    np.testing.assert_array_equal(first(X[:, 3]), second(X[:, 3]))


def test_each_call_returns_an_array_of_its_own(backend: str) -> None:
    stepper = network(backend).stepper(4)
    first = stepper(X[:, 0])
    kept = first.copy()
    stepper(X[:, 1])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("models", [None, 4])
def test_networks_have_inputs_of_their_own_or_share_them(backend: str, models: int | None) -> None:
    rnn = network(backend, models=models)
    own = np.stack([X[:, 0]] * 4)
    shared = rnn.stepper(4)(X[:, 0])
    if models:
        np.testing.assert_array_equal(rnn.stepper(4)(own), shared)
        tokens = np.arange(16).reshape(4, 4) % 5
        close(rnn.stepper(4, tokens=True)(tokens), rnn.predict(tokens[..., None], tokens=True)[0][:, :, 0])
        close(rnn.stepper(4, tokens=True)(tokens[1]), rnn.predict(tokens[1][:, None])[0][:, :, 0])
    else:
        with pytest.raises(
            ValueError, match=r"x has shape \(4, 4, 5\) and dtype float32; it must be numbers"
        ):
            rnn.stepper(4)(own)


def test_forms_of_inputs(backend: str) -> None:
    stepper = network(backend).stepper(2)
    x = np.random.default_rng(3).integers(-2, 3, size=(2, 5))
    expected = stepper(x.astype(np.float32))
    frozen = x.astype(np.float32)
    frozen.flags.writeable = False
    for form in (x, x.astype(">f8"), x.tolist(), np.asfortranarray(x.astype(np.float32)), frozen):
        stepper.reset()
        np.testing.assert_array_equal(stepper(form), expected)
    rows = network(backend).stepper(2, tokens=True)
    expected = rows(np.array([1, 4]))
    for kind in (np.int8, np.uint64, ">i4"):
        rows.reset()
        np.testing.assert_array_equal(rows(np.array([1, 4], kind)), expected)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros(5), r"x has shape \(5,\) and dtype float64; it must be numbers \(2, 5\)$"),
        (np.zeros((2, 5), complex), "x has shape .* complex128; it must be numbers"),
        ([[0, 1, 2, 3, np.nan]] * 2, r"x holds nan at \[0, 4\]; it must be finite"),
        ([[0, 0, 0, 0, 1e300]] * 2, r"x holds 1e\+300 at \[0, 4\]; it must be finite in float32"),
        (None, "x has Python objects"),
    ],
)
def test_a_step_that_is_refused_changes_nothing(backend: str, x: Any, match: str) -> None:
    stepper = network(backend).stepper(2)
    first = stepper(X[:2, 0])
    stepper.reset()
    with pytest.raises(ValueError, match=match):
        stepper(x)
    np.testing.assert_array_equal(stepper(X[:2, 0]), first)


@pytest.mark.parametrize("bad", [-1, 5, 2**32 + 1, 2**63])
def test_a_token_that_there_is_not(backend: str, bad: int) -> None:
    stepper = network(backend).stepper(2, tokens=True)
    with pytest.raises(ValueError, match=rf"x holds {bad} at \[1\]; it must be from 0 to 4"):
        stepper(np.array([0, bad], np.uint64 if bad == 2**63 else np.int64))
    with pytest.raises(ValueError, match=r"it must be integer tokens \(2,\)"):
        stepper([0.0, 1.0])


def test_outputs_that_are_not_finite(backend: str) -> None:
    rnn = network(backend, "elman", activation="relu")
    for key in ("W_in", "W_rec", "W_out"):
        rnn.parameters[key][...] = 1e9
    x = abs(X[:, :1])
    _, state = rnn.predict(x)
    stepper = rnn.stepper(4, 1e20 * state)
    before = stepper.state
    with pytest.raises(FloatingPointError, match="outputs of the network are not finite"):
        stepper(x[:, 0])
    np.testing.assert_array_equal(stepper.state, before)
    with pytest.raises(FloatingPointError, match="outputs of the network are not finite"):
        rnn.extend(x, 9)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"x": X[:, :0]}, r"x has shape \(4, 0, 5\); each row needs at least one step"),
        ({"lengths": [1, 0, 1, 1]}, "lengths holds 0; each row needs at least one step"),
        ({"x": [[1, 2]]}, r"x has shape \(1, 2\) and dtype int64; this network takes numbers"),
        ({"steps": 0}, "steps is 0"),
        ({"state": X}, "state has shape"),
        ({"x": X * np.inf}, "x holds -?inf at"),
    ],
)
def test_what_extend_refuses(given: dict[str, Any], match: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=match):
        network("reference").extend(**({"x": X, "steps": 3} | given))


def test_networks_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match="has 3 outputs and input_size 5; to read its outputs it needs as many"
    ):
        network("reference", output_size=3).extend(X, 2)
    for option in ("reverse", "bidirectional"):
        rnn = network("reference", **{option: True})
        for call in (rnn.stepper, lambda rnn=rnn: rnn.extend(X, 2)):
            with pytest.raises(ValueError, match="so give one that reads forwards"):
                call()
    stepper = network("reference").stepper()
    for state in (None, np.zeros(3)):
        with pytest.raises(ValueError, match="state"):
            stepper.state = state
    with pytest.raises(ValueError, match="batch is 0"):
        network("reference").stepper(0)
    monkeypatch.setattr(arguments, "available_memory", lambda backend: 10**6)
    with pytest.raises(ValueError, match=r"a stepper of 9000000 sequences needs .* MB are available"):
        network("reference").stepper(9_000_000)
    with pytest.raises(ValueError, match="a forecast of 9000000 steps needs"):
        network("reference").extend(X, 9_000_000)
    assert repr(stepper) == 'Stepper(cell="gru", batch=1, reads numbers, backend="reference")'


def test_threads_do_not_change_a_bit(threads: Callable[[int], int]) -> None:
    rnn, found = network("cpu", models=3, num_layers=2), []
    for number in (1, 2, 5):
        threads(number)
        found.append((*rnn.extend(X, 7), rnn.stepper(4)(X[:, 0])))
    for arrays in found[1:]:
        for ours, theirs in zip(arrays, found[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_arrays_of_the_device_stay_there(gpu: str, cp: Any) -> None:
    rnn, x = network(gpu), cp.asarray(X)
    outputs, state = rnn.extend(x, 3)
    stepper = rnn.stepper(4, state)
    step = stepper(x[:, 0])
    assert all(map(on_device, (outputs, state, step, stepper.state)))
    assert not on_device(stepper(X[:, 1])) and not on_device(stepper.state)
    close(outputs, rnn.extend(X, 3)[0])


def test_rounded_factors() -> None:
    exact, rounded = (network("reference", precision=precision) for precision in ("float32", "bf16"))
    one, other = (rnn.stepper(4)(X[:, 0]) for rnn in (exact, rounded))
    assert 1e-5 < abs(one - other).max() < 0.05
    close(rounded.predict(X[:, :1])[0][:, 0], other)
