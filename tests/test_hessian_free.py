"""Hessian-free optimisation: products with the curvature, conjugate gradients, updates, what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import to_host
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import copied, echo, network, random, same, small

from fastrec import RNN, EncoderDecoder, HessianFree, History, fit
from fastrec.backend import move
from fastrec.rnn.cells import CELLS
from fastrec.rnn.dataset import read_sequences
from fastrec.rnn.hessian_free import conjugate_gradients, go_back, search_line
from fastrec.rnn.objective import Curvature, Objective
from fastrec.rnn.validation import Purpose

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
    names = ("x", "targets", "lengths", "mask", "loss", "weights")
    sequences = read_sequences(rnn._config, at, **{name: data.get(name) for name in names})
    objective = Objective(rnn, at, sequences, data["loss"], rnn.parameters)
    k = rnn._config.k
    point = np.concatenate([a.reshape(k, -1) for a in to_host(rnn.parameters).values()], axis=1)
    return objective, move(point.astype(np.float64), at.backend)


def jacobian(objective: Objective, point: np.ndarray, read: Any) -> np.ndarray:
    """The derivatives (numbers, n) of what is read of activations, by each parameter of one network."""
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
    outputs = objective.run(point, objective.data, Purpose.OUTPUTS).outputs[0]
    counted = objective.data.counted.astype(float)
    H = hessian(data["loss"], outputs, counted, counted.sum())
    J = jacobian(objective, point, lambda made: made.outputs)
    return J.T @ H @ J


def products(curvature: Curvature, structural: float | None = None) -> np.ndarray:
    """The matrix of which a curvature gives products, of one network."""
    weight = None if structural is None else np.array([structural])
    return np.array([curvature.product(row[None], weight)[0] for row in np.eye(curvature.point.shape[1])])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cell", CELLS)
def test_products_are_those_with_the_matrix(cell: str, loss: str) -> None:
    data = task(loss)
    objective, point = objective_of(network(cell, "reference"), **data)
    expected = dense(objective, point, data)
    found = products(objective.curvature(point, 1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * abs(expected).max())


@pytest.mark.parametrize(
    "more",
    [
        {"layers": 2},
        {"bidirectional": True},
        {"layer_norm": True},
        {"embedding_size": 2},
        {"connections": {"W_rec": np.tile(np.eye(4), 4)}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_products_of_other_networks(more: dict[str, Any]) -> None:
    data = task("cross_entropy")
    if "embedding_size" in more:
        data["x"] = np.random.default_rng(0).integers(0, 2, (3, T))
    objective, point = objective_of(network("lstm", "reference", **more), **data)
    expected = dense(objective, point, data)
    if "connections" in more:
        at = objective.parts[objective.keys.index("W_rec")]
        free = np.ones(point.shape[1], bool)
        free[at] = np.tile(np.eye(4), 4).ravel() > 0
        expected *= free & free[:, None]
    found = products(objective.curvature(point, 1.0))
    if "connections" in more:
        found *= free[:, None]  # nothing ever moves along these
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("outputs", [3, None])
def test_structural_products_are_those_of_hidden_units(outputs: int | None) -> None:
    data = task("mse")
    rnn = RNN(2, 3, outputs, dtype=np.float64, seed=1, backend="reference")
    objective, point = objective_of(rnn, **data)
    J = jacobian(objective, point, lambda made: made.hidden)
    expected = dense(objective, point, data) + 0.3 * J.T @ J / objective.data.counted.sum()
    found = products(objective.curvature(point, 1.0), 0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * abs(expected).max())


def test_products_of_a_part_and_of_weighted_steps() -> None:
    """Those of a share of the sequences are those of its own mean; weights are those of the loss."""
    data = task("mse")
    objective, point = objective_of(network("elman", "reference"), **data)
    of_two = {key: value[:2] if isinstance(value, np.ndarray) else value for key, value in data.items()}
    alone, _ = objective_of(network("elman", "reference"), **of_two)
    found, expected = products(objective.curvature(point, 0.6)), products(alone.curvature(point, 1.0))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    weighted, _ = objective_of(network("elman", "reference"), **data, weights={"rows": [1, 1, 0]})
    np.testing.assert_allclose(products(weighted.curvature(point, 1.0)), expected, atol=1e-9)


@pytest.mark.parametrize("more", [{"dropout": 0.5}, {"noise": 0.5}])
def test_a_part_meets_the_same_dropout_and_noise(more: dict[str, float], monkeypatch: Any) -> None:
    """Also where the sequences of the part are shorter than others."""
    found, lengths, x = [], np.array([2, 3, T, 4]), random(1, 4, T, 2)
    curvature = Objective.curvature

    def note(self: Objective, point: np.ndarray, share: float) -> Any:
        for of in (share, 1.0):
            found.append(curvature(self, point, of).made.outputs[0, :2, :3])
        return curvature(self, point, share)

    monkeypatch.setattr(Objective, "curvature", note)
    rnn = RNN(2, 3, 2, "leaky", dtype=np.float64, seed=1, backend="reference")
    options = {"optimizer": HessianFree(curvature=0.5, iterations=1), "shuffle": False, "lengths": lengths}
    fit(rnn, x, random(2, 4, T, 2), loss="mse", epochs=1, seed=2, progress=False, **options, **more)
    within = np.arange(3) < lengths[:2, None]
    np.testing.assert_array_equal(found[0][within], found[1][within])


def test_damping_stays_a_number() -> None:
    """Where there is nothing to gain it grows with every update, and checkpoints must hold it."""
    rnn = RNN(2, 3, 2, activation="relu", seed=0, backend="reference")
    for array in rnn.parameters.values():
        array[...] = 0
    optimizer = loaded(np.array(1e100))
    fit(rnn, np.zeros((2, T, 2)), np.zeros((2, T, 2)), loss="mse", optimizer=optimizer, progress=False)
    assert optimizer.damping == 1e100


@given(st.integers(0, 2**32), st.sampled_from(LOSSES), st.sampled_from(list(CELLS)))
@settings(max_examples=20, deadline=None)
def test_the_matrix_is_symmetric_and_positive(seed: int, loss: str, cell: str) -> None:
    objective, point = objective_of(network(cell, "reference"), **task(loss))
    curvature = objective.curvature(point, 1.0)
    u, v = (random(seed + j, *point.shape) for j in range(2))
    Gu, Gv = curvature.product(u), curvature.product(v)
    size = np.linalg.norm(u) * np.linalg.norm(Gv)
    assert abs((u * Gv - v * Gu).sum()) < 1e-6 * size
    assert (v * Gv).sum() > -1e-6 * size
    assert not curvature.product(0 * v).any()


def test_products_agree(compiled: str) -> None:
    """On each backend those of the reference, for two networks at once."""
    found = []
    for backend in ("reference", compiled):
        objective, point = objective_of(network("elman", backend, models=2), **task("bce"))
        vector = move(random(0, *point.shape), backend)
        structural = move(np.array([0.1, 0.2]), backend)
        found.append(move(objective.curvature(point, 0.5).product(vector, structural), "cpu"))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-7)


def test_conjugate_gradients_solve(backend: str) -> None:
    """Two systems at once, one of which needs no step; iterates are ever fewer, and the last is the best."""
    n = 12
    A = np.array([a @ a.T + np.eye(n) for a in random(0, 2, n, n)])
    b, x = random(1, 2, n), random(2, 2, n)
    x[1] = np.linalg.solve(A[1], b[1])
    b[1] = A[1] @ x[1]

    def product(v: Any) -> Any:
        return move(np.einsum("kij,kj->ki", A, move(v, "cpu")), backend)

    iterates = [
        move(one, "cpu") for one in conjugate_gradients(product, move(b, backend), move(x, backend), 40, 0)
    ]
    np.testing.assert_allclose(iterates[-1][0], np.linalg.solve(A[0], b[0]), rtol=1e-8)
    np.testing.assert_allclose(iterates[-1][1], x[1], rtol=1e-8)
    values = [one[0] @ A[0] @ one[0] / 2 - b[0] @ one[0] for one in iterates]
    assert (np.diff(values) < 1e-12).all() and len(iterates) < 16


def test_conjugate_gradients_stop() -> None:
    """After 11 iterations at the earliest, when the last 10 have gained too little."""
    count = []

    def product(v: np.ndarray) -> np.ndarray:
        count.append(1)
        return np.geomspace(1, 1e3, 200) * v

    b = np.ones((1, 200))
    for tolerance, least, most in ((1.0, 12, 12), (0.0005, 20, 150), (0.0, 151, 401)):
        count.clear()
        conjugate_gradients(product, b, 0 * b, 400, tolerance)
        assert least <= len(count) <= most, tolerance


def test_the_best_of_the_last_iterates_is_taken(backend: str) -> None:
    """Of two networks: back while the loss falls, but over no hill; those that are off stay at the last."""
    values = np.array([[0.0, 5.0], [3.0, 2.0], [1.0, 3.0], [2.0, 4.0]])  # of iterates 0 to 3
    iterates = [move(np.full((2, 3), float(j)), backend) for j in range(4)]

    def value(step: Any) -> Any:
        return move(values[int(move(step, "cpu").max()), [0, 1]], backend)

    for on, chosen in (([True, True], [2, 1]), ([False, True], [3, 1])):
        step, losses = go_back(value, iterates, move(np.array(on), backend))
        assert move(step, "cpu")[:, 0].tolist() == chosen
        assert move(losses, "cpu").tolist() == [values[chosen[0], 0], values[chosen[1], 1]]


def test_steps_are_halved_until_the_loss_falls(backend: str) -> None:
    """The loss of a network falls for rates below its own limit, one of which is never reached."""
    limits, slope = np.array([2.0, 0.3, 1e-9]), np.full(3, -1.0)

    def value(step: Any) -> Any:
        rate = move(step, "cpu")[:, 0]
        return move(np.where(rate < limits, -rate, 1), backend)

    rates = search_line(
        value,
        *(move(np.ones((3, 2)), backend), move(np.zeros(3), backend), move(slope, backend)),
        move(np.ones(3), backend),
    )
    assert move(rates, "cpu").tolist() == [1, 0.25, 0]


def test_structural_damping_is_in_units_of_the_damping(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all products but the last of an update, which says what the loss should have fallen by."""
    weights = []

    def product(self: Curvature, vector: Any, structural: Any = None) -> Any:
        weights.append(structural)
        return vector

    monkeypatch.setattr(Curvature, "product", product)
    run(small(), HessianFree(0.1, 0.3), epochs=1, batch_size=12)
    *others, last = weights
    assert last is None and [float(weight[0]) for weight in others] == pytest.approx([0.03] * len(others))


