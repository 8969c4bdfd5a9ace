"""Dense associative memories: energies that are a power, or the exponential, of the overlaps."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...messages import shown
from ...validation import as_int
from ..interaction import LARGEST_DEGREE, Degree
from .mean_field import Floats, density


def dense_most(n: ArrayLike, degree: int) -> Floats:
    """n^(k-1) / (2 (2k-3)!! ln n) for degree k: patterns at which, for large n, most are recalled exactly.

    Krotov and Hopfield, Adv. Neural Inf. Process. Syst. 29 (2016), equation 6.  For degree 2 it is
    `mceliece_most`.

    Parameters
    ----------
    n : array_like of int
        Numbers of units, any shape, each at least 2.
    degree : int
        From 2 to 62.

    Returns
    -------
    ndarray of float64
        Of the shape of n.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(fastrec.theory.dense_most(100, 3).round(1))
    361.9
    """
    sizes = np.asarray(n, np.float64)
    if not (sizes >= 2).all():
        raise ValueError(f"n must be at least 2, got {shown(n)}: n / ln n needs more than one unit")
    k = as_int("degree", degree, 2, LARGEST_DEGREE)
    return np.exp((k - 1) * np.log(sizes) - _log_odd_factorial(k)) / (2 * np.log(sizes))


def dense_all(n: ArrayLike, degree: int) -> Floats:
    """n^(k-1) / (2 k (2k-3)!! ln n) for degree k: patterns at which, for large n, all are recalled exactly.

    `dense_most` divided by k: for one of n bits to be unstable with probability 1/n takes a crosstalk of
    sqrt(2 ln n) standard deviations, for one of the n p = n^k bits of all patterns sqrt(2 k ln n).  For
    degree 2 it is `mceliece_all`.  Networks of some hundred units hold more (`capacity_quantile`).

    Parameters
    ----------
    n : array_like of int
        Numbers of units, any shape, each at least 2.
    degree : int
        From 2 to 62.

    Returns
    -------
    ndarray of float64
        Of the shape of n.

    Examples
    --------
    >>> print(fastrec.theory.dense_all(100, 3).round(1))
    120.6
    """
    return dense_most(n, degree) / degree


def exponential_load(n: ArrayLike, flips: ArrayLike = 0.0) -> Floats:
    """Patterns at which, for large n, all are recalled from a share of flipped bits by exponential energies.

    exp(n I / 2) with I = ((1+a) ln(1+a) + (1-a) ln(1-a)) / 2 and a = 1 - 2 flips; 2^(n/2) without flips, the
    capacity of Demircigil, Heusel, Lowe, Upgang and Vermet, J. Stat. Phys. 168, 288 (2017).  At p patterns
    every probe has its own one at the overlap a, and the p^2 pairs have another one there with a probability
    of exp(-n I) each.

    Parameters
    ----------
    n : array_like of int
        Numbers of units, any shape, each at least 1.
    flips : array_like of float
        Shares of flipped bits, at least 0 and below 1/2; broadcast with n.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments; inf beyond the range of float64.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(fastrec.theory.exponential_load(24, [0, 0.1]).round())
    [4096.   83.]
    """
    sizes, shares = np.broadcast_arrays(np.asarray(n, np.float64), np.asarray(flips, np.float64))
    if not (sizes >= 1).all():
        raise ValueError(f"n must be at least 1, got {shown(n)}")
    if not ((shares >= 0) & (shares < 0.5)).all():
        raise ValueError(f"flips must be shares of at least 0 and below 1/2, got {shown(flips)}")
    # I is ln 2 minus the entropy of a flip.
    entropy = -shares * np.log(np.where(shares > 0, shares, 1)) - (1 - shares) * np.log1p(-shares)
    with np.errstate(over="ignore"):
        return np.exp(sizes * (math.log(2) - entropy) / 2)


def crosstalk_tail(n: int, p: NDArray[np.int64], degree: Degree) -> Floats:
    """Probability that a bit is unstable among p patterns, p (k,), by the saddle point of the crosstalk.

    The bit feels n^k - (n-2)^k from its own pattern, and from each other one a sign times (A+1)^k - (A-1)^k
    with A the sum of n - 1 signs; Lugannani and Rice, Adv. Appl. Probab. 12, 475 (1980).
    """
    # A pattern that differs in no other bit, or in all for an even degree, is as strong as the bit's own,
    # and the others decide then.
    # At most 1/2, to which many patterns go: they are as often for the bit as against it.
    even = degree != "exponential" and degree % 2 == 0
    twins = np.where(p > 2, np.minimum((p - 1) * 0.5 ** (n + 1 - even), 0.5), 0.0)
    if degree == "exponential":
        return twins
    q = np.zeros(p.shape)
    step = math.ceil(2**19 / min(n, 20 * math.sqrt(n)))  # bounds memory
    for start in range(0, p.size, step):
        q[start : start + step] = _saddle_point_tail(n, p[start : start + step], degree)
    return np.maximum(q, twins)


def _saddle_point_tail(n: int, p: NDArray[np.int64], degree: int) -> Floats:
    # |A|; A and -A have crosstalk of one size, and sums above 20 sqrt(n) a chance of less than exp(-200).
    sums = np.arange(n - 1, -1, -2, dtype=float)
    sums = sums[sums <= 20 * math.sqrt(n)]
    ups = (n - 1 + sums) / 2
    count = np.array([math.lgamma(n) - math.lgamma(up + 1) - math.lgamma(n - up) for up in ups.tolist()])
    log_weights = count - np.where(sums > 0, n - 2, n - 1) * math.log(2)
    # In units of what the bit's own pattern gives, which n - 1 equal signs give too.
    size = np.abs(((sums + 1) / n) ** degree - ((sums - 1) / n) ** degree) / (1 - (1 - 2 / n) ** degree)
    reachable = (p - 1) * size[0] > 1 + 1e-9
    many = np.where(reachable, p - 1, 2 / size[0])

    def cumulants(t: Floats) -> tuple[Floats, Floats, Floats]:
        """Of one pattern: ln <cosh(t x)> and its first two derivatives."""
        exponents = t[:, None] * size
        top = (exponents + log_weights).max(axis=1, keepdims=True)
        even = np.exp(exponents + log_weights - top)
        mirrored = np.exp(-exponents + log_weights - top)
        total = (even + mirrored).sum(axis=1)
        first = ((even - mirrored) @ size) / total
        second = ((even + mirrored) @ size**2) / total - first**2
        # <cosh - 1>, as it is what counts of many patterns: cosh x - 1 = exp(x) (1 - exp(-x))^2 / 2
        rise = exponents + log_weights - top + 2 * np.log(-np.expm1(-np.maximum(exponents, 1e-300)))
        return np.logaddexp(0, top[:, 0] + np.log(np.exp(rise).sum(axis=1) / 2)), first, second

    low, high = np.zeros(p.shape), np.ones(p.shape)
    while (short := many * cumulants(high)[1] < 1).any():
        high = np.where(short, 2 * high, high)
    for _ in range(60):
        t = (low + high) / 2
        below = many * cumulants(t)[1] < 1
        low, high = np.where(below, t, low), np.where(below, high, t)
    value, _, curvature = cumulants(t)
    w = np.sqrt(2 * (t - many * value))
    tail = np.array([math.erfc(x / math.sqrt(2)) / 2 for x in w.tolist()])
    tail += density(w) * (1 / (t * np.sqrt(many * curvature)) - 1 / w)
    return np.where(reachable, tail, 0.0)


def _log_odd_factorial(k: int) -> float:
    """ln (2k-3)!!."""
    return math.lgamma(2 * k - 1) - math.lgamma(k) - (k - 1) * math.log(2)
