"""Retrieval states of large Hopfield networks at any temperature: Amit, Gutfreund and Sompolinsky (AGS)."""

import math

import numpy as np
from numpy.typing import ArrayLike

from .mean_field import (
    LINEAR,
    Floats,
    Law,
    averages,
    checked_loads,
    checked_temperatures,
    erf,
    free_fields,
    highest_temperature,
    largest_load,
    retrieval,
    root_between,
)

ALPHA_C = 0.1379055664949317
"""Load above which no retrieval state exists (AGS 1985: replica symmetric, zero temperature)."""

_Y_C = 1.5112185563276566  # erf(_Y_C) is the overlap at ALPHA_C, 0.96742
_WIDEST = 0.0233  # temperature at which retrieval reaches the largest load of all, 0.13819
_WIDEST_GLOBAL = 0.085  # and where it is the global minimum, 0.05313


def _root(s: Floats, chi: Floats, heat: Floats) -> Floats:
    """sqrt(alpha), from s^2 = alpha r."""
    return s * (1 - chi) / np.sqrt(1 - heat * chi)


_LAW = Law(_root, (0.468, 0.478))


def ags_overlap(alpha: ArrayLike, temperature: ArrayLike = 0.0) -> Floats:
    """Overlap m of the retrieval state with its memory: at temperature 0, 1 at alpha = 0, 0.967 at `ALPHA_C`.

    For n to infinity, replica symmetric (Amit, Gutfreund, Sompolinsky, Phys. Rev. Lett. 55, 1530, 1985).  At
    temperature 0 it is m = erf(y) with y the largest root of
    erf(y) = y (sqrt(2 alpha) + (2/sqrt(pi)) exp(-y^2)), above it the m of `ags_state`.

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.
    temperature : array_like of float
        In units of the energy of `HopfieldNetwork.energy`, of which the critical one is 1 at load 0;
        broadcast with alpha.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments; nan where there is no retrieval state: above `ags_load`.

    Raises
    ------
    ValueError
        For a negative or nan alpha or temperature.

    Examples
    --------
    >>> print(f"{fastrec.theory.ags_overlap(0.1):.4f} {fastrec.theory.ags_overlap(0.2):.4f}")
    0.9980 nan
    >>> print(fastrec.theory.ags_overlap(0.05, [0, 0.2, 0.4, 0.6]).round(4))
    [1.     0.9989 0.9662    nan]
    """
    alphas, heat = np.broadcast_arrays(checked_loads(alpha), checked_temperatures(temperature))
    m = _cold_overlap(alphas)
    warm = heat > 0
    if warm.any():
        m[warm] = ags_state(alphas[warm], heat[warm])[0]
    return m


