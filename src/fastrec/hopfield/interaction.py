"""The interaction of dense associative memories: F of the overlaps, as whole numbers by distance."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..backend import array_module, move
from ..messages import shown
from ..validation import as_int, require_memory

EXPONENTIAL: Literal["exponential"] = "exponential"
LARGEST_DEGREE = 62

Degree = int | Literal["exponential"]
"""The power of the overlaps that patterns add to the energy, or their exponential."""


@dataclass(frozen=True)
class Interaction:
    """F of a memory of n units: M^degree, or exp(M) in fixed point, of overlaps M = n - 2 d at distance d.

    Of the exponential only ratios matter.  Its table begins one unit nearer than the nearest pattern, and
    holds round(2^S exp(-2 j)) at place j, with the largest S for which sums of p entries stay within 2^62; it
    ends before the first 0.
    """

    n: int
    degree: Degree

    @property
    def relative(self) -> bool:
        """Whether the table begins at the nearest pattern."""
        return self.degree == EXPONENTIAL

    def require(self, p: int) -> None:
        """Raise ValueError if sums over p patterns could pass 2^63."""
        if p >= 2**31:
            raise ValueError(f"patterns would make p = {p}; p must stay below 2^31")
        if isinstance(self.degree, str):
            return
        n, k = self.n, self.degree
        if p * max(n**k, 2 * (n**k - (n - 2) ** k)) >= 2**63:
            raise ValueError(
                f"degree is {k}; sums over p = {p} patterns of n = {n} units would pass 2^63, take a smaller "
                'degree or "exponential"'
            )

    def table(self, p: int) -> NDArray[np.int64]:
        """The table for sums over p patterns, on the host."""
        if not isinstance(self.degree, str):
            require_memory(f"the table of degree {self.degree}", 16 * (self.n + 1))
            powers: NDArray[np.int64] = (self.n - 2 * np.arange(self.n + 1, dtype=np.int64)) ** self.degree
            return powers
        # Decimal's exp is rounded correctly, that of the C library as it may be: machines must agree.
        exact, one = Context(prec=60, rounding=ROUND_HALF_EVEN), Decimal(2 ** (62 - (p - 1).bit_length()))
        entries: list[int] = []
        while entry := int(exact.to_integral_value(exact.multiply(one, exact.exp(-2 * len(entries))))):
            entries.append(entry)
        return np.array(entries, dtype=np.int64)

    def energies(self, m: Any, backend: str) -> Any:
        """The energies (...,) float64 on the host of states with overlaps m (..., p), sums of products."""
        xp, table = array_module(backend), self.table(m.shape[-1])
        d = (self.n - m) >> 1
        nearest = d.min(axis=-1, keepdims=True)
        at = xp.minimum(d - nearest + 1, len(table)) if self.relative else d
        sums = move(xp.asarray(np.append(table, 0))[at].sum(axis=-1), "cpu")
        if not isinstance(self.degree, str):
            return -sums / float(self.n ** (self.degree - 1)) + 0.0  # + 0.0 turns -0.0 into 0.0
        return 2.0 * move(nearest[..., 0], "cpu") - self.n - np.log(sums / table[1])


def read_degree(degree: Any) -> Degree:
    """The argument `degree`, or ValueError."""
    if isinstance(degree, str):
        if degree == EXPONENTIAL:
            return EXPONENTIAL
        raise ValueError(f'degree is {shown(degree)}; it must be an integer from 2, or "{EXPONENTIAL}"')
    try:
        return as_int("degree", degree, 2, LARGEST_DEGREE)
    except ValueError as error:
        raise ValueError(f'{error}, or "{EXPONENTIAL}"') from None