def run(rnn: RNN, optimizer: HessianFree | None = None, **more: Any) -> History:
    """Three updates an epoch."""
    optimizer = HessianFree(0.1, 0.1, 0.8, 20) if optimizer is None else optimizer
    options = {"optimizer": optimizer, "epochs": 2, "batch_size": 4, "seed": 0, "progress": False}
    return fit(rnn, **(echo(12) | options | more))


def test_a_quadratic_problem_takes_one_update(backend: str) -> None:
    """The output layer alone, of squared errors: linear regression, with weight decay a ridge."""
    for ridge in (0.0, 0.3):
        rnn = RNN(2, 4, 1, dtype=np.float64, seed=0, backend=backend)
        x, targets = random(0, 6, 5, 2), random(1, 6, 5, 1)
        trainable = dict.fromkeys(rnn.parameters, False) | {"W_out": True}
        hidden = to_host({"": rnn.forward(x).hidden})[""].reshape(-1, 4)
        optimizer = HessianFree(1e-9, weight_decay=ridge)
        fit(rnn, x, targets, loss="mse", optimizer=optimizer, epochs=1, trainable=trainable, progress=False)
        normal = hidden.T @ hidden / 30 + ridge * np.eye(4)
        expected = np.linalg.solve(normal, hidden.T @ targets.reshape(-1) / 30)
        np.testing.assert_allclose(to_host(rnn.parameters)["W_out"][:, 0], expected, rtol=1e-5)
        assert optimizer.damping == pytest.approx(1e-9 * 2 / 3) and optimizer.damping.shape == ()


