"""Confidence intervals: of shares by Wilson, of means by Student."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float]:
    """Confidence interval of a probability from independent draws: the score interval.

    Wilson, J. Am. Stat. Assoc. 22, 209 (1927).

    Parameters
    ----------
    successes : int
        Number of draws that succeeded.
    n : int
        Number of draws.
    z : float
        Quantile of the normal distribution, 1.96 for 95 %.

    Returns
    -------
    low, high : float
        Its ends, 0 to 1.

    Examples
    --------
    >>> from fastrec.hopfield.retrieval import wilson
    >>> low, high = wilson(90, 100)
    >>> print(f"{low:.3f} {high:.3f}")
    0.826 0.945
    """
    share, weight = successes / n, z * z / n
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    centre = share + weight / 2
    low, high = (centre - reach) / (1 + weight), (centre + reach) / (1 + weight)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def student_t(confidence: float, freedom: int) -> float:
    """Quantile of Student's distribution: its absolute value exceeds t with probability 1 - confidence.

    By bisection of the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4.

    Parameters
    ----------
    confidence : float
        Between 0 and 1.
    freedom : int
        Degrees of freedom, at least 1.

    Returns
    -------
    float
        The quantile t.

    Examples
    --------
    >>> from fastrec.hopfield.retrieval import student_t
    >>> print(f"{student_t(0.95, 9):.3f}")
    2.262
    """

    def within(angle: float) -> float:
        factors = np.arange(1 + freedom % 2, freedom - 2 + freedom % 2, 2, dtype=float)
        terms = np.cumprod(np.append(1.0, factors / (factors + 1) * math.cos(angle) ** 2))
        total = math.sin(angle) * float(terms.sum())
        if freedom % 2 == 0:
            return total
        return 2 / math.pi * (angle + (total * math.cos(angle) if freedom > 1 else 0.0))

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)
