"""What couplings can hold by any learning rule: Gardner; and what a single unit can learn: Cover."""

import math

import numpy as np
from numpy.typing import ArrayLike

from ...messages import shown
from .capacity import binomial_tail
from .mean_field import Floats, density, erf


def gardner_load(margin: ArrayLike = 0.0) -> Floats:
    """Largest load p/n at which couplings exist that give all units a stability above a margin.

    1 / <max(0, margin + z)^2> over normal z, that is 1 / ((1 + k^2) Phi(k) + k phi(k)) with k the margin,
    for n to infinity and random patterns (Gardner, J. Phys. A 21, 257, 1988).  The stability of a unit in a
    pattern is its field in direction of its state divided by the norm of its couplings.

    Parameters
    ----------
    margin : array_like of float
        At least 0, any shape; that of rule "perceptron".

    Returns
    -------
    ndarray of float64
        Of the same shape.

    Raises
    ------
    ValueError
        For a negative or nan margin.

    Examples
    --------
    >>> print(fastrec.theory.gardner_load([0, 0.5, 1]).round(3))
    [2.    0.961 0.52 ]
    """
    k = np.asarray(margin, np.float64)
    if not (k >= 0).all():
        raise ValueError(f"margin must be at least 0, got {shown(margin)}")
    near = np.minimum(k, 40.0)  # beyond, Phi is 1 and phi is 0
    with np.errstate(over="ignore"):
        return 1 / ((1 + k * k) * (1 + erf(near / math.sqrt(2))) / 2 + near * density(near))


def cover_probability(p: ArrayLike, d: ArrayLike) -> Floats:
    """Share of the 2^p ways to divide p points in d dimensions that a plane through the origin can make.

    2^(1-p) times the sum over k < d of C(p-1, k), for points in general position: 1 up to p = d and 1/2 at p
    = 2 d (Cover, IEEE Trans. Electron. Comput. 14, 326, 1965).  It is the probability that one unit with d =
    n - 1 inputs can learn p random patterns, but for states +-1 that happen not to be in general position.
    The relative error is about 1e-12, also deep in the tail.

    Parameters
    ----------
    p : array_like of int
        Numbers of points, any shape, each from 1 to 2^40.
    d : array_like of int
        Numbers of dimensions from 1 to 2^40; broadcast with p.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(fastrec.theory.cover_probability([40, 64, 80, 96], 40).round(4))
    [1.     0.9785 0.5    0.0501]
    """
    points, dimensions = np.broadcast_arrays(_counts("p", p), _counts("d", d))
    # Pr[B < d] for B ~ Bin(p - 1, 1/2), by the lesser one of its tails.
    excess = points - 2 * dimensions
    tail = binomial_tail((points - 1).ravel(), np.where(excess < 0, -excess, excess).ravel())
    return np.where(excess < 0, 1 - tail.reshape(points.shape), tail.reshape(points.shape))


def _counts(name: str, value: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    counts = np.asarray(value)
    if counts.dtype.kind not in "iu" or not ((counts >= 1) & (counts <= 2**40)).all():
        raise ValueError(f"{name} must be integers from 1 to 2^40, got {shown(value)}")
    return counts.astype(np.int64)
