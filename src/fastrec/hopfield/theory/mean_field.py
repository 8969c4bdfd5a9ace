"""Equations of retrieval states at any temperature, and how they are solved; shared by AGS and by sequences.

The field of a unit, in direction of the pattern, is s (y + z) with z normal, y the ratio of signal and noise,
and m = s y the overlap.  Both theories have m = <tanh(field / T)> and chi = d<tanh(field / T)> / d field, and
differ in how the load follows from s and chi: their `Law`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...messages import shown

Floats = NDArray[np.float64]


class Law(NamedTuple):
    """What one theory says of the load."""

    root: Callable[[Floats, Floats, Floats], Floats]
    """The square root of the load, from s, chi and T."""
    ends: tuple[float, float]
    """s/m at the largest load, about, at temperatures 0 and 1."""


COLD = 1e-14  # a temperature that cannot be told from 0 by the overlap in float64
LINEAR = 1e-6  # a root of a load so small that temperatures of transitions are 1 minus a multiple of it
_LEAST = 1e-12  # a root of a load that cannot be told from 0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
erf = np.vectorize(math.erf, otypes=[float])


def checked_loads(alpha: ArrayLike) -> Floats:
    """`alpha` as an array, or ValueError."""
    values = np.asarray(alpha, np.float64)
    if not (values >= 0).all():
        raise ValueError(f"alpha must be a load p/n of at least 0, got {shown(alpha)}")
    return values


def checked_temperatures(temperature: ArrayLike) -> Floats:
    """`temperature` as an array, or ValueError."""
    values = np.asarray(temperature, np.float64)
    if not ((values >= 0) & (values < np.inf)).all():
        raise ValueError(f"temperature must be finite and at least 0, got {shown(temperature)}")
    return values


def density(z: Floats) -> Floats:
    """The standard normal density."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def averages(s: Floats, y: Floats, heat: Floats) -> tuple[Floats, Floats, Floats]:
    """<tanh>, chi, and m times the derivative of <tanh> by m where s/m stays, at temperatures above 0."""
    t, positive, negative = _folded(s, y, heat)
    tail = np.exp(-2 * t)
    lack = 2 * tail / (1 + tail)  # 1 - tanh t
    slope = 2 * lack / (1 + tail)  # of tanh t
    difference = positive - negative
    return (
        erf(y / math.sqrt(2)) - (lack * difference).sum(-1),
        (slope * (positive + negative)).sum(-1) / heat,
        (slope * t * difference).sum(-1),
    )


def free_fields(s: Floats, y: Floats, heat: Floats) -> Floats:
    """<T ln(2 cosh(field / T))>, at temperatures above 0."""
    t, positive, negative = _folded(s, y, heat)
    excess = (np.log1p(np.exp(-2 * t)) * (positive + negative)).sum(-1)  # over |field|
    return s * (y * erf(y / math.sqrt(2)) + 2 * density(y)) + heat * excess


def _folded(s: Floats, y: Floats, heat: Floats) -> tuple[Floats, Floats, Floats]:
    """Nodes t >= 0 of |field| / T and the weights of t and of -t there, on a new last axis.

    What tanh t lacks to 1 is a smooth function over t up to 20, beyond which it is 0 in float64: one
    Gauss-Legendre rule has its integrals to 1e-14.  At any temperature, as t = (y + z) s / T starts from 0.
    """
    s, y, heat = (x[..., None] for x in np.broadcast_arrays(s, y, heat))
    first = np.maximum(-9.0, -y)  # least z; 9 standard deviations hold all of the density
    width = np.maximum(0.0, np.minimum(9 - first, 20 * heat / s - (y + first)))
    step = width * (_NODES + 1) / 2
    weights = width / 2 * _WEIGHTS
    z = first + step
    return (y + first + step) * (s / heat), weights * density(z), weights * density(z + 2 * y)


def overlap(noise: Floats, heat: Floats, start: Floats | None = None) -> tuple[Floats, Floats]:
    """The overlap m > 0, at temperatures above 0 and below 1, where s is a given multiple of m; and chi.

    <tanh(m (1 + noise z) / T)> is concave in m, so Newton's method falls to the root from a larger m, such as
    sqrt(3 / T - 3), of which m = tanh(m / T) is below; or goes there from a `start` that is near.
    """
    noise, heat = np.broadcast_arrays(noise, heat)
    m = np.minimum(1.0, np.sqrt(3 * (1 / heat - 1))) if start is None else start
    for _ in range(60):
        mean, _, slope = averages(noise * m, 1 / noise, heat)
        steepness = 1 - slope / m
        before, m = m, m - (m - mean) / steepness
        # The last step leaves the square of its length, or what rounding does near T = 1.
        if (np.abs(m - before) <= 1e-9 * m + 1e-15 / np.abs(steepness)).all():
            break
    return m, averages(noise * m, 1 / noise, heat)[1]


