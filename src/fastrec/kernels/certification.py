"""What capacity scans know beforehand: loads that bounds can certify, and how overlaps become digits."""

from __future__ import annotations

import math

# Standard deviations between what could matter and a field, from which sums are looked at more rarely.
SAFE = 3.5


def certified_loads(
    n: int, corrupted: int, max_sweeps: int, max_patterns: int, most: float = math.inf
) -> int:
    """Loads up to which a memory whose fields are all large is recalled for certain.

    At larger ones most memories would be looked at again, and where one sweep must do (it takes a second to
    see that nothing flips any more) bounds say nothing: there all that are stable are recalled, as where more
    than `most` units are corrupted.
    """
    if corrupted == 0:
        return max_patterns
    if corrupted > most or max_sweeps <= 1:
        return 0
    return min(max_patterns, (n - 1) // (4 * corrupted))


def digit_shift(n: int) -> int:
    """What overlaps of random patterns of n units are shifted by to be a digit, nearly all of them."""
    return max(0, math.ceil(math.log2(3.6 * math.sqrt(n) / 127)))
