"""Exact recall of every memory: the binomial tail of the crosstalk on one bit, at any size of network."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...messages import shown
from ..storage_capacity.definition import Criterion

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
# ln x! minus Stirling's leading terms, where the asymptotic series is not yet exact.
_X = np.arange(1, 16)
_STIRLING_SMALL = np.cumsum(np.log(_X)) - (_X + 0.5) * np.log(_X) + _X - math.log(2 * math.pi) / 2


def mceliece_most(n: ArrayLike) -> Floats:
    """n / (2 ln n): patterns at which, for large n, most are still recalled exactly.

    McEliece, Posner, Rodemich and Venkatesh, IEEE Trans. Inf. Theory 33, 461 (1987).

    Parameters
    ----------
    n : array_like of int
        Numbers of units, any shape, each at least 2.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Raises
    ------
    ValueError
        For n below 2.

    Examples
    --------
    >>> print(f"{fastrec.theory.mceliece_most(1000):.1f}")
    72.4
    """
    sizes = np.asarray(n, np.float64)
    if not (sizes >= 2).all():
        raise ValueError(f"n must be at least 2, got {shown(n)}: n / ln n needs more than one neuron")
    return sizes / (2 * np.log(sizes))


def mceliece_all(n: ArrayLike) -> Floats:
    """n / (4 ln n): patterns at which, for large n, all are still recalled exactly; as `mceliece_most`.

    Parameters
    ----------
    n : array_like of int
        Numbers of units, any shape, each at least 2.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Examples
    --------
    >>> print(f"{fastrec.theory.mceliece_all(1000):.1f}")
    36.2
    """
    return mceliece_most(n) / 2


def unstable_bit_probability(n: int, p: ArrayLike) -> Floats:
    """Exact probability q that a given bit of a given stored pattern is unstable.

    With p random patterns, zero diagonal and ties that keep the state, a bit of a memory feels n - 1 from its
    own pattern and a crosstalk of m = (n-1)(p-1) independent +-1 from the others, so
    q = Pr[2B - m > n - 1], B ~ Bin(m, 1/2).  There is no normal approximation: the relative error is about
    1e-12, also deep in the tail (until q underflows to 0).

    Parameters
    ----------
    n : int
        Number of units, at least 1.
    p : array_like of int
        Numbers of patterns, any shape, at least 1, n p below 2^62.

    Returns
    -------
    ndarray of float64
        Of the shape of p.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> print(f"{fastrec.theory.unstable_bit_probability(1000, 60):.2e}")
    1.90e-05
    """
    patterns = _patterns(n, p)
    flat = patterns.ravel()
    q = np.zeros(flat.size)
    for start in range(0, q.size, 4096):  # bounds the memory of the quadrature, 64 nodes a value
        q[start : start + 4096] = _binomial_tail((n - 1) * (flat[start : start + 4096] - 1), n - 1)
    return q.reshape(patterns.shape)


def all_stable_probability(n: int, p: ArrayLike) -> Floats:
    """Probability exp(-n p q) that all p patterns are stable, their n p bits taken as independent (Poisson).

    The curve of criterion "all", with q of `unstable_bit_probability`.

    Parameters
    ----------
    n : int
        Number of units.
    p : array_like of int
        Numbers of patterns.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Examples
    --------
    >>> print(f"{fastrec.theory.all_stable_probability(1000, 60):.3f}")
    0.319
    """
    return np.exp(-n * np.asarray(p) * unstable_bit_probability(n, p))


def newest_stable_probability(n: int, p: ArrayLike) -> Floats:
    """Probability that patterns 1 to p were each stable when stored: product of exp(-n q(p')) over p' <= p.

    The curve of criterion "newest", with q of `unstable_bit_probability`; it costs O(max p).

    Parameters
    ----------
    n : int
        Number of units.
    p : array_like of int
        Numbers of patterns.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Examples
    --------
    >>> print(f"{fastrec.theory.newest_stable_probability(1000, 60):.3f}")
    0.891
    """
    patterns = _patterns(n, p)
    rates = n * unstable_bit_probability(n, np.arange(1, patterns.max(initial=1) + 1))
    return np.exp(-np.cumsum(rates))[patterns - 1]


def capacity_quantile(n: int, probability: float = 0.5, criterion: Criterion = "all") -> int:
    """First-failure capacity reached with a probability: 0.5 the median, 0.9 and 0.1 the 10-90 % range.

    With S(p) the curve of the criterion (`all_stable_probability` or `newest_stable_probability`), a trial
    fails first at p + 1 with probability S(p) - S(p+1).  Counting that step half, the quantile is the largest
    p up to which (S(p) + S(p+1)) / 2 >= probability: the mid-distribution quantile, which has no bias from p
    being an integer.  (The largest p with S(p) >= probability is the same or one more.)  A flipped bit that
    is not repaired is not in the curve, which matters for n below about 30.

    Parameters
    ----------
    n : int
        Number of units, at least 2.
    probability : float
        Between 0 and 1.
    criterion : {"all", "newest"}
        Which memories must come back.

    Returns
    -------
    int
        Number of patterns.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> fastrec.theory.capacity_quantile(1000), fastrec.theory.capacity_quantile(1000, criterion="newest")
    (56, 71)
    """
    _neurons(n, least=2)
    _check_probability(probability)
    curve = _survival(criterion)
    if curve is not newest_stable_probability:
        return _last_holding(lambda p: _mid(curve, n, p) >= probability)
    held = capacity_quantile(n, probability)
    size = 16 + held + held // 3  # "newest" lasts 15 to 30 % longer, and its curve costs a sum from p = 1
    while not (below := _mid(curve, n, np.arange(1, size)) < probability).any():
        size *= 2
    return int(below.argmax())


def each_pattern_load(n: int, probability: float = 0.5) -> int:
    """Patterns p at which one given pattern is stable with the given probability, from exp(-n q).

    The convention of `capacity_quantile` on another curve; grows as n / (2 ln n).

    Parameters
    ----------
    n : int
        Number of units, at least 2.
    probability : float
        Between exp(-n/2), which every load reaches as q stays below 1/2, and 1.

    Returns
    -------
    int
        Number of patterns.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> fastrec.theory.each_pattern_load(1000)
    98
    """
    _neurons(n, least=2)
    _check_probability(probability)
    if probability <= math.exp(-n / 2):
        raise ValueError(f"probability must exceed exp(-n/2), {math.exp(-n / 2):.3g} here, got {probability}")
    return _last_holding(lambda p: _mid(_each_stable_probability, n, p) >= probability)


def first_failure_distribution(n: int, criterion: Criterion = "all") -> tuple[NDArray[np.int64], Floats]:
    """Distribution of the first-failure capacity.

    A trial is taken to survive p patterns with the probability S(p) of the curve of `capacity_quantile`, so
    that the distribution function at c is 1 - S(c+1).

    Parameters
    ----------
    n : int
        Number of units, at least 2.
    criterion : {"all", "newest"}
        Which memories must come back.

    Returns
    -------
    counts : ndarray of int64
        0, 1, 2, ... up to where the distribution function has come within 1e-9 of 1.
    cumulative : ndarray of float64
        Probability that the capacity is at most each count.

    Raises
    ------
    ValueError
        For a smaller n or an unknown criterion.

    Examples
    --------
    >>> counts, cumulative = fastrec.theory.first_failure_distribution(1000)
    >>> print(counts[-1], cumulative[56].round(2))
    84 0.5
    """
    counts = np.arange(capacity_quantile(n, 1e-9, criterion) + 2)
    curve = _survival(criterion)
    # The parity of (n-1)(p-1) makes q of a very small n dip now and then; survival cannot rise again.
    return counts, 1 - np.minimum.accumulate(curve(n, counts + 1))


def capacity_bound(n: int, tiny: float = 1e-9, criterion: Criterion = "all") -> int:
    """Search limit: number of patterns, at least 8, that a trial survives with a probability below `tiny`.

    Two beyond ``capacity_quantile(n, tiny, criterion)``, where the curve has fallen below `tiny`.  For n = 1
    nothing is ever unstable (a single unit has no couplings), and the limit is 8.

    Parameters
    ----------
    n : int
        Number of units, at least 1.
    tiny : float
        Between 0 and 1.
    criterion : {"all", "newest"}
        Which memories must come back.

    Returns
    -------
    int
        Number of patterns.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> fastrec.theory.capacity_bound(1000)
    85
    """
    _check_probability(tiny)
    return 8 if _neurons(n, least=1) == 1 else max(8, capacity_quantile(n, tiny, criterion) + 2)


def _survival(criterion: Criterion) -> Callable[[int, ArrayLike], Floats]:
    """The probability, as a function of n and p, that a trial passes all loads up to p."""
    curves: dict[Criterion, Callable[[int, ArrayLike], Floats]] = {
        "all": all_stable_probability,
        "newest": newest_stable_probability,
    }
    if criterion not in curves:
        raise ValueError(f"criterion must be {' or '.join(map(repr, curves))}, got {shown(criterion)}")
    return curves[criterion]


def _each_stable_probability(n: int, p: ArrayLike) -> Floats:
    return np.exp(-n * unstable_bit_probability(n, p))


def _mid(curve: Callable[[int, ArrayLike], Floats], n: int, p: NDArray[np.int64]) -> Floats:
    """(S(p) + S(p+1)) / 2 for p that ascend without gaps."""
    values = curve(n, np.append(p, p[-1] + 1))
    return (values[:-1] + values[1:]) / 2


def _binomial_tail(m: NDArray[np.int64], excess: int) -> Floats:
    """Pr[2B - m > excess] for B ~ Bin(m, 1/2), m (k,), excess >= 0.

    The tail is an incomplete beta integral: Pr[B >= s] = s Pr[B = s] times the integral from 0 to 1 of
    (1-u)^(s-1) (1+u)^(m-s). The integrand falls smoothly from 1 at u = 0, so one Gauss-Legendre rule over its
    first 40 e-folds is exact to rounding (a polynomial while m < 128), at a cost that does not grow with m.
    """
    q = np.zeros(m.shape)
    reachable = m > excess
    m = m[reachable]
    s = (m + excess) // 2 + 1  # the smallest B in the tail
    slope, curvature = (2 * s - 1 - m).astype(float), (m - s).astype(float)
    reach = np.minimum(1.0, 80 / (slope + np.sqrt(slope**2 + 160 * curvature)))
    u = reach[:, None] * (_NODES + 1) / 2
    # (s-1) log(1-u) + (m-s) log(1+u), arranged so that its two large parts do not cancel.
    integrand = np.exp(slope[:, None] * np.log1p(-u) + curvature[:, None] * np.log1p(-u * u))
    q[reachable] = s * np.exp(_log_half_binomial(m, s)) * reach / 2 * (integrand @ _WEIGHTS)
    return q


def _log_half_binomial(m: NDArray[np.int64], s: NDArray[np.int64]) -> Floats:
    """ln Pr[B = s] for B ~ Bin(m, 1/2), 0 < s <= m, without differences of large log gammas (Loader 2000)."""
    inner = s < m
    rest = np.where(inner, m - s, 1)
    e = np.where(inner, (2 * s - m) / m, 0.0)
    deviance = m / 2 * (np.log1p(-e * e) + 2 * e * np.arctanh(e))
    stirling = _stirling_error(m) - _stirling_error(s) - _stirling_error(rest)
    # float(m) / s / rest: the product s * rest can pass 2^63.
    series = stirling - deviance + 0.5 * np.log(m.astype(float) / s / rest / (2 * math.pi))
    return np.where(inner, series, -m * math.log(2))


def _stirling_error(x: NDArray[np.int64]) -> Floats:
    """ln x! - ln(sqrt(2 pi x) (x/e)^x), for x >= 1."""
    y = 1 / np.maximum(x, 16)
    z = y * y
    series = y * (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188))))
    return np.where(x < 16, _STIRLING_SMALL[np.minimum(x, 15) - 1], series)


def _last_holding(holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> int:
    """Last p before holds(p) is first false, 0 if p = 1 fails.

    Every p up to 256 is looked at, as q of a small n depends on the parity of (n-1)(p-1) and is not monotone
    in p; where the end lies beyond, for n above about 2000, the curves fall steadily and bisection finds it.
    """
    failing = ~holds(np.arange(1, 257))
    if failing.any():
        return int(failing.argmax())
    low, high = 256, 512
    while holds(np.array([high]))[0]:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(np.array([middle]))[0] else (low, middle)
    return low


def _neurons(n: int, least: int) -> int:
    if n != int(n) or n < least:
        raise ValueError(f"n must be an integer of at least {least}, got {n}")
    return int(n)


def _patterns(n: int, p: ArrayLike) -> NDArray[np.int64]:
    patterns = np.asarray(p)
    if patterns.dtype.kind not in "iu" or (patterns < 1).any():
        raise ValueError(f"p must be integers of at least 1, got {shown(p)}")
    if _neurons(n, least=1) * int(patterns.max(initial=1)) >= 2**62:
        raise ValueError(f"n * p must stay below 2^62, got n = {n} and p up to {patterns.max()}")
    return patterns.astype(np.int64)


def _check_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability}")
