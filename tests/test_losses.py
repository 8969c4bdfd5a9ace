"""Losses: what their names mean in PyTorch, weights, and functions of the user."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from devices import to_host

from fastrec import RNN, SGD, fit, gradient_flow, truncated_bptt
from fastrec.rnn.losses import LOSSES, LossName

B, T, O = 3, 7, 4
LENGTHS = [7, 3, 5]
NAMES = [name for name in LOSSES if not LOSSES[name].labels]  # of steps; test_ctc has the others


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(backend: str, models: int | None = None) -> RNN:
    return RNN(2, 5, O, models=models, dtype=np.float64, backend=backend, seed=0)


def task(loss: Any, *lead: int) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    shape = (*lead, B, T)
    targets = rng.integers(O, size=shape) if loss == "cross_entropy" else rng.random((*shape, O))
    return {"x": random(1, B, T, 2), "targets": targets, "loss": loss}


def some_weights(*names: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    weights = {"steps": rng.random((B, T)), "rows": rng.random(B), "classes": rng.random(O)}
    weights["steps"][0, 1] = 0
    return {name: weights[name] for name in names}


def half_squares(outputs: Any, targets: Any, mask: Any) -> tuple[Any, Any]:
    """The loss "mse" of one network or k."""
    d = (outputs - targets) * mask[..., None]
    return (d**2).sum(axis=(-3, -2, -1)) / 2 / mask.sum(), d / mask.sum()


def no_mask(outputs: Any, targets: Any) -> tuple[Any, Any]:
    every = outputs[..., 0] == outputs[..., 0]
    return half_squares(outputs, targets, every.reshape(-1, *every.shape[-2:])[0])


def test_every_name_has_a_loss() -> None:
    assert tuple(LOSSES) == get_args(LossName)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", NAMES)
def test_losses_are_those_of_torch(backend: str, loss: str, weighted: bool, reduction: str) -> None:
    """The table in docs/how-to/training.md; torch's bce takes means over outputs too."""
    torch = pytest.importorskip("torch")
    weights = some_weights("classes") if weighted else None
    w = torch.tensor(weights["classes"]) if weights else torch.ones(O, dtype=torch.float64)
    rnn, data = network(backend), task(loss)
    value, gradients, _ = rnn.loss_and_gradients(**data, reduction=reduction, weights=weights)
    assert rnn.loss(**data, reduction=reduction, weights=weights)[0] == value
    outputs = torch.tensor(rnn.predict(data["x"])[0], requires_grad=True)
    targets, each = torch.tensor(data["targets"]), {"reduction": reduction}
    if loss == "cross_entropy":
        made = torch.nn.CrossEntropyLoss(w, **each)(outputs.reshape(-1, O), targets.reshape(-1))
    elif loss == "bce":
        made = torch.nn.BCEWithLogitsLoss(w, **each)(outputs, targets) * (O if reduction == "mean" else 1)
    else:
        made = torch.nn.MSELoss(**each)(outputs * w.sqrt(), targets * w.sqrt())
        made = made * (1 if loss == "mean_squared_error" else O / 2 if reduction == "mean" else 1 / 2)
    made.backward()
    assert value == pytest.approx(made.item(), rel=1e-12)
    expected = outputs.grad.numpy().sum(axis=(0, 1))
    np.testing.assert_allclose(to_host(gradients)["b_out"], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", [*NAMES, half_squares])
def test_gradients_are_finite_differences(backend: str, loss: Any) -> None:
    """With weights, and NaN in whatever does not count."""
    rnn, data = network(backend), task(loss) | {"lengths": LENGTHS, "mask": random(4, B, T) > -0.8}
    if not callable(loss):
        data["weights"] = some_weights("steps", "rows", "classes")
        beyond = np.arange(T) >= np.array(LENGTHS)[:, None]
        data["weights"]["steps"][beyond] = np.nan
        if loss != "cross_entropy":
            data["targets"][beyond] = np.nan
            data["targets"][~data["mask"]] = np.nan
    _, gradients, _ = rnn.loss_and_gradients(**data)
    for key, at in (("W_rec", (1, 2)), ("b", (3,)), ("W_out", (0, 3))):
        sides = []
        for step in (1e-5, -1e-5):
            other = rnn.copy()
            other.parameters[key][at] += step
            sides.append(other.loss(**data)[0])
        assert to_host(gradients)[key][at] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("loss", NAMES)
def test_weights(backend: str, loss: str) -> None:
    rnn, data = network(backend), task(loss)
    mask = random(4, B, T) > -0.8
    as_weights = rnn.loss_and_gradients(**data, lengths=LENGTHS, weights={"steps": 1.0 * mask})
    expected = rnn.loss_and_gradients(**data, lengths=LENGTHS, mask=mask)
    assert as_weights[0] == expected[0]
    for key, gradient in to_host(expected[1]).items():
        assert np.array_equal(to_host(as_weights[1])[key], gradient), key
    # A row of weight 2 counts as two rows.
    twice = {key: np.concatenate([data[key], data[key][1:2]]) for key in ("x", "targets")}
    found = rnn.loss(**data, weights={"rows": np.array([1, 2, 1])})[0]
    assert found == pytest.approx(rnn.loss(**(data | twice))[0], rel=1e-12)
    # Networks at once are as each alone.
    several, weights = network(backend, models=2), some_weights("steps", "classes")
    losses = several.loss(**data, weights=weights)[0]
    for j in range(2):
        for key, array in to_host(several.parameters).items():
            rnn.parameters[key][...] = to_host({"": array})[""][j] if backend != "gpu" else move(array[j])
        assert losses[j] == pytest.approx(rnn.loss(**data, weights=weights)[0], rel=1e-12)


def move(array: np.ndarray) -> Any:
    from fastrec.backend import array_module

    return array_module("gpu").asarray(array)


@pytest.mark.parametrize("models", [None, 2])
def test_functions(backend: str, models: int | None) -> None:
    rnn, data = network(backend, models), task("mse")
    options = {"lengths": LENGTHS, "mask": random(4, B, T) > -0.8}
    kept = []

    def noted(outputs: Any, targets: Any, mask: Any) -> tuple[Any, Any]:
        kept.append((outputs, mask))
        return half_squares(outputs, targets, mask)

    value, expected, _ = rnn.loss_and_gradients(**data, **options)
    found, gradients, _ = rnn.loss_and_gradients(**(data | {"loss": noted}), **options)
    assert isinstance(found, float if models is None else np.ndarray)
    np.testing.assert_allclose(found, value, rtol=1e-12)
    for key, gradient in to_host(expected).items():
        np.testing.assert_allclose(to_host(gradients)[key], gradient, rtol=1e-9, atol=1e-12)
    outputs, mask = (to_host({"": array})[""] for array in kept[0])
    assert not outputs[..., ~mask, :].any()  # not yet overwritten by the gradient either
    counted = np.broadcast_to(mask[..., None], outputs.shape)
    np.testing.assert_allclose(outputs[counted], to_host({"": rnn.forward(data["x"]).outputs})[""][counted])
    flows = [gradient_flow(rnn, **(data | {"loss": loss})).norms for loss in ("mse", no_mask)]
    np.testing.assert_allclose(flows[0] / flows[1], B * T, rtol=1e-9)


def test_functions_in_fit(backend: str) -> None:
    data, held = task("mse"), task("mse")
    validation = (held["x"], held["targets"], LENGTHS, random(4, B, T) > 0)
    options = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 2, "lengths": LENGTHS, "seed": 0}
    for more in ({}, {"k1": 2, "k2": 3}):
        made = []
        for loss in ("mse", half_squares):
            rnn = network(backend)
            given = data | {"loss": loss, "validation": validation}
            made.append((fit(rnn, **given, **(options | {"optimizer": SGD(0.1)}), **more), rnn))
        (expected, wanted), (history, rnn) = made
        assert history.loss == f"{__name__}.half_squares"
        for name in ("train", "validation", "gradient_norm"):
            np.testing.assert_allclose(getattr(history, name), getattr(expected, name), rtol=1e-9)
        for key, array in to_host(wanted.parameters).items():
            np.testing.assert_allclose(to_host(rnn.parameters)[key], array, rtol=1e-9, atol=1e-12)


