"""Synchronous dynamics of large networks from an overlap, at temperature 0: Kinzel; Amari and Maginu."""

import math

import numpy as np
from numpy.typing import ArrayLike

from ...messages import shown
from .mean_field import Floats, checked_loads, density, erf


def first_step_overlap(m0: ArrayLike, alpha: ArrayLike) -> Floats:
    """Overlap after one synchronous step from overlap m0: m1 = erf(m0 / sqrt(2 alpha)), exact for large n.

    The start must be random apart from its overlap (Kinzel, Z. Phys. B 60, 205, 1985).

    Parameters
    ----------
    m0 : array_like of float
        Overlaps at the start, -1..1.
    alpha : array_like of float
        Loads p/n; broadcast with m0.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Raises
    ------
    ValueError
        For a negative or nan alpha.

    Examples
    --------
    >>> print(f"{fastrec.theory.first_step_overlap(0.5, 0.1):.3f}")
    0.886
    """
    start, loads = np.broadcast_arrays(np.asarray(m0, np.float64), checked_loads(alpha))
    noiseless = loads == 0
    return np.where(noiseless, np.sign(start), erf(start / np.sqrt(np.where(noiseless, 1.0, 2 * loads))))


def amari_maginu_overlaps(m0: ArrayLike, alpha: ArrayLike, steps: int) -> Floats:
    """Overlaps after 0 to `steps` synchronous steps from overlap m0: approximation of Amari and Maginu.

    The crosstalk on a unit is taken as Gaussian, its variance v = alpha at the start, and the states of two
    steps as independent apart from their overlaps (Neural Networks 1, 63, 1988): with u = m / sqrt(v) and g
    the normal density, m' = erf(u / sqrt(2)) and v' = alpha + 4 g(u)^2 + 4 alpha u g(u) m'.  The first step
    is `first_step_overlap`, exact for large n; later ones are too optimistic: retrieval ends at a load of
    0.1597 instead of `ALPHA_C`.  An overlap that is lost falls to 0, not to what remains in a network.

    Parameters
    ----------
    m0 : array_like of float
        Overlaps at the start, -1..1.
    alpha : array_like of float
        Loads p/n above 0; broadcast with m0.
    steps : int
        At least 0.

    Returns
    -------
    ndarray of float64, shape (..., steps + 1)
        The overlaps.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(fastrec.theory.amari_maginu_overlaps(0.5, 0.1, 3).round(3))
    [0.5   0.886 0.943 0.98 ]
    """
    if steps != int(steps) or steps < 0:
        raise ValueError(f"steps must be an integer of at least 0, got {steps}")
    start, loads = np.broadcast_arrays(_starts(m0), checked_loads(alpha))
    if not (loads > 0).all():
        raise ValueError(f"alpha must be above 0, where there is crosstalk, got {shown(alpha)}")
    overlaps = np.empty((*start.shape, int(steps) + 1))
    overlaps[..., 0], variance = start, loads
    for step in range(int(steps)):
        overlaps[..., step + 1], variance = _amari_maginu_step(overlaps[..., step], variance, loads)
    return overlaps


def critical_overlap(alpha: ArrayLike) -> Floats:
    """Least start overlap m0 that leads to retrieval at load alpha: the edge of the basin of attraction.

    In the approximation of `amari_maginu_overlaps`, solved to 1e-4.  It puts the edge too low: 0.21 at a load
    of 0.1, where half of the memories of n = 5000 units are recalled from 0.33 with synchronous updates and
    from 0.37 with asynchronous ones.

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.

    Returns
    -------
    ndarray of float64
        Of the same shape: 0 at alpha = 0, nan above 0.1597, where no start is retrieved.

    Raises
    ------
    ValueError
        For a negative or nan alpha.

    Examples
    --------
    >>> print(f"{fastrec.theory.critical_overlap(0.1):.2f}")
    0.21
    """
    loads = checked_loads(alpha)
    low, high = np.zeros(loads.shape), np.ones(loads.shape)
    noisy = np.maximum(loads, 1e-12)
    # The first start is 1, whose failure says that none is retrieved.
    middle, retrieved = high, np.zeros(loads.shape, dtype=bool)
    for attempt in range(16):
        overlap, variance = middle, noisy
        for _ in range(1000):  # near the edge a run rests for long before it falls
            before = overlap
            overlap, variance = _amari_maginu_step(overlap, variance, noisy)
            if (np.abs(overlap - before) < 1e-9).all():
                break
        if attempt == 0:
            retrieved = overlap > 0.5
        else:
            low, high = np.where(overlap > 0.5, low, middle), np.where(overlap > 0.5, middle, high)
        middle = (low + high) / 2
    return np.where(retrieved, np.where(loads == 0, 0.0, high), np.nan)


def _amari_maginu_step(m: Floats, variance: Floats, loads: Floats) -> tuple[Floats, Floats]:
    u = m / np.sqrt(variance)
    after = erf(u / math.sqrt(2))
    return after, loads + 4 * density(u) ** 2 + 4 * loads * u * density(u) * after


def _starts(m0: ArrayLike) -> Floats:
    overlaps = np.asarray(m0, np.float64)
    if not (np.abs(overlaps) <= 1).all():
        raise ValueError(f"m0 must be an overlap from -1 to 1, got {shown(m0)}")
    return overlaps
