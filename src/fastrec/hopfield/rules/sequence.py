"""The rule of sequences: each pattern calls up the one stored after it.

W_ij is the sum of x^(mu+1)_i x^mu_j over the stored patterns in their order; in a cyclic sequence the first
follows the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...backend import array_module
from ..states import unpack_states
from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """The sum of the outer products of the patterns with those before them."""
    xp, n, p = array_module(backend), stored.n, stored.p
    x = unpack_states(stored.units(backend), p, backend, backend)
    following = xp.zeros_like(x)
    following[:, :, :-1] = x[:, :, 1:]
    if stored.setting.options["cyclic"]:
        following[:, :, -1] = x[:, :, 0]
    weights = stored.embedded(backend, following)
    if not stored.setting.self_coupling:
        weights[:, xp.arange(n), xp.arange(n)] = 0
    return Learnt(weights)


SEQUENCE = Rule(
    "sequence",
    source="S. Amari, IEEE Trans. Computers C-21, 1197 (1972)",
    learn=learn,
    bound=lambda setting, total: total,
    options=("cyclic",),
    symmetric=False,
)