def test_a_search_starts_from_a_share_of_the_last_solution() -> None:
    """One iteration each, of a linear regression: the second from half the solution of the first."""
    rnn = RNN(2, 4, 1, dtype=np.float64, seed=0)
    x, targets = random(0, 6, 5, 2), random(1, 6, 5, 1)
    hidden = rnn.forward(x).hidden.reshape(-1, 4)
    trainable = dict.fromkeys(rnn.parameters, False) | {"W_out": True}
    optimizer = HessianFree(0.2, iterations=1, decay=0.5)
    last: Any = 0
    for _ in range(2):
        residual = hidden @ rnn.parameters["W_out"] - targets.reshape(-1, 1)
        matrix = hidden.T @ hidden / 30 + optimizer.damping * np.eye(4)
        start = 0.5 * last * np.ones((4, 1))
        r = -hidden.T @ residual / 30 - matrix @ start
        expected = start + (r * r).sum() / (r.T @ matrix @ r) * r
        fit(rnn, x, targets, loss="mse", optimizer=optimizer, epochs=1, trainable=trainable, progress=False)
        last = optimizer.state_dict()["solution.W_out"]
        np.testing.assert_allclose(last, expected, rtol=1e-6)


def test_steps_that_go_too_far_are_halved_and_damped() -> None:
    """Products are taken on a sequence that has no curvature, so that a step is the gradient / damping."""
    rnn = RNN(2, 4, 1, dtype=np.float64, seed=0)
    x, targets = random(0, 8, 5, 2), random(1, 8, 5, 1)
    x[0] = 0
    trainable = dict.fromkeys(rnn.parameters, False) | {"W_out": True}
    before, hidden = copied(rnn)["W_out"], rnn.forward(x).hidden.reshape(-1, 4)
    normal = hidden.T @ hidden / 40
    gradient = normal @ before[:, 0] - hidden.T @ targets.reshape(-1) / 40
    most = 2 * (gradient @ gradient) / (gradient @ normal @ gradient)  # where the loss is what it was
    optimizer = HessianFree(0.2 / most, curvature=0.1)  # 5 times as far
    options = {"loss": "mse", "optimizer": optimizer, "shuffle": False, "trainable": trainable}
    fit(rnn, x, targets, epochs=1, progress=False, **options)
    step = copied(rnn)["W_out"][:, 0] - before[:, 0]
    np.testing.assert_allclose(step, -gradient * most * 5 / 8, rtol=1e-6)
    assert optimizer.damping == pytest.approx(0.2 / most * 3 / 2)


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_losses_fall(backend: str, cell: str) -> None:
    rnn = RNN(2, 6, 2, cell, seed=0, backend=backend)
    history = run(rnn, batch_size=12, epochs=4)
    assert (np.diff(history.train) < 0).all() and history.train[-1] < 0.7 * history.train[0]


