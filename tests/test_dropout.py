"""Dropout between layers and before the output layer, and embeddings before the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from devices import to_host

from fastrec import RNN, Adam, fit
from fastrec.backend import move

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 6, (3, 5)), RNG.integers(0, 4, (3, 5))


def differences(rnn: RNN, at_most: int, loss: Any) -> dict[str, Any]:
    """Finite differences of a loss with respect to the first numbers of each parameter."""
    found = {}
    for key, array in rnn.parameters.items():
        flat, slopes = array.reshape(-1), []
        for i in range(min(at_most, flat.size)):
            ends = []
            for sign in (1, -1):
                kept = float(flat[i])
                flat[i] = kept + sign * 1e-6
                ends.append(loss())
                flat[i] = kept
            slopes.append((ends[0] - ends[1]) / 2e-6)
        found[key] = np.array(slopes)
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("embedding", [None, 3])
@pytest.mark.parametrize(("cell", "layers"), [("elman", 1), ("gru", 3), ("lstm", 2)])
def test_gradients_are_slopes(
    backend: str, cell: str, layers: int, embedding: int | None, dropout: float
) -> None:
    options = {"num_layers": layers, "embedding_size": embedding, "dtype": np.float64, "backend": backend}
    rnn = RNN(6, 4, 4, cell, seed=0, **options)
    given = {"lengths": [5, 2, 4], "dropout": dropout, "dropout_seed": 2**64 - 1}
    _, gradients, _ = rnn.loss_and_gradients(X, Y, **given)
    assert set(gradients) == {*rnn.parameters, "state"}
    for key, slopes in differences(rnn, 5, lambda: rnn.loss_and_gradients(X, Y, **given)[0]).items():
        found = np.array([float(value) for value in gradients[key].reshape(-1)[:5]])
        np.testing.assert_allclose(found, slopes, rtol=1e-6, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_embedding_of_more_tokens_than_a_batch_has(backend: str, bidirectional: bool) -> None:
    """Loss and gradients are those of a batch that has all tokens, after steps that do not count."""
    options = {"bidirectional": bidirectional, "embedding_size": 3, "dtype": np.float64, "backend": backend}
    rnn = RNN(40, 4, 4, "gru", seed=0, **options)
    x = 7 * X
    every = np.concatenate([x, np.tile(np.arange(40), (3, 1))], axis=1)
    value, gradients, _ = rnn.loss_and_gradients(x, Y)
    targets = np.concatenate([Y, np.zeros((3, 40), int)], axis=1)
    wanted, others, _ = rnn.loss_and_gradients(every, targets, lengths=[5] * 3)
    assert value == pytest.approx(wanted, rel=1e-12)
    for key, array in to_host(gradients).items():
        np.testing.assert_allclose(array, to_host(others)[key], rtol=1e-9, atol=1e-12, err_msg=key)
    rows = to_host(gradients)["E"].any(axis=1)
    assert set(np.flatnonzero(rows)) == set(x.reshape(-1))


def test_units_left_out_follow_from_the_seed(backend: str) -> None:
    rnn = RNN(6, 40, 4, "gru", num_layers=2, backend=backend, seed=0)
    losses = [rnn.loss_and_gradients(X, Y, dropout=0.5, dropout_seed=seed)[0] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    plain = rnn.loss_and_gradients(X, Y)[0]
    assert plain == rnn.loss_and_gradients(X, Y, dropout=0, dropout_seed=1)[0]
    many = [rnn.loss_and_gradients(X, Y, dropout=0.1, dropout_seed=seed)[0] for seed in range(30)]
    assert np.mean(many) == pytest.approx(plain, abs=0.05)


def test_networks_without_a_place_for_it() -> None:
    for rnn, match in (
        (RNN(6, 4, seed=0), "one layer and no output layer"),
        (RNN(6, 4, 4, "jordan", seed=0), 'cell="jordan"'),
    ):
        with pytest.raises(ValueError, match=match):
            rnn.loss_and_gradients(X, Y, dropout=0.5, dropout_seed=0)
        assert np.isfinite(rnn.loss_and_gradients(X, Y, dropout=0, dropout_seed=0)[0])
    for dropout in (-0.1, 1, True, "half", float("nan")):
        with pytest.raises(ValueError, match="dropout is"):
            RNN(6, 4, 4, seed=0).loss_and_gradients(X, Y, dropout=dropout, dropout_seed=0)
    with pytest.raises(ValueError, match="dropout_seed is -1"):
        RNN(6, 4, 4, seed=0).loss_and_gradients(X, Y, dropout=0.5, dropout_seed=-1)


def test_fit_leaves_out_other_units_in_each_update(backend: str, tmp_path: Any) -> None:
    def trained(epochs: int, dropout: float, **given: Any) -> Any:
        rnn = RNN(6, 8, 4, "gru", num_layers=2, backend=backend, seed=0)
        fit(rnn, X, Y, epochs=epochs, batch_size=2, dropout=dropout, seed=3, progress=False, **given)
        return move(rnn.parameters["W_rec"], "cpu")

    whole = trained(4, 0.5)
    path = tmp_path / "c.npz"
    trained(2, 0.5, checkpoint=path)
    np.testing.assert_array_equal(trained(4, 0.5, checkpoint=path), whole)
    assert (trained(4, 0.4) != whole).any()
    with pytest.raises(ValueError, match=r"another training: dropout is 0\.5 there"):
        trained(4, 0.0, checkpoint=path)


@pytest.mark.parametrize("models", [None, 2])
def test_embedding_is_a_factor_of_the_input_weights(backend: str, models: int | None) -> None:
    rnn = RNN(6, 5, 4, "lstm", models=models, embedding_size=3, dtype=np.float64, backend=backend, seed=0)
    plain = RNN(6, 5, 4, "lstm", models=models, dtype=np.float64, backend=backend, seed=0)
    for key in plain.parameters:
        if key != "W_in":
            plain.parameters[key][...] = rnn.parameters[key]
    E, W_in = (move(rnn.parameters[key], "cpu") for key in ("E", "W_in"))
    plain.parameters["W_in"][...] = move(np.ascontiguousarray(E @ W_in), backend)
    for x in (X, RNG.standard_normal((3, 5, 6))):
        np.testing.assert_allclose(rnn.predict(x)[0], plain.predict(x)[0], rtol=1e-12)
    assert rnn.n_parameters == sum(array.size for array in rnn.parameters.values()) // (models or 1)
    assert "embedding_size=3" in repr(rnn)


def test_embedding_in_files_and_copies(tmp_path: Any) -> None:
    rnn = RNN(6, 5, 4, "gru", embedding_size=3, seed=0)
    rnn.save(tmp_path / "r.npz")
    loaded = RNN.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(loaded.predict(X)[0], rnn.predict(X)[0])
    assert rnn.copy().parameters["E"] is not rnn.parameters["E"]
    with pytest.raises(ValueError, match="embedding_size is 0"):
        RNN(6, 5, embedding_size=0, seed=0)


def test_embedding_learns(backend: str, quick: None) -> None:
    rnn = RNN(6, 8, 4, "gru", embedding_size=2, backend=backend, seed=0)
    before = move(rnn.parameters["E"], "cpu").copy()
    history = fit(rnn, X, X % 4, epochs=60, optimizer=Adam(0.05), progress=False, seed=0)
    assert history.train[-1] < 0.1 < history.train[0]
    assert (move(rnn.parameters["E"], "cpu") != before).any()
