"""`RNN.generate`: the arguments, and texts that do not depend on how they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrec import RNN
from fastrec.backend import move, on_device

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own


def network(backend: str | None = None, cell: str = "gru", **given: Any) -> RNN:
    """A network that is unsure enough for its draws to matter."""
    rnn = RNN(7, 12, 7, cell, **({"seed": 2, "backend": backend} | given))
    rnn.parameters["W_out"] *= 3
    return rnn


PROMPT = np.array([[1, 2, 3], [4, 5, 6], [0, 0, 0]])


@pytest.mark.parametrize("cell", ["elman", "jordan", "gru", "lstm"])
def test_two_calls_go_on_as_one(backend: str, cell: str) -> None:
    rnn = network(backend, cell)
    whole, end = rnn.generate(PROMPT, 12, 0.9, seed=5)
    begun, state = rnn.generate(PROMPT, 5, 0.9, seed=5)
    rest, last = rnn.generate(begun[:, -1:], 7, 0.9, seed=5, state=state, first=5)
    np.testing.assert_array_equal(np.hstack([begun, rest]), whole)
    np.testing.assert_allclose(last, end, rtol=1e-5, atol=1e-6)
    assert whole.dtype == np.int32
    assert whole.shape == (3, 12)
    assert state.shape == rnn.predict(PROMPT)[1].shape


def test_state_is_that_of_the_tokens(backend: str) -> None:
    rnn = network(backend, "lstm", num_layers=2, embedding_size=3)
    tokens, state = rnn.generate(PROMPT, 6, seed=1)
    read = np.hstack([PROMPT, tokens[:, :-1]])
    np.testing.assert_allclose(state, rnn.predict(read)[1], rtol=1e-4, atol=1e-5)


def test_greedy_takes_the_largest_output(backend: str) -> None:
    rnn = network(backend)
    tokens, _ = rnn.generate(PROMPT, 8, temperature=0)
    outputs, _ = rnn.predict(np.hstack([PROMPT, tokens[:, :-1]]))
    np.testing.assert_array_equal(tokens, outputs[:, 2:].argmax(axis=2))
    np.testing.assert_array_equal(tokens, rnn.generate(PROMPT, 8, top_k=1, seed=9)[0])
    np.testing.assert_array_equal(tokens, rnn.generate(PROMPT, 8, top_p=1e-9, seed=9)[0])


def test_rows_do_not_depend_on_the_batch(backend: str) -> None:
    rnn = network(backend)
    together, _ = rnn.generate(PROMPT, 10, seed=3)
    alone, _ = rnn.generate(PROMPT[:1], 10, seed=3)
    np.testing.assert_array_equal(together[:1], alone)
    first, second = rnn.generate(PROMPT[[0, 0]], 30, seed=3)[0]
    assert (first != second).any()


def test_prompts_of_different_length(backend: str) -> None:
    rnn = network(backend)
    padded = np.array([[1, 2, 3, 4], [5, 6, 99, -1], [0, 77, 77, 77]])
    tokens, state = rnn.generate(padded, 6, seed=4, lengths=[4, 2, 1])
    for row, length in enumerate([4, 2, 1]):
        prompts = np.broadcast_to(padded[row, :length], (3, length))
        alone, last = rnn.generate(prompts, 6, seed=4)
        np.testing.assert_array_equal(tokens[row], alone[row])
        np.testing.assert_allclose(state[:, row], last[:, row], rtol=1e-5, atol=1e-6)


def test_stop_ends_a_row(backend: str) -> None:
    rnn = network(backend)
    free, _ = rnn.generate(PROMPT, 20, seed=6)
    stop = int(free[0, 7])
    tokens, _ = rnn.generate(PROMPT, 20, seed=6, stop=stop)
    for row in range(3):
        found = np.flatnonzero(free[row] == stop)
        end = found[0] if found.size else 20
        np.testing.assert_array_equal(tokens[row, :end], free[row, :end])
        assert (tokens[row, end:] == stop).all()


@pytest.mark.parametrize("cell", ["elman", "jordan", "gru", "lstm"])
@pytest.mark.parametrize("hidden", [1, 63, 130, 300])
def test_threads_do_not_change_a_bit(threads: Callable[[int], int], cell: str, hidden: int) -> None:
    rnn = RNN(65, hidden, 65, cell, seed=1, backend="cpu", num_layers=1 if cell == "jordan" else 2)
    prompt, found = np.arange(5)[:, None], []
    for number in (1, 2, 5):
        threads(number)
        found.append(rnn.generate(prompt, 40, 0.8, 20, 0.9, seed=7))
    for tokens, state in found:
        np.testing.assert_array_equal(tokens, found[0][0])
        np.testing.assert_array_equal(state, found[0][1])


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("hidden", [5, 64, 97])
def test_weights_of_sixteen_bits_give_the_same_bits(
    rows: int, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    from fastrec.kernels.cpu import generation

    rnn = RNN(65, hidden, 65, "gru", num_layers=2, seed=1, backend="cpu").rounded()
    assert generation.has_halves(rnn.parameters["W_rec"])
    prompt = np.arange(rows)[:, None]
    halves = rnn.generate(prompt, 30, seed=7)
    monkeypatch.setattr(generation, "has_halves", lambda W: False)
    whole = rnn.generate(prompt, 30, seed=7)
    np.testing.assert_array_equal(halves[0], whole[0])
    np.testing.assert_array_equal(halves[1], whole[1])
    rnn.parameters["W_out"].view(np.uint32)[0, 0] |= 1
    monkeypatch.undo()
    assert not generation.has_halves(rnn.parameters["W_out"])


def test_rounded_copies(backend: str) -> None:
    rnn = network(backend, embedding_size=3)
    found, given = (
        {key: move(array, "cpu") for key, array in net.parameters.items()} for net in (rnn.rounded(), rnn)
    )
    for key, array in given.items():
        ratio = abs(found[key] - array).max() / abs(array).max(initial=1e-9)
        assert (0 < ratio < 2**-8) if key[0] in "WE" else ratio == 0, key
    again = move(rnn.rounded().rounded().parameters["W_rec"], "cpu")
    np.testing.assert_array_equal(again, found["W_rec"])
    with pytest.raises(ValueError, match="dtype is float64"):
        network(backend, dtype=np.float64).rounded()


def test_reads_what_may_not_be_written(backend: str) -> None:
    rnn = network(backend)
    prompt = np.repeat(PROMPT, 2, axis=1)[:, ::2].astype(np.int16)
    prompt.flags.writeable = False
    state = np.zeros((3, 1, 12), np.float32).swapaxes(0, 1)
    state.flags.writeable = False
    tokens, _ = rnn.generate(prompt, 4, state=state, seed=0)
    np.testing.assert_array_equal(tokens, rnn.generate(PROMPT, 4, state=state.copy(), seed=0)[0])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"temperature": -0.5}, "temperature is -0.5; it must be a number at least 0"),
        ({"temperature": 1e-9}, "temperature is 1e-09"),
        ({"temperature": float("nan")}, "temperature is nan; it must be a number"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"top_p": True}, "top_p is True"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": 7}, "stop is 7"),
        ({"first": -1}, "first is -1"),
        ({"lengths": [3, 0, 1]}, "lengths holds 0; each row needs a prompt"),
        ({"lengths": [3, 1]}, "lengths has shape"),
        ({"state": np.zeros(3)}, "state has shape"),
        ({"prompt": [[7]]}, "prompt holds 7"),
        ({"prompt": np.zeros((1, 1, 7))}, "prompt holds numbers; give integer tokens"),
        ({"prompt": np.zeros((1, 0), int)}, "prompt is empty"),
    ],
)
def test_errors_name_the_argument(given: dict[str, Any], match: str) -> None:
    arguments = {"prompt": PROMPT, "steps": 3} | given
    with pytest.raises(ValueError, match=match):
        network("reference").generate(**arguments)


def test_networks_that_cannot_generate() -> None:
    with pytest.raises(ValueError, match="output_size is 5 and input_size 7"):
        RNN(7, 3, 5, seed=0).generate(PROMPT, 2, seed=0)
    with pytest.raises(ValueError, match="output_size is None"):
        RNN(7, 7, seed=0).generate(PROMPT, 2, seed=0)
    with pytest.raises(ValueError, match=r"these are 2 networks.*copy\(model=j\)"):
        RNN(7, 3, 7, models=2, seed=0).generate(PROMPT, 2, seed=0)


def test_outputs_that_are_not_finite_are_told(backend: str) -> None:
    rnn = network(backend)
    rnn.parameters["b_out"][3] = np.inf
    with pytest.raises(FloatingPointError, match="not finite"):
        rnn.generate(PROMPT, 2, seed=0)


def test_tokens_stay_on_the_device(cp: Any) -> None:
    rnn = network("gpu")
    tokens, state = rnn.generate(cp.asarray(PROMPT), 4, seed=0)
    assert on_device(tokens)
    assert on_device(state)
    np.testing.assert_array_equal(cp.asnumpy(tokens), rnn.generate(PROMPT, 4, seed=0)[0])
