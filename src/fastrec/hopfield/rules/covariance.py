"""The covariance rule, for patterns of which a share a of the units is active.

W_ij is the sum of (v_i - a) (v_j - a) over the stored patterns, v = 1 of an active unit (+1) and 0 of a
silent one (-1).  With a = num / den it is multiplied by den^2, so that it is a whole number.  In a stored
pattern an active unit receives (1 - a) a (1 - a) n from the active ones on average, a silent one
-a a (1 - a) n; the threshold of Tsodyks and Feigel'man is half way between, (1/2 - a) a (1 - a) n.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ...backend import array_module
from ...validation import require_memory
from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """Couplings and thresholds from those of Hebb and the sums of the patterns."""
    xp, n, activity = array_module(backend), stored.n, stored.setting.options["activity"]
    num, den = activity.numerator, activity.denominator
    # v - a = (den x + mean) / (2 den), where mean / den = 1 - 2 a is the mean of -x
    mean, total = den - 2 * num, int(stored.counts.sum())
    require_memory("the couplings", 16 * stored.buffer.shape[0] * n * n, backend=backend)
    sums = mean * stored.unit_sums(backend).astype(np.int64)
    weights = stored.outer_products(backend, True).astype(np.int64)
    weights *= den
    weights += sums[:, :, None]
    weights += sums[:, None, :]
    weights *= den
    weights += mean**2 * total
    weights //= 4
    if not stored.setting.self_coupling:
        weights[:, xp.arange(n), xp.arange(n)] = 0
    # The units are v = (1 + x) / 2 here, so that a field is half of what +-1 receive and the sum of a row.
    doubled = round(Fraction(mean * num * (den - num) * n, den))
    return Learnt(weights, float(den**2), doubled - weights.sum(axis=2))


COVARIANCE = Rule(
    "covariance",
    source="M. V. Tsodyks and M. V. Feigel'man, Europhys. Lett. 6, 101 (1988)",
    learn=learn,
    bound=lambda setting, total: setting.options["activity"].denominator ** 2 * total,
    options=("activity",),
    weighted=True,
    whole=False,
)
