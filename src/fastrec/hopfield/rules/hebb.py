"""The Hebbian rule: W_ij is the sum of x_i x_j over the stored patterns x."""

from __future__ import annotations

from typing import Any

from .rule import Rule


def couplings(kernels: Any, packed: Any, units: Any, self_coupling: bool, weights: Any) -> None:
    """Fill weights (k, n, n) with the sum of the outer products; the diagonal is p, or 0."""
    kernels.couplings(units, packed.shape[1], self_coupling, weights)


HEBB = Rule(
    "hebb",
    source="Hopfield, PNAS 79, 2554 (1982)",
    bound=lambda n, p: p,
    couplings=couplings,
    pattern_space=True,
)
