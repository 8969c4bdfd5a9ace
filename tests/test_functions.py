"""exp, logistic and tanh of the CPU kernels against longdouble: the errors that their module states."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest

from fastrec.kernels.cpu import functions
from fastrec.kernels.cpu.simd import FEATURES

BOUNDS = {  # relative
    ("tanh", np.float32): 1.9e-7,
    ("logistic", np.float32): 1.8e-7,
    ("exp", np.float32): 9e-8,
    ("tanh", np.float64): 3.6e-16,
    ("logistic", np.float64): 3.3e-16,
    ("exp", np.float64): 1.6e-16,
}
EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "exp": np.exp,
}


def apply(name: str, x: np.ndarray) -> np.ndarray:
    function = getattr(functions, name)

    @numba.njit
    def over(x, y):
        for i in range(len(x)):
            y[i] = function(x[i])

    y = np.empty_like(x)
    over(x, y)
    return y


@pytest.mark.parametrize(("name", "dtype"), BOUNDS)
def test_errors_are_as_stated(name: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=200_000) * s for s in (1e-30, 1e-6, 1e-3, 0.1, 0.5, 1, 5, 20)])
    least = -87 if dtype is np.float32 else -708
    x = (-np.abs(x) if name == "exp" else x).astype(dtype)
    x = x[x > least]  # below, exp and logistic are 0
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
    assert np.signbit(apply("tanh", np.array([-0.0], dtype)))[0]
    assert np.array_equal(apply("exp", x[[0, 2, 5, 8]]), [1, 0, 0, 0])
