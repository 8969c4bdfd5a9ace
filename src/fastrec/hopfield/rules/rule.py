"""The description of a learning rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """A learning rule: the integer couplings W as a function of the stored patterns, in their order.

    `HopfieldNetwork` keeps the patterns packed: ``store`` appends to them, ``forget`` takes some out, and the
    rule gives the couplings of those that are left.

    Parameters
    ----------
    name : str
        Name of the rule.
    source : str
        Where the rule was published.
    bound : callable
        ``bound(n, p)`` is an integer that no coupling of p patterns of n units exceeds in size.  It decides
        the dtype of couplings and fields, and whether sums of them fit 64 bits.
    couplings : callable
        ``couplings(kernels, packed, units, self_coupling, weights)`` fills weights (k, n, n) from the packed
        patterns (k, p, w) and their transpose (k, n, u) by a kernel of the module `kernels`.  The diagonal is
        zero unless self_coupling.
    pattern_space : bool
        Whether W is the sum of the outer products of the patterns.  Fields, energies and recall are then
        computed from the patterns too, by kernels that need no couplings in memory.
    """

    name: str
    source: str
    bound: Callable[[int, int], int]
    couplings: Callable[[Any, Any, Any, bool, Any], None]
    pattern_space: bool = False
