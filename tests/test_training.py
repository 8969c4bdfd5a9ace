"""Truncated backpropagation, and training: what it computes, that it resumes, and how it fails."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
from devices import to_host

from fastrec import RNN, SGD, Adam, History, fit, truncated_bptt
from fastrec.rnn import checkpoint as checkpoints
from fastrec.rnn import losses, validation
from fastrec.rnn.history import TrainingLog

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

KINDS = [("elman", 1), ("jordan", 1), ("gru", 1), ("lstm", 1), ("elman", 2), ("lstm", 2)]
T = 7
LENGTHS = [7, 3, 5]


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(cell: str, backend: str, layers: int = 1, models: int | None = None, **more: Any) -> RNN:
    """2 inputs, 4 hidden units, 3 outputs, no parameter 0."""
    rnn = RNN(
        2, 4, 3, cell, num_layers=layers, models=models, dtype=np.float64, backend=backend, seed=0, **more
    )
    for seed, (key, value) in enumerate(to_host(rnn.parameters).items()):
        rnn.parameters[key] = value + 0.1 * random(seed, *value.shape)
    return rnn


def task() -> dict[str, Any]:
    """Three sequences of which a few steps do not count."""
    mask = random(3, 3, T) > -0.8
    return {"x": random(1, 3, T, 2), "targets": random(2, 3, T, 3), "loss": "mse", "mask": mask}


def echo(n: int, seed: int = 0) -> dict[str, Any]:
    """Six random bits as tokens; the target is the bit of two steps ago."""
    bits = np.random.default_rng(seed).integers(0, 2, (n, 6))
    mask = np.ones(bits.shape, bool)
    mask[:, :2] = False
    return {"x": bits, "targets": np.roll(bits, 2, axis=1), "mask": mask}


def small(models: int | None = None, backend: str = "cpu", **more: Any) -> RNN:
    """A network that learns `echo`."""
    return RNN(2, 12, 2, models=models, backend=backend, **{"seed": 0} | more)


def copied(rnn: RNN) -> dict[str, np.ndarray]:
    return {key: value.copy() for key, value in to_host(rnn.parameters).items()}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    a, b = to_host(a), to_host(b)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key], equal_nan=True) for key in a)


def curves(history: History) -> dict[str, np.ndarray]:
    """All but the times."""
    return {
        key: np.array(value, float)
        for key, value in vars(history).items()
        if key not in ("seconds", "loss") and value is not None
    }


def same(a: tuple[History, RNN], b: tuple[History, RNN]) -> bool:
    """Equal curves and parameters, bit for bit."""
    return equal(curves(a[0]), curves(b[0])) and equal(a[1].parameters, b[1].parameters)


def noting(monkeypatch: pytest.MonkeyPatch, rnn: RNN) -> list[int]:
    """The numbers of steps that a network reads from now on."""
    steps: list[int] = []
    forward = rnn._forward

    def note(batch: Any, *arguments: Any, **more: Any) -> Any:
        steps.append(batch.x.shape[2])
        return forward(batch, *arguments, **more)

    monkeypatch.setattr(rnn, "_forward", note)
    return steps


class TestTruncation:
    @pytest.mark.parametrize(("cell", "layers"), KINDS)
    @pytest.mark.parametrize("k1", [1, 3, 7, 9])
    def test_long_windows_add_up_to_the_gradient(self, backend: str, cell: str, layers: int, k1: int) -> None:
        for models, lengths, given in ((None, None, False), (2, LENGTHS, False), (None, LENGTHS, True)):
            rnn = network(cell, backend, layers, models)
            options = task() | {"lengths": lengths, "reduction": "sum"}
            if given:
                options["state"] = random(4, *rnn.forward(options["x"]).state.shape)
            loss, grads, last = rnn.loss_and_gradients(**options, want_x=False)
            parts = list(truncated_bptt(rnn, k1=k1, k2=9, **options))
            assert len(parts) == -(-T // k1)
            np.testing.assert_allclose(sum(part[0] for part in parts), loss, rtol=1e-12)
            for key, gradient in grads.items():
                np.testing.assert_allclose(
                    sum(part[1][key] for part in parts), gradient, rtol=1e-9, atol=1e-11, err_msg=key
                )
            np.testing.assert_allclose(parts[-1][2], last, rtol=1e-12)

    @pytest.mark.parametrize(("cell", "layers"), KINDS)
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_one_window_is_loss_and_gradients(
        self, backend: str, cell: str, layers: int, reduction: str
    ) -> None:
        for models, lengths in ((None, None), (2, LENGTHS)):
            rnn = network(cell, backend, layers, models)
            options = task() | {"lengths": lengths, "reduction": reduction}
            for drop in ((), ("mask",)):
                given = {key: value for key, value in options.items() if key not in drop}
                ((loss, grads, last),) = truncated_bptt(rnn, k1=T, k2=T, **given)
                loss0, grads0, last0 = rnn.loss_and_gradients(**given, want_x=False)
                assert np.array_equal(loss, loss0) and equal(grads, grads0) and np.array_equal(last, last0)

    @pytest.mark.parametrize(("cell", "layers"), KINDS)
    @pytest.mark.parametrize(("k1", "k2"), [(2, 2), (2, 3), (1, 4), (3, 5)])
    @pytest.mark.parametrize("learn", [False, True])
    def test_windows(self, backend: str, cell: str, layers: int, k1: int, k2: int, learn: bool) -> None:
        """Each window is the loss of its new steps, begun at a state of a window before."""
        lengths = np.array(LENGTHS if learn else [T] * 3)
        options = task() | {"lengths": lengths}
        options["mask"][0] = True  # of the longest: a step counts in each window
        rnn, again = network(cell, backend, layers), network(cell, backend, layers)
        x, targets, mask = options["x"], options["targets"], options["mask"]
        parts = truncated_bptt(rnn, k1=k1, k2=k2, **options)
        optimizer, other = SGD(0.5), SGD(0.5)
        states: dict[int, Any] = {0: None}
        for last in range(0, T, k1):
            end = min(last + k1, T)
            begin = last if k1 == k2 else max(0, end - k2)
            part, left = slice(begin, end), np.clip(lengths - begin, 0, end - begin)
            counted = mask[:, part] & (np.arange(begin, end) >= last)
            given = {"lengths": left, "mask": counted, "state": states[begin], "want_x": False}
            loss0, grads0, state0 = again.loss_and_gradients(x[:, part], targets[:, part], "mse", **given)
            trace = again.forward(x[:, part], states[begin], left)
            for step in range(max(begin, 1), end + 1):
                states[step] = trace.state_at(step - begin)
            loss, grads, state = next(parts)
            assert loss == loss0 and equal(grads, grads0) and np.array_equal(state, state0)
            if learn:
                optimizer.step(rnn.parameters, grads, backend=backend)
                other.step(again.parameters, grads0, backend=backend)
        assert next(parts, None) is None

    def test_no_step_is_computed_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rnn = network("lstm", "reference")
        steps = noting(monkeypatch, rnn)
        list(truncated_bptt(rnn, k1=3, **task()))
        assert steps == [3, 3, 1]

    def test_windows_without_a_step_that_counts(self, backend: str) -> None:
        rnn, options = network("gru", backend), task()
        options["mask"] = np.zeros((3, T), bool)
        options["mask"][1, 4] = True
        trace = rnn.forward(options["x"])
        y, t = trace.outputs[1, 4], options["targets"][1, 4]
        parts = truncated_bptt(rnn, k1=2, **options)
        for end, expected in ((2, 0), (4, 0), (6, ((y - t) ** 2).sum() / 2), (7, 0)):
            loss, grads, state = next(parts)
            assert loss == pytest.approx(expected, rel=1e-12)
            assert grads.keys() == rnn.parameters.keys() | {"state"}
            assert expected or not any(gradient.any() for gradient in grads.values())
            np.testing.assert_allclose(state, trace.state_at(end), rtol=1e-12)

    @pytest.mark.parametrize("models", [None, 2])
    def test_a_state_that_is_not_finite_spoils_its_network_only(
        self, backend: str, models: int | None
    ) -> None:
        rnn = RNN(2, 4, 3, activation="relu", models=models, backend=backend, seed=0)
        bad = rnn.parameters["W_in"] if models is None else rnn.parameters["W_in"][1]
        bad[...] = 1e38
        options = task() | {"x": np.full((3, T, 2), 9.0)}
        options["mask"][:, :3] = False
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.array([part[0] for part in truncated_bptt(rnn, k1=2, **options)])
        spoilt = losses if models is None else losses[:, 1]
        assert spoilt[0] == 0 and np.isnan(spoilt[1:]).all()  # the first window has no step that counts
        if models:
            assert np.isfinite(losses[:, 0]).all()

    def test_tokens_and_data_of_each_network(self, backend: str) -> None:
        tokens = np.random.default_rng(0).integers(0, 2, (2, 3, T))
        targets = np.random.default_rng(1).integers(0, 3, (2, 3, T))
        rnn = network("elman", backend, models=2)
        both = list(truncated_bptt(rnn, tokens, targets, 3, 4))
        for j in range(2):
            alone = truncated_bptt(rnn.copy(j), tokens[j], targets[j], 3, 4)
            for (loss, grads, state), (loss0, grads0, state0) in zip(both, alone, strict=True):
                assert loss[j] == pytest.approx(loss0, rel=1e-12)
                np.testing.assert_allclose(grads["W_rec"][j], grads0["W_rec"], rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(state[j], state0, rtol=1e-12)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"k1": 0}, "k1 is 0; it must be an integer from 1"),
            ({"k1": 3, "k2": 2}, "k2 is 2; it must be an integer from 3"),
            ({"loss": "mae"}, "loss is 'mae'"),
            ({"reduction": "max"}, "reduction is 'max'"),
            (
                {"x": np.ones((3, T, 5))},
                "x has shape (3, 7, 5) and dtype float64; this network takes numbers",
            ),
            ({"x": np.ones((3, T))}, "x has shape (3, 7) and dtype float64"),
            ({"x": np.ones((0, T, 2))}, "x is empty, shape (0, 7, 2)"),
            ({"x": np.full((3, T, 2), np.nan)}, "x holds nan at [0, 0, 0]"),
            ({"x": np.full((3, T), 2)}, "x holds 2 at [0, 0]; it must be from 0 to 1"),
            ({"targets": np.ones((3, T))}, "targets has shape (3, 7)"),
            ({"lengths": [8, 1, 1]}, "lengths[0] is 8"),
            ({"mask": np.zeros((3, T), bool)}, "mask and lengths leave no step"),
            ({"mask": np.ones((3, T))}, "mask has shape (3, 7) and dtype float64"),
            ({"state": np.ones((1, 3, 5))}, "state has shape (1, 3, 5)"),
        ],
    )
    def test_arguments_are_refused_at_the_call(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            truncated_bptt(network("elman", "reference"), **({"k1": 2} | task() | change))


class TestFit:
    @pytest.mark.parametrize(("cell", "k1"), [("elman", None), ("jordan", None), ("gru", 3), ("lstm", None)])
    def test_learns_an_echo(self, backend: str, cell: str, k1: int | None) -> None:
        # Jordan's state is its output, which holds one bit: an echo of one step is what it can learn.
        data, test = echo(128), echo(32, seed=1)
        if cell == "jordan":
            for some in (data, test):
                some["targets"] = np.roll(some["x"], 1, axis=1)
        rnn = small(backend=backend, cell=cell)
        validation = (test["x"], test["targets"], None, test["mask"])
        history = fit(
            rnn, **data, validation=validation, optimizer=Adam(0.03), epochs=25, k1=k1, k2=k1 and 6, seed=0
        )
        assert history.train[0] > 0.2 and history.train[-1] < 0.02 and history.validation[-1] < 0.02
        predicted = rnn.forward(test["x"]).outputs.argmax(axis=2)
        assert (predicted == test["targets"])[test["mask"]].all()

    def test_learns_without_a_backend_named(self) -> None:
        assert fit(small(), **echo(256), optimizer=Adam(0.02), epochs=20, seed=0).train[-1] < 1e-3

    def test_history_of_full_batches(self, backend: str) -> None:
        for models in (None, 2):
            rnn, again = small(models, backend), small(models, backend)
            data, held = echo(8), echo(5, seed=1)
            history = fit(
                rnn,
                **data,
                validation=(held["x"], held["targets"], [6, 3, 6, 6, 1], held["mask"]),
                optimizer=SGD(0.3),
                epochs=3,
                batch_size=8,
                shuffle=False,
                seed=0,
            )
            optimizer = SGD(0.3)
            for epoch in range(3):
                loss, grads, _ = again.loss_and_gradients(**data)
                norm = optimizer.step(again.parameters, grads, models, backend)
                assert np.array_equal(history.train[epoch], loss)
                assert np.array_equal(history.gradient_norm[epoch], norm)
                value, _ = again.loss(**held, lengths=[6, 3, 6, 6, 1])
                np.testing.assert_allclose(history.validation[epoch], value, rtol=1e-6)
            assert equal(rnn.parameters, again.parameters)
            shape = (3,) if models is None else (3, 2)
            for curve in (history.train, history.validation, history.gradient_norm):
                assert curve.shape == shape and curve.dtype == np.float64
            assert history.epochs == 3 and history.seconds.shape == (3,) and (history.seconds > 0).all()
            assert history.loss == "cross_entropy"
            assert history.diverged is None if models is None else (history.diverged == [-1, -1]).all()

    def test_batches_are_the_seeded_permutation(self, backend: str) -> None:
        data, rnn, again = echo(10), small(backend=backend), small(backend=backend)
        history = fit(rnn, **data, epochs=2, batch_size=4, seed=7, optimizer=SGD(0.3))
        optimizer, losses = SGD(0.3), []
        for epoch in range(2):
            order = np.random.Generator(np.random.Philox(key=[7, epoch])).permutation(10)
            for first in (0, 4, 8):
                batch = {key: value[order[first : first + 4]] for key, value in data.items()}
                loss, grads, _ = again.loss_and_gradients(**batch)
                optimizer.step(again.parameters, grads, backend=backend)
                losses.append(loss * batch["mask"].sum())
        assert equal(rnn.parameters, again.parameters)
        np.testing.assert_allclose(history.train, np.array(losses).reshape(2, 3).sum(axis=1) / 40, rtol=1e-12)
        assert not equal(rnn.parameters, fitted(backend, seed=8)[1].parameters)

    def test_updates_of_windows(self, backend: str) -> None:
        options = task() | {"lengths": LENGTHS}
        rnn, again = network("elman", backend, 2), network("elman", backend, 2)
        options["mask"][:, 2:4] = False
        fit(rnn, **options, optimizer=SGD(0.1, 0.9), epochs=1, k1=2, k2=3, shuffle=False, seed=0)
        optimizer, updates = SGD(0.1, 0.9), 0
        for loss, grads, _ in truncated_bptt(again, k1=2, k2=3, **options):
            if loss:  # a window in which no step counts leads to no update
                optimizer.step(again.parameters, grads, backend=backend)
                updates += 1
        assert updates == 2
        assert equal(rnn.parameters, again.parameters)

    def test_networks_at_once_are_networks_alone(self, backend: str) -> None:
        shared = task() | {"lengths": LENGTHS}
        own = shared | {"x": random(5, 2, 3, T, 2), "targets": random(6, 2, 3, T, 3)}
        rates = np.array([0.1, 0.02])
        for options in (shared, own):
            both = network("gru", backend, models=2)
            alone = [both.copy(j) for j in range(2)]
            history = fit(
                both, **options, optimizer=SGD(rates, 0.5, clip=1.0), epochs=4, batch_size=2, seed=0
            )
            for j, rnn in enumerate(alone):
                single = dict(options)
                if options is own:
                    single |= {"x": own["x"][j], "targets": own["targets"][j]}
                one = fit(
                    rnn, **single, optimizer=SGD(rates[j], 0.5, clip=1.0), epochs=4, batch_size=2, seed=0
                )
                np.testing.assert_allclose(history.train[:, j], one.train, rtol=1e-9)
                np.testing.assert_allclose(history.gradient_norm[:, j], one.gradient_norm, rtol=1e-9)
                for key, value in copied(rnn).items():
                    np.testing.assert_allclose(copied(both)[key][j], value, rtol=1e-9, atol=1e-12)

    def test_sequences_in_which_nothing_counts_are_left_out(self, backend: str) -> None:
        data, more = echo(8), echo(12)
        for key in data:
            more[key][[0, 1, 2, 4, 5, 6, 8, 9]] = data[key]
        more["mask"][[3, 7]] = False
        lengths = np.full(12, 6)
        lengths[[10, 11]] = 2
        options = {"epochs": 2, "batch_size": 3, "optimizer": SGD(0.3)}
        a, b = small(backend=backend), small(backend=backend)
        history = fit(a, **data, seed=0, **options), fit(b, **more, lengths=lengths, seed=0, **options)
        np.testing.assert_allclose(history[0].train, history[1].train, rtol=1e-6)
        for key, value in copied(a).items():
            np.testing.assert_allclose(value, copied(b)[key], rtol=1e-4, atol=1e-6)

    def test_validation_sequences_in_which_nothing_counts(self, backend: str) -> None:
        held = echo(4, seed=1)
        held["mask"][[0, 2]] = False
        validation = (held["x"], held["targets"], None, held["mask"])
        rnn = small(backend=backend)
        history = fit(rnn, **echo(4), validation=validation, epochs=1, batch_size=1, seed=0)
        assert history.validation[0] == pytest.approx(rnn.loss(**held)[0], rel=1e-6)

    def test_short_batches_are_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rnn = network("elman", "reference")
        steps = noting(monkeypatch, rnn)
        fit(rnn, **task(), lengths=LENGTHS, epochs=1, batch_size=1, shuffle=False, seed=0)
        assert steps == LENGTHS

    def test_values_are_checked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checked: list[str] = []

        def note(name: str, *arguments: Any) -> Any:
            checked.append(name)
            return read_floats(name, *arguments)

        read_floats = validation.read_floats
        for module in (validation, losses):
            monkeypatch.setattr(module, "read_floats", note)
        fit(network("elman", "reference"), **task(), lengths=LENGTHS, epochs=2, batch_size=2, k1=2, seed=0)
        assert checked == ["x", "targets"]

    def test_data_of_other_layouts(self, backend: str) -> None:
        data = task()
        expected = network("elman", backend)
        fit(expected, **data, epochs=2, batch_size=2, seed=0)
        rnn = network("elman", backend)
        data["x"] = np.asfortranarray(data["x"])
        data["x"].flags.writeable = False
        data["targets"] = data["targets"].tolist()
        fit(rnn, **data, epochs=2, batch_size=2, seed=0)
        assert equal(rnn.parameters, expected.parameters)

    def test_callback(self) -> None:
        seen: list[tuple[int, int]] = []
        optimizer = SGD(0.3)

        def callback(epoch: int, history: History) -> None:
            seen.append((epoch, history.epochs))
            optimizer.learning_rate = 0.1

        history = fit(small(), **echo(8), epochs=3, optimizer=optimizer, callback=callback, seed=0)
        assert seen == [(0, 1), (1, 2), (2, 3)]
        assert optimizer.learning_rate == 0.1
        assert history.train[2] != fit(small(), **echo(8), epochs=3, optimizer=SGD(0.3), seed=0).train[2]
        history = fit(small(), **echo(8), epochs=9, callback=lambda epoch, history: epoch == 3)
        assert history.epochs == 4

    def test_patience(self) -> None:
        data, test = echo(8), echo(8, seed=5)
        test["targets"] = 1 - test["targets"]  # learning makes it worse
        validation = (test["x"], test["targets"], None, test["mask"])
        for models in (None, 2):
            options = {"epochs": 50, "optimizer": Adam(0.01), "patience": 3}
            history = fit(small(models), **data, validation=validation, seed=0, **options)
            best = np.atleast_1d(history.best_epoch)
            assert history.epochs == best.max() + 4 < 50
        assert (
            fit(small(), **data, epochs=9, patience=1, optimizer=Adam(0.01), seed=0).epochs == 9
        )  # on training loss

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"epochs": 0}, "epochs is 0"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"seed": -1}, "seed is -1"),
            ({"patience": 0}, "patience is 0"),
            ({"checkpoint_every": 0}, "checkpoint_every is 0"),
            ({"k2": 3}, "k2 is 3 without k1; give both, or k1 alone"),
            ({"k1": 3, "k2": 2}, "k2 is 2"),
            (
                {"optimizer": "adam"},
                "optimizer is 'adam'; it must be an SGD, RMSprop, Adam, AdamW or",
            ),
            ({"optimizer": SGD([0.1, 0.2])}, "learning_rate has 2 values"),
            ({"loss": "mae"}, "loss is 'mae'"),
            ({"targets": np.ones((8, 6))}, "targets has shape (8, 6) and dtype float64"),
            ({"targets": np.ones((7, 6), int)}, "targets has shape (7, 6)"),
            ({"x": np.full((8, 6), 2)}, "x holds 2 at [0, 0]"),
            ({"mask": np.zeros((8, 6), bool)}, "mask and lengths leave no step"),
            ({"validation": (np.zeros((3, 6), int),)}, "validation has 1 parts"),
            (
                {"validation": (np.zeros((3, 6), int), np.zeros((2, 6), int))},
                "validation: targets has shape (2, 6)",
            ),
            ({"validation": 5}, "validation is 5; give a tuple of x, targets"),
            ({"callback": 5}, "callback is 5; it must be a function"),
            ({"shuffle": "no"}, "shuffle is 'no'; it must be True or False"),
            ({"progress": "no"}, "progress is 'no'; it must be True or False"),
            ({"tokens": "no"}, "tokens is 'no'; it must be True or False"),
            ({"checkpoint": 5}, "checkpoint is 5; it must be the path of a file"),
            ({"checkpoint": "here.txt"}, "here.txt: the suffix must be .npz"),
        ],
    )
    def test_arguments_are_refused(self, change: dict[str, Any], message: str) -> None:
        rnn = small(backend="reference")
        before, optimizer = copied(rnn), Adam()
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(rnn, **(echo(8) | {"optimizer": optimizer} | change))
        assert equal(rnn.parameters, before)
        assert list(optimizer.state_dict()) == ["step", "learning_rate"]  # not bound to the network

    def test_folders_that_are_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="the folder"):
            fit(small(), **echo(8), checkpoint=tmp_path / "none" / "a.npz", seed=0)


def fitted(backend: str = "cpu", models: int | None = None, rnn: RNN | None = None, **more: Any) -> Any:
    """History and network of a short training with everything that has a state."""
    rnn = small(models, backend) if rnn is None else rnn
    rates = 0.03 if models is None else np.geomspace(0.003, 0.03, models)
    held = echo(6, seed=1)
    options = {"optimizer": Adam(rates, clip=1.0), "epochs": 5, "batch_size": 4} | more
    options.setdefault("validation", (held["x"], held["targets"]))
    return fit(rnn, **(echo(10) | {"seed": 0} | options)), rnn


class TestCheckpoints:
    @pytest.mark.parametrize("models", [None, 2])
    @pytest.mark.parametrize("k1", [None, 2])
    @pytest.mark.parametrize("every", [1, 2])
    def test_resumed_is_unbroken(
        self, tmp_path: Path, backend: str, models: int | None, k1: int | None, every: int
    ) -> None:
        options: dict[str, Any] = {"k1": k1, "checkpoint_every": every}
        unbroken = fitted(backend, models, **options)
        for stop in range(5):
            path = tmp_path / f"{stop}.npz"

            def interrupt(epoch: int, history: History, stop: int = stop) -> None:
                if epoch == stop:
                    raise KeyboardInterrupt

            rnn = small(models, backend)
            with pytest.raises(KeyboardInterrupt):
                fitted(backend, models, rnn, **options, checkpoint=path, callback=interrupt)
            assert os.listdir(tmp_path) == [path.name]
            # The first start's network, or a new one: both go on from the file.
            other = small(models, backend, seed=99) if stop % 2 else rnn
            assert same(fitted(backend, models, other, **options, checkpoint=path), unbroken)
            with np.load(path) as file:
                assert len(file["history.train"]) == 5
            assert same(fitted(backend, models, **options, checkpoint=path), unbroken)  # nothing left to do
            path.unlink()

    def test_interrupted_within_an_epoch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, unbroken = tmp_path / "a.npz", fitted()
        for update in range(15):
            optimizer = Adam(0.03, clip=1.0)
            effects = [DEFAULT] * update + [KeyboardInterrupt]
            monkeypatch.setattr(optimizer, "_apply", Mock(wraps=optimizer._apply, side_effect=effects))
            with pytest.raises(KeyboardInterrupt):
                fitted(checkpoint=path, optimizer=optimizer)
            with np.load(path) as file:
                assert len(file["history.train"]) == update // 3
            assert same(fitted(checkpoint=path), unbroken)
            path.unlink()

    def test_interrupted_while_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.npz"
        fitted(checkpoint=path, epochs=2)
        whole = path.read_bytes()

        def savez(file: Any, **arrays: np.ndarray) -> None:
            file.write(b"PK")
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints.np, "savez", savez)
            with pytest.raises(KeyboardInterrupt):
                fitted(checkpoint=path)
        assert path.read_bytes() == whole and os.listdir(tmp_path) == ["a.npz"]
        assert same(fitted(checkpoint=path), fitted())

    @pytest.mark.parametrize("models", [None, 3])
    def test_is_read_as_a_network(self, tmp_path: Path, models: int | None) -> None:
        path, rnn = tmp_path / "a.npz", RNN(2, 5, 2, "gru", models=models, embedding_size=3, seed=8)
        fitted(rnn=rnn, models=models, checkpoint=path, epochs=2)
        loaded = RNN.load(path)
        assert equal(loaded.parameters, rnn.parameters) and repr(loaded) == repr(rnn)
        assert loaded.seed == rnn.seed == 8
        resumed = RNN(2, 5, 2, "gru", models=models, embedding_size=3, seed=9)
        fitted(rnn=resumed, models=models, checkpoint=path)
        assert resumed.seed == 8 == RNN.load(path).seed

    @pytest.mark.parametrize("name", ["elman", "gru", "lstm", "jordan"])
    def test_old_ones_are_read_as_networks(self, name: str) -> None:
        path = Path(__file__).parent / f"data/0.1.0/fit_{name}.npz"
        loaded = RNN.load(path)
        assert loaded.cell == name and loaded.seed is None
        with np.load(path) as file:
            assert all(np.array_equal(file[f"parameters.{k}"], a) for k, a in loaded.parameters.items())

    @pytest.mark.parametrize(
        ("change", "changed"),
        [
            ({"optimizer": SGD(0.01, 0.9)}, "optimizer"),
            ({"batch_size": 3}, "batch_size"),
            ({"k1": 2}, "k1, k2"),
            ({"shuffle": False}, "shuffle"),
            ({"seed": 5}, "seed"),
            ({"dropout": 0.1}, ["dropout"]),
            (echo(30, seed=3), ("data",)),
            ({"validation": (echo(4)["x"], echo(4)["targets"])}, "validation"),
            (
                {"dropout": 0.1, "optimizer": SGD(0.01, 0.9), "epochs": 7} | echo(9),
                ["optimizer", "data", "dropout"],
            ),
        ],
    )
    def test_goes_on_with_other_settings(
        self, tmp_path: Path, change: dict[str, Any], changed: str | list[str]
    ) -> None:
        path = tmp_path / "a.npz"
        first, _ = fitted(checkpoint=path, optimizer=SGD(0.03, 0.9), epochs=2)
        options = {"optimizer": SGD(0.03, 0.9), "epochs": 4, "checkpoint": path} | change
        with pytest.raises(
            ValueError, match=r"a.npz: this is the checkpoint of another .*; use the same, changed="
        ):
            fitted(**options)
        history, other = fitted(**options, changed=changed)
        assert history.epochs == options["epochs"] and np.array_equal(history.train[:2], first.train)
        assert same(fitted(**options), (history, other))  # whose settings are now those of the file
        assert options["optimizer"].learning_rate == (0.01 if "optimizer" in changed else 0.03)

    def test_changes_that_cannot_be(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        fitted(checkpoint=path, epochs=2)
        for change, changed, message in (
            (
                {"optimizer": SGD(0.1)},
                "optimizer",
                r"optimizer is Adam\(.*, and here it is SGD\(.*; use the same, or",
            ),
            (
                {"rnn": RNN(2, 13, 2, seed=0)},
                ["data"],
                "hidden_size is 12 there, and here it is 13; use the same, or",
            ),
            ({"validation": None}, "validation", "validation is .*, and here it is none; use the same, or"),
            ({}, "hidden_size", 'changed is .hidden_size.; it must be "optimizer", "batch_size"'),
            ({}, 5, "changed is 5; give the names"),
            ({"checkpoint": None}, "data", "changed is 'data' without a checkpoint"),
        ):
            before = path.read_bytes()
            with pytest.raises(ValueError, match=message):
                fitted(**({"checkpoint": path} | change), changed=changed)
            assert path.read_bytes() == before

    def test_learning_rates_set_by_a_callback_go_on(self, tmp_path: Path) -> None:
        def run(stop: int | None, **more: Any) -> Any:
            optimizer = SGD(0.3)

            def callback(epoch: int, history: History) -> None:
                optimizer.learning_rate = 0.3 * 0.5 ** (epoch + 1)
                if epoch == stop:
                    raise KeyboardInterrupt

            return fitted(optimizer=optimizer, callback=callback, **more)

        with pytest.raises(KeyboardInterrupt):
            run(2, checkpoint=tmp_path / "a.npz")
        assert same(run(None, checkpoint=tmp_path / "a.npz"), run(None))

    @pytest.mark.parametrize("models", [3, 40])
    @pytest.mark.parametrize("each", [False, True])
    def test_learning_rates_of_another_shape_go_on(self, tmp_path: Path, models: int, each: bool) -> None:
        rates = [np.array(0.3), np.linspace(0.1, 0.3, models)]

        def run(stop: int | None, **more: Any) -> Any:
            optimizer = SGD(rates[not each])

            def callback(epoch: int, history: History) -> None:
                optimizer.learning_rate = rates[each]
                if epoch == stop:
                    raise KeyboardInterrupt

            return fitted(models=models, optimizer=optimizer, callback=callback, epochs=3, **more)

        with pytest.raises(KeyboardInterrupt):
            run(1, checkpoint=tmp_path / "a.npz")
        assert same(run(None, checkpoint=tmp_path / "a.npz"), run(None))

    def test_an_optimizer_that_was_interrupted_goes_on(self, tmp_path: Path) -> None:
        def run(optimizer: SGD, stop: int | None = None, **more: Any) -> Any:
            def callback(epoch: int, history: History) -> None:
                optimizer.learning_rate = 0.3 * 0.5 ** (epoch + 1)
                if epoch == stop:
                    raise KeyboardInterrupt

            return fitted(optimizer=optimizer, callback=callback, **more)

        optimizer, path = SGD(0.1), tmp_path / "a.npz"
        optimizer.learning_rate = 0.3  # before the first step, as good as the argument
        for stop in (0, 2, 3):
            with pytest.raises(KeyboardInterrupt):
                run(optimizer, stop, checkpoint=path)
        assert same(run(optimizer, checkpoint=path), run(SGD(0.3)))
        with pytest.raises(ValueError, match=r"optimizer is SGD\(learning_rate=0.3"):
            run(SGD(0.1), checkpoint=path)

    def test_networks_that_diverged_stay_so(self, tmp_path: Path) -> None:
        def run(**more: Any) -> Any:
            return diverging("cpu", epochs=4, **more)[:2]

        def interrupt(epoch: int, history: History) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=tmp_path / "a.npz", callback=interrupt)
        assert same(run(checkpoint=tmp_path / "a.npz"), run())

    def test_patience_and_more_epochs(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        fitted(checkpoint=path, epochs=2)
        assert same(fitted(checkpoint=path), fitted())
        with pytest.raises(ValueError, match=r"a\.npz: this checkpoint holds 5 epochs; epochs is 4"):
            fitted(checkpoint=path, epochs=4)
        data, test = echo(8), echo(8, seed=5)
        options = data | {"validation": (test["x"], 1 - test["targets"]), "patience": 2, "epochs": 50}
        whole = fit(
            small(),
            **options,
            optimizer=Adam(0.01),
            checkpoint=tmp_path / "b.npz",
            checkpoint_every=9,
            seed=0,
        )
        again = fit(
            small(),
            **options,
            optimizer=Adam(0.01),
            checkpoint=tmp_path / "b.npz",
            checkpoint_every=9,
            seed=0,
        )
        assert equal(curves(whole), curves(again))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"batch_size": 5}, "batch_size is 4 there, and here it is 5"),
            ({"optimizer": Adam(0.01)}, "optimizer is Adam(learning_rate=0.03, clip=1.0"),
            ({"optimizer": SGD(0.03)}, "here it is SGD(learning_rate=0.03"),
            ({"seed": 1}, "seed is 0 there, and here it is 1"),
            ({"shuffle": False}, "shuffle is True there"),
            ({"k1": 3}, "k1, k2 is None there, and here it is (3, 3)"),
            ({"validation": None}, "validation is (1, 6, 6), (1, 6, 6), (6, 6) with checksum"),
            ({"x": 1 - echo(10)["x"]}, "data is (1, 10, 6), (1, 10, 6), (10, 6) with checksum"),
            ({"mask": None}, "data is"),
            ({"rnn": RNN(2, 13, 2, seed=0)}, "hidden_size is 12 there, and here it is 13"),
            ({"rnn": RNN(2, 12, 2, "gru", seed=0)}, "cell is elman there, and here it is gru"),
            ({"rnn": RNN(2, 12, 2, dtype=np.float64, seed=0)}, "is float32 there, and here it is float64"),
            ({"models": 2}, "is None there, and here it is 2"),
        ],
    )
    def test_those_of_other_trainings_are_refused(
        self, tmp_path: Path, change: dict[str, Any], message: str
    ) -> None:
        path = tmp_path / "a.npz"
        fitted(checkpoint=path, epochs=1)
        whole, rnn = path.read_bytes(), change.setdefault("rnn", small(change.get("models")))
        before = copied(rnn)
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            fitted(checkpoint=path, **change)
        assert str(caught.value).startswith(f"{path}: this is the checkpoint of another training: ")
        assert equal(rnn.parameters, before) and path.read_bytes() == whole

    def test_many_learning_rates_are_compared(self, tmp_path: Path) -> None:
        path, rates = tmp_path / "a.npz", np.linspace(0.01, 0.02, 40)
        fitted(checkpoint=path, epochs=1, models=40, optimizer=SGD(rates))
        fitted(checkpoint=path, epochs=2, models=40, optimizer=SGD(rates))
        rates[-1] = 0.03
        with pytest.raises(ValueError, match="optimizer is"):
            fitted(checkpoint=path, epochs=2, models=40, optimizer=SGD(rates))

    def test_damaged_and_foreign_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        fitted(checkpoint=path, epochs=1)
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 255
        rnn = small()
        before = copied(rnn)
        for content in (b"", b"text", whole[:-9], whole[: len(whole) // 2], bytes(flipped)):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"a\.npz: .*(not a fastrec checkpoint|damaged)"):
                fitted(checkpoint=path, rnn=rnn)
        rnn.save(path)
        with pytest.raises(ValueError, match=r"a\.npz: not a fastrec checkpoint"):
            fitted(checkpoint=path, rnn=rnn)
        path.write_bytes(whole)
        with np.load(path) as file:
            arrays = dict(file)
        for name, value in (
            ("parameters.W_rec", np.zeros((12, 11), np.float32)),
            ("parameters.W_rec", np.zeros((12, 12), np.int32)),
            ("parameters.W_rec", np.array([None] * 144)),
            ("optimizer.mean.W_in", np.zeros((1, 1))),
            ("history.train", np.zeros((2, 1))),
            ("optimizer.learning_rate", np.ones(2)),
            ("optimizer.learning_rate", np.array(-1.0)),
            ("optimizer.step", np.array(-1)),
        ):
            np.savez(path, **(arrays | {name: value}))
            optimizer = Adam(0.03, clip=1.0)
            with pytest.raises(ValueError, match=r"a\.npz: .*(damaged|is (array\()?-1)"):
                fitted(checkpoint=path, rnn=rnn, optimizer=optimizer)
            assert equal(optimizer.state_dict(), Adam(0.03).state_dict())
        assert equal(rnn.parameters, before)


def diverging(backend: str, epochs: int = 3, **more: Any) -> tuple[History, RNN, RNN]:
    """History and networks of a sweep of which the second and the fourth diverge, and the third as it was."""
    rates = [0.01, 1e200, 0.02, 3e4]
    rnn = RNN(2, 4, 3, activation="relu", models=4, dtype=np.float64, backend=backend, seed=0)
    alone = rnn.copy(2)
    with np.errstate(all="raise"):  # no warning of NumPy may come through
        history = fit(rnn, **task(), optimizer=SGD(rates, 0.5), epochs=epochs, batch_size=2, seed=0, **more)
    return history, rnn, alone


class TestDivergence:
    def test_one_network(self, backend: str) -> None:
        rnn = RNN(2, 4, 3, activation="relu", dtype=np.float64, backend=backend, seed=0)
        first = copied(rnn)
        with np.errstate(all="raise"), pytest.raises(FloatingPointError) as caught:
            fit(rnn, **task(), optimizer=SGD(1e30), epochs=50, batch_size=2, seed=0)
        message = r"training diverged in epoch \d+, batch [01]: the loss is \S+, the gradient norm \S+; "
        message += "use a smaller learning_rate or clip; the parameters are those before the training"
        assert re.fullmatch(message, str(caught.value))
        assert equal(rnn.parameters, first)

    def test_the_best_epoch_counts(self, backend: str) -> None:
        """Losses that are finite may be those of a network that is ruined."""
        rnn, seen = RNN(2, 4, 3, activation="relu", dtype=np.float64, backend=backend, seed=0), []
        optimizer = SGD(0.02)

        def callback(epoch: int, history: History) -> None:
            seen.append((history.train[-1], copied(rnn)))
            if epoch == 3:
                optimizer.learning_rate = 3.0

        with pytest.raises(FloatingPointError, match=r"the parameters are those before epoch \d$") as caught:
            fit(rnn, **task(), optimizer=optimizer, epochs=50, batch_size=1, seed=0, callback=callback)
        losses = [loss for loss, _ in seen]
        best = int(np.argmin(losses))
        assert (
            1 < best < len(losses) - 1
            and losses[-1] > 5 * losses[0]
            and str(caught.value).endswith(str(best))
        )
        assert equal(rnn.parameters, seen[best - 1][1])

    def test_networks_that_do_are_frozen(self, backend: str) -> None:
        history, rnn, alone = diverging(backend)
        assert history.diverged.dtype == np.int64
        assert (history.diverged >= 0).tolist() == [False, True, False, True]
        for j, epoch in enumerate(history.diverged):
            for curve in (history.train, history.gradient_norm):
                assert np.isfinite(curve[: epoch if epoch >= 0 else None, j]).all()
                assert epoch < 0 or np.isnan(curve[epoch:, j]).all()
        kept = copied(rnn)
        assert all(np.isfinite(value).all() for value in kept.values())
        one = fit(alone, **task(), optimizer=SGD(0.02, 0.5), epochs=3, batch_size=2, seed=0)
        np.testing.assert_allclose(history.train[:, 2], one.train, rtol=1e-9)
        for key, value in copied(alone).items():
            np.testing.assert_allclose(kept[key][2], value, rtol=1e-9, atol=1e-12)
        longer, later, _ = diverging(backend, epochs=6)
        for key, value in copied(later).items():
            assert np.array_equal(value[[1, 3]], kept[key][[1, 3]])
            assert key.endswith("0") or not np.array_equal(value[0], kept[key][0])
        assert (longer.diverged == history.diverged).all()

    def test_validation_and_windows_of_a_sweep(self, backend: str) -> None:
        options = task()
        history, *_ = diverging(backend, validation=(options["x"], options["targets"]), k1=2)
        assert (history.diverged >= 0).tolist() == [False, True, False, True]
        assert np.isfinite(history.validation[:, [0, 2]]).all()
        assert np.isnan(history.validation[-1, [1, 3]]).all()

    def test_all_of_them(self, backend: str) -> None:
        rnn = RNN(2, 4, 3, activation="relu", models=2, dtype=np.float64, backend=backend, seed=0)
        with pytest.raises(FloatingPointError, match=r"\(network [01], the last of 2\)"):
            fit(rnn, **task(), optimizer=SGD([1e30, 1e29]), epochs=50, seed=0)

    def test_states_that_overflow_before_the_first_step_that_counts(self, backend: str) -> None:
        rnn, options = RNN(2, 4, 3, activation="relu", backend=backend, seed=0), task()
        rnn.parameters["W_in"][...] = 1e38
        options["x"] = np.where(np.arange(T)[:, None] < 2, 9.0, 0.0) * np.ones((3, T, 2))
        options["mask"][:, :2] = False
        with pytest.raises(FloatingPointError, match="in epoch 0, batch 0: the loss is nan"):
            fit(rnn, **options, k1=2, seed=0)

    def test_losses_far_above_those_of_the_first_epoch(self) -> None:
        def run(factor: float) -> None:
            rnn = network("elman", "reference")

            def spoil(epoch: int, history: History) -> None:
                if epoch == 1:
                    rnn.parameters["W_out"] *= factor

            fit(rnn, **task(), optimizer=SGD(1e-9), epochs=3, callback=spoil, seed=0)

        run(10.0)
        with pytest.raises(FloatingPointError, match="in epoch 2, batch 0: the loss is"):
            run(1e4)


class TestHistory:
    def make(self, train: list[Any], validation: list[Any] | None = None) -> History:
        curve = np.array(train, float)
        held = None if validation is None else np.array(validation, float)
        return History("mse", curve, held, curve, np.ones(len(curve)), None)

    def test_waiting_is_for_all_networks_that_have_not_diverged(self) -> None:
        log = TrainingLog(3, "mse", True)
        assert log.epochs_since_best() == 0
        for values in ([1, 3, 3], [2, 2, 2], [3, 1, 1], [4, 2, 2], [5, 3, 0]):
            log.append({"train": np.zeros(3), "gradient_norm": np.ones(3), "validation": values}, 1.0)
        assert log.epochs_since_best() == 0
        log.diverged[2] = 4
        assert log.epochs_since_best() == 2
        log.diverged[1] = 4
        assert log.epochs_since_best() == 4

    def test_best_epoch(self) -> None:
        assert self.make([3, 1, 2, 1]).best_epoch == 1
        assert self.make([3, 2, 1], [1, np.nan, 2]).best_epoch == 0
        assert self.make([np.nan, np.nan]).best_epoch == -1
        best = self.make([[1, 5, np.nan], [2, 3, np.nan], [0, np.nan, np.nan]]).best_epoch
        assert best.tolist() == [2, 1, -1]
