"""Noise inside the units: what it adds, where it is refused, its gradients, and training with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_dropout import differences

from fastrec import RNN, SGD, fit
from fastrec.backend import move
from fastrec.rnn.cells import CELLS

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 5, 6)), RNG.integers(0, 4, (3, 5))
GIVEN: dict[str, Any] = {"noise": 0.3, "noise_seed": 2**64 - 1}


def leaky(backend: str, **options: Any) -> RNN:
    return RNN(6, 5, 4, "leaky", **{"dtype": np.float64, "seed": 0, "backend": backend} | options)


@pytest.mark.parametrize("more", [{"num_layers": 2}, {"models": 2}, {"bidirectional": True}], ids=str)
def test_gradients_are_slopes(backend: str, more: dict[str, Any]) -> None:
    rnn, x = leaky(backend, activation="softplus", **more), X.copy()
    x[1, 2:] = np.nan
    given = GIVEN | {"lengths": [5, 2, 4]}

    def loss() -> float:
        return np.sum(rnn.loss(x, Y, **given)[0])

    _, gradients, _ = rnn.loss_and_gradients(x, Y, **given)
    for key, slopes in differences(rnn, 5, loss).items():
        found = np.array([float(value) for value in gradients[key].reshape(-1)[:5]])
        np.testing.assert_allclose(found, slopes, rtol=1e-6, atol=1e-8, err_msg=key)


def noise_of_layer(backend: str, layers: int) -> np.ndarray:
    """Without weights the hidden units of leak 1 are the bias and the noise."""
    rnn = RNN(1, 70, None, "leaky", "relu", layers, models=2, leak=1, seed=0, backend=backend)
    for key, array in rnn.parameters.items():
        array[...] = 1 if key.startswith("leak") else 100 if key.startswith("b") else 0
    return rnn.forward(np.zeros((9, 11, 1)), noise=0.5, noise_seed=3).hidden - 100


def test_noise_alone(backend: str) -> None:
    """The same numbers on every backend, others in each layer."""
    first, second = (noise_of_layer(backend, layers) for layers in (1, 2))
    assert np.array_equal(first, noise_of_layer("reference", 1))
    least = 5 * 0.5 / first.size**0.5
    assert abs(first.mean()) < least and abs((first * second).mean()) < 0.5 * least
    assert first.std() == pytest.approx(0.5, abs=least)


def test_noise_follows_from_the_seed_and_the_place(backend: str) -> None:
    rnn = leaky(backend, num_layers=2, dtype=np.float32)
    plain, trace = rnn.forward(X), rnn.forward(X, **GIVEN)
    assert np.array_equal(rnn.forward(X, noise=0, noise_seed=1).outputs, plain.outputs)
    for other in ({}, {"noise_seed": 1}, {"noise": 0.2}):
        same = np.array_equal(rnn.forward(X, **GIVEN | other).outputs, trace.outputs)
        assert same == (not other), other
    outputs, state = rnn.predict(X, **GIVEN)
    np.testing.assert_allclose(outputs, trace.outputs, rtol=1e-6)
    np.testing.assert_allclose(state, trace.state, rtol=1e-6)
    first, _ = rnn.predict(X[:2], **GIVEN)
    np.testing.assert_allclose(first, outputs[:2], rtol=1e-5)
    assert rnn.loss(X, Y, **GIVEN)[0] == pytest.approx(rnn.loss_and_gradients(X, Y, **GIVEN)[0], rel=1e-6)
    generator = np.random.default_rng(0)
    draws = [rnn.predict(X, noise=0.3, noise_seed=generator)[0] for _ in range(2)]
    assert (draws[0] != draws[1]).any()


def test_refused() -> None:
    for cell in (name for name, kind in CELLS.items() if not kind.takes_noise):
        rnn = RNN(6, 4, 4, cell, seed=0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r'noise is 0\.1; only cell="leaky" takes it, leave it out'):
            rnn.predict(X, noise=0.1)
        assert np.isfinite(rnn.predict(X, noise=0)[0]).all()
    rnn = leaky("reference")
    for noise in (-0.1, 1e6, True, "half", float("nan")):
        for call in (rnn.forward, lambda x, **how: fit(rnn, x, Y, **how)):
            with pytest.raises(ValueError, match=r"noise is .*; it must be a number at least 0 and below"):
                call(X, noise=noise)
    with pytest.raises(ValueError, match="noise_seed is -1"):
        rnn.loss(X, Y, noise=0.1, noise_seed=-1)


def test_fit(backend: str, tmp_path: Any) -> None:
    def trained(epochs: int, noise: float, **given: Any) -> tuple[Any, Any]:
        rnn = leaky(backend, dtype=np.float32)
        how = {"epochs": epochs, "batch_size": 2, "seed": 3, "progress": False, "noise": noise} | given
        history = fit(rnn, X, Y, (X[:2], Y[:2]), **how)
        return move(rnn.parameters["W_rec"], "cpu"), history.validation

    whole, validation = trained(4, 0.5)
    path = tmp_path / "c.npz"
    trained(2, 0.5, checkpoint=path)
    again, other = trained(4, 0.5, checkpoint=path)
    assert np.array_equal(again, whole) and np.array_equal(other, validation)
    assert (trained(4, 0.4)[0] != whole).any()
    assert (trained(4, 0.5, k1=2)[0] != whole).any()
    with pytest.raises(ValueError, match=r"another training: noise is 0\.5 there"):
        trained(4, 0.1, checkpoint=path)
    trained(5, 0.1, checkpoint=path, changed="noise")
    held = trained(3, 0.5, optimizer=SGD(1e-30))[1]
    assert (held == held[0]).all() and held[0] != trained(1, 0.0, optimizer=SGD(1e-30))[1][0]
