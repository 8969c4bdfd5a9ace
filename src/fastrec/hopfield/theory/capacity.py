"""Exact recall of every memory: the tail of the crosstalk on one bit, at any size of network."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...messages import shown
from ..interaction import Degree, read_degree
from ..storage_capacity.definition import Criterion
from .dense import crosstalk_tail
from .mean_field import Floats

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
        raise ValueError(f"n must be at least 2, got {shown(n)}: n / ln n needs more than one unit")
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


def storkey_capacity(n: ArrayLike) -> Floats:
    """n / sqrt(2 ln n): patterns that Storkey's rule holds for large n.

    A. Storkey, Increasing the capacity of a Hopfield network without sacrificing functionality, ICANN 1997.

    Parameters
    ----------
    n : array_like of int
        Numbers of units, any shape, each at least 2.

    Returns
    -------
    ndarray of float64
        Of the shape of n.

    Raises
    ------
    ValueError
        For n below 2.

    Examples
    --------
    >>> print(fastrec.theory.storkey_capacity([50, 100, 200]).round(1))
    [17.9 33.  61.4]
    """
    return mceliece_most(n) * np.sqrt(2 * np.log(np.asarray(n, np.float64)))


def unstable_bit_probability(n: int, p: ArrayLike, *, degree: Degree = 2) -> Floats:
    """Probability q that a given bit of a given stored pattern is unstable; exact for degree 2.

    With p random patterns, zero diagonal and ties that keep the state, a bit of a memory feels n - 1 from its
    own pattern and a crosstalk of m = (n-1)(p-1) independent +-1 from the others, so
    q = Pr[2B - m > n - 1], B ~ Bin(m, 1/2).  There is no normal approximation: the relative error is about
    1e-12, also deep in the tail (until q underflows to 0).

    For a dense memory of a higher degree the crosstalk of a pattern is one of n values, and q comes from its
    saddle point (Lugannani and Rice, Adv. Appl. Probab. 12, 475, 1980), within some 20 % for n = 30 and
    closer for more units.  For "exponential" it is (p - 1) / 2^(n+1), that another pattern differs in no
    other bit.  Both count single patterns, and are at most 1/2, to which very many patterns go.

    Parameters
    ----------
    n : int
        Number of units, at least 1; 2 where degree is not 2.
    p : array_like of int
        Numbers of patterns, any shape, at least 1, n p below 2^62.
    degree : int or "exponential"
        Of the energy: 2 for a Hopfield network, up to 62 for a dense memory.

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
    if read_degree(degree) != 2:
        _units(n, least=2)
        return crosstalk_tail(n, flat, degree).reshape(patterns.shape)
    for start in range(0, q.size, 4096):  # bounds the memory of the quadrature, 64 nodes a value
        q[start : start + 4096] = binomial_tail((n - 1) * (flat[start : start + 4096] - 1), n - 1)
    return q.reshape(patterns.shape)


def all_stable_probability(n: int, p: ArrayLike, *, degree: Degree = 2) -> Floats:
    """Probability exp(-n p q) that all p patterns are stable, their n p bits taken as independent (Poisson).

    The curve of criterion "all", with q of `unstable_bit_probability`.

    Parameters
    ----------
    n : int
        Number of units.
    p : array_like of int
        Numbers of patterns.
    degree : int or "exponential"
        As in `unstable_bit_probability`.

    Returns
    -------
    ndarray of float64
        Of the common shape of the arguments.

    Examples
    --------
    >>> print(f"{fastrec.theory.all_stable_probability(1000, 60):.3f}")
    0.319
    """
    return np.exp(-n * np.asarray(p) * unstable_bit_probability(n, p, degree=degree))


def newest_stable_probability(n: int, p: ArrayLike, *, degree: Degree = 2) -> Floats:
    """Probability that patterns 1 to p were each stable when stored: product of exp(-n q(p')) over p' <= p.

    The curve of criterion "newest", with q of `unstable_bit_probability`; it costs O(max p).

    Parameters
    ----------
    n : int
        Number of units.
    p : array_like of int
        Numbers of patterns.
    degree : int or "exponential"
        As in `unstable_bit_probability`.

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
    rates = n * unstable_bit_probability(n, np.arange(1, patterns.max(initial=1) + 1), degree=degree)
    return np.exp(-np.cumsum(rates))[patterns - 1]


def capacity_quantile(
    n: int, probability: float = 0.5, criterion: Criterion = "all", *, degree: Degree = 2
) -> int:
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
    degree : int or "exponential"
        As in `unstable_bit_probability`.

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
    _units(n, least=2)
    _check_probability(probability)
    curve = _survival(criterion, degree)
    if criterion != "newest":
        return _last_holding(lambda p: _mid(curve, n, p) >= probability)
    held = capacity_quantile(n, probability, degree=degree)
    size = 16 + held + held // 3  # "newest" lasts 15 to 30 % longer, and its curve costs a sum from p = 1
    while not (below := _mid(curve, n, np.arange(1, size)) < probability).any():
        size *= 2
    return int(below.argmax())


def each_pattern_load(n: int, probability: float = 0.5, *, degree: Degree = 2) -> int:
    """Patterns p at which one given pattern is stable with the given probability, from exp(-n q).

    The convention of `capacity_quantile` on another curve; grows as n / (2 ln n).

    Parameters
    ----------
    n : int
        Number of units, at least 2.
    probability : float
        Between exp(-n/2), which every load reaches as q stays below 1/2, and 1.
    degree : int or "exponential"
        As in `unstable_bit_probability`.

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
    _units(n, least=2)
    _check_probability(probability)
    if probability <= math.exp(-n / 2):
        raise ValueError(f"probability must exceed exp(-n/2), {math.exp(-n / 2):.3g} here, got {probability}")
    curve = partial(_each_stable_probability, degree=degree)
    return _last_holding(lambda p: _mid(curve, n, p) >= probability)


