"""Binary addition: the task itself, and that small networks learn it for good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from devices import to_host
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec.tasks.addition import addition_task, count_errors


def number(digits: np.ndarray) -> int:
    return sum(int(digit) << place for place, digit in enumerate(digits))


@given(st.integers(1, 5), st.integers(1, 70), st.integers(0, 3), st.integers(0, 2**64 - 1))
def test_targets_are_sums(pairs: int, columns: int, delay: int, seed: int) -> None:
    x, targets, mask = addition_task(pairs, columns, delay, seed)
    assert x.shape == (pairs, columns + 1 + delay, 2) and x.dtype == np.float32
    assert targets.shape == mask.shape == x.shape[:2] and targets.dtype == np.int32
    assert (~mask).sum() == pairs * delay and not mask[:, :delay].any()
    assert not x[:, columns:].any()
    for pair, digits in zip(x, targets, strict=True):
        assert number(pair[:, 0]) + number(pair[:, 1]) == number(digits[delay:])


def test_pairs_differ_and_repeat() -> None:
    one, again, other = (addition_task(9, 20, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert 0.4 < one[:, :20].mean() < 0.6


@pytest.mark.parametrize(
    ("name", "value"), [("pairs", 0), ("columns", 0), ("columns", 2.5), ("delay", -1), ("seed", -1)]
)
def test_task_refuses(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        addition_task(**{"pairs": 2, "columns": 3, name: value})


def adder(k: int | None = None, **options: object) -> fastrec.RNN:
    """An Elman network made by hand: units that know whether 1, 2 or 3 ones are in a column."""
    rnn = fastrec.RNN(2, 3, 2, activation="logistic", models=k, seed=0, **options)
    p = rnn.parameters = to_host(rnn.parameters)
    p["W_in"][...] = 40
    p["W_rec"][...] = 0
    p["W_rec"][..., 1, :] = 40  # two ones or more are the carry
    p["b"][...] = [-20, -60, -100]
    p["W_out"][...] = np.array([[0, 9], [0, -9], [0, 9]])
    p["b_out"][...] = [0, -4.5]
    return rnn


def test_counts_errors(backend: str) -> None:
    task = addition_task(7, 30, delay=0)
    assert count_errors(adder(backend=backend), task) == 0
    both = adder(2, backend=backend)
    both.parameters["W_out"][1] *= -1
    both.parameters["b_out"][1] *= -1
    assert count_errors(both, task).tolist() == [0, 7 * 31]
    x, targets, mask = addition_task(7, 30, delay=2)
    targets[~mask] = 7
    shifted = np.roll(x, 2, axis=1)
    assert count_errors(adder(backend=backend), (shifted, targets, mask)) == 0


def test_networks_learn_to_add() -> None:
    result = fastrec.addition(
        8, "elman", delay=0, epochs=12, test_pairs=50, test_columns=500, seed=0, progress=False
    )
    assert result.solved.any() and result.solved[result.best_model]
    assert result.test_errors == 0
    assert result.history.train.shape[1] == 8
    x, targets, mask = addition_task(20, 3000, delay=0, seed=99)
    assert result.best.models is None
    assert count_errors(result.best, (x, targets, mask)) == 0
    assert f"{result.solved.sum()} of 8 networks" in str(result) and "0 wrong digits of 25050" in str(result)


def test_ends_when_enough_networks_add(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    task = {"hidden_size": 5, "columns": 3, "delay": 0, "test_pairs": 9, "test_columns": 50, "epochs": 12}
    monkeypatch.delenv("FASTREC_QUIET")
    one, three = (fastrec.addition(6, "elman", **task, until=until) for until in (1, 3))
    err = capsys.readouterr().err
    assert "training 6 networks to add, at most 12 epochs in about" in err
    assert "less if 1 of them adds without" in err and "less if 3 of them add without" in err
    assert 1 <= one.history.epochs < three.history.epochs < 12 and three.solved.sum() >= 3
    every = fastrec.addition(6, "elman", **task, until=None, progress=False)
    assert every.history.epochs == 12
    np.testing.assert_array_equal(every.history.train[: three.history.epochs], three.history.train)


def test_says_when_none_learns() -> None:
    with pytest.raises(RuntimeError, match="none of the 2 networks"):
        fastrec.addition(2, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("models", 0), ("cell", "rnn"), ("hidden_size", 0), ("test_columns", 0), ("seed", -1)),
        *(("until", 65), ("until", 0)),
    ],
)
def test_refuses(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} is .*{value}"):
        fastrec.addition(**{name: value}, progress=False)
