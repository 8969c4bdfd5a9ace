"""Functions of the CPU kernels against longdouble: the errors that their module states."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np
import pytest

from fastrec.kernels.cpu import functions
from fastrec.kernels.cpu.elementwise import elementwise
from fastrec.kernels.cpu.simd import FEATURES
from fastrec.kernels.cpu.values import Value, where

BOUNDS = {  # relative
    ("tanh", np.float32): 1.9e-7,
    ("logistic", np.float32): 1.8e-7,
    ("softplus", np.float32): 3e-7,
    ("exp", np.float32): 9e-8,
    ("expm1", np.float32): 9e-8,
    ("tanh", np.float64): 3.6e-16,
    ("logistic", np.float64): 3.3e-16,
    ("softplus", np.float64): 5.5e-16,
    ("exp", np.float64): 1.6e-16,
    ("expm1", np.float64): 2.2e-16,
    ("exp, of one number", np.float32): 9e-8,
    ("exp, of one number", np.float64): 1.6e-16,
}
EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "exp": np.exp,
    "expm1": np.expm1,
    "exp, of one number": np.exp,
}


VECTORS = {
    "tanh": elementwise(functions.tanh),
    "logistic": elementwise(functions.logistic),
    "softplus": elementwise(functions.softplus),
    "exp": elementwise(functions.exp_negative),
    "expm1": elementwise(functions.expm1_negative),
}


@functools.cache
def loop(name: str) -> Callable[[np.ndarray, np.ndarray], None]:
    """The function over an array: in vectors, or number by number."""
    if name == "exp, of one number":
        exp = functions.exp

        def over(x, y):
            for i in range(len(x)):
                y[i] = exp(x[i])

    else:
        function = VECTORS[name]

        def over(x, y):
            function((x,), (y,))

    return numba.njit(over)


def apply(name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    loop(name)(x, y)
    return y


@pytest.mark.parametrize(("name", "dtype"), BOUNDS)
def test_errors_are_as_stated(name: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=200_000) * s for s in (1e-30, 1e-6, 1e-3, 0.1, 0.5, 1, 5, 20)])
    least = -87 if dtype is np.float32 else -708
    x = (-np.abs(x) if name.startswith("exp") else x).astype(dtype)
    x = x[x > least]  # below, exp, logistic and softplus are 0
    expected = EXACT[name](x.astype(np.longdouble))
    error = np.abs(apply(name, x).astype(np.longdouble) - expected) / np.abs(expected)
    bound = BOUNDS[name, dtype] * (1 if {"fma", "neon"} & FEATURES else 2)
    assert error[x != 0].max() <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(dtype: type) -> None:
    huge = np.finfo(dtype).max
    x = np.array([0, np.inf, -np.inf, np.nan, huge, -huge, 100, -100, -1000], dtype)
    assert np.array_equal(apply("tanh", x), [0, 1, -1, np.nan, 1, -1, 1, -1, -1], equal_nan=True)
    np.testing.assert_allclose(
        apply("logistic", x),
        [0.5, 1, 0, np.nan, 1, 0, 1, 0, 0],
        rtol=0,
        atol=1e-37 if dtype is np.float32 else 4e-44,
    )
    softplus = [np.log(2), np.inf, 0, np.nan, huge, 0, 100, 0, 0]
    np.testing.assert_allclose(apply("softplus", x), softplus, rtol=1e-7, atol=4e-44)
    assert np.signbit(apply("tanh", np.array([-0.0], dtype)))[0]
    for name in ("exp", "exp, of one number"):
        assert np.array_equal(apply(name, x[[0, 2, 5, 8]]), [1, 0, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 15, 16, 17, 40, 129])
def test_the_place_of_a_number_changes_nothing(n: int, dtype: type) -> None:
    """Whole vectors and those filled in part give the same, and nothing is written beyond the end."""
    x = np.random.default_rng(n).standard_normal(n).astype(dtype)
    room = np.full(n + 70, 7, dtype)
    loop("tanh")(x, room[3 : 3 + n])
    assert np.array_equal(room[3 : 3 + n], [apply("tanh", x[i : i + 1])[0] for i in range(n)])
    assert np.all(room[:3] == 7) and np.all(room[3 + n :] == 7)


@elementwise
def both_ways(a: Value, b: Value) -> tuple[Value, ...]:
    return a - b, where(a, "<=", b, 1.0, 2.0 - a * b), a.zero()


def test_several_arguments_and_results() -> None:
    @numba.njit
    def apply(a, b, c):
        both_ways((a, b), (a, c, b))

    a, b = np.arange(21.0), np.full(25, 4.0)
    c = np.zeros(21)
    apply(a, b, c)
    assert np.array_equal(a, np.arange(21.0) - 4)
    assert np.array_equal(c, np.where(np.arange(21) <= 4, 1, 2 - 4 * np.arange(21)))
    assert np.array_equal(b, [0] * 21 + [4] * 4)  # as many as the first result has


def test_arrays_that_are_not_contiguous_are_refused() -> None:
    x = np.ones(8, np.float32)
    for y in (np.ones(16, np.float32)[::2], np.ones(8)):
        with pytest.raises(numba.TypingError, match="contiguous vectors of one dtype"):
            loop("tanh")(x, y)