def test_targets_of_functions_need_no_time_axis() -> None:
    """One label for a sequence, which its last outputs are compared with; labels go with their rows."""
    rnn, x, labels = network("cpu"), random(1, B, T, 2), np.arange(B)
    seen = []

    def last(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append(targets.tolist())
        d = np.zeros_like(outputs)
        d[:, -1] = outputs[:, -1]
        return 0.5 * (d**2).sum(), d

    fit(rnn, x, labels, loss=last, batch_size=2, epochs=1, shuffle=False, lengths=LENGTHS, seed=0)
    assert seen == [[0, 1], [2]]
    with pytest.raises(ValueError, match=r"targets has shape \(3,\); with k1 its second axis"):
        fit(rnn, x, labels, loss=last, k1=2)


@dataclass(frozen=True)
class Scaled:
    factor: float

    def __call__(self, outputs: Any, targets: Any) -> tuple[Any, Any]:
        value, d = no_mask(outputs, targets)
        return self.factor * value, self.factor * d


def test_checkpoints_know_functions_by_name(tmp_path: Path) -> None:
    data = task(Scaled(2.0)) | {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "a.npz"}
    assert fit(network("cpu"), **data).loss == "Scaled(factor=2.0)"
    for other in (Scaled(3.0), no_mask, "mse"):
        with pytest.raises(ValueError, match=r"another training: loss is Scaled\(factor=2.0\) there"):
            fit(network("cpu"), **(data | {"loss": other}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"loss": "l1"},
            'loss is \'l1\'; it must be "cross_entropy", "mse", "mean_squared_error", "bce" or "ctc"',
        ),
        ({"loss": "bce", "targets": np.full((B, T, O), 2.0)}, 'targets holds 2.0; loss="bce" takes numbers'),
        ({"weights": 5}, 'weights is 5; give a dict with "steps", "rows" or "classes"'),
        ({"weights": {}}, "weights is {}; give a dict"),
        ({"weights": {"row": np.ones(B)}}, "give a dict with"),
        ({"weights": {"rows": np.ones(O)}}, 'weights["rows"] has shape (4,) and dtype float64'),
        ({"weights": {"classes": -np.ones(O)}}, 'weights["classes"] holds -1.0; weights must be 0, or from'),
        ({"weights": {"rows": np.full(B, 1e308)}}, "holds 1e+308; weights must be 0, or from 1e-30 to 1e+30"),
        ({"weights": {"rows": np.full(B, 5e-324)}}, "holds 5e-324; weights must be 0"),
        ({"weights": {"steps": np.full((B, T), np.nan)}}, 'weights["steps"] holds nan'),
        ({"weights": {"rows": np.zeros(B)}}, "weights, mask and lengths leave no step that counts"),
        ({"loss": no_mask, "mask": np.ones((B, T), bool)}, "mask is given, and the loss test_losses.no_mask"),
        ({"loss": half_squares, "weights": {"rows": np.ones(B)}}, "weights is given, and the loss"),
        (
            {"loss": no_mask, "targets": np.ones(2)},
            "targets has shape (2,); its first axis must be that of 3",
        ),
        ({"loss": lambda y, z: 1.0}, "returned 1.0; it must return its value and the gradient"),
        ({"loss": lambda y, z: ([1.0, 2.0], y)}, "the value of the loss test_losses.<lambda> has shape (2,)"),
        (
            {"loss": lambda y, z: (1.0, y[0])},
            "the gradient of the loss test_losses.<lambda> has shape (7, 4)",
        ),
    ],
)
def test_errors(change: dict[str, Any], message: str) -> None:
    rnn, data = network("reference"), task("mse") | change
    before = {key: array.copy() for key, array in rnn.parameters.items()}
    calls: list[Callable[..., Any]] = [rnn.loss, rnn.loss_and_gradients, lambda **more: fit(rnn, **more)]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call(**data)
    assert all(np.array_equal(rnn.parameters[key], array) for key, array in before.items())


