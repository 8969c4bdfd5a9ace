"""Layer normalisation of the products of a cell: its kernels, and networks that have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from devices import host_kernels, to_host
from test_kernels_rnn import INPUTS, Case, assert_equal, check, differences, reference

import fastrec
from fastrec import RNN, Adam, fit
from fastrec.kernels import RELU, TANH
from fastrec.rnn.cells import CELLS

# Cell, function, whether the inputs are normalised too.
KINDS = [("elman", TANH, True), ("gru", TANH, True), ("lstm", TANH, False), ("lstm_peepholes", TANH, True)]
KINDS += [("leaky", RELU, False)]
SIZES = [(1, 1, 1, 1, 3, 5, 1), (2, 2, 5, 7, 3, 17, 1), (1, 1, 3, 4, 33, 65, 1)]  # k, m, b, t, i, h, o
CHOICES = (True, "recurrent")
all_kinds = pytest.mark.parametrize(("cell", "activation", "inputs"), KINDS, ids=[kind[0] for kind in KINDS])
all_cells = pytest.mark.parametrize("cell", [name for name in CELLS if CELLS[name].normalisable])
all_dtypes = pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
X, Y = np.random.default_rng(0).normal(size=(3, 5, 4)), np.random.default_rng(1).normal(size=(3, 5, 2))
LENGTHS = np.array([5, 0, 3])


@pytest.fixture(scope="module")
def module(backend: str) -> ModuleType:
    return host_kernels("rnn", backend)


@all_cells
@pytest.mark.parametrize("inputs", [True, False])
def test_gradients_of_the_reference_are_finite_differences(cell: str, inputs: bool) -> None:
    """Also of tokens, where the inputs stay as they are."""
    size, lengths = (2, 1, 4, 3, 2, 3, 2), [3, 0, 2, 1]
    case = Case("normalised", TANH, size, tokens=not inputs, lengths=lengths, of=cell, inputs=inputs)
    made = case.run_both(reference)
    for name in (name for name in INPUTS if name in case.arrays):
        found = made[f"d_{name}"].sum(axis=0, keepdims=True) if name == "x" else made[f"d_{name}"]
        expected = differences(case.error, case.arrays[name])
        assert np.allclose(found, expected, rtol=1e-7, atol=1e-7), name


@all_kinds
@all_dtypes
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_reference(
    module: ModuleType, cell: str, activation: int, inputs: bool, size: tuple[int, ...], dtype: type
) -> None:
    case = Case("normalised", activation, size, dtype, tokens=size[4] == 33, of=cell, inputs=inputs)
    check(module, case)


@all_kinds
def test_rows_networks_and_threads_change_nothing(
    compiled: str, threads: Callable[[int], int], cell: str, activation: int, inputs: bool
) -> None:
    """Bit for bit."""
    twin = host_kernels("rnn", compiled)
    case = Case("normalised", activation, (3, 3, 9, 3, 5, 33, 1), of=cell, inputs=inputs)
    threads(1)
    together = case.run_both(twin)
    threads(3)
    assert_equal(case.run_both(twin), together)
    alone = case.take([1], list(range(9))).run_both(twin)
    assert_equal(alone, {name: array[1:2] for name, array in together.items()})
    hidden = case.run(twin, "forward")["hidden"]
    some = case.take([0, 1, 2], [5, 3])
    assert np.array_equal(some.run(twin, "forward")["hidden"], hidden[:, [5, 3]])


def perturbed(cell: str, layer_norm: Any, backend: str = "reference", **options: Any) -> RNN:
    """A network in float64 whose gains and biases are not those that it begins with."""
    rnn = RNN(4, 5, 2, cell, layer_norm=layer_norm, dtype=np.float64, backend=backend, seed=0, **options)
    rng, parameters = np.random.default_rng(2), to_host(rnn.parameters)
    rnn.parameters |= {
        key: array + 0.3 * rng.normal(size=array.shape) for key, array in parameters.items() if key != "leak"
    }
    return rnn


@pytest.mark.parametrize(
    ("cell", "layer_norm", "options"),
    [
        ("gru", True, {"num_layers": 2, "bidirectional": True}),
        ("lstm", "recurrent", {"models": 2, "reverse": True}),
        ("leaky", True, {"activation": "relu", "num_layers": 2}),
    ],
)
def test_networks_go_both_ways_as_the_reference(
    compiled: str, cell: str, layer_norm: Any, options: dict[str, Any]
) -> None:
    """Also without gradients, which keeps the last step alone, and of rows that end."""
    x = X.copy()
    x[np.arange(5) >= LENGTHS[:, None]] = np.nan
    made = []
    for backend in (compiled, "reference"):
        rnn = perturbed(cell, layer_norm, backend, **options)
        noise = {"noise": 0.3, "noise_seed": 1} if cell == "leaky" else {}
        outputs, state = rnn.predict(x, lengths=LENGTHS, **noise)
        target = np.broadcast_to(Y, outputs.shape)
        drawn = {"dropout": 0.3, "dropout_seed": 1, **noise}
        loss, gradients, last = rnn.loss_and_gradients(x, target, "mse", lengths=LENGTHS, **drawn)
        flow = fastrec.gradient_flow(rnn, x, target, "mse", lengths=LENGTHS)
        made.append(
            {"outputs": outputs, "state": state, "loss": loss, "last": last, "flow": flow.norms, **gradients}
        )
    assert made[0].keys() == made[1].keys()
    for key, wanted in made[1].items():
        np.testing.assert_allclose(made[0][key], wanted, rtol=1e-9, atol=1e-11, err_msg=key)


def test_embeddings_tokens_and_windows(compiled: str) -> None:
    tokens, classes = np.arange(24).reshape(3, 8) % 4, np.arange(24).reshape(3, 8) % 2
    losses = []
    for backend in (compiled, "reference"):
        rnn = perturbed("gru", True, backend, embedding_size=3)
        fit(rnn, tokens, classes, epochs=2, k1=2, k2=4, optimizer=Adam(0.01), seed=0, progress=False)
        losses.append(rnn.loss(tokens, classes)[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9) and losses[0] < 0.9


@all_cells
def test_gains_begin_as_1_and_leave_the_other_first_values(cell: str) -> None:
    for initial in ("orthogonal", "uniform"):
        plain, normal, recurrent = (
            RNN(4, 5, 2, cell, layer_norm=choice, initial=initial, num_layers=2, seed=0)
            for choice in (False, *CHOICES)
        )
        g = plain.parameters["b"].size
        gains = {
            name + suffix: np.ones(g, np.float32) for name in ("g_in", "g_rec") for suffix in ("", "_l1")
        }
        assert_equal(normal.parameters, plain.parameters | gains)
        assert normal.parameters.keys() == plain.parameters.keys() | gains.keys()
        assert recurrent.parameters.keys() == plain.parameters.keys() | {"g_rec", "g_rec_l1"}
        assert (plain.layer_norm, normal.layer_norm, recurrent.layer_norm) == (False, True, "recurrent")
    assert 'layer_norm="recurrent"' in repr(recurrent) and "layer_norm" not in repr(plain)


def test_kernels_take_what_is_described() -> None:
    import inspect

    for name in (name for name in CELLS if CELLS[name].normalisable):
        for choice in CHOICES:
            cell = RNN(4, 5, 2, name, layer_norm=choice)._config.kind
            own, arguments = cell.own or "own", list(cell.arguments)
            arguments[3] = "own"
            given = ["cell", "x", "tokens", "lengths", "state", *arguments, "activation", "noise"]
            forward = list(inspect.signature(reference.normalised_forward).parameters)
            assert forward[: len(given)] == given and len(forward) - len(given) - 1 == len(cell.saved)
            read = [key for key in ("W_in", "W_rec", own, "g_in", "g_rec") if cell.takes_back(key)]
            assert len(read) == 5 and not cell.takes_back("b")


def test_files_copies_and_checkpoints_keep_it(tmp_path: Path) -> None:
    rnn = perturbed("gru", "recurrent", backend="cpu")
    rnn.save(tmp_path / "net.npz")
    expected = rnn.predict(X)[0]
    for other in (RNN.load(tmp_path / "net.npz", backend="cpu"), rnn.copy()):
        assert other.layer_norm == "recurrent" and np.array_equal(other.predict(X)[0], expected)
    for choice in CHOICES:
        rnn = RNN(4, 5, 2, "elman", dtype="float64", layer_norm=choice, seed=0, backend="cpu")
        path = tmp_path / f"{choice}.npz"
        fit(rnn, X, Y, loss="mse", epochs=1, seed=0, progress=False, checkpoint=path)
        other = RNN.load(path, backend="cpu")
        assert other.layer_norm == choice and np.array_equal(other.predict(X)[0], rnn.predict(X)[0])
    assert "layer_norm" not in RNN(4, 5, 2)._config.settings


def test_what_cannot_have_it_is_refused(tmp_path: Path) -> None:
    for cell in ("jordan", "gru_before"):
        with pytest.raises(ValueError, match='layer_norm is True; only cell="elman", '):
            RNN(4, 5, 4, cell, layer_norm=True)  # type: ignore[arg-type]
    for wrong in (None, "input", 1, np.zeros(2)):
        with pytest.raises(ValueError, match='it must be False, True or "recurrent"'):
            RNN(4, 5, 4, layer_norm=wrong)  # type: ignore[arg-type]
    rnn = RNN(4, 5, 4, "gru", layer_norm=True, seed=0, backend="cpu")
    steps: tuple[Callable[[], object], ...] = (
        rnn.stepper,
        lambda: rnn.extend(X, 2),
        lambda: rnn.generate([[1]], 2),
    )
    for call in steps:
        with pytest.raises(ValueError, match="the network has layer_norm=True, which only whole sequences"):
            call()
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="PyTorch has no network with layer_norm=True"):
        rnn.to_torch()
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="rnn has layer_norm=True, which the operators of ONNX"):
        fastrec.onnx.export(rnn, tmp_path / "net.onnx")


@all_cells
@pytest.mark.parametrize("layer_norm", CHOICES)
def test_equals_the_equations_in_torch(cell: str, layer_norm: Any) -> None:
    torch = pytest.importorskip("torch")
    rnn = perturbed(cell, layer_norm, "cpu")
    target = torch.from_numpy(Y)
    w = {key: torch.from_numpy(array.copy()).requires_grad_() for key, array in rnn.parameters.items()}
    x, g = torch.from_numpy(X), len(w["b"])

    def normal(a: Any) -> Any:
        return torch.nn.functional.layer_norm(a, (g,), eps=1e-5)

    h, c = w["h0"].expand(3, -1), w["c0"].expand(3, -1) if "c0" in w else None
    outputs = []
    for t in range(5):
        inward, recurrent = x[:, t] @ w["W_in"], normal(h @ w["W_rec"]) * w["g_rec"]
        z = (normal(inward) * w["g_in"] if layer_norm is True else inward) + w["b"]
        if c is not None:
            p_i, p_f, p_o = w["p"].chunk(3) if "p" in w else (0, 0, 0)
            i, f, u, o = (z + recurrent).chunk(4, dim=1)
            c_next = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(u)
            h, c = torch.sigmoid(o + p_o * c_next) * torch.tanh(c_next), c_next
        elif "b_n" in w:
            (z_r, z_z, z_n), (p_r, p_z, p_n) = z.chunk(3, dim=1), recurrent.chunk(3, dim=1)
            n, gate = torch.tanh(z_n + torch.sigmoid(z_r + p_r) * (p_n + w["b_n"])), torch.sigmoid(z_z + p_z)
            h = (1 - gate) * n + gate * h
        else:
            share = w.get("leak", torch.ones(()))
            h = (1 - share) * h + share * torch.tanh(z + recurrent)
        outputs.append(h @ w["W_out"] + w["b_out"])
    error = ((torch.stack(outputs, dim=1) - target) ** 2).sum() / 2
    error.backward()
    loss, gradients, _ = rnn.loss_and_gradients(X, Y, "mse", reduction="sum")
    assert loss == pytest.approx(error.item(), rel=1e-9)
    for key, tensor in w.items():
        np.testing.assert_allclose(gradients[key], tensor.grad, rtol=1e-8, atol=1e-9, err_msg=key)