def test_networks_have_searches_of_their_own(backend: str) -> None:
    rnn, optimizer = small(2, backend, dtype=np.float64), HessianFree(0.1, 0.1)
    history = run(rnn, optimizer, epochs=1)
    assert optimizer.damping.shape == (2,)
    for j in range(2):
        alone = small(None, backend, seed=j, dtype=np.float64)
        single = run(alone, own := HessianFree(0.1, 0.1), epochs=1)
        np.testing.assert_allclose(history.train[:, j], single.train, rtol=1e-3)
        for key, array in copied(alone).items():
            np.testing.assert_allclose(copied(rnn)[key][j], array, rtol=1e-2, atol=1e-3)
        assert own.damping == optimizer.damping[j]


@pytest.mark.parametrize("models", [None, 2])
def test_resumed_training_gives_the_same_bits(tmp_path: Path, models: int | None) -> None:
    more = {"dropout": 0.2, "schedule": lambda u: 1 / (1 + u), "keep": "best"}
    whole, parts, path = small(models), small(models), tmp_path / "a.npz"
    expected = run(whole, epochs=4, **more)
    run(parts, epochs=2, checkpoint=path, **more)
    again, optimizer = small(models, seed=9), HessianFree(0.1, 0.1, 0.8, 20)
    history = run(again, optimizer, epochs=4, checkpoint=path, **more)
    assert same((history, again), (expected, whole))
    assert set(optimizer.state_dict()) > {"step", "damping", "solution.W_rec"}
    with pytest.raises(ValueError, match="this is the checkpoint of another training: optimizer is Hess"):
        run(again, HessianFree(0.2, 0.1, 0.8, 20), epochs=5, checkpoint=path, **more)


