"""The Hebbian rule: W_ij is the sum of c x_i x_j over the stored patterns x and their weights c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """The sum of the outer products; its diagonal is the sum of the weights, or 0."""
    return Learnt(stored.outer_products(backend, stored.setting.self_coupling))


HEBB = Rule(
    "hebb",
    source="J. J. Hopfield, PNAS 79, 2554 (1982)",
    learn=learn,
    bound=lambda setting, total: total,
    pattern_space=True,
    weighted=True,
)