def first_failure_distribution(
    n: int, criterion: Criterion = "all", *, degree: Degree = 2
) -> tuple[NDArray[np.int64], Floats]:
    """Distribution of the first-failure capacity.

    A trial is taken to survive p patterns with the probability S(p) of the curve of `capacity_quantile`, so
    that the distribution function at c is 1 - S(c+1).

    Parameters
    ----------
    n : int
        Number of units, at least 2.
    criterion : {"all", "newest"}
        Which memories must come back.
    degree : int or "exponential"
        As in `unstable_bit_probability`.

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
    counts = np.arange(capacity_quantile(n, 1e-9, criterion, degree=degree) + 2)
    curve = _survival(criterion, degree)
    # The parity of (n-1)(p-1) makes q of a very small n dip now and then; survival cannot rise again.
    return counts, 1 - np.minimum.accumulate(curve(n, counts + 1))


def capacity_mean(n: int, criterion: Criterion = "all", *, degree: Degree = 2) -> float:
    """Mean first-failure capacity: the sum over p of the probability that a trial passes all loads up to p.

    The mean of `first_failure_distribution`.  Unlike a quantile it is no integer, so that it can be compared
    with the means of trials and drawn as a line.  Of small networks it is a little higher for odd n than for
    even n: a field can be 0, and its unit keep its state, at every p where n is odd, and only at even p where
    n is even.

    Parameters
    ----------
    n : int
        Number of units, at least 2.
    criterion : {"all", "newest"}
        Which memories must come back.
    degree : int or "exponential"
        As in `unstable_bit_probability`.

    Returns
    -------
    float
        Number of patterns.

    Raises
    ------
    ValueError
        For a smaller n or an unknown criterion.

    Examples
    --------
    >>> print([f"{fastrec.theory.capacity_mean(n):.2f}" for n in (20, 21, 22, 1000)])
    ['4.03', '4.26', '4.21', '56.20']
    """
    last = capacity_quantile(n, 1e-9, criterion, degree=degree) + 1
    # Between up to 1000 loads the curve is so smooth that straight lines have its sum.
    p = np.unique(np.linspace(1, last, min(last, 1000)).round().astype(np.int64))
    survival = np.minimum.accumulate(_survival(criterion, degree)(n, p))
    return float(np.trapezoid(survival, p) + (survival[0] + survival[-1]) / 2)


def capacity_bound(n: int, tiny: float = 1e-9, criterion: Criterion = "all", *, degree: Degree = 2) -> int:
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
    degree : int or "exponential"
        As in `unstable_bit_probability`.

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
    if _units(n, least=1) == 1:
        return 8
    return max(8, capacity_quantile(n, tiny, criterion, degree=degree) + 2)


def _survival(criterion: Criterion, degree: Degree) -> Callable[[int, ArrayLike], Floats]:
    """The probability, as a function of n and p, that a trial passes all loads up to p."""
    curves: dict[Criterion, Callable[..., Floats]] = {
        "all": all_stable_probability,
        "newest": newest_stable_probability,
    }
    if criterion not in curves:
        raise ValueError(f"criterion must be {' or '.join(map(repr, curves))}, got {shown(criterion)}")
    return partial(curves[criterion], degree=degree)


def _each_stable_probability(n: int, p: ArrayLike, degree: Degree) -> Floats:
    return np.exp(-n * unstable_bit_probability(n, p, degree=degree))


def _mid(curve: Callable[[int, ArrayLike], Floats], n: int, p: NDArray[np.int64]) -> Floats:
    """(S(p) + S(p+1)) / 2 for p that ascend without gaps."""
    values = curve(n, np.append(p, p[-1] + 1))
    return (values[:-1] + values[1:]) / 2


def binomial_tail(m: NDArray[np.int64], excess: NDArray[np.int64] | int) -> Floats:
    """Pr[2B - m > excess] for B ~ Bin(m, 1/2), m (k,), excess >= 0, of the shape of m or a scalar.

    The tail is an incomplete beta integral: Pr[B >= s] = s Pr[B = s] times the integral from 0 to 1 of
    (1-u)^(s-1) (1+u)^(m-s). The integrand falls smoothly from 1 at u = 0, so one Gauss-Legendre rule over its
    first 40 e-folds is exact to rounding (a polynomial while m < 128), at a cost that does not grow with m.
    """
    q = np.zeros(m.shape)
    reachable = m > excess
    m, excess = m[reachable], np.broadcast_to(excess, m.shape)[reachable]
    s = (m + excess) // 2 + 1  # the smallest B in the tail
    slope, curvature = (2 * s - 1 - m).astype(float), (m - s).astype(float)
    reach = 80 / np.maximum(slope + np.sqrt(slope**2 + 160 * curvature), 80.0)
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


def _units(n: int, least: int) -> int:
    if n != int(n) or n < least:
        raise ValueError(f"n must be an integer of at least {least}, got {n}")
    return int(n)


def _patterns(n: int, p: ArrayLike) -> NDArray[np.int64]:
    patterns = np.asarray(p)
    if patterns.dtype.kind not in "iu" or (patterns < 1).any():
        raise ValueError(f"p must be integers of at least 1, got {shown(p)}")
    if _units(n, least=1) * int(patterns.max(initial=1)) >= 2**62:
        raise ValueError(f"n * p must stay below 2^62, got n = {n} and p up to {patterns.max()}")
    return patterns.astype(np.int64)


def _check_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability}")
