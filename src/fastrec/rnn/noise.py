"""Noise inside the units of a recurrent network."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .config import Array


@functools.cache
def normal_table(dtype: np.dtype[Any]) -> Array:
    """Quantiles (2^16,) of the standard normal distribution at (j + 1/2) / 2^16, scaled to variance 1."""
    from statistics import NormalDist  # loaded only where there is noise

    standard = NormalDist()
    lower = np.array([standard.inv_cdf((j + 0.5) / 2**16) for j in range(2**15)])
    lower /= np.sqrt((lower * lower).mean())
    return np.concatenate([lower, -lower[::-1]]).astype(dtype)