def test_errors_of_functions_and_classes() -> None:
    rnn, data = network("reference"), task(no_mask)
    with pytest.raises(
        ValueError, match=r'reduction is "sum", and the loss test_losses.no_mask decides that'
    ):
        rnn.loss(**data, reduction="sum")
    with pytest.raises(ValueError, match="k2 is 3 and k1 2, so that windows overlap"):
        truncated_bptt(rnn, **data, k1=2, k2=3)
    several = network("reference", models=2)
    with pytest.raises(ValueError, match=r'weights has "classes", and targets are led by k = 2'):
        several.loss(**task("cross_entropy", 2), weights=some_weights("classes"))


def test_gradients_of_functions_may_overflow() -> None:
    def steep(outputs: Any, targets: Any) -> tuple[float, Any]:
        return 1.0, np.full(outputs.shape, 1e300)

    rnn, x = RNN(2, 3, seed=0, backend="cpu"), np.ones((1, 2, 2))
    _, gradients, _ = rnn.loss_and_gradients(x, np.ones(1), steep)
    assert not np.isfinite(gradients["W_in"]).any()
    with pytest.raises(FloatingPointError, match="diverged"):
        fit(rnn, x, np.ones(1), loss=steep)


def test_functions_that_are_not_finite_diverge(backend: str) -> None:
    rnn = network(backend)
    before = to_host(rnn.copy().parameters)
    with pytest.raises(FloatingPointError, match="diverged in epoch 0, batch 0: the loss is nan"):
        fit(rnn, **task(Scaled(np.nan)), seed=0)
    assert all(np.array_equal(to_host(rnn.parameters)[key], array) for key, array in before.items())


