"""Where recalls end: at the memory, at another one, at an inverse, in a mixture, or nowhere near any."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...backend import backend_of, move
from ..identification import find_mixtures
from ..states import PackedStates

ENDS = ("memory", "another", "inverse", "mixture", "glass")


class Outcome(NamedTuple):
    """How the recalls of one trial ended: whole numbers, sums over the probes.

    Where a recall ends is one of `memory`, `another`, `inverse`, `mixture` and `glass`: the first that holds,
    where near means an overlap of at least 9/10 n.

    Attributes
    ----------
    n : int
        Number of units.
    p : int
        Number of memories.
    flips : int
        Units flipped in each probe.
    trial : int
        Number of the network.
    probed : int
        Number of probes, each of another memory.
    overlap, squares : int
        Sum of the overlaps sum_i x_i s_i, -n..n, of final states with their memories, and of their squares.
    exact : int
        Final states equal to the memory.
    within : int
        Final states that differ from the memory in at most round(tolerance n) units.
    converged : int
        Recalls that reached a fixed point.
    sweeps : int
        Sweeps of all recalls.
    memory : int
        Recalls that end near the probed memory.
    another : int
        Recalls that end near another memory.
    inverse : int
        Recalls that end near the inverse -x of any memory.
    mixture : int
        Recalls that end near the majority of three memories or their inverses, sign(+-x1 +-x2 +-x3): the
        three of largest absolute overlap (the first of equal ones), each with the sign of its overlap.  The
        majority itself has an overlap of about 1/2 n with each.
    glass : int
        Recalls that end elsewhere.
    """

    n: int
    p: int
    flips: int
    trial: int
    probed: int
    overlap: int
    squares: int
    exact: int
    within: int
    converged: int
    sweeps: int
    memory: int
    another: int
    inverse: int
    mixture: int
    glass: int


def count_ends(
    m: NDArray[np.int64], memories: PackedStates, states: PackedStates, due: NDArray[np.int64] | None = None
) -> tuple[int, ...]:
    """How many recalls end in each of `ENDS`, from overlaps m (b, p) of final states (b, n) with memories.

    due (b,): the memory at which each was to end; that of its number if it is not given.
    """
    n, (b, p) = memories.n, m.shape
    with_memory = m[np.arange(b), np.arange(b) if due is None else due]
    near, against = 10 * m >= 9 * n, 10 * m <= -9 * n
    kinds = np.select([10 * with_memory >= 9 * n, near.any(1), against.any(1)], [0, 1, 2], 4)
    if p >= 3 and len(rest := np.flatnonzero(kinds == 4)):
        final = states.words[move(rest, backend_of(states.words))]
        _, _, wrong = find_mixtures(m[rest], np.zeros_like(rest), memories.words[None], final, n)
        kinds[rest[10 * (n - 2 * wrong) >= 9 * n]] = 3
    return tuple(np.bincount(kinds, minlength=len(ENDS)).tolist())
