"""Hessian-free optimisation: products with the curvature, conjugate gradients, updates, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from devices import to_host
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import network, random

from fastrec import RNN
from fastrec.backend import move
from fastrec.rnn.cells import CELLS
from fastrec.rnn.dataset import read_sequences
from fastrec.rnn.hessian_free import conjugate_gradients
from fastrec.rnn.objective import Objective

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

LOSSES = ("mse", "mean_squared_error", "cross_entropy", "bce")
T = 5


def task(loss: str, n: int = 3) -> dict[str, Any]:
    """Sequences of different lengths, of which a few steps do not count, and NaN after their ends."""
    x, lengths, mask = random(1, n, T, 2), np.array([T, 2, 4])[:n], random(3, n, T) > -1
    mask[:, 0] = True
    x[1, 2:] = np.nan
    targets: Any = np.random.default_rng(2).integers(0, 3, (n, T))
    if loss != "cross_entropy":
        targets = random(2, n, T, 3) if "s" in loss[:2] else np.random.default_rng(2).random((n, T, 3))
    return {"x": x, "targets": targets, "loss": loss, "lengths": lengths, "mask": mask}


def objective_of(rnn: RNN, **data: Any) -> tuple[Objective, Any]:
    """The objective of a task, and the point where the network is."""
    at = rnn._device(data["x"])
    rnn._weights(at.backend)
    given = {name: data.get(name) for name in ("x", "targets", "lengths", "mask", "loss", "weights")}
    sequences = read_sequences(rnn._config, at, **given)
    objective = Objective(rnn, at, sequences, data["loss"], rnn.parameters)
    k = rnn._config.k
    point = np.concatenate([a.reshape(k, -1) for a in to_host(rnn.parameters).values()], axis=1)
    return objective, move(point.astype(np.float64), at.backend)


def jacobian(objective: Objective, point: np.ndarray, read: Any) -> np.ndarray:
    """The derivatives (numbers, n) of what is read of activations, by each parameter of one network."""
    from fastrec.rnn.validation import Purpose

    columns = []
    for j in range(point.shape[1]):
        change = np.zeros_like(point)
        change[0, j] = 1e-5
        high, low = (
            np.array(read(objective.run(point + side * change, objective.data, Purpose.OUTPUTS))).ravel()
            for side in (1, -1)
        )
        columns.append((high - low) / 2e-5)
    return np.array(columns).T


def hessian(loss: str, outputs: np.ndarray, weights: np.ndarray, total: float) -> np.ndarray:
    """That of the loss as a function of the outputs (b, t, o): a block for each step."""
    b, t, o = outputs.shape
    dense = np.zeros((b, t, o, b, t, o))
    for i, j in np.ndindex(b, t):
        y = outputs[i, j]
        p = np.exp(y) / np.exp(y).sum()
        q = 1 / (1 + np.exp(-y))
        block = {
            "mse": np.eye(o),
            "mean_squared_error": 2 / o * np.eye(o),
            "cross_entropy": np.diag(p) - np.outer(p, p),
            "bce": np.diag(q * (1 - q)),
        }[loss]
        dense[i, j, :, i, j] = weights[i, j] / total * block
    return dense.reshape(b * t * o, -1)


def dense(objective: Objective, point: np.ndarray, data: dict[str, Any]) -> np.ndarray:
    """J' H J of one network."""
    from fastrec.rnn.validation import Purpose

    outputs = objective.run(point, objective.data, Purpose.OUTPUTS).outputs[0]
    counted = objective.data.counted.astype(float)
    H = hessian(data["loss"], outputs, counted, counted.sum())
    J = jacobian(objective, point, lambda made: made.outputs)
    return J.T @ H @ J


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cell", CELLS)
def test_products_are_those_with_the_matrix(cell: str, loss: str) -> None:
    data = task(loss)
    objective, point = objective_of(network(cell, "reference"), **data)
    curvature = objective.curvature(point, 1.0)
    found = np.array([curvature.product(row[None])[0] for row in np.eye(point.shape[1])])
    expected = dense(objective, point, data)
    np.testing.assert_allclose(found, expected, atol=1e-7 * abs(expected).max())


def test_structural_products_are_those_of_hidden_units() -> None:
    data = task("mse")
    objective, point = objective_of(network("elman", "reference"), **data)
    J = jacobian(objective, point, lambda made: made.hidden)
    expected = dense(objective, point, data) + 0.3 * J.T @ J / objective.data.counted.sum()
    curvature = objective.curvature(point, 1.0)
    found = np.array([curvature.product(v[None], np.array([0.3]))[0] for v in np.eye(point.shape[1])])
    np.testing.assert_allclose(found, expected, atol=1e-7 * abs(expected).max())
