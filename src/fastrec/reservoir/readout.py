"""Ridge regression of a readout, from sums of products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..messages import shown
from ..validation import number

EPSILON = float(np.finfo(np.float64).eps)


def read_ridges(ridge: Any, several: bool) -> list[float]:
    """Check one ridge, or several where they can be chosen from."""
    listed = isinstance(ridge, (Sequence, np.ndarray)) and not isinstance(ridge, (str, bytes))
    if not listed or np.ndim(ridge) == 0:
        return [number("ridge", ridge, 0, closed=True)]
    ridges = [number(f"ridge[{j}]", value, 0, closed=True) for j, value in enumerate(ridge)]
    if not ridges or (len(ridges) > 1 and not several):
        need = "give at least one" if not ridges else "give validation=(x, targets) to choose by"
        raise ValueError(f"ridge is {shown(ridge)}; {need}")
    return ridges


def solve(products: NDArray[np.float64], o: int, ridge: float) -> NDArray[np.float64]:
    """The readout (f, o) with the least sum of squared errors plus ridge times its own, but of the constant.

    products (f + o, f + o): sums of v v' over all v = [1, features, targets].  ValueError if the equations
    have no solution that can be told from others.
    """
    sums, (count, *_) = products[0, 1:], products[0]
    centred = products[1:, 1:] - np.outer(sums, sums) / count
    f = len(centred) - o
    matrix = centred[:f, :f] + ridge * np.eye(f)
    try:
        if ridge <= f * EPSILON * matrix.diagonal().max():
            low, high = np.linalg.eigvalsh(matrix)[[0, -1]]
            if low <= math.sqrt(f) * EPSILON * high:  # elimination divides by what rounding leaves of 0
                raise np.linalg.LinAlgError
        weights = np.linalg.solve(matrix, centred[:f, f:])
    except np.linalg.LinAlgError:
        raise ValueError(
            f"ridge is {ridge:g}, too small for these features, some of which are sums of others; give more"
        ) from None
    constant = (sums[f:] - sums[:f] @ weights) / count
    return np.vstack([constant, weights])


def choose_ridge(
    products: NDArray[np.float64], others: NDArray[np.float64], o: int, ridges: list[float]
) -> NDArray[np.int64]:
    """For each network the number of the ridge whose readout, of its products, errs least on other ones."""
    errors = np.empty((len(products), len(ridges)))
    for net, (own, other) in enumerate(zip(products, others, strict=True)):
        for j, ridge in enumerate(ridges):
            difference = np.vstack([solve(own, o, ridge), -np.eye(o)])
            errors[net, j] = np.trace(difference.T @ other @ difference)
    return errors.argmin(axis=1)
