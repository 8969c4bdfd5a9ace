"""Cyclic sequences of random patterns, recalled by parallel dynamics: During, Coolen and Sherrington."""

import numpy as np
from numpy.typing import ArrayLike

from .mean_field import (
    COLD,
    Floats,
    Law,
    checked_loads,
    checked_temperatures,
    highest_temperature,
    largest_load,
    retrieval,
)


def _root(s: Floats, chi: Floats, heat: Floats) -> Floats:
    """sqrt(alpha), from s^2 = alpha / (1 - chi^2)."""
    return s * np.sqrt(np.maximum(1 - chi * chi, 0))


_LAW = Law(_root, (0.72, 0.577))


def sequence_overlap(alpha: ArrayLike, temperature: ArrayLike = 0.0) -> Floats:
    """Overlap m with the pattern whose turn it is, in the limit cycle of a sequence of p patterns.

    Couplings are W_ij = sum of x_i(k+1) x_j(k) over the patterns k of a cycle, all units are updated at
    once.  For n to infinity m = <tanh(h / T)> over fields h = m + s z with normal z, noise
    s^2 = alpha / (1 - chi^2) and chi = <1 - tanh(h / T)^2> / T: a unit's state changes no later field of that
    unit, so that noise is carried on, and damped by chi, from step to step.  The model and the load at which
    retrieval ends, 0.269 at temperature 0, are those of During, Coolen and Sherrington, J. Phys. A 31, 8607
    (1998); these equations were derived here, and agree with simulations of 4000 units also at temperatures
    above 0.

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.
    temperature : array_like of float
        As in `ags_overlap`; broadcast with alpha.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments; nan where the sequence is not recalled: above `sequence_load`.

    Raises
    ------
    ValueError
        For a negative or nan alpha or temperature.

    Examples
    --------
    >>> print(fastrec.theory.sequence_overlap([0.1, 0.2, 0.26, 0.28]).round(4))
    [0.9984 0.9663 0.8918    nan]
    """
    return retrieval(_LAW, *np.broadcast_arrays(checked_loads(alpha), checked_temperatures(temperature)))[0]


def sequence_load(temperature: ArrayLike = 0.0) -> Floats:
    """Largest load p/n at which a sequence is recalled: 0.269 at temperature 0, 0 from 1 on.

    Of the equations of `sequence_overlap`.

    Parameters
    ----------
    temperature : array_like of float
        As in `ags_overlap`, any shape.

    Returns
    -------
    ndarray of float64
        Of the same shape.

    Raises
    ------
    ValueError
        For a negative or nan temperature.

    Examples
    --------
    >>> print(fastrec.theory.sequence_load([0, 0.5, 0.9]).round(4))
    [0.2691 0.1443 0.009 ]
    """
    return largest_load(_LAW, checked_temperatures(temperature))


def sequence_temperature(alpha: ArrayLike) -> Floats:
    """Largest temperature at which a sequence is recalled, the inverse of `sequence_load`.

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.

    Returns
    -------
    ndarray of float64
        Of the same shape: 1 at alpha = 0, and near it 1 - sqrt(alpha); nan above 0.269.

    Raises
    ------
    ValueError
        For a negative or nan alpha.

    Examples
    --------
    >>> print(fastrec.theory.sequence_temperature([0, 0.1, 0.2, 0.3]).round(3))
    [1.    0.61  0.354   nan]
    """
    return highest_temperature(_LAW, checked_loads(alpha), COLD)
