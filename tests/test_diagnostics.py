"""Gradient flow and spectral radii."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from devices import to_host

from fastrec import RNN, GradientFlow, gradient_flow, spectral_radius

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

KINDS = [
    ("leaky", 1),
    ("lstm_peepholes", 2),
    ("elman", 1),
    ("jordan", 1),
    ("gru", 1),
    ("gru_before", 1),
    ("lstm", 1),
    ("elman", 2),
    ("gru", 2),
    ("lstm", 2),
]
T = 6


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(cell: str, backend: str = "reference", **more: Any) -> RNN:
    return RNN(2, 4, 3, cell, **({"dtype": np.float64, "backend": backend, "seed": 1} | more))


def task() -> dict[str, Any]:
    return {"x": random(1, 5, T, 2), "targets": random(2, 5, T, 3), "loss": "mse"}


@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_norms_are_those_of_the_gradients_of_states(backend: str, cell: str, layers: int) -> None:
    """Of the top layer: dE/dh_t is its share in the loss of step t, and in that of the steps after."""
    rnn, options = network(cell, backend, num_layers=layers), task()
    mask = random(3, 5, T) > 0
    flow = gradient_flow(rnn, **options, mask=mask)
    assert flow.norms.shape == (layers, T) and flow.norms.dtype == np.float64
    x, targets, trace = options["x"], options["targets"], rnn.forward(options["x"])
    W_out = to_host(rnn.parameters)["W_out"]
    for t in range(T):
        d_y = (trace.outputs[:, t] - targets[:, t]) * mask[:, t, None]
        d_h = d_y @ W_out.T
        if mask[:, t + 1 :].any():
            rest = (x[:, t + 1 :], targets[:, t + 1 :], "mse", "sum", None, mask[:, t + 1 :])
            d_state = rnn.loss_and_gradients(*rest, trace.state_at(t + 1))[1]["state"][-1]
            d_h += d_state @ W_out.T if cell == "jordan" else d_state[:, :4]
        expected = np.sqrt((d_h**2).sum(axis=1).mean())
        np.testing.assert_allclose(flow.norms[-1, t], expected, rtol=1e-9, atol=1e-12)


def test_short_sequences_do_not_count_where_they_are_not(backend: str) -> None:
    rnn, options, lengths = network("gru", backend), task(), np.array([4, 2, 5, 1, 3])
    flow = gradient_flow(rnn, **options, lengths=lengths)
    squares = np.zeros(T)
    for row, length in enumerate(lengths):
        one = {key: value[row : row + 1, :length] for key, value in options.items() if key != "loss"}
        squares[:length] += gradient_flow(rnn, **one, loss="mse").norms[0] ** 2
    np.testing.assert_allclose(flow.norms[0, :5], np.sqrt(squares[:5] / [5, 4, 3, 2, 1]), rtol=1e-9)
    assert np.isnan(flow.norms[0, 5])


def test_networks_at_once(backend: str) -> None:
    rnn, options = network("lstm", backend, num_layers=2, models=3), task()
    norms = gradient_flow(rnn, **options).norms
    assert norms.shape == (3, 2, T)
    for j in range(3):
        np.testing.assert_allclose(norms[j], gradient_flow(rnn.copy(j), **options).norms, rtol=1e-9)


def test_options_are_those_of_the_loss(backend: str) -> None:
    rnn = RNN(2, 4, dtype=np.float64, backend=backend, seed=0)
    tokens, targets = np.array([[0, 1, 1]]), np.array([[3, 0, 2]])
    flow = gradient_flow(rnn, tokens, targets, state=np.full((1, 1, 4), 0.5))
    trace = rnn.forward(tokens, np.full((1, 1, 4), 0.5))
    p = np.exp(trace.outputs[0, 2]) / np.exp(trace.outputs[0, 2]).sum()
    assert flow.norms[0, 2] == pytest.approx(np.linalg.norm(p - np.eye(4)[2]), rel=1e-9)
    with pytest.raises(ValueError, match="loss is 'mae'"):
        gradient_flow(rnn, tokens, targets, "mae")
    with pytest.raises(ValueError, match="x holds 2"):
        gradient_flow(rnn, tokens + 1, targets)


def test_gradients_vanish_and_explode_by_the_spectral_radius(backend: str) -> None:
    """Of a linear network (relu, all units on) with W_rec = r 1 the gradient grows by r a step backwards."""
    mask = np.zeros((1, T), bool)
    mask[:, -1] = True
    for r in (0.5, 1.0, 2.0):
        rnn = network("elman", backend, activation="relu")
        rnn.parameters["W_rec"] = r * np.eye(4)
        rnn.parameters["b"][...] = 100
        norms = gradient_flow(rnn, random(1, 1, T, 2), random(2, 1, T, 3), "mse", mask=mask).norms[0]
        np.testing.assert_allclose(norms[:-1] / norms[1:], spectral_radius(rnn)[0], rtol=1e-9)
        assert spectral_radius(rnn)[0] == r


def test_spectral_radius() -> None:
    turn = 3 * np.array([[0.0, 1.0], [-1.0, 0.0]])  # eigenvalues +-3i
    for cell, gates in (("elman", 1), ("gru", 3), ("lstm", 4)):
        rnn = RNN(2, 2, cell=cell, num_layers=2, seed=0)
        radii = spectral_radius(rnn)
        assert radii.dtype == np.float64 and radii.shape == ((2,) if gates == 1 else (2, gates))
        np.testing.assert_allclose(radii, 1, rtol=1e-6)  # orthogonal
        rnn.parameters["W_rec_l1"][:, -2:] = turn
        radii[1, ...] = np.where(np.arange(gates) == gates - 1, 3, 1) if gates > 1 else 3
        np.testing.assert_allclose(spectral_radius(rnn), radii, rtol=1e-6)
    both = RNN(2, 2, cell="gru", models=2, seed=0)
    both.parameters["W_rec"][1, :, 2:4] = turn
    np.testing.assert_allclose(spectral_radius(both), [[[1, 1, 1]], [[1, 3, 1]]], rtol=1e-6)
    assert spectral_radius(RNN(2, 2, models=5, seed=0)).shape == (5, 1)


def test_spectral_radius_of_jordan_is_that_of_the_loop() -> None:
    rnn = RNN(2, 3, 1, "jordan", models=2, dtype=np.float64, seed=0)
    loop = np.einsum("koh,kho->k", rnn.parameters["W_rec"], rnn.parameters["W_out"])
    np.testing.assert_allclose(spectral_radius(rnn), np.abs(loop)[:, None], rtol=1e-12)


def test_spectral_radius_of_weights_that_are_not_finite() -> None:
    rnn = RNN(2, 3, num_layers=2, seed=0)
    rnn.parameters["W_rec_l1"][0, 0] = np.inf
    with pytest.raises(ValueError, match=re.escape('parameters["W_rec_l1"] is not finite everywhere')):
        spectral_radius(rnn)


def test_plot(tmp_path: Any) -> None:
    flow = GradientFlow(np.geomspace(1e-3, 1, T)[None])
    ax = flow.plot(tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert ax.get_yscale() == "log" and len(ax.lines) == 1 and ax.get_legend() is None
    assert flow.plot(ax=ax) is ax and len(ax.lines) == 2
    with pytest.raises(ValueError, match="suffix"):
        flow.plot(tmp_path / "f.doc")


@pytest.mark.parametrize("key", ["W_rec", "W_out"])
def test_radius_names_what_is_not_finite(key: str) -> None:
    rnn = RNN(2, 3, 4, cell="jordan", seed=0)
    rnn.parameters[key][0, 0] = np.nan
    with pytest.raises(ValueError, match=rf'parameters\["{key}"\] is not finite'):
        spectral_radius(rnn)