def test_weights_are_multiplied(backend: str) -> None:
    rnn, weights = network(backend), some_weights("steps", "rows", "classes")
    each = weights["steps"] * weights["rows"][:, None]
    outputs = to_host({"": rnn.predict(random(1, B, T, 2))[0]})[""]
    for loss in ("cross_entropy", "bce"):
        data = task(loss)
        targets = data["targets"]
        if loss == "bce":
            losses = np.logaddexp(0, outputs) - outputs * targets
            total, expected = each.sum(), (each[..., None] * weights["classes"] * losses).sum()
        else:
            w = each * weights["classes"][targets]
            chosen = np.take_along_axis(outputs, targets[..., None], axis=2)[..., 0]
            total, expected = w.sum(), (w * (np.log(np.exp(outputs).sum(axis=2)) - chosen)).sum()
        assert rnn.loss(**data, weights=weights)[0] == pytest.approx(expected / total, rel=1e-12)
        assert rnn.loss(**data, weights=weights, reduction="sum")[0] == pytest.approx(expected, rel=1e-12)


def test_gradients_of_functions_where_nothing_counts(backend: str) -> None:
    def spoilt(outputs: Any, targets: Any, mask: Any) -> tuple[Any, Any]:
        value, d = half_squares(outputs, targets, mask)
        return value, d + 7 * ~mask[..., None]

    rnn, data = network(backend), task("mse") | {"mask": random(4, B, T) > -0.8, "lengths": LENGTHS}
    made = [rnn.loss_and_gradients(**(data | {"loss": loss}))[1] for loss in (half_squares, spoilt)]
    for key, gradient in to_host(made[0]).items():
        assert np.array_equal(to_host(made[1])[key], gradient), key


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("k1", [None, 3])
def test_weights_in_fit(backend: str, loss: str, k1: int | None) -> None:
    """In batches and windows as in one call; those of classes also in validation."""
    rnn, data, weights = network(backend), task(loss), some_weights("steps", "rows", "classes")
    held = task(loss)["x"][::-1].copy(), data["targets"]
    options = {"optimizer": SGD(1e-300), "batch_size": 2, "epochs": 1, "seed": 0, "k1": k1}
    history = fit(rnn, **data, **options, validation=held, lengths=LENGTHS, weights=weights)
    expected = rnn.loss(**data, lengths=LENGTHS, weights=weights)[0]
    assert history.train[0] == pytest.approx(expected, rel=1e-12)
    expected = rnn.loss(*held, loss, weights={"classes": weights["classes"]})[0]
    assert history.validation[0] == pytest.approx(expected, rel=1e-12)
