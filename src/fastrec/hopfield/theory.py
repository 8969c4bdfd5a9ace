"""What theory says about capacity and retrieval, to be drawn over measured curves.

Two questions have two theories. Exact recall of every memory (what `fastrec.capacity` measures) ends with
single rare bits, so it follows the binomial tail of the crosstalk on one bit, and n/(4 ln n) as n grows.
Retrieval with a few errors follows Amit, Gutfreund and Sompolinsky (AGS) up to its sharp end at the load
alpha_c = 0.1379. Everywhere n counts neurons, p patterns, and alpha = p/n is the load.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Criterion = Literal["all", "newest"]
Floats = NDArray[np.float64]

ALPHA_C = 0.1379055664949317
"""Load above which no retrieval state exists (AGS 1985: replica symmetric, zero temperature)."""

_Y_C = 1.5112185563276566  # erf(_Y_C) is the overlap at ALPHA_C, 0.96742
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
# ln x! minus Stirling's leading terms, where the asymptotic series is not yet exact.
_X = np.arange(1, 16)
_STIRLING_SMALL = np.cumsum(np.log(_X)) - (_X + 0.5) * np.log(_X) + _X - math.log(2 * math.pi) / 2
_erf = np.vectorize(math.erf, otypes=[float])


def ags_overlap(alpha: ArrayLike) -> Floats:
    """Overlap m of the retrieval state with its memory at load alpha: 1 at alpha = 0, 0.967 at `ALPHA_C`.

    m = erf(y) with y the largest root of erf(y) = y (sqrt(2 alpha) + (2/sqrt(pi)) exp(-y^2)), for n to
    infinity at zero temperature (Amit, Gutfreund, Sompolinsky, Phys. Rev. Lett. 55, 1530, 1985).

    alpha: loads p/n, any shape. Returns float64 of the same shape; nan above `ALPHA_C`, where there is no
    retrieval state to have an overlap. Raises ValueError for a negative or nan alpha.
    """
    loads = _loads(alpha)
    noise = np.sqrt(2 * loads)
    # On [y_c, 1/noise] the function below falls from >= 0 to < 0; erf(6) is 1 in float64, so 6 is far enough.
    low = np.full(loads.shape, _Y_C)
    high = np.maximum(np.minimum(6.0, 1 / np.maximum(noise, 1e-9)), _Y_C)
    for _ in range(60):
        y = (low + high) / 2
        above = _erf(y) / y - 2 / math.sqrt(math.pi) * np.exp(-y * y) > noise
        low, high = np.where(above, y, low), np.where(above, high, y)
    return np.where(loads <= ALPHA_C, _erf(low), np.nan)


def first_step_overlap(m0: ArrayLike, alpha: ArrayLike) -> Floats:
    """Overlap after one synchronous step from overlap m0: m1 = erf(m0 / sqrt(2 alpha)), exact for large n.

    The start must be random apart from its overlap (Kinzel, Z. Phys. B 60, 205, 1985). m0 in [-1, 1] and
    alpha = p/n broadcast; returns float64. Raises ValueError for a negative or nan alpha.
    """
    start, loads = np.broadcast_arrays(np.asarray(m0, np.float64), _loads(alpha))
    noiseless = loads == 0
    return np.where(noiseless, np.sign(start), _erf(start / np.sqrt(np.where(noiseless, 1.0, 2 * loads))))


def amari_maginu_overlaps(m0: ArrayLike, alpha: ArrayLike, steps: int) -> Floats:
    """Overlaps after 0 to `steps` synchronous steps from overlap m0: approximation of Amari and Maginu.

    The crosstalk on a unit is taken as Gaussian, its variance v = alpha at the start, and the states of two
    steps as independent apart from their overlaps (Neural Networks 1, 63, 1988): with u = m / sqrt(v) and g
    the normal density, m' = erf(u / sqrt(2)) and v' = alpha + 4 g(u)^2 + 4 alpha u g(u) m'. The first step is
    `first_step_overlap`, exact for large n; later ones are too optimistic: retrieval ends at a load of 0.1597
    instead of `ALPHA_C`. What fails falls to 0, not to the overlap that remains in a network.

    m0 in [-1, 1] and alpha = p/n > 0 broadcast; returns float64 (..., steps + 1). Raises ValueError for other
    values, or steps that are no integer of at least 0.
    """
    if steps != int(steps) or steps < 0:
        raise ValueError(f"steps must be an integer of at least 0, got {steps}")
    start, loads = np.broadcast_arrays(_starts(m0), _loads(alpha))
    if not (loads > 0).all():
        raise ValueError(f"alpha must be above 0, where there is crosstalk, got {alpha!r}")
    overlaps = np.empty((*start.shape, int(steps) + 1))
    overlaps[..., 0], variance = start, loads
    for step in range(int(steps)):
        overlaps[..., step + 1], variance = _amari_maginu_step(overlaps[..., step], variance, loads)
    return overlaps


def critical_overlap(alpha: ArrayLike) -> Floats:
    """Least start overlap m0 that leads to retrieval at load alpha: the edge of the basin of attraction.

    In the approximation of `amari_maginu_overlaps`, solved to 1e-4. It puts the edge too low: 0.21 at a load
    of 0.1, where half of the memories of n = 5000 units are recalled from 0.33 with synchronous updates and
    from 0.37 with asynchronous ones. 0 at alpha = 0, nan above 0.1597, where no start is retrieved.

    alpha: loads p/n, any shape. Returns float64 of the same shape. Raises ValueError for a negative or nan
    alpha.
    """
    loads = _loads(alpha)
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


def mceliece_most(n: ArrayLike) -> Floats:
    """n / (2 ln n): patterns at which, for large n, most are still recalled exactly (McEliece et al. 1987).

    IEEE Trans. Inf. Theory 33, 461. n: neurons, any shape, each at least 2 (else ValueError); float64.
    """
    sizes = np.asarray(n, np.float64)
    if not (sizes >= 2).all():
        raise ValueError(f"n must be at least 2, got {n!r}: n / ln n needs more than one neuron")
    return sizes / (2 * np.log(sizes))


def mceliece_all(n: ArrayLike) -> Floats:
    """n / (4 ln n): patterns at which, for large n, all are still recalled exactly; as `mceliece_most`."""
    return mceliece_most(n) / 2


def unstable_bit_probability(n: int, p: ArrayLike) -> Floats:
    """Exact probability q that a given bit of a given stored pattern is unstable, one value per p.

    With p random patterns, zero diagonal and ties that keep the state, a bit of a memory feels n - 1 from its
    own pattern and a crosstalk of m = (n-1)(p-1) independent +-1 from the others, so
    q = Pr[2B - m > n - 1], B ~ Bin(m, 1/2). No normal approximation: relative error about 1e-12, also deep
    in the tail (until q underflows to 0).

    n: neurons, at least 1. p: integers of any shape, at least 1, n p below 2^62. Raises ValueError otherwise.
    """
    patterns = _patterns(n, p)
    flat = patterns.ravel()
    q = np.zeros(flat.size)
    for start in range(0, q.size, 4096):  # bounds the memory of the quadrature, 64 nodes a value
        q[start : start + 4096] = _binomial_tail((n - 1) * (flat[start : start + 4096] - 1), n - 1)
    return q.reshape(patterns.shape)


def all_stable_probability(n: int, p: ArrayLike) -> Floats:
    """Probability exp(-n p q) that all p patterns are stable, their n p bits taken as independent (Poisson).

    The curve of criterion="all". Arguments and errors as for `unstable_bit_probability`, which gives q.
    """
    return np.exp(-n * np.asarray(p) * unstable_bit_probability(n, p))


def newest_stable_probability(n: int, p: ArrayLike) -> Floats:
    """Probability that patterns 1 to p were each stable when stored: product of exp(-n q(p')) over p' <= p.

    The curve of criterion="newest". Arguments and errors as for `unstable_bit_probability`; costs O(max p).
    """
    patterns = _patterns(n, p)
    rates = n * unstable_bit_probability(n, np.arange(1, patterns.max(initial=1) + 1))
    return np.exp(-np.cumsum(rates))[patterns - 1]


def capacity_quantile(n: int, probability: float = 0.5, criterion: Criterion = "all") -> int:
    """First-failure capacity reached with this probability: 0.5 the median, 0.9 and 0.1 the 10-90 % range.

    With S(p) the Poisson curve (`all_stable_probability`, or `newest_stable_probability` for
    criterion="newest"), a trial fails first at p + 1 with probability S(p) - S(p+1). Counting that step half,
    the quantile is the largest p up to which (S(p) + S(p+1)) / 2 >= probability: the mid-distribution
    quantile, which has no bias from p being an integer. (Largest p with S(p) >= probability: the same or one
    more.) A flipped bit that is not repaired is not in the curve, which matters for n below about 30.

    n: neurons, at least 2. Raises ValueError for a smaller n, a probability outside (0, 1) or an unknown
    criterion.
    """
    _neurons(n, least=2)
    _check_probability(probability)
    if criterion not in ("all", "newest"):
        raise ValueError(f'criterion must be "all" or "newest", got {criterion!r}')
    held = _last_holding(lambda p: _mid(all_stable_probability, n, p) >= probability)
    if criterion == "all":
        return held
    size = 16 + held + held // 3  # "newest" lasts 15 to 30 % longer, and its curve costs a sum from p = 1
    while not (below := _mid(newest_stable_probability, n, np.arange(1, size)) < probability).any():
        size *= 2
    return int(below.argmax())


def each_pattern_load(n: int, probability: float = 0.5) -> int:
    """Patterns p at which one given pattern is stable with the given probability, from exp(-n q).

    The convention of `capacity_quantile` on another curve; grows as n / (2 ln n). n: neurons, at least 2.
    Raises ValueError for a smaller n, a probability outside (0, 1), or one of at most exp(-n/2), which no
    load reaches because q stays below 1/2.
    """
    _neurons(n, least=2)
    _check_probability(probability)
    if probability <= math.exp(-n / 2):
        raise ValueError(f"probability must exceed exp(-n/2), {math.exp(-n / 2):.3g} here, got {probability}")
    return _last_holding(lambda p: _mid(_each_stable_probability, n, p) >= probability)


def first_failure_distribution(n: int, criterion: Criterion = "all") -> tuple[NDArray[np.int64], Floats]:
    """Counts c = 0, 1, 2, ... and the probability that the first-failure capacity is at most c.

    A trial is taken to survive p patterns with the probability S(p) of the Poisson curve (see
    `capacity_quantile`), so the distribution function at c is 1 - S(c+1). The counts end where it has come
    within 1e-9 of 1.

    n: neurons, at least 2. Returns int64 and float64 arrays of one length. Raises ValueError for a smaller n
    or an unknown criterion.
    """
    counts = np.arange(capacity_quantile(n, 1e-9, criterion) + 2)
    curve = all_stable_probability if criterion == "all" else newest_stable_probability
    # The parity of (n-1)(p-1) makes q of a very small n dip now and then; survival cannot rise again.
    return counts, 1 - np.minimum.accumulate(curve(n, counts + 1))


def capacity_bound(n: int, tiny: float = 1e-9, criterion: Criterion = "all") -> int:
    """Patterns that no trial survives but with a probability below tiny, at least 8: a search limit.

    Two beyond `capacity_quantile`(n, tiny, criterion), where the Poisson curve has fallen below tiny. For
    n = 1 nothing is ever unstable (a single unit has no couplings), and the bound is 8. Raises ValueError for
    n below 1, tiny outside (0, 1) or an unknown criterion.
    """
    _check_probability(tiny)
    return 8 if _neurons(n, least=1) == 1 else max(8, capacity_quantile(n, tiny, criterion) + 2)


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


def _amari_maginu_step(m: Floats, variance: Floats, loads: Floats) -> tuple[Floats, Floats]:
    u = m / np.sqrt(variance)
    density = np.exp(-u * u / 2) / math.sqrt(2 * math.pi)
    after = _erf(u / math.sqrt(2))
    return after, loads + 4 * density**2 + 4 * loads * u * density * after


def _starts(m0: ArrayLike) -> Floats:
    overlaps = np.asarray(m0, np.float64)
    if not (np.abs(overlaps) <= 1).all():
        raise ValueError(f"m0 must be an overlap from -1 to 1, got {m0!r}")
    return overlaps


def _loads(alpha: ArrayLike) -> Floats:
    loads = np.asarray(alpha, np.float64)
    if not (loads >= 0).all():
        raise ValueError(f"alpha must be a load p/n of at least 0, got {alpha!r}")
    return loads


def _neurons(n: int, least: int) -> int:
    if n != int(n) or n < least:
        raise ValueError(f"n must be an integer of at least {least}, got {n}")
    return int(n)


def _patterns(n: int, p: ArrayLike) -> NDArray[np.int64]:
    patterns = np.asarray(p)
    if patterns.dtype.kind not in "iu" or (patterns < 1).any():
        raise ValueError(f"p must be integers of at least 1, got {p!r}")
    if _neurons(n, least=1) * int(patterns.max(initial=1)) >= 2**62:
        raise ValueError(f"n * p must stay below 2^62, got n = {n} and p up to {patterns.max()}")
    return patterns.astype(np.int64)


def _check_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability}")