def ags_state(alpha: ArrayLike, temperature: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Overlap, Edwards-Anderson parameter and noise of the retrieval state.

    The replica-symmetric solution with the largest m of m = <tanh(h / T)>, q = <tanh(h / T)^2> and
    r = q / (1 - (1 - q) / T)^2 with fields h = m + sqrt(alpha r) z, averaged over normal z (Amit, Gutfreund,
    Sompolinsky, Ann. Phys. 173, 30, 1987).

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.
    temperature : array_like of float
        As in `ags_overlap`; broadcast with alpha.

    Returns
    -------
    m : ndarray of float64
        Overlap with the memory, of the common shape of the arguments; nan where there is no retrieval state.
    q : ndarray of float64
        Mean square of the time average of a unit, 1 at temperature 0.
    r : ndarray of float64
        Mean square overlap with the other memories, in units of 1/n.

    Raises
    ------
    ValueError
        For a negative or nan alpha or temperature.

    Examples
    --------
    >>> m, q, r = fastrec.theory.ags_state(0.05, 0.4)
    >>> print(m.round(4), q.round(4), r.round(4))
    0.9662 0.9367 1.3221
    """
    alphas, heat = np.broadcast_arrays(checked_loads(alpha), checked_temperatures(temperature))
    m, chi = retrieval(_LAW, alphas, heat)
    q = 1 - heat * chi
    return m, q, q / (1 - chi) ** 2


def ags_load(temperature: ArrayLike = 0.0) -> Floats:
    """Largest load p/n with a retrieval state at a temperature: `ALPHA_C` at 0, 0 from 1 on.

    Up to a temperature of 0.023 it rises a little, to 0.1382: an artefact of replica symmetry that is known
    as reentrance (Naef and Canning, J. Phys. I France 2, 247, 1992).

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
    >>> print(fastrec.theory.ags_load([0, 0.25, 0.5, 0.75, 1]).round(4))
    [0.1379 0.1136 0.0588 0.0156 0.    ]
    """
    heat = checked_temperatures(temperature)
    return np.where(heat == 0, ALPHA_C, largest_load(_LAW, heat))


def ags_temperature(alpha: ArrayLike) -> Floats:
    """Largest temperature T_M with a retrieval state: 1 at alpha = 0, and near it 1 - 1.95 sqrt(alpha).

    The line at which memories are lost as a network is heated, the inverse of `ags_load`.

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.

    Returns
    -------
    ndarray of float64
        Of the same shape; 0.046 at `ALPHA_C`, and nan above 0.1382, because of the reentrance of `ags_load`.

    Raises
    ------
    ValueError
        For a negative or nan alpha.

    Examples
    --------
    >>> print(fastrec.theory.ags_temperature([0, 0.01, 0.05, 0.1]).round(3))
    [1.    0.801 0.542 0.315]
    """
    return highest_temperature(_LAW, checked_loads(alpha), _WIDEST)


def ags_global_temperature(alpha: ArrayLike) -> Floats:
    """Temperature T_c below which retrieval states are the global minima of the free energy.

    Between T_c and `ags_temperature` they are metastable and spin-glass states have the lower free energy
    (both replica symmetric; Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30, 1987).

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.

    Returns
    -------
    ndarray of float64
        Of the same shape: 1 at alpha = 0, and near it 1 - 2.6 sqrt(alpha); nan above 0.0531, where they are
        global minima at no temperature.  At temperature 0 they are up to 0.0519, close to
        (pi/2) (1/2 - 1/pi)^2; the difference is reentrance, as in `ags_load`.

    Raises
    ------
    ValueError
        For a negative or nan alpha.

    Examples
    --------
    >>> print(fastrec.theory.ags_global_temperature([0, 0.01, 0.04, 0.06]).round(3))
    [1.    0.722 0.365   nan]
    """
    root = np.sqrt(checked_loads(alpha))
    alphas, cold = np.clip(root, LINEAR, 1.0) ** 2, np.full(root.shape, _WIDEST_GLOBAL)
    at_cold = _advantage(alphas, cold)
    known = at_cold <= 0  # where it is not, some other load is solved for in place of this one
    alphas, at_cold = np.where(known, alphas, 0.01), np.where(known, at_cold, -1.0)
    hot = ags_temperature(alphas) * (1 - 1e-12)
    found = root_between(lambda heat: _advantage(alphas, heat), cold, hot, at_cold, _advantage(alphas, hot))
    return np.where(known, 1 - (1 - found) * np.minimum(root / LINEAR, 1), np.nan)


def spin_glass_temperature(alpha: ArrayLike) -> Floats:
    """Temperature T_g = 1 + sqrt(alpha) below which there are spin-glass states.

    Above it units are free on average (Amit, Gutfreund, Sompolinsky, Phys. Rev. Lett. 55, 1530, 1985).

    Parameters
    ----------
    alpha : array_like of float
        Loads p/n, any shape.

    Returns
    -------
    ndarray of float64
        Of the same shape.

    Raises
    ------
    ValueError
        For a negative or nan alpha.

    Examples
    --------
    >>> print(fastrec.theory.spin_glass_temperature([0, 0.01, 0.25]))
    [1.  1.1 1.5]
    """
    return 1 + np.sqrt(checked_loads(alpha))


def _cold_overlap(alphas: Floats) -> Floats:
    noise = np.sqrt(2 * alphas)
    # On [y_c, 1/noise] the function below falls from >= 0 to < 0; erf(6) is 1 in float64, so 6 is far enough.
    low = np.full(alphas.shape, _Y_C)
    high = np.maximum(np.minimum(6.0, 1 / np.maximum(noise, 1e-9)), _Y_C)
    for _ in range(60):
        y = (low + high) / 2
        above = erf(y) / y - 2 / math.sqrt(math.pi) * np.exp(-y * y) > noise
        low, high = np.where(above, y, low), np.where(above, high, y)
    return np.where(alphas <= ALPHA_C, erf(low), np.nan)


def _advantage(alphas: Floats, heat: Floats) -> Floats:
    """Free energy of the retrieval state minus that of the spin glass; temperatures above 0 and below 1."""
    m, _, r = ags_state(alphas, heat)
    glass = _spin_glass_noise(alphas, heat)
    return _free_energy(m, np.sqrt(alphas * r), alphas, heat) - _free_energy(0 * m, glass, alphas, heat)


def _spin_glass_noise(alphas: Floats, heat: Floats) -> Floats:
    """s of the state with m = 0.  The load is -1 + T at s = 0, and at least s - sqrt(2/pi) in its root."""
    still = np.zeros(alphas.shape)

    def excess(s: Floats) -> Floats:
        return _root(s, averages(s, still, heat)[1], heat) - np.sqrt(alphas)

    high = np.sqrt(alphas) + math.sqrt(2 / math.pi)
    return root_between(excess, still, high, heat - 1 - np.sqrt(alphas), excess(high))


def _free_energy(m: Floats, s: Floats, alphas: Floats, heat: Floats) -> Floats:
    """m^2/2 + alpha/2 (1 + T ln(1 - chi)) + s^2 (chi - 1/2) - T <ln(2 cosh(h/T))>, of a unit.

    That of AGS 1987 at its q and r, with s^2 = alpha r.
    """
    chi = averages(s, m / s, heat)[1]
    return (
        m**2 / 2 + alphas / 2 * (1 + heat * np.log1p(-chi)) + s**2 * (chi - 0.5) - free_fields(s, m / s, heat)
    )
