"""Memories of which few units are active: Tsodyks and Feigel'man; Willshaw, Buneman and Longuet-Higgins."""

import math

import numpy as np
from numpy.typing import ArrayLike

from ...messages import shown
from .mean_field import Floats, density

_erfc = np.vectorize(math.erfc, otypes=[float])


def sparse_load(activity: ArrayLike) -> Floats:
    """1 / (2 a ln(1 / a)): largest load p/n of the covariance rule as the activity a goes to 0.

    Tsodyks and Feigel'man, Europhys. Lett. 6, 101 (1988).  It is reached slowly: at an activity of 0.01
    `covariance_load` is 0.4, at 1e-12 0.62 of it.

    Parameters
    ----------
    activity : array_like of float
        Shares of active units, any shape, above 0 and below 1.

    Returns
    -------
    ndarray of float64
        Of the same shape.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(fastrec.theory.sparse_load([0.1, 0.01]).round(2))
    [ 2.17 10.86]
    """
    a = _activities(activity, 1.0)
    return -1 / (2 * a * np.log(a))


def covariance_load(activity: ArrayLike, threshold: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Largest load p/n with a retrieval state of the covariance rule, and the threshold that it takes.

    For units 0 and 1, n to infinity, temperature 0, and the best threshold or a given one. With x1 and x0 the
    signal to noise ratio of active and silent units, m = Phi(x1) - Phi(x0), s = m / (x1 - x0), C = <phi(x)> /
    s and alpha = s^2 (1 - C)^2 / <Phi(x)>, averaged over a share a of x1 and 1 - a of x0; the load is the
    maximum over x1 and x0. Derived here, as AGS by signal and noise, and checked by simulations of 3000
    units; it goes to the law of Tsodyks and Feigel'man, `sparse_load`, and is half of `ALPHA_C` at activity
    1/2 and threshold 0.

    Parameters
    ----------
    activity : array_like of float
        Shares a of active units, any shape, above 0, at most 1/2.
    threshold : array_like of float, optional
        In units in which the mean field of a stored pattern is 1 - a in active and -a in silent units;
        1/2 - a, the one of rule "covariance", is half way between.  From -a to 1 - a; by default the best.

    Returns
    -------
    loads : ndarray of float64
        Of the common shape of the arguments.
    thresholds : ndarray of float64
        The thresholds.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> loads, thresholds = fastrec.theory.covariance_load([0.1, 0.01])
    >>> print(loads.round(3), thresholds.round(3))
    [0.441 4.368] [0.509 0.601]

    At the threshold of the rule:

    >>> print(fastrec.theory.covariance_load(0.1, 0.4)[0].round(3))
    0.325
    """
    if threshold is not None:
        shares = _activities(activity, 0.5)
        return _load_at_threshold(*np.broadcast_arrays(shares, np.asarray(threshold, np.float64)))
    a = _activities(activity, 0.5)[..., None, None]
    # Silent units have to stay below the threshold so that fewer than a share a of them are active.
    x1, x0 = np.full(a.shape, 1.5), -np.sqrt(-2 * np.log(a)) - 0.5
    steps = np.linspace(-1, 1, 25)
    width = 1.5
    while width > 1e-8:  # a grid of 25 x 25 that closes in on its best point
        grid1, grid0 = x1 + width * steps[:, None], x0 + width * steps
        found = _covariance_state(grid1, grid0, a)[0]
        best = found.reshape(*a.shape[:-2], -1).argmax(-1)[..., None, None]
        x1, x0 = x1 + width * steps[best // 25], x0 + width * steps[best % 25]
        width /= 4
    load, noise, m = _covariance_state(x1, x0, a)
    return load[..., 0, 0], (m * (1 - a) - x1 * noise)[..., 0, 0]


def willshaw_patterns(n: int, active: ArrayLike) -> Floats:
    """Patterns that a network of binary couplings holds before a memory has one wrong unit on average.

    Of n units, M are active in a pattern; a coupling is 1 where any pattern has both of its units active,
    and a unit is active where all M couplings from a memory are 1 (Willshaw, Buneman and Longuet-Higgins,
    Nature 222, 960, 1969).  With p random patterns a coupling is 1 with probability
    c = 1 - (1 - M (M-1) / (n (n-1)))^p, and a silent unit is wrong with probability c^M, couplings taken as
    independent: p is where (n - M) c^M = 1.  They are not quite: with n = 1000, memories have 1.3 wrong units
    for M = 10, and 3.8 for M = 40.  With M = log2 n about half of the couplings are 1, and as n grows
    p log2 C(n, M) goes to ln 2 = 0.69 bits a coupling, the most that there is.

    Parameters
    ----------
    n : int
        Number of units, at least 4.
    active : array_like of int
        Numbers M of active units, any shape, from 2 to n / 2.

    Returns
    -------
    ndarray of float64
        Of the shape of active.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(fastrec.theory.willshaw_patterns(1000, [5, 10, 20]).round())
    [14466.  7731.  3242.]
    """
    if not (isinstance(n, (int, float, np.number)) and n >= 4 and n % 1 == 0):
        raise ValueError(f"n must be an integer of at least 4, got {shown(n)}")
    m = np.asarray(active, np.float64)
    if not ((m >= 2) & (m <= n / 2)).all():
        raise ValueError(f"active must be from 2 to n / 2 = {n / 2:g}, got {shown(active)}")
    couplings = np.exp(-np.log(n - m) / m)
    return np.log1p(-couplings) / np.log1p(-m * (m - 1) / (n * (n - 1.0)))


def _load_at_threshold(activity: Floats, threshold: Floats) -> tuple[Floats, Floats]:
    """The largest loads over x1, where the threshold m (1 - a) - x1 s gives x0, of which it falls."""
    if not ((threshold > -activity) & (threshold < 1 - activity)).all():
        raise ValueError(f"threshold must be between -activity and 1 - activity, got {shown(threshold)}")
    a, steps, width = activity[..., None], np.linspace(-1, 1, 25), 2.5
    x1 = np.full(a.shape, 2.6)
    while width > 1e-8:  # as above
        grid = np.maximum(x1 + width * steps, 0.02)
        low, high = np.full(grid.shape, -40.0), grid - 1e-9
        for _ in range(60):
            x0 = (low + high) / 2
            _, noise, m = _covariance_state(grid, x0, a)
            above = m * (1 - a) - grid * noise > threshold[..., None]
            low, high = np.where(above, x0, low), np.where(above, high, x0)
        loads = np.where(low > -40, _covariance_state(grid, low, a)[0], 0)
        x1 = np.take_along_axis(grid, loads.argmax(-1)[..., None], -1)
        width /= 4
    return loads.max(-1), threshold.copy()


def _covariance_state(x1: Floats, x0: Floats, a: Floats) -> tuple[Floats, Floats, Floats]:
    """The load, s and m."""
    high, low = _erfc(-x1 / math.sqrt(2)) / 2, _erfc(-x0 / math.sqrt(2)) / 2
    noise = (high - low) / (x1 - x0)
    response = (a * density(x1) + (1 - a) * density(x0)) / noise
    return noise**2 * np.maximum(1 - response, 0) ** 2 / (a * high + (1 - a) * low), noise, high - low


def _activities(activity: ArrayLike, most: float) -> Floats:
    shares = np.asarray(activity, np.float64)
    if not ((shares > 0) & (shares <= most) & (shares < 1)).all():
        least = "above 0 and below 1" if most == 1 else f"above 0, at most {most}"
        raise ValueError(f"activity must be a share {least}, got {shown(activity)}")
    return shares
