"""Inputs of earlier steps side by side, and targets that come later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec.backend import on_device

X = np.random.default_rng(0).standard_normal((3, 7, 2))
CLASSES = np.random.default_rng(1).integers(0, 4, (3, 7))
MASK = np.random.default_rng(2).random((3, 7)) < 0.7


def by_hand(x: np.ndarray, delays: list[int]) -> np.ndarray:
    made = np.zeros((*x.shape[:2], len(delays), x.shape[2]), x.dtype)
    for t in range(x.shape[1]):
        for j, d in enumerate(delays):
            if t >= d:
                made[:, t, j] = x[:, t - d]
    return made.reshape(*x.shape[:2], -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint32, bool])
@pytest.mark.parametrize("taps", [1, 3, 12, [0], [4, 0, 2], (7, 6), np.array([1, 30])])
def test_inputs_are_those_of_earlier_steps(dtype: Any, taps: Any) -> None:
    x = (X * 3).astype(dtype)
    delays = list(range(taps)) if isinstance(taps, int) else list(taps)
    made = fastrec.delayed(x[:, ::-1][:, ::-1], taps)
    assert made.dtype == dtype and np.array_equal(made, by_hand(x, delays))
    assert np.array_equal(fastrec.delayed(np.stack([x, x]), taps), np.stack([made, made]))


def test_padding_stays_behind_the_end() -> None:
    x = X.copy()
    x[1, 4:] = np.nan
    made = fastrec.delayed(x, 3)
    assert np.isfinite(made[1, :4]).all() and np.isnan(made[1, 4:]).any(axis=-1).all()
    assert fastrec.delayed(np.zeros((0, 2, 1)), 2).shape == (0, 2, 2)
    assert fastrec.delayed(np.zeros((1, 0, 1)), 2).shape == (1, 0, 2)


@pytest.mark.parametrize("targets", [CLASSES, CLASSES.astype(np.uint8), X, X.astype("f4"), X > 0])
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_targets_come_later(targets: np.ndarray, steps: int) -> None:
    targets.flags.writeable = False
    moved, counted = fastrec.delay_targets(targets, steps, MASK)
    assert moved.dtype == targets.dtype and moved.shape == targets.shape and counted.dtype == bool
    assert np.array_equal(moved[:, steps:], targets[:, : 7 - steps]) and not moved[:, :steps].any()
    assert np.array_equal(counted[:, steps:], MASK[:, : 7 - steps]) and not counted[:, :steps].any()
    of_k, shared = fastrec.delay_targets(np.stack([targets, targets]), steps, MASK)
    assert np.array_equal(of_k[1], moved) and np.array_equal(shared, counted)
    everywhere = fastrec.delay_targets(targets, steps)[1]
    assert np.array_equal(everywhere, np.broadcast_to(np.arange(7) >= steps, (3, 7)))


def test_a_delay_lets_a_network_see_what_comes(backend: str) -> None:
    """Whether the next bit is equal to this one is known a step later, also without memory."""
    bits = np.random.default_rng(0).integers(0, 2, (48, 9))
    next_equal = np.zeros_like(bits)
    next_equal[:, :-1] = bits[:, 1:] == bits[:, :-1]
    targets, mask = fastrec.delay_targets(next_equal, 1)
    pairs = fastrec.delayed(bits[..., None].astype(np.float32), 2).reshape(-1, 1, 2)
    rnn = fastrec.RNN(2, 6, 2, seed=1, backend=backend)
    options = {"mask": mask.reshape(-1, 1), "optimizer": fastrec.Adam(0.05), "epochs": 15, "seed": 0}
    history = fastrec.fit(rnn, pairs, targets.reshape(-1, 1), progress=False, **options)
    assert history.train[0] > 0.3 and history.train[-1] < 0.05


def test_cupy_arrays_stay_on_the_device(cp: Any) -> None:
    made = fastrec.delayed(cp.asarray(X), cp.asarray([0, 2]))
    assert on_device(made) and np.array_equal(cp.asnumpy(made), fastrec.delayed(X, [0, 2]))
    for mask in (MASK, cp.asarray(MASK), None):
        moved, counted = fastrec.delay_targets(cp.asarray(CLASSES), 2, mask)
        assert on_device(moved) and on_device(counted) == (mask is not MASK)
        expected = fastrec.delay_targets(CLASSES, 2, None if mask is None else MASK)
        assert np.array_equal(cp.asnumpy(moved), expected[0]) and np.array_equal(
            move(cp, counted), expected[1]
        )


def move(cp: Any, array: Any) -> np.ndarray:
    return cp.asnumpy(array) if on_device(array) else array


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fastrec.delayed([[1, 2]], 2),
            r"x has shape \(1, 2\) and dtype int64; give numbers \(b, t, i\)",
        ),
        (lambda: fastrec.delayed(X, 0), "taps is 0; it must be an integer from 1"),
        (lambda: fastrec.delayed(X, []), "taps is empty; give at least one delay"),
        (lambda: fastrec.delayed(X, [0, -1]), r"taps\[1\] is -1; it must be an integer from 0"),
        (lambda: fastrec.delayed(X, 1.5), "taps is 1.5"),
        (lambda: fastrec.delayed(X, 10**9), "the delayed inputs needs .* of memory"),
        (lambda: fastrec.delay_targets(CLASSES, 7), "steps is 7; it must be an integer from 0 to 6"),
        (lambda: fastrec.delay_targets(CLASSES[0], 1), r"targets has shape \(7,\) and dtype int64"),
        (lambda: fastrec.delay_targets(X[0], 1), r"targets has shape \(7, 2\) and dtype float64"),
        (
            lambda: fastrec.delay_targets(X, 1, MASK[:2]),
            r"mask has shape \(2, 7\) and dtype bool; it must be",
        ),
        (
            lambda: fastrec.delay_targets(X, 1, MASK + 0),
            r"mask has .* bool \(3, 7\), True where one of the targets counts",
        ),
    ],
)
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
