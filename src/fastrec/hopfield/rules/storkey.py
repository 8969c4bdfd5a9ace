"""Storkey's rule, in fixed point: a pattern is learnt less the fields that earlier ones give.

w_ij += (x_i x_j - x_i h_ji - h_ij x_j) / n, where h_ij is the sum of w_ik x_k over k other than i and j.
`kernels.reference.learning.storkey` says how the couplings follow from one vector for each pattern, which is
rounded to a multiple of 2^-16 of a pattern's amplitude: a part of the definition here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...backend import array_module, kernels
from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns

UNIT = 2**16  # W of one pattern alone, nearly


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """Couplings X'B + B'X from the patterns X and the vectors B with which they are learnt."""
    xp, n, p, packed = array_module(backend), stored.n, stored.p, stored.packed()
    amplitudes, amplitude = np.empty(p, dtype=np.int64), UNIT << 63  # (UNIT / 2) (1 + 2/n)^-mu, times 2^64
    for mu in range(p):
        amplitude = amplitude * n // (n + 2)
        amplitudes[mu] = (amplitude + (1 << 63)) >> 64
    strengths = xp.empty((len(packed), p, n), dtype=np.int64)
    gram = stored.overlaps(backend, packed)
    kernels("hopfield", backend).storkey(
        packed, stored.units(backend), gram, xp.asarray(amplitudes), strengths
    )
    weights = stored.embedded(backend, strengths.swapaxes(1, 2))
    weights += weights.swapaxes(1, 2).copy()
    weights[:, xp.arange(n), xp.arange(n)] = 0
    return Learnt(weights, UNIT * (n / (n + 2)) ** p)


STORKEY = Rule(
    "storkey",
    source="A. Storkey, Increasing the capacity of a Hopfield network, ICANN 1997",
    learn=learn,
    bound=lambda setting, total: 8 * UNIT * total,
    self_coupling=False,
    whole=False,
)
