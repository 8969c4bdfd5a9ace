"""What is trained, at which rate, what is told of it, and what is kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import to_host
from test_training import copied, echo, equal, same, small

from fastrec import (
    RNN,
    SGD,
    Adam,
    AdamW,
    CosineDecay,
    History,
    MomentumSchedule,
    RMSprop,
    StepDecay,
    TrainingUpdate,
    fit,
)

PART = np.arange(12) % 3 > 0  # of the 12 columns


def run(rnn: RNN, **more: Any) -> History:
    """Three updates an epoch."""
    options = {"optimizer": Adam(0.03), "epochs": 3, "batch_size": 4, "seed": 0, "progress": False}
    return fit(rnn, **(echo(12) | options | more))


class TestTrainable:
    @pytest.mark.parametrize("models", [None, 2])
    @pytest.mark.parametrize(
        "optimizer",
        [
            SGD(0.1, 0.9, nesterov=True, weight_decay=0.1, clip_value=0.1),
            AdamW(0.03, clip=0.5),
            RMSprop(0.01, momentum=0.9, weight_decay=0.1),
        ],
        ids=lambda optimizer: type(optimizer).__name__,
    )
    def test_the_rest_keeps_its_bits(self, backend: str, models: int | None, optimizer: Any) -> None:
        rnn = small(models, backend)
        before, optimizer = copied(rnn), type(optimizer)(**optimizer_arguments(optimizer))
        run(rnn, optimizer=optimizer, epochs=2, trainable={"W_in": False, "W_rec": PART, "b": True})
        after = copied(rnn)
        assert np.array_equal(after["W_in"], before["W_in"])
        changed = after["W_rec"] != before["W_rec"]
        assert not changed[..., ~PART].any() and changed[..., PART].mean() > 0.9
        assert (after["b"] != before["b"]).all()
        assert not [name for name in optimizer.state_dict() if name.endswith(".W_in")]

    def test_gradients_of_the_rest_are_not_in_the_norm(self, backend: str) -> None:
        data = echo(12)
        rnn = small(backend=backend)
        gradients = to_host(rnn.loss_and_gradients(**data)[1])
        norm = np.sqrt((gradients["W_rec"][:, PART] ** 2).sum() + (gradients["b"] ** 2).sum())
        trainable = dict.fromkeys(rnn.parameters, False) | {"W_rec": PART, "b": np.True_}
        history = run(rnn, trainable=trainable, batch_size=12, epochs=1)
        assert history.gradient_norm[0] == pytest.approx(norm, rel=1e-5)

    def test_everything_is_the_default(self) -> None:
        made = []
        for trainable in (None, {}, {"W_rec": np.ones((12, 12), bool)}):
            rnn = small()
            made.append((run(rnn, trainable=trainable), rnn))
        assert same(made[1], made[0]) and same(made[2], made[0])

    def test_constants_of_cells_are_trained_only_if_named(self) -> None:
        for trainable, layers in ((None, 0), ({"leak_l1": True}, 1), ({"leak": True, "leak_l1": True}, 2)):
            rnn = RNN(2, 5, 2, "leaky", num_layers=2, seed=0)
            before = copied(rnn)
            run(rnn, trainable=trainable, epochs=1)
            changed = {key for key, array in copied(rnn).items() if (array != before[key]).any()}
            assert changed == before.keys() - {"leak", "leak_l1"} | {"leak", "leak_l1"} & set(trainable or ())
            assert len(changed & {"leak", "leak_l1"}) == layers

    @pytest.mark.parametrize(
        ("trainable", "message"),
        [
            (5, "trainable is 5; give a dict with keys of W_in, W_rec"),
            ({"W_hh": True}, "give a dict with keys of W_in, W_rec"),
            (
                {"W_rec": 1},
                'trainable["W_rec"] has shape () and dtype int64; it must be True, False, or bool',
            ),
            ({"W_rec": np.ones(5, bool)}, 'trainable["W_rec"] has shape (5,) and dtype bool'),
            (dict.fromkeys(small().parameters, False), "which leaves nothing to train"),
        ],
    )
    def test_errors(self, trainable: Any, message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            run(small(), trainable=trainable)


def optimizer_arguments(optimizer: Any) -> dict[str, Any]:
    return {key: value for key, value in optimizer.settings.items() if key != "rule"}


class TestSchedules:
    @pytest.mark.parametrize("models", [None, 2])
    def test_rates_are_multiplied(self, backend: str, models: int | None) -> None:
        """As if the rates were set before each update; clipped, and from an optimiser that has been used."""
        rates = 0.03 if models is None else np.array([0.03, 0.01])
        schedule, told = CosineDecay(9, warmup=2), []
        made = []
        for given in (schedule, None):
            rnn, optimizer = small(models, backend), Adam(rates, clip=0.1)
            if given is None:
                optimizer.learning_rate = rates * schedule(0)

            def set_rate(update: TrainingUpdate, given: Any = given) -> None:
                if given is None:
                    assert update.optimizer.learning_rate.tolist() == np.asarray(told.pop(0)).tolist()
                    update.optimizer.learning_rate = np.maximum(rates * schedule(update.number + 1), 1e-300)
                else:
                    told.append(update.learning_rate)

            made.append((run(rnn, optimizer=optimizer, schedule=given, on_update=set_rate), rnn))
            assert given is None or np.array_equal(optimizer.learning_rate, rates)
        assert same(*made)

    def test_factors(self) -> None:
        steps = StepDecay(10, 0.5)
        assert [steps(u) for u in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]
        cosine = CosineDecay(30, warmup=10, least=0.2)
        assert [cosine(u) for u in (0, 4, 9, 10)] == [0.1, 0.5, 1, 1]
        assert cosine(20) == pytest.approx(0.6) and cosine(30) == cosine(99) == pytest.approx(0.2)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: CosineDecay(5, warmup=5), "updates is 5; it must be an integer from 6"),
            (lambda: CosineDecay(5, least=2), "least is 2; it must be a number from 0 to 1"),
            (lambda: StepDecay(0), "every is 0"),
            (lambda: StepDecay(3, 1.5), "factor is 1.5; it must be at most 1"),
            (lambda: run(small(), schedule=5), "schedule is 5; it must be a function of the number"),
            (
                lambda: run(small(), schedule=lambda u: -1),
                "schedule(0) is -1; it must be a number at least 0",
            ),
        ],
    )
    def test_errors(self, make: Any, message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            make()


class TestOnUpdate:
    @pytest.mark.parametrize("models", [None, 2])
    def test_is_told(self, backend: str, models: int | None) -> None:
        rnn, told = small(models, backend), []
        history = run(rnn, on_update=told.append)
        assert [(update.number, update.epoch) for update in told] == [(j, j // 3) for j in range(9)]
        assert all(update.parameters is rnn.parameters for update in told)
        assert isinstance(told[0].loss, float if models is None else np.ndarray)
        np.testing.assert_allclose(history.train[1], np.mean([u.loss for u in told[3:6]], axis=0), rtol=1e-12)
        norms = np.mean([update.gradient_norm for update in told[3:6]], axis=0)
        np.testing.assert_allclose(history.gradient_norm[1], norms, rtol=1e-12)

    def test_may_change_parameters(self, backend: str) -> None:
        def keep_positive(update: TrainingUpdate) -> None:
            array = update.parameters["W_rec"]
            array[array < 0] = 0

        rnn = small(backend=backend)
        run(rnn, on_update=keep_positive, epochs=1)
        assert to_host(rnn.parameters)["W_rec"].min() == 0

    def test_ends_the_training_after_the_epoch(self, tmp_path: Path) -> None:
        path, rnn = tmp_path / "a.npz", small()
        history = run(rnn, on_update=lambda update: np.bool_(update.number == 4), checkpoint=path)
        assert history.epochs == 2
        assert run(small(), on_update=lambda update: update.number == 1).epochs == 1
        assert same((run(rnn, checkpoint=path), rnn), (run(other := small()), other))

    def test_error(self) -> None:
        with pytest.raises(ValueError, match="on_update is 5; it must be a function of a TrainingUpdate"):
            run(small(), on_update=5)

        def spoil(update: TrainingUpdate) -> None:
            if update.number == 2:  # the last of an epoch
                update.parameters["b"] = [0.0]  # type: ignore[assignment]

        with pytest.raises(ValueError, match=r'^parameters\["b"\] is \(1,\), dtype list'):
            run(small(), on_update=spoil)


def worse() -> dict[str, Any]:
    """Validation of other targets: learning makes it worse, at some time."""
    held = echo(8, seed=5)
    held["targets"] = 1 - held["targets"]
    return {"validation": (held["x"], held["targets"], None, held["mask"]), "optimizer": Adam(0.01)}


class TestKeep:
    @pytest.mark.parametrize("models", [None, 2])
    @pytest.mark.parametrize("validated", [False, True])
    def test_best(self, backend: str, models: int | None, validated: bool) -> None:
        rnn, after = small(models, backend), []
        more = worse() if validated else {"optimizer": SGD([3.0, 30.0][: models or 1] if models else 30.0)}
        last = small(models, backend)
        expected = run(last, **more | {"callback": lambda *_: after.append(copied(last))})
        more["optimizer"] = type(more["optimizer"])(more["optimizer"].learning_rate)
        history = run(rnn, **more, keep="best")
        assert np.array_equal(history.train, expected.train)
        best = np.atleast_1d(history.best_epoch)
        for key, array in copied(rnn).items():
            for j, epoch in enumerate(best):
                kept = after[epoch][key]
                assert np.array_equal(array[j] if models else array, kept[j] if models else kept)
        assert (best < 2).any()

    def test_ctrl_c(self) -> None:
        for stop, validated in ((0, True), (2, True), (2, False)):
            rnn, after = small(), []

            def interrupt(
                epoch: int, history: History, rnn: RNN = rnn, stop: int = stop, after: list[Any] = after
            ) -> None:
                after.append((history.best_epoch, copied(rnn)))
                if epoch == stop:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                run(rnn, **worse() if validated else {}, keep="best", callback=interrupt)
            assert equal(rnn.parameters, after[after[-1][0]][1])
        rnn, before = small(), copied(small())

        def at_once(update: TrainingUpdate) -> None:
            assert not equal(update.parameters, before)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(rnn, keep="best", on_update=at_once)
        assert equal(rnn.parameters, before)

    def test_divergence(self, backend: str) -> None:
        rnn, after = small(backend=backend), []

        def explode(epoch: int, history: History) -> None:
            after.append(copied(rnn))
            if epoch == 1:
                optimizer.learning_rate = 1e30

        optimizer = Adam(0.01)
        with pytest.raises(FloatingPointError, match="the parameters are those after epoch 1"):
            run(rnn, optimizer=optimizer, keep="best", callback=explode)
        assert equal(rnn.parameters, after[1])

    def test_error(self) -> None:
        with pytest.raises(ValueError, match='keep is \'first\'; it must be "last" or "best"'):
            run(small(), keep="first")


@pytest.mark.parametrize("models", [None, 2])
def test_resumed_is_unbroken(tmp_path: Path, backend: str, models: int | None) -> None:
    """With everything at once."""

    def go(stop: int | None = None, **more: Any) -> tuple[History, RNN]:
        def interrupt(epoch: int, history: History) -> None:
            if epoch == stop:
                raise KeyboardInterrupt

        rnn = small(models, backend)
        options = worse() | {
            "optimizer": RMSprop(0.01, momentum=0.5, weight_decay={"W_rec": 0.1}, clip_value=0.1),
            "weights": {"rows": np.linspace(0, 1, 12), "classes": np.array([1, 2])},
            "trainable": {"W_in": False, "W_rec": PART},
            **{"schedule": CosineDecay(9, warmup=2), "keep": "best", "callback": interrupt},
        }
        return run(rnn, **options | more), rnn

    unbroken = go()
    for stop in range(3):
        path = tmp_path / f"{stop}.npz"
        with pytest.raises(KeyboardInterrupt):
            go(stop, checkpoint=path)
        assert same(go(checkpoint=path), unbroken)
        assert same(go(checkpoint=path), unbroken)  # nothing left to do
    for change in (
        {"keep": "last"},
        {"trainable": {"W_in": False, "W_rec": ~PART}},
        {"trainable": {"W_rec": PART}},
        {"schedule": StepDecay(5)},
        {"weights": {"rows": np.ones(12)}},
    ):
        with pytest.raises(ValueError, match="this is the checkpoint of another training"):
            go(checkpoint=path, **change)
    go(checkpoint=path, epochs=4, schedule=StepDecay(5), changed="schedule")


def test_momentum_goes_on(tmp_path: Path, backend: str) -> None:
    def go(epochs: int, most: float = 0.9, **more: Any) -> tuple[History, RNN]:
        rnn = small(None, backend)
        optimizer = SGD(0.01, MomentumSchedule(most, every=2), nesterov=True)
        return run(rnn, optimizer=optimizer, epochs=epochs, **more), rnn

    path = tmp_path / "run.npz"
    go(1, checkpoint=path)
    assert same(go(3, checkpoint=path), go(3))
    with pytest.raises(ValueError, match=r"momentum=MomentumSchedule\(most=0.9, every=2\)"):
        go(4, most=0.8, checkpoint=path)
    go(4, most=0.8, checkpoint=path, changed="optimizer")