def test_threads_do_not_matter(threads: Any) -> None:
    made = []
    for number in (1, 3):
        threads(number)
        rnn = small()
        made.append((run(rnn), rnn))
    assert same(*made)


def test_parts_that_are_trained(backend: str) -> None:
    """The rest keeps its bits."""
    part, rnn = np.arange(12) % 3 > 0, small(None, backend)
    before = copied(rnn)
    run(rnn, HessianFree(0.1, weight_decay={"W_rec": 0.1}), trainable={"W_rec": part, "b": False})
    after = copied(rnn)
    assert np.array_equal(after["b"], before["b"])
    changed = after["W_rec"] != before["W_rec"]
    assert changed[:, part].all() and not changed[:, ~part].any()


def test_missing_connections_and_signs_stay() -> None:
    part = np.arange(12) % 3 > 0
    rnn = small(connections={"W_in": part}, signs={"W_out": np.ones((12, 2))})
    run(rnn)
    assert not rnn.parameters["W_in"][:, ~part].any() and (rnn.parameters["W_out"] >= 0).all()


def test_a_network_that_diverged_stays(backend: str) -> None:
    rnn, good = small(2, backend), small(2, backend)
    rnn.parameters["W_in"][1] = 1e38
    rnn.parameters["W_out"][1] = 3e38
    before = copied(rnn)
    history, alone = run(rnn, epochs=1), run(good, epochs=1)
    assert history.diverged.tolist() == [-1, 0]
    assert history.train[0, 0] == pytest.approx(alone.train[0, 0], rel=1e-3)
    assert all(np.array_equal(array[1], before[key][1]) for key, array in copied(rnn).items())


def loaded(damping: np.ndarray) -> HessianFree:
    """An optimiser with that damping."""
    optimizer = HessianFree()
    optimizer.load_state_dict(optimizer.state_dict() | {"damping": damping})
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HessianFree(0), "damping is 0; it must be a number above 0"),
        (lambda: HessianFree(structural=-1), "structural is -1; it must be a number at least 0"),
        (lambda: HessianFree(curvature=1.5), "curvature is 1.5; it must be a number from"),
        (lambda: HessianFree(iterations=0), "iterations is 0; it must be an integer from 1"),
        (lambda: HessianFree(decay=2), "decay is 2; it must be a number from 0 to 1"),
        (lambda: HessianFree().step({}, {}), "HessianFree takes the loss itself, not only its gradients"),
        (lambda: HessianFree().load_state_dict({}), "give what state_dict of a HessianFree returned"),
        (lambda: loaded(-np.ones(2)), "; it must be a positive number, or k of them"),
        (lambda: run(small(), loaded(np.ones(3))), "damping has 3 values, one each for as many networks"),
        (lambda: run(small(), k1=2), "k1 is 2; HessianFree takes whole sequences, leave it out"),
        (
            lambda: run(small(), loss="ctc", targets=[[1]] * 12, mask=None),
            'loss is "ctc"; HessianFree takes "cross_entropy", "mse", "mean_squared_error" or "bce"',
        ),
        (
            lambda: run(small(), loss=lambda y, t: (0.0, 0 * y), mask=None),
            'HessianFree takes "cross_entropy", "mse", "mean_squared_error" or "bce"',
        ),
        (
            lambda: EncoderDecoder(3, 3, 4).fit([[1]], [[1]], optimizer=HessianFree()),
            "it must be an SGD, RMSprop, Adam or AdamW",
        ),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