def end(law: Law, heat: Floats) -> tuple[Floats, Floats]:
    """Where retrieval ends at temperatures above 0 and below 1: s/m, and the root of the largest load.

    That is the maximum of the load over s/m; parabolas through three points close in on it.
    """
    noise = law.ends[0] + (law.ends[1] - law.ends[0]) * heat
    m: Floats | None = None
    for step in (0.05, 0.01, 1e-3, 2e-4):
        roots = []
        for x in (noise - step, noise, noise + step):
            m, chi = overlap(x, heat, m)
            roots.append(law.root(x * m, chi, heat))
        below, at, above = roots
        shift = step / 2 * (below - above) / (below - 2 * at + above)
        noise = noise + shift
    return noise, at + shift * (above - below) / (4 * step)


def retrieval(law: Law, alpha: Floats, heat: Floats) -> tuple[Floats, Floats]:
    """The overlap of the retrieval state and its chi, of the same shapes; nan where there is none."""
    m, chi = np.full((2, alpha.size), np.nan)
    alpha, shape, heat = alpha.ravel(), alpha.shape, np.maximum(heat.ravel(), COLD)
    for start in range(0, alpha.size, 4096):  # bounds the memory of the quadrature
        block = np.arange(start, min(start + 4096, alpha.size))
        block = block[heat[block] < 1]
        different, back = np.unique(heat[block], return_inverse=True)
        noise, top = (x[back] for x in end(law, different))
        root = np.maximum(np.sqrt(alpha[block]), _LEAST)
        there = root <= top * (1 + 1e-12)  # the largest load, for all that is known of it
        root = np.minimum(root, top)
        block = block[there]
        ratio = _branch(law, root[there], heat[block], noise[there], top[there])
        m[block], chi[block] = overlap(ratio, heat[block])
    return m.reshape(shape), chi.reshape(shape)


def largest_load(law: Law, heat: Floats) -> Floats:
    """The load at which retrieval ends: 0 from temperature 1 on."""
    return np.where(heat < 1, end(law, np.where(heat < 1, np.maximum(heat, COLD), 0.5))[1] ** 2, 0.0)


def highest_temperature(law: Law, alpha: Floats, coldest: float) -> Floats:
    """The temperature above `coldest` at which a load is the largest with retrieval; nan where there is none.

    Above `coldest` the largest load falls with temperature.
    """
    low, high = np.full(alpha.shape, coldest), np.ones(alpha.shape)
    top = end(law, low)[1]
    root = np.clip(np.sqrt(alpha), LINEAR, top)
    found = root_between(lambda heat: end(law, heat)[1] - root, low, high, top - root, -root)
    return np.where(np.sqrt(alpha) <= top, 1 - (1 - found) * np.minimum(np.sqrt(alpha) / LINEAR, 1), np.nan)


def root_between(
    f: Callable[[Floats], Floats], low: Floats, high: Floats, f_low: Floats, f_high: Floats
) -> Floats:
    """Roots of f between points where it is of different signs or 0: false position, the Illinois variant."""
    x = np.full(low.shape, np.nan)
    for _ in range(100):
        fall = f_low - f_high
        before, x = x, np.where(fall == 0, low, (low * -f_high + high * f_low) / np.where(fall == 0, 1, fall))
        if (np.abs(x - before) <= 1e-13 * np.abs(x)).all():
            break
        f_x = f(x)
        # An end that is replaced for the second time in turn halves the value at the other one.
        to_low = np.sign(f_x) == np.sign(f_low)
        again = np.where(to_low, before == low, before == high)
        low, high, f_low, f_high = (
            np.where(to_low, x, low),
            np.where(to_low, high, x),
            np.where(to_low, f_x, np.where(again, f_low / 2, f_low)),
            np.where(to_low, np.where(again, f_high / 2, f_high), f_x),
        )
    return x


def _branch(law: Law, root: Floats, heat: Floats, noise: Floats, top: Floats) -> Floats:
    """s/m of the state of a load: the lesser of two, below `noise`, where the load has its maximum `top`."""

    m: Floats | None = None

    def excess(x: Floats) -> Floats:  # of the square roots, which are no parabola at the maximum
        nonlocal m
        m, chi = overlap(x, heat, m)
        return np.sqrt(np.maximum(top - law.root(x * m, chi, heat), 0)) - np.sqrt(top - root)

    low = np.minimum(root, noise)  # for the root of the load is at most s/m
    return root_between(excess, low, noise, excess(low), -np.sqrt(top - root))
