"""The pathological tasks: what is shown where, which answer is asked for, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrec

ONE_ANSWER = {
    "sum": lambda seed: fastrec.adding_problem(300, 57, seed),
    "product": lambda seed: fastrec.multiplication_problem(300, 57, seed),
    "two": lambda seed: fastrec.temporal_order(300, 57, 2, seed),
    "three": lambda seed: fastrec.temporal_order(300, 57, 3, seed),
}


@pytest.mark.parametrize("make", ONE_ANSWER.values(), ids=ONE_ANSWER)
def test_sequences_end_with_the_answer(make: Any) -> None:
    x, targets, mask = make(3)
    assert x.dtype == np.float32 and x.shape[1] == 62 and mask.dtype == np.bool_
    assert (mask.sum(axis=1) == 1).all() and not targets[~mask].any()
    lengths = mask.argmax(axis=1) + 1
    assert {*lengths} == {*range(57, 63)}
    assert not x[np.arange(62) >= lengths[:, None]].any()
    assert all(np.array_equal(a, b) for a, b in zip(make(3), (x, targets, mask), strict=True))
    assert not np.array_equal(make(4)[0], x)


@pytest.mark.parametrize(("name", "operation"), [("sum", np.add), ("product", np.multiply)])
def test_two_numbers_are_marked(name: str, operation: Any) -> None:
    x, targets, mask = ONE_ANSWER[name](1)
    rows, steps = np.nonzero(x[..., 1] == 1)
    assert np.array_equal(rows, np.repeat(np.arange(300), 2))
    assert {*steps[::2]} == {*range(1, 6)} and {*steps[1::2]} == {*range(6, 29)}
    marked = x[rows, steps, 0].reshape(300, 2)
    assert np.array_equal(operation(*marked.T), targets[mask][:, 0])
    rows, steps = np.nonzero(x[..., 1] == -1)
    assert np.array_equal(steps[::2], 0 * steps[::2]) and np.array_equal(steps[1::2], mask.argmax(axis=1))
    shown = x[np.arange(62) <= mask.argmax(axis=1)[:, None], 0]
    assert abs(shown.mean() - 0.5) < 0.01 and 0 <= shown.min() < 0.001 and 0.999 < shown.max() < 1


@pytest.mark.parametrize(("symbols", "starts"), [(2, (5, 28)), (3, (5, 19, 38))])
def test_the_order_of_marked_symbols(symbols: int, starts: tuple[int, ...]) -> None:
    x, targets, mask = fastrec.temporal_order(500, 57, symbols, seed=2)
    assert x.shape[2] == 8 and targets.dtype == np.int32 and {*targets[mask]} == {*range(2**symbols)}
    rows, steps, kinds = np.nonzero(x[..., 4:6])
    assert np.array_equal(rows, np.repeat(np.arange(500), symbols))
    assert [{*each} for each in steps.reshape(500, symbols).T] == [{*range(a, a + 5)} for a in starts]
    assert np.array_equal(kinds.reshape(500, symbols) @ 2 ** np.arange(symbols)[::-1], targets[mask])
    shown = x.argmax(axis=2)
    assert (shown[:, 0] == 7).all() and (shown[mask] == 6).all() and (x.sum(axis=2) <= 1).all()


def test_the_last_symbol_repeats_the_first() -> None:
    x, targets, mask = fastrec.random_permutation(400, 7, 5, seed=1)
    shown = x.argmax(axis=2)
    assert (x.sum(axis=2) == 1).all() and mask.all() and np.array_equal(targets[:, :-1], shown[:, 1:])
    assert np.array_equal(targets[:, -1], shown[:, 0])
    assert {*shown[:, 0]} == {0, 1} and {*shown[:, 1:].ravel()} == {2, 3, 4}


def test_a_string_is_repeated() -> None:
    x, targets, mask = fastrec.noiseless_memory(200, 9, bits=3, values=4, seed=1)
    shown = x.argmax(axis=2)
    assert x.shape == (200, 15, 6) and (x.sum(axis=2) == 1).all() and mask.all()
    assert np.array_equal(shown[:, :3], targets[:, -3:]) and {*shown[:, :3].ravel()} == {0, 1, 2, 3}
    assert (targets[:, :-3] == 4).all() and (shown[:, 11] == 5).all()
    assert (np.delete(shown[:, 3:], 8, axis=1) == 4).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastrec.adding_problem(0, 10), "^n is 0"),
        (lambda: fastrec.multiplication_problem(1, 9), "^steps is 9; it must be an integer from 10"),
        (lambda: fastrec.temporal_order(1, 10, symbols=4), "^symbols is 4"),
        (lambda: fastrec.random_permutation(1, 1), "^steps is 1"),
        (lambda: fastrec.random_permutation(1, 5, symbols=2), "^symbols is 2"),
        (lambda: fastrec.noiseless_memory(1, 0), "^delay is 0"),
        (lambda: fastrec.noiseless_memory(1, 1, bits=0), "^bits is 0"),
        (lambda: fastrec.noiseless_memory(1, 1, values=1), "^values is 1"),
        (lambda: fastrec.adding_problem(1, 10, seed=-1), "^seed is -1"),
    ],
)
def test_wrong_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_sizes_that_do_not_fit_are_refused() -> None:
    for make in (fastrec.adding_problem, fastrec.random_permutation, fastrec.noiseless_memory):
        with pytest.raises(ValueError, match=r"^x of .* needs .* of memory"):
            make(2**31 - 1, 10**6)
