"""Connections that are missing and signs of weights: first values, gradients, files, copies and training."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import RNN
from fastrec.backend import move

H = 6
MASK = np.random.default_rng(0).integers(0, 2, (H, H))
DALE = fastrec.dale_signs(H, 0.7)


def on_host(array: Any) -> np.ndarray:
    return move(array, "cpu")


def network(backend: str | None = None, **options: Any) -> RNN:
    options = {"cell": "elman", "seed": 1} | options
    constraints = {"connections": {"W_rec": MASK}, "signs": {"W_rec": DALE, "W_out": DALE}}
    return RNN(3, H, 2, backend=backend, **(constraints | options))


def obeys(rnn: RNN) -> bool:
    weights = {key: on_host(array) for key, array in rnn.parameters.items()}
    missing = np.broadcast_to(MASK == 0, weights["W_rec"].shape)
    signed = all((weights[key] * DALE >= 0).all() for key in ("W_rec", "W_out"))
    return bool(signed and not weights["W_rec"][missing].any())


def test_signs_by_dales_law() -> None:
    assert DALE.ravel().tolist() == [1, 1, 1, 1, -1, -1] and DALE.dtype == np.int8
    assert fastrec.dale_signs(3, 0).min() == fastrec.dale_signs(3, 0).max() == -1
    with pytest.raises(ValueError, match=r"^excitatory is 1\.5; it is a share"):
        fastrec.dale_signs(3, 1.5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"models": 3},
        {"bidirectional": True, "signs": {"W_rec": DALE}},
        {"cell": "jordan"},
        {"num_layers": 2},
    ],
)
def test_first_values_are_allowed(options: dict[str, Any]) -> None:
    if options.get("cell") == "jordan":
        options = options | {"connections": None, "signs": {"W_out": DALE}}
    rnn = network(**options)
    if options.get("cell") != "jordan" and "bidirectional" not in options:
        assert obeys(rnn)
        again = network(**options)
        assert all(np.array_equal(rnn.parameters[key], again.parameters[key]) for key in rnn.parameters)
    free = network(**(options | {"connections": None, "signs": None}))
    for key in rnn.parameters.keys() - {"W_rec", "W_out"}:
        assert np.array_equal(rnn.parameters[key], free.parameters[key])


def test_first_values_are_in_balance_and_keep_their_radius() -> None:
    rnn = RNN(3, 40, cell="gru", signs={"W_rec": fastrec.dale_signs(40)}, seed=0)
    W = rnn.parameters["W_rec"]
    assert abs(W.sum(axis=0)).max() < 1e-5 and np.allclose(fastrec.spectral_radius(rnn), 1, atol=1e-4)
    sparse = RNN(3, 40, connections={"W_rec": np.arange(40) % 3 > 0}, seed=0)
    assert np.allclose(fastrec.spectral_radius(sparse), 1, atol=1e-4)


def test_one_of_several_networks_and_every_direction_can_differ() -> None:
    masks = np.arange(2 * H * H).reshape(2, H, H) % 5 > 0
    rnn = RNN(3, H, models=2, connections={"W_rec": masks}, seed=0)
    assert not rnn.parameters["W_rec"][~masks].any()
    second = rnn.copy(model=1)
    second.parameters["W_rec"] += 1
    second.constrain()
    assert not second.parameters["W_rec"][~masks[1]].any() and second.parameters["W_rec"][masks[1]].all()
    both = RNN(3, H, bidirectional=True, connections={"W_rec": masks}, seed=0)
    assert not both.parameters["W_rec"][~masks].any()


def test_constrain_sets_what_is_not_allowed_to_zero(backend: str) -> None:
    rnn = network(backend)
    before = {key: on_host(array).copy() for key, array in rnn.parameters.items()}
    rnn.constrain()
    assert all(np.array_equal(on_host(rnn.parameters[key]), before[key]) for key in before)
    for array in rnn.parameters.values():
        array[...] = 0.5
    rnn.constrain()
    assert np.array_equal(on_host(rnn.parameters["W_rec"]), np.where((MASK == 1) & (DALE == 1), 0.5, 0))
    assert np.array_equal(on_host(rnn.parameters["W_out"]), np.where(DALE == 1, [[0.5] * 2], 0))
    assert (on_host(rnn.parameters["W_in"]) == 0.5).all()


def test_missing_connections_have_no_gradient(backend: str) -> None:
    rnn, free = network(backend), network(backend, connections=None, signs=None)
    for key, array in rnn.parameters.items():
        free.parameters[key][...] = array
    x = np.random.default_rng(2).normal(size=(4, 5, 3))
    targets = np.zeros((4, 5), int)
    _, found, _ = rnn.loss_and_gradients(x, targets)
    _, whole, _ = free.loss_and_gradients(x, targets)
    assert np.array_equal(found["W_rec"], np.where(MASK, whole["W_rec"], 0))
    assert all(np.array_equal(found[key], whole[key]) for key in whole.keys() - {"W_rec"})
    trace = rnn.forward(x)
    assert not rnn.backward(trace, d_outputs=trace.outputs)["W_rec"][MASK == 0].any()


def test_training_keeps_them(backend: str) -> None:
    rnn = network(backend, activation="relu")
    x = np.random.default_rng(3).normal(size=(12, 5, 3))
    targets = (x.sum(axis=2) > 0).astype(int)
    signs = []

    def see(epoch: int, history: fastrec.History) -> None:
        signs.append(obeys(rnn))

    def disturb(update: fastrec.TrainingUpdate) -> None:
        update.parameters["W_rec"] -= 0.01

    for optimizer in (fastrec.Adam(0.1, weight_decay=0.1), fastrec.SGD(0.3, momentum=0.9)):
        fastrec.fit(rnn, x, targets, optimizer=optimizer, epochs=3, batch_size=4, seed=0, callback=see)
    fastrec.fit(rnn, x, targets, epochs=1, on_update=disturb, callback=see)
    assert signs == [True] * 7
    W = on_host(rnn.parameters["W_rec"])
    assert (
        W[(MASK == 1)] != on_host(network(backend, activation="relu").parameters["W_rec"])[MASK == 1]
    ).any()


def test_files_copies_and_pickles_have_them(tmp_path: Path) -> None:
    rnn = network(models=2)
    rnn.save(tmp_path / "net.npz")
    x, targets = np.ones((4, 5, 3)), np.zeros((4, 5), int)
    fastrec.fit(rnn.copy(), x, targets, epochs=1, seed=0, checkpoint=tmp_path / "training.npz")
    others = (
        RNN.load(tmp_path / "net.npz"),
        RNN.load(tmp_path / "training.npz"),
        rnn.copy(),
        rnn.copy(model=1),
    )
    for other in (*others, pickle.loads(pickle.dumps(rnn)), copy.deepcopy(rnn)):
        for array in other.parameters.values():
            array[...] = -1
        other.constrain()
        assert obeys(other) and on_host(other.parameters["W_rec"]).any()


def test_a_checkpoint_belongs_to_a_training_with_the_same(tmp_path: Path) -> None:
    x, targets, options = (
        np.ones((4, 5, 3)),
        np.zeros((4, 5), int),
        {"seed": 0, "checkpoint": tmp_path / "t.npz"},
    )
    fastrec.fit(network(), x, targets, epochs=1, **options)
    fastrec.fit(network(), x, targets, epochs=2, **options)
    with pytest.raises(ValueError, match=r"constraints is .* there, and here it is"):
        fastrec.fit(network(signs=None), x, targets, epochs=3, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connections": MASK}, r"^connections is .*; it must be a mapping"),
        ({"signs": {"W": DALE}}, r"^signs has the key \'W\'; the parameters are W_in, W_rec"),
        (
            {"signs": {"W_rec": np.ones((H, 2))}},
            r'^signs\["W_rec"\] has shape \(6, 2\); it must broadcast to \(6, 6\)',
        ),
        ({"connections": {"W_rec": [0.5] * H}}, r'^connections\["W_rec"\] holds other values than 0, 1'),
        ({"signs": {"W_rec": [[np.nan]] * H}}, r'^signs\["W_rec"\] holds other values than -1, 0, 1'),
        ({"signs": {"W_rec": "plus"}}, r'^signs\["W_rec"\]'),
    ],
)
def test_other_constraints_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)
